"""The gain: beside the controls of its context, on average over contexts, and by axis."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from bench.analysis.crossed import estimated, points
from bench.analysis.evidence import Evidence, Row
from bench.analysis.judging import Answer
from bench.analysis.pairs import Pair, predictions_of
from bench.analysis.statistics import Estimate, Interval, estimate, simultaneous


@dataclass(frozen=True)
class Beside:
    """The treatment beside one other arm."""

    row: Row  # the other arm's
    difference: Interval  # treatment minus it, points; simultaneous with the other arms'
    margin_pct: float

    @property
    def is_small(self) -> bool:
        """Whether the difference, whatever its sign, is within the margin."""
        return self.difference.is_within(self.margin_pct)

    @property
    def standing(self) -> Answer:
        """What the treatment is, compared with the arm; without any spread nothing is settled."""
        low, high = self.difference.low, self.difference.high
        if low < high and not low <= 0 <= high:
            return "better" if low > 0 else "worse"
        return "no difference" if low < high and self.is_small else "not settled"


def beside(evidence: Evidence, treatment: Row) -> list[Beside]:
    """The treatment against every control of its context that shares two seeds with it.

    They are one family: the intervals hold together, and their variances are moderated. Each is
    over new images where that is wider than over seeds alone, as a verdict's is. Without a
    control of the standard list, every other arm of its data and backbone is one, but for those
    with which verdicts deal: the baseline arm, and that of a secondary comparison.
    """
    spec = evidence.experiment.spec
    apart = (treatment.arm.name, evidence.experiment.baseline, *(spec.secondary or ()))
    others = [row for row in evidence.beside(treatment) if row.arm.name not in apart]
    data = treatment.trial.dataset, treatment.trial.backbone
    alike = [row for row in others if (row.trial.dataset, row.trial.backbone) == data]
    controls = [row for row in others if row.arm.control] or alike
    found = [
        (row, _estimated(evidence, pair))
        for row in controls
        if (pair := evidence.pair(treatment, row.arm.name)) and len(pair.trials) > 1
    ]
    both = zip(found, simultaneous([one for _, one in found]), strict=True)
    return [Beside(row, interval, spec.margin_pct) for (row, _), interval in both]


def _estimated(evidence: Evidence, pair: Pair) -> Estimate:
    both = predictions_of(pair, evidence.predicted)
    by_image = points(*(arm.hits for arm in both)) if both else None
    return estimated(pair.differences, by_image, evidence.peers.prior(pair))


@dataclass(frozen=True)
class Effect:
    """What a value of an axis does to the gain, in place of the axis's first value."""

    axis: str
    value: object
    first: object
    change: Interval  # points


def average(gains: pd.DataFrame) -> Estimate | None:
    """The mean of gains (comparisons x seeds, points); None below two seeds that all have."""
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
