"""What a search found and what it cost: the tables of a tuned experiment's page."""

from __future__ import annotations

import pandas as pd

from bench.analysis.evidence import Evidence
from bench.records import SearchRecord
from bench.report import words
from bench.spec.ranges import Range, parsed
from bench.spec.trial import Fields
from bench.spec.tuning import search_seed


def ranges(record: SearchRecord) -> dict[str, dict[str, Range]]:
    """What each arm chose from, by field."""
    return {
        arm: {name: found for name, written in space.items() if (found := parsed(written))}
        for arm, space in record["spaces"].items()
    }


def pairs(fields: Fields) -> str:
    """Each field with its value."""
    told = {n: words.number(v) if isinstance(v, float) else v for n, v in fields.items()}
    return ", ".join(f"{name} {value}" for name, value in told.items())


def seeds(evidence: Evidence, record: SearchRecord) -> str:
    """Of the trials that scored the configurations."""
    found = {search_seed(evidence.experiment.spec, arm) for arm in record["arms"]}
    return words.join(map(str, sorted(found)))


def best(evidence: Evidence, record: SearchRecord) -> pd.DataFrame:
    """Each retrained arm: what was chosen, its score in the search and after retraining."""
    retrained = {row.arm.name: row.accuracy for row in evidence.rows}
    lines = []
    for arm, tuned in record["arms"].items():
        by_number = {one["number"]: one for one in tuned["configurations"]}
        for rank, number in enumerate(tuned["best"], start=1):
            name = arm if rank == 1 else f"{arm} #{rank}"
            accuracy, found = retrained.get(name), by_number[number]
            held_out = found["values"]
            lines.append(
                {
                    "arm": name,
                    "chosen": pairs(found["chosen"]),
                    "held-out, %": words.points(held_out[0]) if held_out else words.NONE,
                    "validation, %": words.mean(accuracy),
                    "seeds": str(accuracy.n) if accuracy else words.NONE,
                }
            )
    return pd.DataFrame(lines)


def importances(record: SearchRecord) -> pd.DataFrame:
    """The importance of each field, by arm; empty where there is none."""
    shares = pd.DataFrame({arm: tuned["importances"] for arm, tuned in record["arms"].items()})
    shown = shares.map(words.percent, na_action="ignore").fillna(words.NONE)
    return shown.rename_axis("field").reset_index()
