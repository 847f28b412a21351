"""What an axis does to the gain: the treatment's difference to the baseline at one value of it
against that at another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.report import words
from bench.report.evidence import Evidence, Row
from bench.statistics import by_seed, t_interval
from bench.store import context_label

Gains = Mapping[int, float]
"""Points over the baseline arm, by seed."""


def effects(evidence: Evidence) -> list[str]:
    """A sentence over all axes, each value against the axis's first.

    Paired by seed, and by the values of the other axes, over which it is averaged.
    """
    judged = [row for row in evidence.rows if row.verdict]
    gains = [(row.context, _gains(evidence, row)) for row in judged]
    told = [text for axis in evidence.axes if (text := _effect(axis, gains))]
    if not told:
        return []
    treatment = judged[0].arm.name
    return [
        f"What changes the gain of {treatment} over {evidence.experiment.baseline}, in points, "
        f"paired by seed and by the other axes, each with its own 95 % interval: "
        f"{'; '.join(told)}."
    ]


def _gains(evidence: Evidence, row: Row) -> Gains:
    table = evidence.by_context[context_label(row.context)]
    ours, theirs = (
        by_seed(table, arm, "top1_pct") for arm in (row.arm.name, evidence.experiment.baseline)
    )
    return {seed: ours[seed] - theirs[seed] for seed in ours if seed in theirs}


def _effect(axis: str, gains: Sequence[tuple[Mapping[str, Any], Gains]]) -> str:
    """The change from an axis's first value to each other one that has been measured."""
    by_others: dict[str, dict[Any, Gains]] = {}
    for context, gain in gains:
        others = context_label({name: v for name, v in context.items() if name != axis})
        by_others.setdefault(others, {})[context[axis]] = gain
    first, *rest = dict.fromkeys(context[axis] for context, _ in gains)
    told = []
    for value in rest:
        pairs = [(of[value], of[first]) for of in by_others.values() if {value, first} <= set(of)]
        seeds = set.intersection(*(set(gain) for pair in pairs for gain in pair)) if pairs else ()
        changes = [
            sum(after[seed] - before[seed] for after, before in pairs) / len(pairs)
            for seed in sorted(seeds)
        ]
        if len(changes) > 1:
            change = words.mean(t_interval(changes), signed=True)
            told.append(f"{words.axis_value(axis, value)} rather than {first} {change}")
    return ", ".join(told)
