"""What the controls say: why the treatment's number moved, and what the same price buys."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

from bench.analysis.evidence import Evidence, Row
from bench.analysis.statistics import LEVEL, Interval, paired_difference
from bench.report import words
from bench.store import context_label

NAMES: dict[str, Callable[[Row], str]] = {
    "budget": lambda _: "the plain pipeline trained as long",
    "pixels": lambda _: "the same image plainly resized",
    "pixels-antialiased": lambda _: "the same with antialias",
    "capacity": lambda _: "the module without extra pixels",
    "learning": lambda _: "the module frozen at random weights",
    "muller": lambda _: "MULLER's four parameters",
    "arithmetic": lambda row: f"the plain pipeline at {row.trial.input_size} px (arithmetic)",
    "time": lambda row: f"the plain pipeline at {row.trial.input_size} px (time)",
    "ceiling": lambda row: f"the plain pipeline at {row.trial.input_size} px (the whole image)",
}
"""How a paragraph names the standard controls."""

PRICES: dict[str, Callable[[Row], float | None]] = {
    "training time": lambda row: _inverse(row.speed.get("train_images_per_s")),
    "multiply-adds": lambda row: row.speed.get("gmacs"),
}
"""What an image costs, the less the better."""


class Beside(NamedTuple):
    """The treatment beside one control."""

    name: str
    row: Row  # the control's
    difference: Interval  # treatment minus control, points; simultaneous with the other controls'

    @property
    def standing(self) -> str:
        """What the treatment is, of STANDINGS."""
        low, high = self.difference.low > 0, self.difference.high < 0
        return STANDINGS[0 if low else 1 if high else 2]


STANDINGS = ("better than", "worse than", "not told apart from")


def explanation(evidence: Evidence, treatment: Row) -> list[str]:
    """What the controls of the treatment's context say."""
    found = beside(evidence, treatment)
    return [_controls(evidence, treatment, found)] if found else []


def beside(evidence: Evidence, treatment: Row) -> list[Beside]:
    """The treatment against every standard control, their intervals simultaneous (Bonferroni)."""
    table = evidence.by_context[context_label(treatment.context)]
    rows = _neighbours(evidence, treatment)
    controls = [row for row in rows if row.arm.control in NAMES and row.accuracy.n > 1]
    level = 1 - (1 - LEVEL) / max(1, len(controls))
    return [
        Beside(
            NAMES[str(row.arm.control)](row),
            row,
            paired_difference(table, treatment.arm.name, row.arm.name, level=level),
        )
        for row in controls
    ]


def alternatives(evidence: Evidence, treatment: Row) -> list[str]:
    """What the treatment's price buys otherwise, where plain images of several sizes were tried."""
    rows = _neighbours(evidence, treatment)
    plain = {row.trial.input_size for row in rows if row.trial.resizer == "none"}
    told = (_price(name, treatment, rows) for name in PRICES) if len(plain) > 1 else ()
    return [text for text in told if text]


class Side(NamedTuple):
    """The plain image that a price of the treatment pays for."""

    size: str  # the treatment's, as `Trial.size`
    place: str  # what else its context is
    pixels: float


def equal_sides(evidence: Evidence) -> list[str]:
    """How large a plain image each price of the treatment pays for, a sentence for each size."""
    lines = []
    for name in PRICES:
        found = sides(evidence, name)
        for size in dict.fromkeys(one.size for one in found):
            told = [
                f"{one.pixels:.0f} px" + (f" ({one.place})" if one.place else "")
                for one in found
                if one.size == size
            ]
            lines.append(
                f"At {size} px, the price in {name} pays for a plain image of {words.join(told)}."
            )
    return lines


def sides(evidence: Evidence, name: str) -> list[Side]:
    """The plain image that a price of the treatment pays for, in each context, the least first.

    Between two sizes that were measured the price is taken to grow with the area.

    Args:
        name: one of PRICES.
    """
    others = [axis for axis in evidence.axes if not axis.endswith("_size")]
    treated = [row for row in evidence.compared if row.arm.role == "treatment"]
    found = [
        Side(row.trial.size, words.place(row.context, others), side)
        for row in treated
        if (side := _equal_side(name, row, _neighbours(evidence, row)))
    ]
    return sorted(found, key=lambda one: one.pixels)


def _equal_side(name: str, treatment: Row, rows: Sequence[Row]) -> float | None:
    """The plain image's side, pixels, at the treatment's price; None beyond what was measured."""
    of = PRICES[name]
    paid = of(treatment)
    plain = [row for row in rows if row.trial.resizer == "none"]
    priced = sorted((price, row.trial.input_size) for row in plain if (price := of(row)))
    for (low, small), (high, large) in pairwise(priced):
        if paid and low <= paid <= high:
            share = (paid - low) / (high - low) if high > low else 0.0
            return math.sqrt(small**2 + share * (large**2 - small**2))
    return None


def _neighbours(evidence: Evidence, treatment: Row) -> list[Row]:
    """The rows that have a part in the treatment's context."""
    there = set(evidence.by_context[context_label(treatment.context)]["key"])
    return [row for row in evidence.rows if row.keys <= there]


def _controls(evidence: Evidence, treatment: Row, found: Sequence[Beside]) -> str:
    """Better than, worse than, not told apart from: every control."""
    groups = {name: [one for one in found if one.standing == name] for name in STANDINGS}
    told = [f"{name} {_listed(group)}" for name, group in groups.items() if group]
    level = words.percent(found[0].difference.level)
    longer = ""
    if "budget" not in {arm.control for arm in evidence.experiment.spec.arm}:
        longer = f" Budget: {evidence.experiment.baseline} trains as long as {treatment.arm.name}."
    return (
        f"Why: {treatment.arm.name} is {'; '.join(told)} (points; {level} intervals, Bonferroni "
        f"over {words.count(len(found), 'control')}).{longer}"
    )


def _listed(group: Sequence[Beside]) -> str:
    return words.join(f"{one.name} ({words.mean(one.difference, signed=True)})" for one in group)


def _price(name: str, treatment: Row, rows: Sequence[Row]) -> str:
    """Whether the treatment is on the Pareto front, and what the plain pipeline reaches there."""
    of = PRICES[name]
    paid = of(treatment)
    alike = [row for row in rows if row.trial.setting == treatment.trial.setting]
    priced = [(price, row) for row in alike if (price := of(row)) is not None and row.accuracy.n]
    if paid is None or not treatment.accuracy.n:
        return ""
    ours = treatment.accuracy.mean
    better = [r for p, r in priced if p <= paid and r.accuracy.mean > ours and r is not treatment]
    plain = {price: row for price, row in priced if row.trial.resizer == "none"}
    below = max((price for price in plain if price <= paid), default=None)
    above = min((price for price in plain if price >= paid), default=None)
    if not better:
        front = f"In {name}, by the means, {treatment.arm.name} is on the Pareto front"
    else:
        best = max(better, key=lambda row: row.accuracy.mean)
        front = f"In {name}, by the means, {treatment.arm.name} is dominated by {_arm(best)}, "
        front += "which costs no more"
    if below is None or above is None:
        side = "cheap" if below is None else "dear"
        return f"{front}; no plain size as {side} was measured."
    low, high = plain[below], plain[above]
    share = (paid - below) / (above - below) if above > below else 0.0
    reached = low.accuracy.mean + share * (high.accuracy.mean - low.accuracy.mean)
    return (
        f"{front}: at its price the plain pipeline reaches {words.points(reached)} %, between "
        f"{low.trial.input_size} and {high.trial.input_size} px; {treatment.arm.name} "
        f"{words.points(ours)} %."
    )


def _arm(row: Row) -> str:
    if row.trial.resizer != "none":
        return row.arm.name
    return f"the plain pipeline at {row.trial.input_size} px ({words.points(row.accuracy.mean)} %)"


def _inverse(value: float | None) -> float | None:
    return 1 / value if value else None
