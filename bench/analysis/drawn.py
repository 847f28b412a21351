"""What figures draw: points, lines and fronts of an experiment's rows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import pandas as pd

from bench.analysis.evidence import Evidence, Row
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
    named = ["arm", "context", "dataset", "seed"]
    points = [
        {name: line[name] for name in named}
        | {"epoch": point["epoch"], "top1_pct": point["top1_pct"]}
        for line in done[[*named, "key"]].to_dict("records")
        for point in evidence.records[line["key"]].get("curve", [])
        if "top1_pct" in point
    ]
    return pd.DataFrame(points)


def spectra(evidence: Evidence) -> pd.DataFrame:
    """Mean power by cycles per image of what the backbone gets, for each trial that ended well."""
    done = evidence.table[evidence.table["status"] == "ok"]
    return pd.DataFrame(
        {"arm": line["arm"], "context": line["context"], "cycles": cycles, "power": power}
        for line in done[["arm", "context", "key"]].to_dict("records")
        for cycles, power in _spectrum(evidence, str(line["key"]))
    )


def _spectrum(evidence: Evidence, key: str) -> Iterator[tuple[float, float]]:
    kept = evidence.records[key].get("spectrum", {})
    side = evidence.experiment.trials[key].backbone_size
    frequencies, powers = kept.get("frequency", []), kept.get("output", [])
    return ((round(f * side, 3), power) for f, power in zip(frequencies, powers, strict=True))


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
