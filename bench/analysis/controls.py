"""The treatment beside the other arms of its context: why its number moved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bench.analysis.evidence import Evidence, Row
from bench.analysis.statistics import LEVEL, Interval, paired_difference

Standing = Literal["better", "worse", "not settled"]


@dataclass(frozen=True)
class Beside:
    """The treatment beside one other arm."""

    row: Row  # the other arm's
    difference: Interval  # treatment minus it, points; simultaneous with the other arms'

    @property
    def standing(self) -> Standing:
        """What the treatment is, compared with the arm."""
        if self.difference.low > 0:
            return "better"
        return "worse" if self.difference.high < 0 else "not settled"


def beside(evidence: Evidence, treatment: Row) -> list[Beside]:
    """The treatment against every control of its context that shares two seeds with it.

    The intervals are simultaneous (Bonferroni). Without a control of the standard list, every
    other arm is one, but for the baseline arm, with which the verdict deals.
    """
    baseline, dataset = evidence.experiment.baseline, treatment.trial.dataset
    others = [
        row
        for row in evidence.beside(treatment)
        if not row.verdict and row.arm.name != baseline and row.trial.dataset == dataset
    ]
    controls = [row for row in others if row.arm.control] or others
    arm, pairs = treatment.arm.name, evidence.pairs(treatment.label)
    paired = [row for row in controls if paired_difference(pairs, arm, row.arm.name).n > 1]
    level = 1 - (1 - LEVEL) / max(1, len(paired))
    return [Beside(row, paired_difference(pairs, arm, row.arm.name, level)) for row in paired]
