"""What an experiment will find at its number of seeds, before it has any of them."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bench.analysis.crossed import Squares, error
from bench.analysis.judging import LEAST_SEEDS, Looks
from bench.analysis.moderated import Variances, prior_of
from bench.analysis.pairs import Regime, distinct, of_treatment, pairs
from bench.analysis.pooled import lent, typical
from bench.analysis.statistics import POWER, Error, Estimate

MOST_SEEDS = 1_000  # beyond these a plan is no plan
# Of published ones, of which two networks trained from scratch differ in a sixth of the images:
IMAGE_SD = 40.0  # spread of one image's difference in one seed, points, about its own mean
IMAGES_SHARE = 0.25  # spread of an image's true difference, as a share of that; likewise
TYPICAL_IMAGES = 3_929  # on so many most published differences were measured


@dataclass(frozen=True)
class Design:
    """What is known of a comparison before it is run."""

    sd: float  # of a seed's difference, points; without lenders pooled over all that is published
    lenders: tuple[Variances, ...]  # published experiments of the same regime
    others: int  # other differences of the treatment in the experiment that lend their variances
    looks: Looks
    images: int | None = None  # for validation; None while nobody can know

    def estimate(self, n: int) -> Estimate:
        """What `n` seeds are expected to have: no difference, and an error."""
        variance = self.sd**2
        others = Variances(np.full(self.others, variance), np.full(self.others, n - 1.0))
        alike = [Variances(np.full(one.count, variance), one.df) for one in self.lenders]
        prior = prior_of(variance, n - 1, others, alike)
        errors = [Error(self.sd / math.sqrt(n), n - 1 + float(prior.df))]
        if self.images and self.images > 1:  # new ones, too, from the mean squares to be expected
            seeds = self.images * variance
            rest = min(IMAGE_SD**2, seeds)
            expected = Squares(seeds, rest * (1 + n * IMAGES_SHARE**2), rest)
            errors.append(error(expected, (n, self.images), prior))
        return Estimate(0.0, n, self.sd, tuple(errors))

    def finds(self, n: int) -> float:
        """The true difference, points, that `n` seeds find in four of five experiments."""
        return self.estimate(n).detectable(self.looks.level) or math.inf

    def seeds_for(self, effect: float) -> int | None:
        """The fewest seeds that find a true `effect`, points; None beyond `MOST_SEEDS`."""

        def power(n: int) -> float:
            return min(one.power(effect, self.looks.level) for one in self.estimate(n).errors)

        seeds = range(LEAST_SEEDS, MOST_SEEDS + 1)
        at = bisect_left(seeds, POWER, key=power)
        return seeds[at] if at < len(seeds) else None


def designs(
    table: pd.DataFrame,
    primary: tuple[str, str],
    looks: tuple[int, ...] = (),
    images: Callable[[str], int | None] = lambda _: None,
) -> list[tuple[Design, list[str]]]:
    """The designs, each with the labels of the distinct contexts that have it.

    Args:
        table: of the whole experiment, as `Store.table` makes it; nothing of it need be finished.
        images: how many a dataset has for validation.
    """
    asked = distinct(pairs(table, *primary))
    alike = defaultdict[tuple[Regime, int], list[str]](list)
    for pair in asked:
        alike[pair.regime, pair.planned].append(pair.context)
    regimes = Counter(one.regime for one in of_treatment(table, primary[0]))
    own, found = frozenset(table["key"]), list[tuple[Design, list[str]]]()
    for (regime, planned), contexts in alike.items():
        lenders = tuple(lent(regime, own))
        val_images = images(regime.dataset)
        if lenders:
            df = [one.df.sum() for one in lenders]
            variance = float(np.average([one.pooled for one in lenders], weights=df))
        else:  # on fewer images than is typical it spreads more, as each counts for more
            of_seeds = max(0.0, typical() ** 2 - IMAGE_SD**2 / TYPICAL_IMAGES)
            variance = of_seeds + IMAGE_SD**2 / (val_images or TYPICAL_IMAGES)
        at_looks, others = Looks.of(looks, planned, len(asked)), regimes[regime] - 1
        design = Design(math.sqrt(variance), lenders, others, at_looks, val_images)
        found.append((design, contexts))
    return found
