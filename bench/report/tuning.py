"""What a search found and what it cost: the tables of a tuned experiment's page."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

import pandas as pd

from bench.analysis.evidence import Evidence
from bench.records import Configuration, SearchRecord
from bench.report import words
from bench.spec.ranges import Range, parsed
from bench.spec.tuning import search_seed


@dataclass(frozen=True)
class Tuning:
    """The tables of the page's section on the search."""

    described: list[tuple[str, str]]  # how it was searched, each thing with its name
    best: pd.DataFrame
    ledger: pd.DataFrame
    importances: pd.DataFrame


def tuning(evidence: Evidence) -> Tuning | None:
    """The tables, once the search has scored something."""
    record = evidence.search
    if record is None:
        return None
    best = _best(evidence, record)
    seeds = {search_seed(evidence.experiment.spec, arm) for arm in record["arms"]}
    return Tuning(_described(record, sorted(seeds)), best, _ledger(record), _importances(record))


def ranges(record: SearchRecord) -> dict[str, dict[str, Range]]:
    """What each arm chose from, by field."""
    return {
        arm: {name: found for name, written in space.items() if (found := parsed(written))}
        for arm, space in record["spaces"].items()
    }


def _described(record: SearchRecord, seeds: list[int]) -> list[tuple[str, str]]:
    settings = record["settings"]
    spaces = [
        (f"{arm} chooses", "; ".join(f"{name}: {of}" for name, of in space.items()))
        for arm, space in ranges(record).items()
    ]
    sampler, pruner, own = (
        ", ".join(f"{name} {value}" for name, value in of.items())
        for of in (record["sampler"], record["pruner"], settings["trial"])
    )
    scored = f"{words.percent(settings['holdout'])} of the training images, held out and not "
    scored += f"trained on; seed {words.join(map(str, seeds))}" + (f"; {own}" if own else "")
    return [
        *spaces,
        ("Scored on", scored),
        ("Objectives", words.join(settings["objectives"])),
        ("Sampler", sampler),
        ("Pruner", pruner),
        ("Optuna", record["optuna"]),
    ]


def _best(evidence: Evidence, record: SearchRecord) -> pd.DataFrame:
    """Each retrained arm: what was chosen, its score in the search and after retraining."""
    retrained = {row.arm.name: row.accuracy for row in evidence.rows}
    lines = []
    for arm, tuned in record["arms"].items():
        by_number = {one["number"]: one for one in tuned["configurations"]}
        for rank, number in enumerate(tuned["best"], start=1):
            name = arm if rank == 1 else f"{arm} #{rank}"
            accuracy, found = retrained.get(name), by_number[number]
            lines.append(
                {
                    "arm": name,
                    "chosen": _values(found),
                    "held-out, %": words.points((found["values"] or [math.nan])[0]),
                    "validation, %": words.mean(accuracy) if accuracy else words.NONE,
                    "seeds": str(accuracy.n) if accuracy else words.NONE,
                }
            )
    return pd.DataFrame(lines)


def _values(configuration: Configuration) -> str:
    return ", ".join(
        f"{name} {words.number(value) if isinstance(value, float) else value}"
        for name, value in configuration["chosen"].items()
    )


def _ledger(record: SearchRecord) -> pd.DataFrame:
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


def _importances(record: SearchRecord) -> pd.DataFrame:
    """The importance of each field, by arm; empty where there is none."""
    shares = pd.DataFrame({arm: tuned["importances"] for arm, tuned in record["arms"].items()})
    shown = shares.map(words.percent, na_action="ignore").fillna(words.NONE)
    return shown.rename_axis("field").reset_index()
