"""Two reports side by side: two experiments, or two runs of one, compared where they can be.

Rows are the same when every field of their trials is, but for the seed and for what they start
from. Accuracies are compared seed by seed, speeds where the machines are alike, and otherwise as
multiples of each side's own baseline arm. What cannot be compared is listed with the reason.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from bench.analysis.statistics import Interval, t_interval
from bench.errors import InputError
from bench.metrics import METRICS
from bench.records import write_whole
from bench.report import words
from bench.report.index import Summary, read_summary
from bench.report.pages import html, markdown
from bench.spec.trial import SETTING_FIELDS, Trial

NOT_COMPARED = ("seed", "resizer_from", "backbone_from")
RECIPE = [name for name in Trial.model_fields if name not in NOT_COMPARED]
ALIKE = ("device", "device_name", "driver", "threads", "precision", "torch")
"""Speeds of sittings that differ in one of these are not compared as they are."""

MEASURED = ("train_images_per_s", "infer_images_per_s", "latency_p50_ms", "peak_memory_mib")
COUNTED = ("gmacs", "params_m")


@dataclass(frozen=True)
class Side:
    """One of the two reports."""

    label: str
    summary: Summary
    rows: dict[str, pd.DataFrame]  # by recipe: the trials that share it

    def named(self, recipe: str) -> str:
        """What the report calls a row."""
        first = self.rows[recipe].iloc[0]
        context = first["context"] if isinstance(first["context"], str) else ""
        return f"{first['arm']} ({context})" if context else str(first["arm"])


@dataclass(frozen=True)
class Comparison:
    """What two reports say of one another."""

    sides: tuple[Side, Side]
    headings: list[str]
    lines: list[list[str]]  # a line for each row that both have
    apart: list[tuple[str, str]]  # what is not compared, and why
    differing: list[tuple[str, str, str]]  # environments: what, ours, theirs


def side(folder: Path, label: str) -> Side:
    """Read a report's table and summary.

    Raises:
        InputError: if there is no report in `folder`.
    """
    summary = read_summary(folder)
    if summary is None or not (folder / "table.csv").exists():
        raise InputError(f"no report in {folder}: run the experiment, or resizer-bench report it")
    table = pd.read_csv(folder / "table.csv")
    texts = table.reindex(columns=RECIPE).astype(object)
    recipes = ["\x1f".join(map(str, line)) for line in texts.itertuples(index=False)]
    table["recipe"] = recipes
    rows = {str(recipe): part for recipe, part in table.groupby("recipe", sort=False)}
    return Side(label, summary, rows)


def compare(ours: Side, theirs: Side) -> Comparison:
    """Compare the second report with the first."""
    shared = [recipe for recipe in ours.rows if recipe in theirs.rows]
    other_files = _other_files(ours, theirs)
    speeds = [name for name in (*MEASURED, *COUNTED) if _both_have(ours, theirs, name)]
    reason = _another_machine(ours.summary, theirs.summary)
    relative = [name for name in speeds if name in MEASURED and reason]
    headings = [
        "row", "top-1 of A, %", "top-1 of B, %", "difference, points", "shared seeds",
        *(_heading(name, name in relative) for name in speeds),
    ]  # fmt: skip
    lines = [_line(ours, theirs, recipe, speeds, relative, other_files) for recipe in shared]
    apart = list(dict.fromkeys([*_alone(ours, theirs, "AB"), *_alone(theirs, ours, "BA")]))
    apart += [(f"accuracy on {name}", why) for name, why in other_files.items()]
    if reason:
        apart.append(("speeds and memory as they are", reason))
    sides = {"A": ours, "B": theirs}
    untimed = [letter for letter, of in sides.items() if not of.summary.environments["timing"]]
    if untimed:
        apart.append(("speeds and memory", f"not timed: {words.join(untimed)}"))
    return Comparison((ours, theirs), headings, lines, apart, _differing(ours, theirs))


def _heading(name: str, relative: bool) -> str:
    return f"{METRICS[name].label}, {'ratio over own baseline' if relative else 'ratio'}"


def _line(
    ours: Side,
    theirs: Side,
    recipe: str,
    speeds: list[str],
    relative: list[str],
    other_files: dict[str, str],
) -> list[str]:
    one, other = ours.rows[recipe], theirs.rows[recipe]
    first, second = _by_seed(one), _by_seed(other)
    names = dict.fromkeys([ours.named(recipe), theirs.named(recipe)])
    shared = [seed for seed in first if seed in second]
    if one.iloc[0]["dataset"] in other_files:
        shared = []
    difference = t_interval([second[seed] - first[seed] for seed in shared])
    return [
        " / ".join(names),
        words.mean(t_interval(list(first.values()))),
        words.mean(t_interval(list(second.values()))),
        _difference(difference),
        str(difference.n),
        *(_ratio(ours, theirs, recipe, name, relative=name in relative) for name in speeds),
    ]


def _difference(found: Interval) -> str:
    if found.n and found.mean == 0 and (found.n < 2 or found.sd == 0):
        return "identical"
    return words.mean(found, signed=True)


def _ratio(ours: Side, theirs: Side, recipe: str, name: str, *, relative: bool) -> str:
    """Theirs over ours, each first divided by its own baseline where that is asked for."""
    values = []
    for of in (ours, theirs):
        value = of.rows[recipe].iloc[0][name]
        values.append(value / _baseline(of, recipe, name) if relative else value)
    ratio = values[1] / values[0] if values[0] else float("nan")
    return words.number(float(ratio), 3)


def _baseline(of: Side, recipe: str, name: str) -> float:
    """The metric of the baseline arm on the row's dataset and backbone, under its setting."""
    row = of.rows[recipe].iloc[0]
    for part in of.rows.values():
        first = part.iloc[0]
        fields = ("dataset", "backbone", *SETTING_FIELDS)
        alike = all(_text(first[field]) == _text(row[field]) for field in fields)
        if first["arm"] == of.summary.baseline and alike:
            return float(first[name])
    return float("nan")


def _by_seed(rows: pd.DataFrame) -> dict[int, float]:
    done = rows[rows["status"] == "ok"].drop_duplicates("seed")
    return dict(zip(done["seed"].tolist(), done["top1_pct"].tolist(), strict=True))


def _both_have(ours: Side, theirs: Side, name: str) -> bool:
    return all(
        any(name in part and part[name].notna().any() for part in of.rows.values())
        for of in (ours, theirs)
    )


def _another_machine(ours: Summary, theirs: Summary) -> str:
    """Why speeds are not compared as they are; empty where they are, or where one has none."""
    one, other = ours.environments["timing"], theirs.environments["timing"]
    told = [
        f"{name.replace('_', ' ')} {one.get(name)} and {other.get(name)}"
        for name in ALIKE
        if one and other and one.get(name) != other.get(name)
    ]
    return f"the timing lanes ran under {words.join(told)}" if told else ""


def _other_files(ours: Side, theirs: Side) -> dict[str, str]:
    one, other = ours.summary.fingerprints, theirs.summary.fingerprints
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
    names = {other.named(recipe): part.iloc[0] for recipe, part in other.rows.items()}
    for recipe in of.rows:
        if recipe in other.rows:
            continue
        name, own = of.named(recipe), of.rows[recipe].iloc[0]
        told = f"only in {letters[0]}"
        if name in names:
            theirs = names[name]
            sides = sorted(zip(letters, (own, theirs), strict=True), key=lambda side: side[0])
            (_, first), (_, second) = sides
            differing = [
                f"{field} {_text(first[field])} and {_text(second[field])}"
                for field in RECIPE
                if field in own and field in theirs and _text(own[field]) != _text(theirs[field])
            ]
            told = f"A and B have {words.join(differing)}" if differing else told
        yield name, told


def _text(value: Any) -> str:
    if value is None or value != value:
        return words.NONE
    return words.number(value) if isinstance(value, float) else str(value)


def _differing(ours: Side, theirs: Side) -> list[tuple[str, str, str]]:
    """The facts of the environments that differ."""
    found = []
    for part in ("trials", "timing"):
        one, other = (of.summary.environments[part] for of in (ours, theirs))
        for name in dict.fromkeys([*one, *other]):
            if one.get(name) != other.get(name):
                what = f"{part}: {name.replace('_', ' ')}"
                found.append((what, _text(one.get(name)), _text(other.get(name))))
    return found


def write(found: Comparison, folder: Path) -> Path:
    """Write comparison.html, comparison.md and comparison.csv; returns the page."""
    folder.mkdir(parents=True, exist_ok=True)
    told = {"found": found, "ours": found.sides[0], "theirs": found.sides[1]}
    frame = pd.DataFrame(found.lines, columns=found.headings)
    write_whole(folder / "comparison.csv", frame.to_csv(index=False))
    write_whole(folder / "comparison.md", markdown("compare.md.j2", told))
    write_whole(folder / "comparison.html", html("compare.html.j2", told))
    return folder / "comparison.html"
