"""What a search found and what it cost: the tables of a tuned experiment's page."""

from __future__ import annotations

from collections import Counter

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


def described(evidence: Evidence, record: SearchRecord) -> dict[str, str]:
    """How it was searched, each thing by its name."""
    settings = record["settings"]
    lines = {f"{arm} chooses": _pairs(of, ": ", "; ") for arm, of in ranges(record).items()}
    seeds = sorted({search_seed(evidence.experiment.spec, arm) for arm in record["arms"]})
    scored = f"{words.percent(settings['holdout'])} of the training images, held out and not "
    scored += f"trained on; seed {words.join(map(str, seeds))}"
    return lines | {
        "Scored on": "; ".join(filter(None, [scored, _pairs(settings["trial"])])),
        "Objectives": words.join(settings["objectives"]),
        "Sampler": _pairs(record["sampler"]),
        "Pruner": _pairs(record["pruner"]),
        "Optuna": record["optuna"],
    }


def _pairs(fields: Fields | dict[str, Range], between: str = " ", apart: str = ", ") -> str:
    told = {n: words.number(v) if isinstance(v, float) else v for n, v in fields.items()}
    return apart.join(f"{name}{between}{value}" for name, value in told.items())


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
                    "chosen": _pairs(found["chosen"]),
                    "held-out, %": words.points(held_out[0]) if held_out else words.NONE,
                    "validation, %": words.mean(accuracy),
                    "seeds": str(accuracy.n) if accuracy else words.NONE,
                }
            )
    return pd.DataFrame(lines)


def ledger(record: SearchRecord) -> pd.DataFrame:
    """What tuning each arm took; a trial that two configurations share counts once."""
    lines = []
    for arm, tuned in record["arms"].items():
        states = Counter(one["state"] for one in tuned["configurations"])
        trials = {one["key"]: one for one in tuned["configurations"] if one["key"]}.values()
        lines.append(
            {
                "arm": arm,
                "configurations": states.total(),
                "scored": states["ok"],
                "pruned": states["pruned"],
                "failed": states["failed"],
                "epochs": sum(one["epochs"] for one in trials),
                "time, min": words.number(sum(one["seconds"] for one in trials) / 60),
            }
        )
    return pd.DataFrame(lines).astype(str)


def importances(record: SearchRecord) -> pd.DataFrame:
    """The importance of each field, by arm; empty where there is none."""
    shares = pd.DataFrame({arm: tuned["importances"] for arm, tuned in record["arms"].items()})
    shown = shares.map(words.percent, na_action="ignore").fillna(words.NONE)
    return shown.rename_axis("field").reset_index()
