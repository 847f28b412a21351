"""What the treatment costs, and what the plain pipeline reaches at the same price."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import numpy as np
import pandas as pd

from bench.analysis.evidence import Evidence, Row
from bench.analysis.statistics import (
    NO_PRIOR,
    Error,
    Estimate,
    Prior,
    estimate,
    simultaneous,
    together,
)
from bench.metrics import METRICS


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
    plain: bool  # without a resizer
    price: Price
    accuracy: pd.Series[float]  # %, by seed


@dataclass(frozen=True)
class EqualPrice:
    """Treatment minus the plain pipeline of its price, interpolated between two sizes."""

    difference: Estimate
    small: Pipeline
    large: Pipeline
    share: float  # of the way from the small one's price to the large one's


def at_equal_price(
    treatment: Pipeline, others: Iterable[Pipeline], prior: Prior = NO_PRIOR
) -> EqualPrice | None:
    """The difference at the treatment's price, seed by seed between the sizes that bracket it.

    None beyond the sizes that were measured, and below two seeds that all three have.

    What the price may be wrong by enters by the delta method: it moves the place between the two
    sizes, and so the plain accuracy by the slope between them. So the interval keeps one stated
    level; taking the ends of the price's interval as given would stack one interval on another.
    """
    bracket = bracketed(treatment.price, others)
    if bracket is None:
        return None
    small, large, share = bracket
    plain = (1 - share) * small.accuracy + share * large.accuracy
    found = estimate(treatment.accuracy - plain, prior)
    if not found.errors:
        return None
    moved = _price_error(treatment, small, large, share)
    error = together(found.errors[0], moved) if moved.se else found.errors[0]
    return EqualPrice(replace(found, errors=(error,)), small, large, share)


def bracketed(price: Price, others: Iterable[Pipeline]) -> tuple[Pipeline, Pipeline, float] | None:
    """The nearest plain sizes on both sides of a price, and the share of the way between them.

    At the price of the largest one, it is on both sides; beyond what was measured, there is None.
    """
    ordered = sorted((one for one in others if one.plain), key=lambda one: one.price.value)
    for small, large in pairwise([*ordered, *ordered[-1:]]):
        if small.price.value <= price.value <= large.price.value:
            step = large.price.value - small.price.value
            return small, large, (price.value - small.price.value) / step if step > 0 else 0.0
    return None


def _price_error(treatment: Pipeline, small: Pipeline, large: Pipeline, share: float) -> Error:
    """What the three prices' errors move the interpolated accuracy by, points."""
    step = large.price.value - small.price.value
    if step <= 0:
        return Error(0.0, math.inf)
    slope = float((large.accuracy - small.accuracy).mean()) / step
    parts = [(treatment.price, 1.0), (small.price, 1 - share), (large.price, share)]
    errors = [Error(abs(slope * weight) * price.se, price.df) for price, weight in parts]
    return together(*errors)


Front = Literal["dominated", "on the front", "open"]


def on_front(
    treatment: Pipeline, others: Sequence[Pipeline], prior: Prior = NO_PRIOR
) -> tuple[Front, str]:
    """Whether some other arm is no dearer and more accurate, as far as the intervals say so.

    The intervals of accuracy are simultaneous over the other arms (Bonferroni). "dominated": by
    an arm that is surely no dearer and surely more accurate; it is named. "on the front": each
    other arm is surely dearer or surely less accurate. "open": neither is known.
    """
    gains = [estimate(arm.accuracy - treatment.accuracy, prior) for arm in others]
    beaten = True
    for arm, gain in zip(others, simultaneous(gains), strict=True):
        apart = arm.price.value - treatment.price.value
        half = together(arm.price.error, treatment.price.error).half_width()
        no_dearer = apart < -half or apart == half == 0  # equal counts are not dearer
        if gain.low > 0 and no_dearer:
            return "dominated", arm.name
        beaten &= gain.high < 0 or apart > half
    return ("on the front" if beaten else "open"), ""


def _time(evidence: Evidence, row: Row, treatment: Row) -> Price | None:
    """Of a training step, as a multiple of the treatment's, paired by round of its sitting."""
    sittings = (evidence.seconds(treatment.label, of.trial.speed_key) for of in (row, treatment))
    ours, its = (seconds.get("train", []) for seconds in sittings)
    return relative(ours, its) if ours and len(ours) == len(its) else None


def _arithmetic(_evidence: Evidence, row: Row, _treatment: Row) -> Price | None:
    counted = row.speed.get("gmacs", math.nan)
    return Price(counted) if counted > 0 else None


PRICES: dict[str, Callable[[Evidence, Row, Row], Price | None]] = {
    "training time": _time,
    "multiply-adds": _arithmetic,
}
"""What an image costs, the less the better: of a row that is compared with a treatment's."""


@dataclass(frozen=True)
class Paid:
    """What a price of the treatment buys elsewhere."""

    price: str  # one of PRICES
    equal: EqualPrice | None  # None beyond the sizes that were measured
    front: Front
    dominating: str  # the arm that is no dearer and more accurate, if one surely is


def paid(evidence: Evidence, treatment: Row) -> list[Paid]:
    """Each price of the treatment against the other arms of its context."""
    prior = treatment.verdict.prior if treatment.verdict else NO_PRIOR
    found = []
    for price in PRICES:
        ours, others = _pipelines(evidence, price, treatment)
        if ours and others:
            equal = at_equal_price(ours, others, prior)
            found.append(Paid(price, equal, *on_front(ours, others, prior)))
    return found


def _pipelines(
    evidence: Evidence, price: str, treatment: Row
) -> tuple[Pipeline | None, list[Pipeline]]:
    """The treatment, and the others of its data, settings and length of training, if priced."""
    alike = [row for row in evidence.beside(treatment) if row.terms == treatment.terms]
    ours, *others = (_priced(evidence, price, row, treatment) for row in (treatment, *alike))
    return ours, [one for one in others if one]


def _priced(evidence: Evidence, price: str, row: Row, treatment: Row) -> Pipeline | None:
    cost, trial = PRICES[price](evidence, row, treatment), row.trial
    plain = trial.resizer == "none"
    return Pipeline(row.arm.name, trial.input_size, plain, cost, row.top1) if cost else None


def equal_side(evidence: Evidence, price: str, treatment: Row) -> float | None:
    """How large a plain image a price of the treatment pays for, pixels.

    Between two sizes that were measured the price is taken to grow with the area; beyond them
    nothing is said.

    Args:
        price: one of PRICES.
    """
    ours, others = _pipelines(evidence, price, treatment)
    found = bracketed(ours.price, others) if ours else None
    if found is None:
        return None
    small, large, share = found
    return math.sqrt((1 - share) * small.side**2 + share * large.side**2)


def multiple(evidence: Evidence, row: Row, metric: str) -> float | None:
    """The row's metric over its baseline's, where both were measured in one setting."""
    base = evidence.baseline_of(row)
    over = base.speed.get(metric, math.nan)
    alike = METRICS[metric].counted or row.trial.setting == base.trial.setting
    return row.speed[metric] / over if metric in row.speed and over > 0 and alike else None
