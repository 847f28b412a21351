"""What figures draw: points, lines and fronts of an experiment's rows; and the rows as numbers."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

import pandas as pd

from bench.analysis.evidence import Evidence, Row
from bench.analysis.statistics import Interval
from bench.metrics import METRICS
from bench.records import SearchRecord


def at_axis(evidence: Evidence, axis: str) -> pd.DataFrame:
    """The finished trials with a value of `axis`: their own, or that of the cells they answer.

    None where the arm does not use the axis and the trial answers cells of several values.
    """
    asked: dict[tuple[str, str], list[object]] = {}
    for cell in evidence.experiment.cells:
        asked.setdefault((cell.arm, cell.trial.key), []).append(cell.axes[axis])

    def value(arm: str, key: str) -> object:
        own, (first, *others) = getattr(evidence.experiment.trials[key], axis), asked[arm, key]
        found = first if own is None and all(one == first for one in others) else own
        return " and ".join(map(str, found)) if isinstance(found, list | tuple) else found

    done = evidence.trials[evidence.trials["status"] == "ok"]
    values = list(map(value, done["arm"], done["key"]))
    return done.assign(**{axis: pd.Series(values, done.index, dtype=object)})


def curves(evidence: Evidence) -> pd.DataFrame:
    """A line for each validated epoch of each trial that ended well, in each context."""
    done = evidence.table[evidence.table["status"] == "ok"]
    points: list[dict[Hashable, object]] = []
    for line in done[["arm", "context", "dataset", "seed", "key"]].to_dict("records"):
        curve = evidence.records[line.pop("key")].get("curve", [])
        scores = [(row["epoch"], row["top1_pct"]) for row in curve if "top1_pct" in row]
        points += [line | {"epoch": epoch, "top1_pct": score} for epoch, score in scores]
    return pd.DataFrame(points)


def spectra(evidence: Evidence) -> pd.DataFrame:
    """Mean power by cycles per image of what the backbone gets, for each trial that ended well."""
    done = evidence.table[evidence.table["status"] == "ok"]
    points: list[dict[Hashable, object]] = []
    for line in done[["arm", "context", "key"]].to_dict("records"):
        kept = evidence.records[line["key"]].get("spectrum", {})
        side = evidence.experiment.trials[line.pop("key")].backbone_size
        power = zip(kept.get("frequency", []), kept.get("output", []), strict=True)
        points += [line | {"cycles": round(at * side, 3), "power": of} for at, of in power]
    return pd.DataFrame(points)


def plain_lines(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows without a resizer that differ in the image's size alone, where there are several."""
    lines: dict[str, list[Row]] = {}
    for row in rows:
        if row.trial.resizer == "none":
            same = row.trial.model_dump_json(exclude={"seed", "input_size"})
            lines.setdefault(same, []).append(row)
    ordered = [sorted(line, key=lambda row: row.trial.input_size) for line in lines.values()]
    return [line for line in ordered if len({row.trial.input_size for row in line}) > 1]


def front(rows: Sequence[Row], name: str) -> list[tuple[float, float]]:
    """Price and mean accuracy of the rows that no other beats in both, cheapest first."""
    sign = -1 if METRICS[name].better == "higher" else 1
    best, found = -math.inf, []
    for row in sorted(rows, key=lambda row: (sign * row.speed[name], -row.accuracy.mean)):
        if row.accuracy.mean > best:
            best = row.accuracy.mean
            found.append((row.speed[name], best))
    return found


def scored(record: SearchRecord, arm: str) -> pd.DataFrame:
    """A line for each scored configuration of a tuned arm; of a pruned one, its last score."""
    tuned = record["arms"][arm]
    return pd.DataFrame(
        {"state": one["state"], "score": one["values"][0], "second": one["values"][-1]}
        | {"front": one["number"] in tuned["front"]}
        | one["chosen"]
        for one in tuned["configurations"]
        if one["values"]
    )


NAMES, WHOLE = ("dataset", "backbone", "resizer"), ("input_size", "output_size", "epochs", "steps")
"""Fields of the trials, texts and whole numbers."""


def numbers(evidence: Evidence) -> pd.DataFrame:
    """A row for each arm in each context: means with intervals and counts, speeds, and times.

    Accuracies in %, differences in points, times as multiples of the baseline's. `_low` and `_high`
    end the interval of the level beside.
    A field of which seeds take several values in turn is empty.
    """
    table = pd.DataFrame([_numbers(evidence, row) for row in evidence.rows])
    return table.astype(dict.fromkeys(WHOLE, "Int64"))


def _numbers(evidence: Evidence, row: Row) -> dict[str, object]:
    told: dict[str, object] = {"experiment": evidence.experiment.name, "arm": row.arm.name}
    told["role"] = row.arm.role
    for name in (*NAMES, *WHOLE):
        values = {getattr(trial, name) for trial in row.trials.values()}
        told[name] = values.pop() if len(values) == 1 else None
    told |= {name: str(row.context[name]) for name in evidence.axes if name not in told}
    told |= _interval("top1_pct", row.accuracy) | _interval("difference", row.difference)
    told["verdict"] = row.verdict.answer if row.verdict else None
    told |= row.speed
    for phase, ratio in row.times.items():
        told |= {f"{phase}_ratio": ratio.value}
        told |= {f"{phase}_ratio_{end}": getattr(ratio, end) for end in ("low", "high")}
    return told


def _interval(name: str, found: Interval | None) -> dict[str, object]:
    if found is None or not found.n:
        return {}
    ends = {"mean": found.mean, "n": found.n}
    if found.n > 1:
        ends |= {"low": found.low, "high": found.high, "level": found.level}
    return {f"{name}_{end}": value for end, value in ends.items()}
