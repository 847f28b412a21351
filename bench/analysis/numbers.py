"""The results as numbers, for who computes on: a row for each arm in each context."""

from __future__ import annotations

import pandas as pd

from bench.analysis.evidence import Evidence, Row
from bench.analysis.statistics import Interval


def numbers(evidence: Evidence) -> pd.DataFrame:
    """Means with their intervals and counts, speeds, and times as multiples of the baseline's.

    Accuracies in %, differences in points; `_low` and `_high` end the interval of the level beside.
    """
    return pd.DataFrame([_numbers(evidence, row) for row in evidence.rows])


def _numbers(evidence: Evidence, row: Row) -> dict[str, object]:
    trial = row.trial
    fields = ("dataset", "backbone", "resizer", "input_size", "output_size", "epochs", "steps")
    told: dict[str, object] = {"experiment": evidence.experiment.name, "arm": row.arm.name}
    told |= {"role": row.arm.role} | {name: getattr(trial, name) for name in fields}
    told |= {name: str(row.context[name]) for name in evidence.axes if name not in fields}
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


def _interval(name: str, found: Interval | None) -> dict[str, object]:
    if found is None or not found.n:
        return {}
    ends = {"mean": found.mean, "n": found.n}
    if found.n > 1:
        ends |= {"low": found.low, "high": found.high, "level": found.level}
    return {f"{name}_{end}": value for end, value in ends.items()}
