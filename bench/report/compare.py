"""Two reports side by side, of two experiments or of two runs of one.

What can be is compared; the rest is listed with the reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from bench.analysis import compared
from bench.analysis.compared import MEASURED, NOT_COMPARED, Trials
from bench.analysis.statistics import Interval
from bench.errors import InputError
from bench.metrics import METRICS
from bench.records import write_whole
from bench.report import render, words
from bench.report.summary import Summary, read_summary
from bench.spec.trial import Trial

ALIKE = ("device", "device_name", "driver", "threads", "precision", "torch")
"""Speeds of sittings that differ in one of these are not compared as they are."""


@dataclass(frozen=True)
class Side:
    """One of the two reports."""

    label: str
    summary: Summary
    trials: Trials


@dataclass(frozen=True)
class Comparison:
    """What two reports say of one another."""

    sides: tuple[Side, Side]
    table: pd.DataFrame  # a line of texts for each row that both have
    apart: list[tuple[str, str]]  # what is not compared, and why
    differing: pd.DataFrame  # of the environments: what, in A, in B


def side(folder: Path, label: str) -> Side:
    """Read a report's table and summary; InputError if there is no report in `folder`."""
    summary, table = read_summary(folder), folder / "table.csv"
    if summary is None or not table.exists():
        raise InputError(f"no report in {folder}: run the experiment, or resizer-bench report it")
    return Side(label, summary, compared.read(table, summary.baseline))


def compare(ours: Side, theirs: Side) -> Comparison:
    """Compare the second report with the first."""
    sides, other_files = (ours, theirs), _other_files(ours.summary, theirs.summary)
    timings = [side.summary.environments["timing"] for side in sides]
    machines = list(_differing(timings[0], timings[1], ALIKE)) if all(timings) else []
    apart = list(_alone(ours.trials, theirs.trials))
    apart += [(f"accuracy on {name}", why) for name, why in other_files.items()]
    if machines:
        told = words.join(f"{name} {one} and {other}" for name, one, other in machines)
        apart.append(("speeds and memory as they are", f"the timings ran under {told}"))
    if untimed := [letter for letter, timing in zip("AB", timings, strict=True) if not timing]:
        apart.append(("speeds and memory", f"not timed: {words.join(untimed)}"))
    environments = [
        (f"{part}: {name}", one, other)
        for part in ("trials", "timing")
        for name, one, other in _differing(*(side.summary.environments[part] for side in sides))
    ]
    differing = pd.DataFrame(environments, columns=["what differs", "A", "B"])
    return Comparison(sides, _table(ours, theirs, other_files, bool(machines)), apart, differing)


def _table(ours: Side, theirs: Side, apart: Iterable[str], relative: bool) -> pd.DataFrame:
    found = compared.accuracies(ours.trials, theirs.trials, list(apart))
    names = zip(found["ours"], found["theirs"], strict=True)
    shown = pd.DataFrame({"row": [" / ".join(dict.fromkeys(both)) for both in names]}, found.index)
    shown["top-1 of A, %"] = found["one"].map(words.mean)
    shown["top-1 of B, %"] = found["other"].map(words.mean)
    shown["difference, points"] = found["difference"].map(_difference)
    shown["shared seeds"] = found["difference"].map(lambda one: str(one.n))
    for name, ratio in compared.ratios(ours.trials, theirs.trials, relative=relative).items():
        over = " over own baseline" if relative and name in MEASURED else ""
        shown[f"{METRICS[str(name)].label}, ratio{over}"] = ratio.map(words.number)
    return shown


def _difference(found: Interval) -> str:
    if found.n and found.mean == 0 and (found.n < 2 or found.sd == 0):
        return "identical"
    return words.mean(found, signed=True)


def _other_files(ours: Summary, theirs: Summary) -> dict[str, str]:
    return {
        name: f"other files under that name: fingerprint {one[:12]} and {other[:12]}"
        for name, one in ours.fingerprints.items()
        if (other := theirs.fingerprints.get(name, one)) != one
    }


def _alone(ours: Trials, theirs: Trials) -> Iterator[tuple[str, str]]:
    """The rows that one side alone has, each with what tells it from the other side's namesake."""
    fields = [name for name in Trial.model_fields if name not in NOT_COMPARED]
    for name, one, other in compared.alone(ours, theirs):
        if one and other:
            found = _differing(vars(one), vars(other), fields)
            told = words.join(f"{field} {a} and {b}" for field, a, b in found)
            yield name, f"A and B have {told}"
        else:
            yield name, f"only in {'A' if one else 'B'}"


def _differing(
    one: Mapping[str, object], other: Mapping[str, object], names: Iterable[str] = ()
) -> Iterator[tuple[str, str, str]]:
    """What differs of two sets of facts, of all or of those named, with both values."""
    for name in names or dict.fromkeys([*one, *other]):
        if one.get(name) != other.get(name):
            yield name, _text(one.get(name)), _text(other.get(name))


def _text(value: object) -> str:
    return words.number(value) if isinstance(value, float) else words.plain(value)


def write(found: Comparison, folder: Path) -> Path:
    """Write comparison.html, comparison.md and comparison.csv; returns the page."""
    folder.mkdir(parents=True, exist_ok=True)
    ours, theirs = found.sides
    text = render.markdown("compare.md.j2", found=found, ours=ours, theirs=theirs)
    write_whole(folder / "comparison.csv", found.table.to_csv(index=False))
    write_whole(folder / "comparison.md", text)
    page = render.html(text, f"A: {ours.label}, B: {theirs.label}")
    write_whole(folder / "comparison.html", page)
    return folder / "comparison.html"
