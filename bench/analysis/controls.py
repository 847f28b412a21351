"""The treatment beside the other arms of its context: why its number moved."""

from __future__ import annotations

from dataclasses import dataclass

from bench.analysis.evidence import Evidence, Row
from bench.analysis.judging import Answer
from bench.analysis.statistics import Interval, simultaneous


@dataclass(frozen=True)
class Beside:
    """The treatment beside one other arm."""

    row: Row  # the other arm's
    difference: Interval  # treatment minus it, points; simultaneous with the other arms'

    @property
    def standing(self) -> Answer:
        """What the treatment is, compared with the arm; without any spread nothing is settled."""
        low, high = self.difference.low, self.difference.high
        if low == high or low <= 0 <= high:
            return "not settled"
        return "better" if low > 0 else "worse"


def beside(evidence: Evidence, treatment: Row) -> list[Beside]:
    """The treatment against every control of its context that shares two seeds with it.

    They are one family: the intervals hold together, and their variances are moderated. Without a
    control of the standard list, every other arm is one, but for the baseline arm, with which the
    verdict deals.
    """
    apart = (treatment.arm.name, evidence.experiment.baseline)
    others = [row for row in evidence.beside(treatment) if row.arm.name not in apart]
    controls = [row for row in others if row.arm.control] or others
    found = [
        (row, evidence.moderated(pair))
        for row in controls
        if (pair := evidence.pair(treatment, row.arm.name)) and len(pair.trials) > 1
    ]
    intervals = simultaneous([one for _, one in found])
    return [Beside(row, interval) for (row, _), interval in zip(found, intervals, strict=True)]
