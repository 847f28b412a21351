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


def at_equal_price(evidence: Evidence, treatment: Row) -> dict[str, float]:
    """The accuracy, %, that a plain image reaches at each price of the treatment, by the means."""
    rows = evidence.beside(treatment) if treatment.accuracy.n else []
    found = {p: _read_off(p, treatment, rows, lambda row: row.accuracy.mean) for p in PRICES}
    return {price: reached for price, reached in found.items() if reached is not None}


def _equal_side(price: str, treatment: Row, rows: Sequence[Row]) -> float | None:
    area = _read_off(price, treatment, rows, lambda row: float(row.trial.input_size**2))
    return math.sqrt(area) if area else None


def _read_off(
    price: str, treatment: Row, rows: Sequence[Row], of: Callable[[Row], float]
) -> float | None:
    """What plain images have at the treatment's price; None beyond what was measured.

    Between two sizes whose prices bracket it the value is taken to grow with the price.
    """
    paid = PRICES[price](treatment)
    alike = [row for row in rows if row.trial.setting == treatment.trial.setting]
    plain = [(PRICES[price](row), of(row)) for row in alike if row.trial.resizer == "none"]
    costs = sorted((cost, value) for cost, value in plain if cost and not math.isnan(value))
    for (low, start), (high, end) in pairwise(costs):
        if paid and low <= paid <= high:
            share = (paid - low) / (high - low) if high > low else 0.0
            return start + share * (end - start)
    return None


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
