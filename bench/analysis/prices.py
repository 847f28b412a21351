"""What the treatment costs, and what the plain pipeline reaches at the same price."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from bench.analysis.evidence import Evidence, Row
from bench.analysis.statistics import Ratio
from bench.metrics import METRICS

PRICES: dict[str, Callable[[Row], float | None]] = {
    "training time": lambda row: _inverse(row.speed.get("train_images_per_s")),
    "multiply-adds": lambda row: row.speed.get("gmacs"),
}
"""What an image costs, the less the better."""


@dataclass(frozen=True)
class EqualSide:
    """The plain image that a price of the treatment pays for."""

    price: str  # one of PRICES
    treatment: Row
    side: float  # pixels


@dataclass(frozen=True)
class EqualPrice:
    """What the plain pipeline reaches at a price of the treatment, by the means."""

    price: str  # one of PRICES
    better: Row | None  # the best that costs no more and reaches more; None on the Pareto front
    below: Row | None  # the largest plain image that costs no more; None where none was measured
    above: Row | None  # the smallest that costs no less
    reached: float | None  # %, between these two; None beyond what was measured


def equal_sides(evidence: Evidence) -> list[EqualSide]:
    """How large a plain image each price of each treatment pays for.

    Between two sizes that were measured the price is taken to grow with the area; beyond them
    nothing is said.
    """
    treated = [row for row in evidence.compared if row.arm.role == "treatment"]
    return [
        EqualSide(price, row, side)
        for price in PRICES
        for row in treated
        if (side := _equal_side(price, row, evidence.beside(row)))
    ]


def _equal_side(price: str, treatment: Row, rows: Sequence[Row]) -> float | None:
    """The plain image's side, pixels, at the treatment's price; None beyond what was measured."""
    of = PRICES[price]
    paid = of(treatment)
    plain = [row for row in rows if row.trial.resizer == "none"]
    priced = sorted((cost, row.trial.input_size) for row in plain if (cost := of(row)))
    for (low, small), (high, large) in pairwise(priced):
        if paid and low <= paid <= high:
            share = (paid - low) / (high - low) if high > low else 0.0
            return math.sqrt(small**2 + share * (large**2 - small**2))
    return None


def equal_prices(evidence: Evidence, treatment: Row) -> list[EqualPrice]:
    """What the treatment's prices buy otherwise, where plain images of several sizes were tried."""
    rows = evidence.beside(treatment)
    sizes = {row.trial.input_size for row in rows if row.trial.resizer == "none"}
    alike = [row for row in rows if row.trial.setting == treatment.trial.setting and row.accuracy.n]
    if len(sizes) < 2 or not treatment.accuracy.n:
        return []
    return [
        _equal_price(price, paid, treatment, alike)
        for price, of in PRICES.items()
        if (paid := of(treatment)) is not None
    ]


def _equal_price(price: str, paid: float, treatment: Row, rows: Sequence[Row]) -> EqualPrice:
    priced = [(cost, row) for row in rows if (cost := PRICES[price](row)) is not None]
    no_more = [row for cost, row in priced if cost <= paid]
    best = max(no_more, key=lambda row: row.accuracy.mean, default=treatment)
    better = best if best.accuracy.mean > treatment.accuracy.mean else None
    plain = {cost: row for cost, row in priced if row.trial.resizer == "none"}
    low = max((cost for cost in plain if cost <= paid), default=None)
    high = min((cost for cost in plain if cost >= paid), default=None)
    below = plain[low] if low is not None else None
    above = plain[high] if high is not None else None
    reached = None
    if low is not None and high is not None:
        share = (paid - low) / (high - low) if high > low else 0.0
        start, end = plain[low].accuracy.mean, plain[high].accuracy.mean
        reached = start + share * (end - start)
    return EqualPrice(price, better, below, above, reached)


def times(rows: Sequence[Row], phase: str) -> list[Ratio]:
    """The rows' times over their baselines', by a phase of the timing lane, where measured."""
    return [row.times[phase] for row in rows if phase in row.times]


def multiples(evidence: Evidence, rows: Sequence[Row], metric: str) -> list[float]:
    """Each row's metric over its baseline's, where both were measured in one setting."""
    found = []
    for row in rows:
        base = evidence.baseline_of(row)
        over = base.speed.get(metric, math.nan)
        alike = METRICS[metric].counted or row.trial.setting == base.trial.setting
        if metric in row.speed and over > 0 and alike:
            found.append(row.speed[metric] / over)
    return found


def _inverse(value: float | None) -> float | None:
    return 1 / value if value else None
