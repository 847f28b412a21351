"""The treatment against the plain pipeline of its price, paired by seed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from bench.analysis.statistics import (
    LEVEL,
    NO_PRIOR,
    Error,
    Estimate,
    Interval,
    Prior,
    estimate,
    together,
)


@dataclass(frozen=True)
class Price:
    """What an image costs, in any unit, all of one comparison in the same one."""

    value: float
    se: float = 0.0  # 0 of a price that is counted
    df: float = math.inf  # of `se`: rounds of measurement less one

    @property
    def error(self) -> Error:
        return Error(self.se, self.df)


def relative(seconds: Sequence[float], reference: Sequence[float]) -> Price:
    """A time as multiples of a reference's, paired by round of the timing.

    A drift of the machine is in both and leaves the ratio. The reference itself has the price 1,
    without an error; so the treatment is best taken as the reference.

    >>> relative([2.0, 4.0, 6.0], [1.0, 2.0, 3.0]).value.__round__(6)
    2.0
    """
    logs = np.log(np.asarray(seconds, dtype=float) / np.asarray(reference, dtype=float))
    value, n = math.exp(float(logs.mean())), len(logs)
    if n < 2:
        return Price(value)
    return Price(value, value * float(logs.std(ddof=1)) / math.sqrt(n), n - 1.0)


@dataclass(frozen=True)
class Pipeline:
    """An arm with its price and its accuracies."""

    name: str
    side: int  # of its image, pixels
    price: Price
    accuracy: Mapping[int, float]  # %, by seed


Beyond = Literal["cheaper than measured", "dearer than measured", "too few seeds"]


@dataclass(frozen=True)
class EqualPrice:
    """Treatment minus the plain pipeline of its price, interpolated between two sizes."""

    difference: Estimate
    small: Pipeline
    large: Pipeline
    share: float  # of the way from the small one's price to the large one's

    def interval(self, level: float = LEVEL) -> Interval:
        return self.difference.interval(level)


def at_equal_price(
    treatment: Pipeline, plain: Sequence[Pipeline], prior: Prior = NO_PRIOR
) -> EqualPrice | Beyond:
    """The difference at the treatment's price, seed by seed between the sizes that bracket it.

    What the price may be wrong by enters by the delta method: it moves the place between the two
    sizes, and so the plain accuracy by the slope between them. So the interval keeps one stated
    level; taking the ends of the price's interval as given would stack one interval on another.
    """
    bracket = bracketed(treatment.price, plain)
    if isinstance(bracket, str):
        return bracket
    small, large, share = bracket
    by_seed = _differences(treatment, small, large, share)
    found = estimate(by_seed, prior)
    if not found.errors:
        return "too few seeds"
    moved = _price_error(treatment, small, large, share)
    error = together(found.errors[0], moved) if moved.se else found.errors[0]
    return EqualPrice(Estimate(found.mean, found.n, found.sd, (error,)), small, large, share)


def bracketed(price: Price, plain: Sequence[Pipeline]) -> tuple[Pipeline, Pipeline, float] | Beyond:
    """The nearest sizes on both sides of a price, and the share of the way between their prices."""
    ordered = sorted(plain, key=lambda one: one.price.value)
    if not ordered or price.value < ordered[0].price.value:
        return "cheaper than measured"
    for small, large in pairwise(ordered):
        if small.price.value <= price.value <= large.price.value:
            step = large.price.value - small.price.value
            return small, large, (price.value - small.price.value) / step if step > 0 else 0.0
    if price.value == ordered[-1].price.value:
        return ordered[-1], ordered[-1], 0.0
    return "dearer than measured"


def _differences(
    treatment: Pipeline, small: Pipeline, large: Pipeline, share: float
) -> list[float]:
    """Over the seeds that all three have."""
    seeds = sorted(set(treatment.accuracy) & set(small.accuracy) & set(large.accuracy))
    return [
        treatment.accuracy[seed] - (1 - share) * small.accuracy[seed] - share * large.accuracy[seed]
        for seed in seeds
    ]


def _price_error(treatment: Pipeline, small: Pipeline, large: Pipeline, share: float) -> Error:
    """What the three prices' errors move the interpolated accuracy by, points."""
    step = large.price.value - small.price.value
    if step <= 0:
        return Error(0.0, math.inf)
    seeds = sorted(set(small.accuracy) & set(large.accuracy))
    slope = float(np.mean([large.accuracy[s] - small.accuracy[s] for s in seeds])) / step
    parts = [(treatment.price, 1.0), (small.price, 1 - share), (large.price, share)]
    errors = [Error(abs(slope * weight) * price.se, price.df) for price, weight in parts]
    return together(*errors)


Front = Literal["dominated", "on the front", "open"]


def on_front(
    treatment: Pipeline, others: Iterable[Pipeline], prior: Prior = NO_PRIOR
) -> tuple[Front, str]:
    """Whether some other arm is no dearer and more accurate, as far as the intervals say so.

    The intervals of accuracy are simultaneous over the other arms (Bonferroni). "dominated": by
    an arm that is surely no dearer and surely more accurate; it is named. "on the front": each
    other arm is surely dearer or surely less accurate. "open": neither is known.
    """
    arms = list(others)
    level = 1 - (1 - LEVEL) / max(1, len(arms))
    beaten = True
    for arm in arms:
        more = _more_accurate(arm, treatment, prior, level)
        dearer = _dearer(arm.price, treatment.price)
        if more == "yes" and dearer == "no":
            return "dominated", arm.name
        beaten &= dearer == "yes" or more == "no"
    return ("on the front" if beaten else "open"), ""


Known = Literal["yes", "no", "unknown"]


def _more_accurate(arm: Pipeline, than: Pipeline, prior: Prior, level: float) -> Known:
    seeds = sorted(set(arm.accuracy) & set(than.accuracy))
    found = estimate([arm.accuracy[s] - than.accuracy[s] for s in seeds], prior)
    difference = found.interval(level)
    return "yes" if difference.low > 0 else "no" if difference.high < 0 else "unknown"


def _dearer(price: Price, than: Price) -> Known:
    """Equal counts are not dearer; two measured prices are told apart by their difference."""
    half = together(price.error, than.error).half_width()
    apart = price.value - than.value
    if apart > half:
        return "yes"
    return "no" if apart < -half or apart == half == 0 else "unknown"
