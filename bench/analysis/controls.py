"""The treatment beside the other arms of its context: why its number moved."""

from __future__ import annotations

from dataclasses import dataclass

from bench.analysis.evidence import Evidence, Row
from bench.analysis.judging import Answer
from bench.analysis.statistics import Interval, estimate, simultaneous


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

    They are one family: the intervals hold together, and their variances are moderated. Without a
    control of the standard list, every other arm of its data and backbone is one, but for those
    with which verdicts deal: the baseline arm, and that of a secondary comparison.
    """
    spec = evidence.experiment.spec
    apart = (treatment.arm.name, evidence.experiment.baseline, *(spec.secondary or ()))
    others = [row for row in evidence.beside(treatment) if row.arm.name not in apart]
    alike = [row for row in others if _ground(row) == _ground(treatment)]
    controls = [row for row in others if row.arm.control] or alike
    found = [
        (row, estimate(pair.differences, evidence.peers.prior(pair)))
        for row in controls
        if (pair := evidence.pair(treatment, row.arm.name)) and len(pair.trials) > 1
    ]
    intervals = simultaneous([one for _, one in found])
    both = zip(found, intervals, strict=True)
    return [Beside(row, interval, spec.margin_pct) for (row, _), interval in both]


def _ground(row: Row) -> tuple[str, str]:
    """Data and backbone."""
    return row.trial.dataset, row.trial.backbone
