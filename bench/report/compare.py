"""Two reports side by side: two experiments, or two runs of one, compared where they can be.

Rows are the same when every field of their trials is, but for the seed and for what they start
from. Accuracies are compared seed by seed, speeds where the machines are alike, and otherwise as
multiples of each side's own baseline arm. What cannot be compared is listed with the reason.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from bench.analysis.statistics import Interval, t_interval
from bench.errors import InputError
from bench.metrics import METRICS
from bench.records import write_whole
from bench.report import render, words
from bench.report.front import Summary, read_summary
from bench.spec.trial import CANONICAL, SETTING_FIELDS, Trial

NOT_COMPARED = {"seed", "resizer_from", "backbone_from"}
ALIKE = ("device", "device_name", "driver", "threads", "precision", "torch")
"""Speeds of sittings that differ in one of these are not compared as they are."""

MEASURED = ("train_images_per_s", "infer_images_per_s", "latency_p50_ms", "peak_memory_mib")
COUNTED = ("gmacs", "params_m")


@dataclass(frozen=True)
class Row:
    """The trials of one report that differ in their seed alone."""

    name: str  # what the report calls it
    arm: str
    trial: Trial  # of one seed
    lines: pd.DataFrame  # of the report's table.csv

    @cached_property
    def top1(self) -> dict[int, float]:
        """By seed."""
        done = self.lines[self.lines["status"] == "ok"].drop_duplicates("seed")
        return dict(zip(done["seed"].tolist(), done["top1_pct"].tolist(), strict=True))

    def metric(self, name: str) -> float:
        return float(self.lines[name].iloc[0])


@dataclass(frozen=True)
class Side:
    """One of the two reports."""

    label: str
    summary: Summary
    rows: dict[str, Row]  # by recipe

    def has(self, metric: str) -> bool:
        return any(metric in row.lines and row.lines[metric].notna().any() for row in self)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows.values())

    def baseline(self, row: Row, metric: str) -> float:
        """The metric of the baseline arm on the row's dataset and backbone, under its setting."""
        fields = ("dataset", "backbone", *SETTING_FIELDS)
        for other in self:
            alike = all(getattr(other.trial, f) == getattr(row.trial, f) for f in fields)
            if other.arm == self.summary.baseline and alike:
                return other.metric(metric)
        return float("nan")


@dataclass(frozen=True)
class Comparison:
    """What two reports say of one another."""

    sides: tuple[Side, Side]
    table: pd.DataFrame  # a line of texts for each row that both have
    apart: list[tuple[str, str]]  # what is not compared, and why
    differing: pd.DataFrame  # of the environments: what, in A, in B


def side(folder: Path, label: str) -> Side:
    """Read a report's table and summary.

    Raises:
        InputError: if there is no report in `folder`.
    """
    summary = read_summary(folder)
    if summary is None or not (folder / "table.csv").exists():
        raise InputError(f"no report in {folder}: run the experiment, or resizer-bench report it")
    table = pd.read_csv(folder / "table.csv", keep_default_na=False, na_values=[""])
    trials = [_trial(line) for line in table.to_dict("records")]
    recipes = [trial.model_dump_json(exclude=NOT_COMPARED) for trial in trials]
    rows = {}
    for recipe, lines in table.groupby(recipes, sort=False):
        first = lines.iloc[0]
        context = f" ({first['context']})" if isinstance(first["context"], str) else ""
        name = f"{first['arm']}{context}"
        rows[str(recipe)] = Row(name, str(first["arm"]), trials[lines.index[0]], lines)
    return Side(label, summary, rows)


def _trial(line: Mapping[Any, Any]) -> Trial:
    """The trial of a line: a column with a gap holds floats, whatever its field is."""
    fields = {name: line[name] for name in Trial.model_fields if name in line}
    given = {name: words.plain(value) for name, value in fields.items() if value == value}
    if "frozen" in given:
        given["frozen"] = ast.literal_eval(given["frozen"])
    return Trial.model_validate(given, context=CANONICAL)


def compare(ours: Side, theirs: Side) -> Comparison:
    """Compare the second report with the first."""
    other_files = _other_files(ours.summary, theirs.summary)
    reason = _another_machine(ours.summary, theirs.summary)
    speeds = [name for name in (*MEASURED, *COUNTED) if ours.has(name) and theirs.has(name)]
    relative = [name for name in speeds if name in MEASURED and reason]
    lines = [
        _accuracies(row, theirs.rows[recipe], row.trial.dataset in other_files)
        | {
            _heading(name, name in relative): _ratio(ours, theirs, recipe, name, name in relative)
            for name in speeds
        }
        for recipe, row in ours.rows.items()
        if recipe in theirs.rows
    ]
    apart = list(dict.fromkeys([*_alone(ours, theirs, "AB"), *_alone(theirs, ours, "BA")]))
    apart += [(f"accuracy on {name}", why) for name, why in other_files.items()]
    if reason:
        apart.append(("speeds and memory as they are", reason))
    sides = {"A": ours, "B": theirs}
    untimed = [letter for letter, of in sides.items() if not of.summary.environments["timing"]]
    if untimed:
        apart.append(("speeds and memory", f"not timed: {words.join(untimed)}"))
    return Comparison((ours, theirs), pd.DataFrame(lines), apart, _differing(ours, theirs))


def _heading(name: str, relative: bool) -> str:
    return f"{METRICS[name].label}, {'ratio over own baseline' if relative else 'ratio'}"


def _accuracies(one: Row, other: Row, other_files: bool) -> dict[str, str]:
    """Both accuracies, and the difference over shared seeds unless it is of other images."""
    shared = [seed for seed in one.top1 if seed in other.top1 and not other_files]
    difference = t_interval([other.top1[seed] - one.top1[seed] for seed in shared])
    return {
        "row": " / ".join(dict.fromkeys([one.name, other.name])),
        "top-1 of A, %": words.mean(t_interval(list(one.top1.values()))),
        "top-1 of B, %": words.mean(t_interval(list(other.top1.values()))),
        "difference, points": _difference(difference),
        "shared seeds": str(difference.n),
    }


def _difference(found: Interval) -> str:
    if found.n and found.mean == 0 and (found.n < 2 or found.sd == 0):
        return "identical"
    return words.mean(found, signed=True)


def _ratio(ours: Side, theirs: Side, recipe: str, name: str, relative: bool) -> str:
    """Theirs over ours, each first divided by its own baseline where that is asked for."""
    values = []
    for of in (ours, theirs):
        row = of.rows[recipe]
        values.append(row.metric(name) / (of.baseline(row, name) if relative else 1))
    return words.number(values[1] / values[0] if values[0] else float("nan"), 3)


def _another_machine(ours: Summary, theirs: Summary) -> str:
    """Why speeds are not compared as they are; empty where they are, or where one has none."""
    one, other = ours.environments["timing"], theirs.environments["timing"]
    differing = [
        f"{name.replace('_', ' ')} {one.get(name)} and {other.get(name)}"
        for name in ALIKE
        if one and other and one.get(name) != other.get(name)
    ]
    return f"the timing lanes ran under {words.join(differing)}" if differing else ""


def _other_files(ours: Summary, theirs: Summary) -> dict[str, str]:
    one, other = ours.fingerprints, theirs.fingerprints
    return {
        name: f"other files under that name: fingerprint {one[name][:12]} and {other[name][:12]}"
        for name in one
        if name in other and one[name] != other[name]
    }


def _alone(of: Side, other: Side, letters: str) -> Iterator[tuple[str, str]]:
    """The rows that one side alone has, each with what tells it from the other side's namesake.

    Args:
        letters: that of the one side, then that of the other.
    """
    namesakes = {row.name: row.trial for row in other}
    for recipe, row in of.rows.items():
        if recipe in other.rows:
            continue
        if row.name not in namesakes:
            yield row.name, f"only in {letters[0]}"
            continue
        pair = [row.trial, namesakes[row.name]]
        first, second = pair if letters == "AB" else pair[::-1]
        differing = [
            f"{field} {_text(getattr(first, field))} and {_text(getattr(second, field))}"
            for field in Trial.model_fields
            if field not in NOT_COMPARED and getattr(first, field) != getattr(second, field)
        ]
        yield row.name, f"A and B have {words.join(differing)}"


def _text(value: Any) -> str:
    if value is None:
        return words.NONE
    return words.number(value) if isinstance(value, float) else str(value)


def _differing(ours: Side, theirs: Side) -> pd.DataFrame:
    """The facts of the environments that differ."""
    found = []
    for part in ("trials", "timing"):
        one, other = (of.summary.environments[part] for of in (ours, theirs))
        for name in dict.fromkeys([*one, *other]):
            if one.get(name) != other.get(name):
                what = f"{part}: {name.replace('_', ' ')}"
                found.append((what, _text(one.get(name)), _text(other.get(name))))
    return pd.DataFrame(found, columns=["what differs", "A", "B"])


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
