"""The results as numbers, for who computes on: a row for each arm in each context."""

from __future__ import annotations

import pandas as pd

from bench.analysis.evidence import Evidence, Row
from bench.analysis.statistics import Interval

NAMES, WHOLE = ("dataset", "backbone", "resizer"), ("input_size", "output_size", "epochs", "steps")
"""Fields of the trials, texts and whole numbers."""


def numbers(evidence: Evidence) -> pd.DataFrame:
    """Means with their intervals and counts, speeds, and times as multiples of the baseline's.

    Accuracies in %, differences in points; `_low` and `_high` end the interval of the level beside.
    A field of which seeds take several values in turn is empty.
    """
    table = pd.DataFrame([_numbers(evidence, row) for row in evidence.rows])
    return table.astype(dict.fromkeys(WHOLE, "Int64"))


def _numbers(evidence: Evidence, row: Row) -> dict[str, object]:
    told: dict[str, object] = {"experiment": evidence.experiment.name, "arm": row.arm.name}
    told |= {"role": row.arm.role} | {name: _of_all(row, name) for name in (*NAMES, *WHOLE)}
    told |= {name: str(row.context[name]) for name in evidence.axes if name not in told}
    told |= _interval("top1_pct", row.accuracy) | _interval("difference", row.difference)
    told["verdict"] = row.verdict.answer if row.verdict else None
    told |= row.speed
    for phase, ratio in row.times.items():
        told |= {
            f"{phase}_ratio": ratio.value,
            f"{phase}_ratio_low": ratio.low,
            f"{phase}_ratio_high": ratio.high,
        }
    return told


def _of_all(row: Row, name: str) -> object:
    values = {getattr(trial, name) for trial in row.trials.values()}
    return values.pop() if len(values) == 1 else None


def _interval(name: str, found: Interval | None) -> dict[str, object]:
    if found is None or not found.n:
        return {}
    ends = {"mean": found.mean, "n": found.n}
    if found.n > 1:
        ends |= {"low": found.low, "high": found.high, "level": found.level}
    return {f"{name}_{end}": value for end, value in ends.items()}
