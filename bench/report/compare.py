"""Two reports side by side: two experiments, or two runs of one, compared where they can be.

Rows are the same when every field of their trials is, but for the seed and for what they start
from. Accuracies are compared seed by seed, speeds where the machines are alike, and otherwise as
multiples of each side's own baseline arm. What cannot be compared is listed with the reason.
"""

from __future__ import annotations

import ast
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from bench.analysis.statistics import Interval, t_interval
from bench.errors import InputError
from bench.metrics import METRICS
from bench.records import write_whole
from bench.report import render, words
from bench.report.summary import Summary, read_summary
from bench.spec.trial import CANONICAL, Trial

NOT_COMPARED = {"seed", "resizer_from", "backbone_from"}
ALIKE = ("device", "device_name", "driver", "threads", "precision", "torch")
"""Speeds of sittings that differ in one of these are not compared as they are."""

MEASURED = ("train_images_per_s", "infer_images_per_s", "latency_p50_ms", "peak_memory_mib")
COUNTED = ("gmacs", "params_m")


@dataclass(frozen=True)
class Side:
    """One of the two reports."""

    label: str
    summary: Summary
    trials: pd.DataFrame  # its table.csv, each line with its name, recipe and Trial

    @cached_property
    def rows(self) -> pd.DataFrame:
        """The first line of the trials that differ in their seed alone, by recipe."""
        return self.trials.drop_duplicates("recipe").set_index("recipe")

    def top1(self, recipe: str) -> pd.Series[float]:
        """By seed, of trials that ended well."""
        done = self.trials[(self.trials["recipe"] == recipe) & (self.trials["status"] == "ok")]
        return done.drop_duplicates("seed").set_index("seed")["top1_pct"]

    def has(self, metric: str) -> bool:
        return metric in self.rows and bool(self.rows[metric].notna().any())

    def measured(self, metric: str, *, relative: bool) -> pd.Series[float]:
        """The metric by recipe; where `relative`, over that of the baseline arm on like terms."""
        if not relative:
            return self.rows[metric]
        terms = self.rows["trial"].map(lambda it: str((it.dataset, it.backbone, it.setting)))
        own = self.rows[self.rows["arm"] == self.summary.baseline].groupby(terms)[metric].first()
        return self.rows[metric] / terms.map(own)


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
    contexts = [f" ({context})" if isinstance(context, str) else "" for context in table["context"]]
    named = table.assign(
        name=table["arm"] + contexts,
        trial=pd.Series(trials, dtype=object),
        recipe=[trial.model_dump_json(exclude=NOT_COMPARED) for trial in trials],
    )
    return Side(label, summary, named)


def _trial(line: Mapping[Hashable, object]) -> Trial:
    """The trial of a line: a column with a gap holds floats, whatever its field is."""
    fields = {name: line[name] for name in Trial.model_fields if name in line}
    given = {name: words.plain(value) for name, value in fields.items() if value == value}
    if "frozen" in given:
        given["frozen"] = ast.literal_eval(str(given["frozen"]))
    return Trial.model_validate(given, context=CANONICAL)


def compare(ours: Side, theirs: Side) -> Comparison:
    """Compare the second report with the first."""
    other_files = _other_files(ours.summary, theirs.summary)
    reason = _another_machine(ours.summary, theirs.summary)
    speeds = [name for name in (*MEASURED, *COUNTED) if ours.has(name) and theirs.has(name)]
    relative = [name for name in speeds if name in MEASURED and reason]
    shared = ours.rows.index.intersection(theirs.rows.index, sort=False)
    table = pd.DataFrame([_accuracies(ours, theirs, recipe, other_files) for recipe in shared])
    for name in speeds if len(shared) else []:
        of = {"relative": name in relative}
        ratios = theirs.measured(name, **of) / ours.measured(name, **of)
        heading = f"{METRICS[name].label}, ratio{' over own baseline' * of['relative']}"
        table[heading] = [words.number(ratio) for ratio in ratios.reindex(shared)]
    apart = list(dict.fromkeys([*_alone(ours, theirs, "AB"), *_alone(theirs, ours, "BA")]))
    apart += [(f"accuracy on {name}", why) for name, why in other_files.items()]
    if reason:
        apart.append(("speeds and memory as they are", reason))
    sides = {"A": ours, "B": theirs}
    untimed = [letter for letter, of in sides.items() if not of.summary.environments["timing"]]
    if untimed:
        apart.append(("speeds and memory", f"not timed: {words.join(untimed)}"))
    return Comparison((ours, theirs), table, apart, _differing(ours, theirs))


def _accuracies(
    ours: Side, theirs: Side, recipe: str, other_files: Mapping[str, str]
) -> dict[str, str]:
    """Both accuracies, and the difference over shared seeds unless it is of other images."""
    rows = [side.rows.loc[recipe] for side in (ours, theirs)]
    one, other = ours.top1(recipe), theirs.top1(recipe)
    comparable = rows[0]["trial"].dataset not in other_files
    difference = t_interval((other - one).dropna().tolist() if comparable else [])
    return {
        "row": " / ".join(dict.fromkeys(str(row["name"]) for row in rows)),
        "top-1 of A, %": words.mean(t_interval(one.tolist())),
        "top-1 of B, %": words.mean(t_interval(other.tolist())),
        "difference, points": _difference(difference),
        "shared seeds": str(difference.n),
    }


def _difference(found: Interval) -> str:
    if found.n and found.mean == 0 and (found.n < 2 or found.sd == 0):
        return "identical"
    return words.mean(found, signed=True)


def _another_machine(ours: Summary, theirs: Summary) -> str:
    """Why speeds are not compared as they are; empty where they are, or where one has none."""
    one, other = ours.environments["timing"], theirs.environments["timing"]
    differing = [
        f"{name.replace('_', ' ')} {one.get(name)} and {other.get(name)}"
        for name in ALIKE
        if one and other and one.get(name) != other.get(name)
    ]
    return f"the timings ran under {words.join(differing)}" if differing else ""


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
    namesakes = dict(zip(other.rows["name"], other.rows["trial"], strict=True))
    for name, trial in of.rows.loc[~of.rows.index.isin(other.rows.index), ["name", "trial"]].values:
        if name not in namesakes:
            yield name, f"only in {letters[0]}"
            continue
        pair = [trial, namesakes[name]]
        first, second = pair if letters == "AB" else pair[::-1]
        differing = [
            f"{field} {_text(getattr(first, field))} and {_text(getattr(second, field))}"
            for field in Trial.model_fields
            if field not in NOT_COMPARED and getattr(first, field) != getattr(second, field)
        ]
        yield name, f"A and B have {words.join(differing)}"


def _text(value: object) -> str:
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
