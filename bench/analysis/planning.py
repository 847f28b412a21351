"""What an experiment will find at its number of seeds, before it has any of them."""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bench.analysis.judging import LEAST_SEEDS, Looks
from bench.analysis.moderated import Variances, prior_of
from bench.analysis.pairs import Regime, distinct, of_treatment, pairs
from bench.analysis.pooled import lent, typical
from bench.analysis.statistics import POWER, Error, Estimate

MOST_SEEDS = 1_000
"""Beyond these a plan is no plan."""


@dataclass(frozen=True)
class Design:
    """What is known of a comparison before it is run.

    Args:
        sd: of a seed's difference, points.
        lenders: published experiments of the same regime; where there are none, `sd` is pooled
            over all that is published.
        others: other differences of the treatment in the experiment that lend their variances.
        looks: at which a verdict is given.
    """

    sd: float
    lenders: tuple[Variances, ...]
    others: int
    looks: Looks

    def estimate(self, n: int) -> Estimate:
        """What `n` seeds are expected to have: no difference, and an error."""
        variance = self.sd**2
        others = Variances(np.full(self.others, variance), np.full(self.others, n - 1.0))
        alike = [Variances(np.full(one.count, variance), one.df) for one in self.lenders]
        prior = prior_of(variance, n - 1, others, alike)
        error = Error(self.sd / math.sqrt(n), n - 1 + float(prior.df))
        return Estimate(0.0, n, self.sd, (error,))

    def finds(self, n: int) -> float:
        """The true difference, points, that `n` seeds find in four of five experiments."""
        return self.estimate(n).detectable(self.looks.level) or math.inf

    def seeds_for(self, effect: float) -> int | None:
        """The fewest seeds that find a true `effect`, points; None beyond `MOST_SEEDS`."""

        def power(n: int) -> float:
            return self.estimate(n).errors[0].power(effect, self.looks.level)

        seeds = range(LEAST_SEEDS, MOST_SEEDS + 1)
        at = bisect_left(seeds, POWER, key=power)
        return seeds[at] if at < len(seeds) else None


def designs(
    table: pd.DataFrame, primary: tuple[str, str], looks: tuple[int, ...] = ()
) -> dict[str, Design]:
    """The design of each distinct context, by the context's label.

    Args:
        table: of the whole experiment, as `Store.table` makes it; nothing of it need be finished.
    """
    asked = distinct(pairs(table, *primary))
    others = of_treatment(table, primary[0])
    own = frozenset(table["key"])
    return {
        pair.context: _design(
            pair.regime,
            sum(one.regime == pair.regime for one in others) - 1,
            Looks.of(looks, pair.planned, len(asked)),
            own,
        )
        for pair in asked
    }


def _design(regime: Regime, others: int, looks: Looks, own: frozenset[str]) -> Design:
    lenders = tuple(lent(regime, own))
    variances = [float(one.pooled) for one in lenders]
    df = [float(one.df.sum()) for one in lenders]
    sd = math.sqrt(float(np.average(variances, weights=df))) if lenders else typical()
    return Design(sd, lenders, others, looks)
