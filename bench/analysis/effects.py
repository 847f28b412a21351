"""The gain over contexts: its average, and what each axis does to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bench.analysis.evidence import Evidence
from bench.analysis.statistics import Estimate, Interval, estimate, simultaneous
from bench.spec.experiment import context_label
from bench.spec.trial import Fields


@dataclass(frozen=True)
class Effect:
    """What a value of an axis does to the gain, in place of the axis's first value."""

    axis: str
    value: object
    first: object
    change: Interval  # points


def average(gains: pd.DataFrame) -> Estimate | None:
    """The mean gain, paired by seed; None below two seeds that all comparisons have.

    Args:
        gains: comparisons x seeds, treatment minus baseline, points.
    """
    values = gains.dropna(axis="columns").mean()
    return estimate(values.tolist()) if len(values) > 1 else None


def effects(evidence: Evidence) -> list[Effect]:
    """Each value of each axis against the axis's first; one family, whose intervals hold together.

    Paired by seed, and by the values of the other axes, over which it is averaged.
    """
    contexts = [row.context for row, _ in evidence.judged]
    if not contexts:
        return []
    gains = pd.DataFrame([evidence.gain(row) for row, _ in evidence.judged])
    found = [one for axis in evidence.axes for one in _changes(axis, contexts, gains)]
    intervals = simultaneous([change for *_, change in found])
    return [
        Effect(axis, value, first, interval)
        for (axis, value, first, _), interval in zip(found, intervals, strict=True)
    ]


def _changes(
    axis: str, contexts: list[Fields], gains: pd.DataFrame
) -> Iterator[tuple[str, object, object, Estimate]]:
    """The axis, a value, the first value, and what the one in place of the other changes."""
    others = np.array([_others(axis, context) for context in contexts])
    at = np.array([str(context[axis]) for context in contexts])  # text: a value may be a list
    values = {str(context[axis]): context[axis] for context in contexts}
    placed = {value: gains[at == value].set_axis(others[at == value]) for value in values}
    first, *rest = values
    for value in rest:
        # comparisons that one of the two values lacks are rows without numbers, left out
        change = (placed[value] - placed[first]).dropna(how="all")
        if mean := average(change):
            yield axis, values[value], values[first], mean


def _others(axis: str, context: Mapping[str, object]) -> str:
    return context_label({name: value for name, value in context.items() if name != axis})
