"""What the treatment costs, and what the plain pipeline reaches at the same price."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
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
    ours, its = (evidence.seconds(treatment.label, "train", one.trial) for one in (row, treatment))
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
        arms = _pipelines(evidence, price, treatment, [treatment, *evidence.beside(treatment)])
        if len(arms) > 1 and arms[0][0] is treatment:
            plain = [arm for row, arm in arms[1:] if row.trial.resizer == "none"]
            equal = at_equal_price(arms[0][1], plain, prior)
            front = on_front(arms[0][1], [arm for _, arm in arms[1:]], prior)
            found.append(Paid(price, equal if isinstance(equal, EqualPrice) else None, *front))
    return found


def _pipelines(
    evidence: Evidence, price: str, treatment: Row, rows: Sequence[Row]
) -> list[tuple[Row, Pipeline]]:
    """The rows of the treatment's data, settings and length of training that have the price."""
    alike = [row for row in rows if row.terms == treatment.terms]
    return [
        (row, Pipeline(row.arm.name, row.trial.input_size, cost, row.top1))
        for row in alike
        if (cost := PRICES[price](evidence, row, treatment))
    ]


def equal_side(evidence: Evidence, price: str, treatment: Row) -> float | None:
    """How large a plain image a price of the treatment pays for, pixels.

    Between two sizes that were measured the price is taken to grow with the area; beyond them
    nothing is said.

    Args:
        price: one of PRICES.
    """
    cost = PRICES[price](evidence, treatment, treatment)
    plain = [row for row in evidence.beside(treatment) if row.trial.resizer == "none"]
    arms = [arm for _, arm in _pipelines(evidence, price, treatment, plain)]
    found = bracketed(cost, arms) if cost else "cheaper than measured"
    if isinstance(found, str):
        return None
    small, large, share = found
    return math.sqrt((1 - share) * small.side**2 + share * large.side**2)


def multiple(evidence: Evidence, row: Row, metric: str) -> float | None:
    """The row's metric over its baseline's, where both were measured in one setting."""
    base = evidence.baseline_of(row)
    over = base.speed.get(metric, math.nan)
    alike = METRICS[metric].counted or row.trial.setting == base.trial.setting
    return row.speed[metric] / over if metric in row.speed and over > 0 and alike else None
