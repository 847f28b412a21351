"""What the treatment costs, and what the plain pipeline reaches at the same price."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from bench.analysis.equal_price import (
    EqualPrice,
    Front,
    Pipeline,
    Price,
    at_equal_price,
    bracketed,
    on_front,
    relative,
)
from bench.analysis.evidence import Evidence, Row
from bench.analysis.statistics import NO_PRIOR
from bench.metrics import METRICS


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
