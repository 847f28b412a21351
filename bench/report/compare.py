"""Two reports side by side: two experiments, or two runs of one, compared where they can be.

Rows are the same when every field of their trials is, but for the seed and for what they start
from. Accuracies are compared seed by seed, speeds where the machines are alike, and otherwise as
multiples of each side's own baseline arm. What cannot be compared is listed with the reason.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping
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

Difference = tuple[str, str, str]
"""The name of what differs, its value in A, and in B."""


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

    @cached_property
    def top1(self) -> pd.DataFrame:
        """Accuracies, %, of trials that ended well: recipes x seeds."""
        done = self.trials[self.trials["status"] == "ok"].drop_duplicates(["recipe", "seed"])
        return done.pivot(index="recipe", columns="seed", values="top1_pct")

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
    sides, other_files = (ours, theirs), _other_files(ours.summary, theirs.summary)
    timings = [side.summary.environments["timing"] for side in sides]
    machines = _differing(timings[0], timings[1], ALIKE) if all(timings) else []
    shared = ours.rows.index.intersection(theirs.rows.index, sort=False)
    table = _accuracies(ours, theirs, shared, other_files)
    ratios = _speeds(ours, theirs, relative=bool(machines))
    apart = [*_alone(ours, theirs)]
    apart += [(f"accuracy on {name}", why) for name, why in other_files.items()]
    if machines:
        told = words.join(f"{name} {one} and {other}" for name, one, other in machines)
        apart.append(("speeds and memory as they are", f"the timings ran under {told}"))
    if untimed := [letter for letter, timing in zip("AB", timings, strict=True) if not timing]:
        apart.append(("speeds and memory", f"not timed: {words.join(untimed)}"))
    environments = [
        (f"{part}: {name}", *values)
        for part in ("trials", "timing")
        for name, *values in _differing(*(side.summary.environments[part] for side in sides))
    ]
    differing = pd.DataFrame(environments, columns=["what differs", "A", "B"])
    return Comparison(sides, table.join(ratios.map(words.number)), apart, differing)


def _accuracies(
    ours: Side, theirs: Side, shared: pd.Index[str], other_files: Collection[str]
) -> pd.DataFrame:
    """Both accuracies, and the difference over shared seeds unless it is of other images."""
    one, other = (side.top1.reindex(shared) for side in (ours, theirs))
    difference = other - one
    difference[ours.rows.loc[shared, "dataset"].isin(other_files)] = math.nan
    names = zip(*(side.rows.loc[shared, "name"] for side in (ours, theirs)), strict=True)
    columns = {
        "row": [" / ".join(dict.fromkeys(both)) for both in names],
        "top-1 of A, %": map(words.mean, _intervals(one)),
        "top-1 of B, %": map(words.mean, _intervals(other)),
        "difference, points": map(_difference, _intervals(difference)),
        "shared seeds": [str(found.n) for found in _intervals(difference)],
    }
    return pd.DataFrame({name: list(column) for name, column in columns.items()}, index=shared)


def _intervals(frame: pd.DataFrame) -> list[Interval]:
    """Over the seeds of each recipe."""
    return [t_interval(by_seed.dropna().tolist()) for _, by_seed in frame.iterrows()]


def _difference(found: Interval) -> str:
    if found.n and found.mean == 0 and (found.n < 2 or found.sd == 0):
        return "identical"
    return words.mean(found, signed=True)


def _speeds(ours: Side, theirs: Side, *, relative: bool) -> pd.DataFrame:
    """The second's over the first's; of what is measured, `relative` to each one's baseline."""
    ratios = {}
    for name in (*MEASURED, *COUNTED):
        over = relative and name in MEASURED
        ratio = theirs.measured(name, relative=over) / ours.measured(name, relative=over)
        if ratio.notna().any():
            heading = f"{METRICS[name].label}, ratio{' over own baseline' if over else ''}"
            ratios[heading] = ratio
    return pd.DataFrame(ratios)


def _other_files(ours: Summary, theirs: Summary) -> dict[str, str]:
    return {
        name: f"other files under that name: fingerprint {one[:12]} and {other[:12]}"
        for name, one in ours.fingerprints.items()
        if (other := theirs.fingerprints.get(name, one)) != one
    }


def _alone(ours: Side, theirs: Side) -> Iterator[tuple[str, str]]:
    """The rows that one side alone has, each with what tells it from the other side's namesake."""
    a, b = (dict(zip(of.rows["name"], of.rows["trial"], strict=True)) for of in (ours, theirs))
    alone = [
        of.rows.loc[~of.rows.index.isin(other.rows.index), "name"]
        for of, other in ((ours, theirs), (theirs, ours))
    ]
    fields = [name for name in Trial.model_fields if name not in NOT_COMPARED]
    for name in pd.concat(alone).unique():
        if name in a and name in b:
            found = _differing(vars(a[name]), vars(b[name]), fields)
            told = words.join(f"{field} {one} and {other}" for field, one, other in found)
            yield name, f"A and B have {told}"
        else:
            yield name, f"only in {'A' if name in a else 'B'}"


def _differing(
    one: Mapping[str, object], other: Mapping[str, object], names: Iterable[str] = ()
) -> list[Difference]:
    """What differs of two sets of facts: of all of them, or of those that are named."""
    return [
        (name, _text(one.get(name)), _text(other.get(name)))
        for name in names or dict.fromkeys([*one, *other])
        if one.get(name) != other.get(name)
    ]


def _text(value: object) -> str:
    if value is None:
        return words.NONE
    return words.number(value) if isinstance(value, float) else str(value)


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
