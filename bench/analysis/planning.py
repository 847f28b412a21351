"""What an experiment will find at its number of seeds, before it has any of them."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bench.analysis.crossed import error
from bench.analysis.judging import LEAST_SEEDS, Looks
from bench.analysis.moderated import Variances, prior_of
from bench.analysis.pairs import Regime, distinct, of_treatment, pairs
from bench.analysis.pooled import lent, typical
from bench.analysis.statistics import POWER, Error, Estimate, Prior

MOST_SEEDS = 1_000
"""Beyond these a plan is no plan."""

IMAGE_SD = 40.0
"""Spread of one image's difference in one seed, points, about its own mean: of published ones, of
which two networks trained from scratch differ in a sixth of the images."""

IMAGES_SHARE = 0.25
"""Spread of an image's true difference, as a share of that; likewise."""

TYPICAL_IMAGES = 3_929
"""On so many images most published differences were measured."""


@dataclass(frozen=True)
class Design:
    """What is known of a comparison before it is run.

    Args:
        sd: of a seed's difference, points.
        lenders: published experiments of the same regime; where there are none, `sd` is pooled
            over all that is published.
        others: other differences of the treatment in the experiment that lend their variances.
        looks: at which a verdict is given.
        images: validation images; None while nobody can know.
    """

    sd: float
    lenders: tuple[Variances, ...]
    others: int
    looks: Looks
    images: int | None = None

    def estimate(self, n: int) -> Estimate:
        """What `n` seeds are expected to have: no difference, and an error."""
        variance = self.sd**2
        others = Variances(np.full(self.others, variance), np.full(self.others, n - 1.0))
        alike = [Variances(np.full(one.count, variance), one.df) for one in self.lenders]
        prior = prior_of(variance, n - 1, others, alike)
        over_seeds = Error(self.sd / math.sqrt(n), n - 1 + float(prior.df))
        over_images = (self._over_images(n, prior),) if self.images and self.images > 1 else ()
        return Estimate(0.0, n, self.sd, (over_seeds, *over_images))

    def _over_images(self, n: int, prior: Prior) -> Error:
        """For new images, too, as a verdict counts it, from the mean squares to be expected."""
        assert self.images
        seeds = self.images * self.sd**2
        rest = min(IMAGE_SD**2, seeds)
        return error(seeds, rest * (1 + n * IMAGES_SHARE**2), rest, (n, self.images), prior)

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
) -> dict[str, Design]:
    """The design of each distinct context, by the context's label.

    Args:
        table: of the whole experiment, as `Store.table` makes it; nothing of it need be finished.
        images: how many a dataset has for validation.
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
            images(pair.regime.dataset),
        )
        for pair in asked
    }


def _design(
    regime: Regime, others: int, looks: Looks, own: frozenset[str], images: int | None
) -> Design:
    lenders = tuple(lent(regime, own))
    variances = [float(one.pooled) for one in lenders]
    df = [float(one.df.sum()) for one in lenders]
    if lenders:
        sd = math.sqrt(float(np.average(variances, weights=df)))
    else:
        sd = _on(images or TYPICAL_IMAGES)
    return Design(sd, lenders, others, looks, images)


def _on(images: int) -> float:
    """What a seed's difference spreads by on so many images, points, if all else is as published.

    On fewer it spreads more, as each counts for more.
    """
    of_seeds = max(0.0, typical() ** 2 - IMAGE_SD**2 / TYPICAL_IMAGES)
    return math.sqrt(of_seeds + IMAGE_SD**2 / images)
