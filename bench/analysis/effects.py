"""The gain over contexts: its average, and what each axis does to it."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from bench.analysis.evidence import Evidence
from bench.analysis.statistics import Estimate, Interval, estimate, simultaneous


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
    contexts = [row.context for row in evidence.treated]
    if not contexts:
        return []
    at = pd.DataFrame(contexts, dtype=object).map(str)  # text: a value may be a list
    gains = pd.DataFrame([evidence.gain(row) for row in evidence.treated])
    gains.index = pd.MultiIndex.from_frame(at.assign(whole=""))  # a level that no axis takes away
    asked, found = [], []
    for axis in evidence.axes:
        first, *rest = {str(context[axis]): context[axis] for context in contexts}.values()
        for value in rest:
            # comparisons that one of the two values lacks are rows without numbers, left out
            changes = (_at(gains, axis, value) - _at(gains, axis, first)).dropna(how="all")
            if mean := average(changes):
                asked.append((axis, value, first))
                found.append(mean)
    return [Effect(*of, change) for of, change in zip(asked, simultaneous(found), strict=True)]


def _at(gains: pd.DataFrame, axis: str, value: object) -> pd.DataFrame:
    """The comparisons with the value, named by those of the other axes."""
    return gains[gains.index.get_level_values(axis) == str(value)].droplevel(axis)
