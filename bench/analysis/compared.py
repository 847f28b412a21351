"""Two tables of trials side by side: which rows are the same, and how their numbers differ.

Rows are the same when every field of their trials is, but for the seed, and so are those of the
trials that they start from, where their table has them. Accuracies are paired by seed; speeds of
other machines are multiples of each side's baseline.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Collection, Hashable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from bench.analysis.statistics import t_interval
from bench.spec.trial import CANONICAL, Trial

NOT_COMPARED = {"seed", "resizer_from", "backbone_from"}
MEASURED = ("train_images_per_s", "infer_images_per_s", "latency_p50_ms", "peak_memory_mib")
COUNTED = ("gmacs", "params_m")


@dataclass(frozen=True)
class Trials:
    """A report's table.csv."""

    table: pd.DataFrame  # each line with its name, recipe and Trial
    baseline: str

    @cached_property
    def rows(self) -> pd.DataFrame:
        """The first line of the trials that differ in their seed alone, by recipe."""
        return self.table.drop_duplicates("recipe").set_index("recipe")

    @cached_property
    def top1(self) -> pd.DataFrame:
        """Accuracies, %, of trials that ended well: recipes x seeds."""
        done = self.table[self.table["status"] == "ok"].drop_duplicates(["recipe", "seed"])
        return done.pivot(index="recipe", columns="seed", values="top1_pct")

    def measured(self, metric: str, *, relative: bool) -> pd.Series[float]:
        """The metric by recipe; where `relative`, over the baseline arm's of the same sitting."""
        if not relative:
            return self.rows[metric]
        settings = self.table["trial"].map(lambda it: str((it.dataset, it.backbone, it.setting)))
        terms = self.table["context"].astype("string").fillna("") + settings
        own = self.table[self.table["arm"] == self.baseline].groupby(terms)[metric].first()
        multiples = self.table[metric] / terms.map(own)
        return multiples.groupby(self.table["recipe"]).first().reindex(self.rows.index)


def read(file: Path, baseline: str) -> Trials:
    """The trials of a table.csv."""
    whole = pd.read_csv(file, keep_default_na=False, na_values=[""])
    table = whole.convert_dtypes()  # whole numbers in a column with a gap stay whole
    lines = table.astype(object).where(table.notna(), None).to_dict("records")
    trials = [_trial(line) for line in lines]
    known = dict(zip(whole["key"], trials, strict=True))
    named = whole.assign(
        name=whole["arm"] + (" (" + whole["context"].astype("string") + ")").fillna(""),
        trial=pd.Series(trials, dtype=object),
        recipe=[_lineage(trial, known) for trial in trials],
    )
    recipes = named.groupby("name")["recipe"]
    several = recipes.transform("nunique") > 1  # which an arm's seeds have in turn
    numbers = ", recipe " + recipes.transform(lambda of: pd.factorize(of)[0] + 1).astype(str)
    return Trials(named.assign(name=named["name"] + numbers.where(several, "")), baseline)


def _lineage(trial: Trial, known: Mapping[str, Trial]) -> str:
    """The recipe of a trial, and those of the trials of its table that it starts from."""
    starts = {"resizer": trial.resizer_from or "", "backbone": trial.backbone_from or ""}
    told = [f"{part} {_lineage(known[key], known)}" for part, key in starts.items() if key in known]
    return " < ".join([recipe(trial), *told])


def recipe(trial: Trial) -> str:
    """All that trials share that differ in their seed, and in what they start from, alone."""
    return trial.model_dump_json(exclude=NOT_COMPARED)


def _trial(line: Mapping[Hashable, object]) -> Trial:
    given = {name: line[name] for name in Trial.model_fields if line.get(name) is not None}
    if "frozen" in given:
        given["frozen"] = ast.literal_eval(str(given["frozen"]))
    return Trial.model_validate(given, context=CANONICAL)


def accuracies(ours: Trials, theirs: Trials, apart: Collection[str] = ()) -> pd.DataFrame:
    """Of the recipes of both: names, and intervals of both and of the second minus the first.

    Args:
        apart: datasets whose images differ; their differences are of no seed.
    """
    shared = ours.rows.index.intersection(theirs.rows.index, sort=False)
    one, other = (side.top1.reindex(shared) for side in (ours, theirs))
    difference = other - one
    difference[ours.rows.loc[shared, "dataset"].isin(apart)] = math.nan
    found = pd.DataFrame({"ours": ours.rows["name"], "theirs": theirs.rows["name"]}).loc[shared]
    for name, by_seed in {"one": one, "other": other, "difference": difference}.items():
        intervals = [t_interval(seeds.dropna().tolist()) for _, seeds in by_seed.iterrows()]
        found[name] = pd.Series(intervals, shared, dtype=object)
    return found


def ratios(ours: Trials, theirs: Trials, *, relative: bool) -> pd.DataFrame:
    """The second's speeds and costs over the first's, those that both know: recipes x metrics.

    Args:
        relative: whether what is measured is taken as a multiple of each side's baseline.
    """
    terms = {metric: relative and metric in MEASURED for metric in (*MEASURED, *COUNTED)}
    found = {
        metric: theirs.measured(metric, relative=of) / ours.measured(metric, relative=of)
        for metric, of in terms.items()
    }
    return pd.DataFrame(found).dropna(axis="columns", how="all")


def alone(ours: Trials, theirs: Trials) -> Iterator[tuple[str, Trial | None, Trial | None]]:
    """The rows that one side alone has, by name, with what each side has of that name."""
    a, b = (dict(zip(of.rows["name"], of.rows["trial"], strict=True)) for of in (ours, theirs))
    shared = ours.rows.index.intersection(theirs.rows.index)
    names = [of.rows["name"].drop(shared) for of in (ours, theirs)]
    return ((name, a.get(name), b.get(name)) for name in pd.concat(names).unique())
