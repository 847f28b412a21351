"""The gain over contexts: its average, and what each axis does to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.analysis.evidence import Evidence, Row
from bench.analysis.statistics import Interval, by_seed, t_interval
from bench.report import words
from bench.store import context_label

Gains = Mapping[int, float]
"""The treatment's points over the baseline arm, by seed."""


def average(evidence: Evidence) -> Interval | None:
    """The gain averaged over the contexts, points; None below two seeds that all of them have."""
    return _mean([gain for _, gain in _measured(evidence)])


def effects(evidence: Evidence) -> list[str]:
    """A sentence over all axes, each value against the axis's first.

    Paired by seed, and by the values of the other axes, over which it is averaged.
    """
    gains = _measured(evidence)
    told = [text for axis in evidence.axes if (text := _effect(axis, gains))]
    treatment, baseline = evidence.experiment.spec.primary or ("", "")
    begin = f"What changes the gain of {treatment} over {baseline}, in points, paired by seed and "
    begin += "by the other axes, each with its own 95 % interval"
    return [f"{begin}: {'; '.join(told)}."] if told else []


def _measured(evidence: Evidence) -> list[tuple[Mapping[str, Any], Gains]]:
    """The gain in each context."""
    return [(row.context, _gains(evidence, row)) for row in evidence.rows if row.verdict]


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
        by_others.setdefault(others, {})[words.plain(context[axis])] = gain
    first, *rest = dict.fromkeys(words.plain(context[axis]) for context, _ in gains)
    told = []
    for value in rest:
        both = [of for of in by_others.values() if {value, first} <= set(of)]
        if change := _mean([of[value] for of in both], [of[first] for of in both]):
            shown = words.mean(change, signed=True)
            told.append(f"{words.axis_value(axis, value)} rather than {first}: {shown}")
    return ", ".join(told)


def _mean(gains: Sequence[Gains], minus: Sequence[Gains] = ()) -> Interval | None:
    """The mean of the gains less that of others, paired by seed; None below two common seeds."""
    seeds = set.intersection(*map(set, [*gains, *minus])) if gains else set()
    values = [_average(gains, seed) - _average(minus, seed) for seed in sorted(seeds)]
    return t_interval(values) if len(values) > 1 else None


def _average(gains: Sequence[Gains], seed: int) -> float:
    return sum(gain[seed] for gain in gains) / len(gains) if gains else 0.0
