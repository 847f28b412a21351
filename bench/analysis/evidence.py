"""What a report is made of: the rows of an experiment with what they measured."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, cast

import numpy as np
import pandas as pd

from bench.analysis.statistics import (
    Crossed,
    Hits,
    Interval,
    Ratio,
    Verdict,
    by_seed,
    crossed,
    differences,
    noise_floor,
    paired_difference,
    t_interval,
    time_ratio,
    verdict,
)
from bench.records import Record
from bench.spec.experiment import Arm, Experiment, context_label, context_of
from bench.spec.trial import Trial
from bench.store import Store

AXIS_ORDER = ("dataset", "backbone", "input_size", "output_size")
"""Named first, in this order, wherever a context is put into words."""


@dataclass(frozen=True)
class Row:
    """One line of the results: the trials of an arm that differ in their seed alone."""

    arm: Arm
    trial: Trial  # of one seed
    context: dict[str, Any]  # axis values; the first of them, where the arm does not use an axis
    contexts: frozenset[str]  # the labels of all that it answers, this one among them
    seeds: pd.DataFrame  # its lines of the store's table
    accuracy: Interval
    difference: Interval | None  # to the baseline arm; None for that arm itself, or other data
    verdict: Verdict | None  # of the primary comparison's treatment
    crossed: Crossed | None  # the same difference, for new images too
    speed: dict[str, float]
    times: dict[str, Ratio]  # over the baseline arm's, by phase of the timing lane

    @property
    def label(self) -> str:
        """Of its context."""
        return context_label(self.context)

    @cached_property
    def statuses(self) -> Counter[str]:
        return Counter(self.seeds["status"].tolist())


@dataclass(frozen=True)
class Evidence:
    """An experiment and all that is saved for it."""

    experiment: Experiment
    table: pd.DataFrame
    records: dict[str, Record]  # by key, those that are there
    timings: dict[str, Record]  # of the sitting of each context that has been timed, by its label
    looks: int  # at how many numbers of seeds a verdict was given
    store: Store  # for what is too large for a record: pictures, predictions

    @property
    def finished(self) -> int:
        return sum(record["status"] == "ok" for record in self.records.values())

    @property
    def complete(self) -> bool:
        """Whether every trial ended well and every arm was timed."""
        whole = self.finished == len(self.experiment.runs) and not self.experiment.sizes
        timed = all(one["status"] == "ok" for one in self.sittings)
        arms = [arm for one in self.sittings for arm in one["subjects"].values()]
        all_there = len(self.timings) == len(self.experiment.by_context)
        return whole and timed and all_there and not any(arm.get("reason") for arm in arms)

    @property
    def paired_seeds(self) -> int:
        """The most seeds that a verdict rests on."""
        return max((verdict.difference.n for _, verdict in self.judged), default=0)

    @cached_property
    def search(self) -> Record | None:
        """What the experiment's arms were tuned by, if they were."""
        name = self.experiment.name
        return (
            cast("Record | None", self.store.search(name)) if self.experiment.spec.search else None
        )

    def tried(self, arm: str) -> int:
        """The configurations that an arm was tuned over; 0 of an arm that was not."""
        told = (self.search or {"arms": {}})["arms"].get(arm, {"configurations": []})
        return sum(one["state"] != "running" for one in told["configurations"])

    @cached_property
    def sittings(self) -> list[Record]:
        """What was timed side by side, each sitting once."""
        return list({id(record): record for record in self.timings.values()}.values())

    def floor(self, label: str, phase: str) -> float:
        """How far apart two measurements of one arm may be in a context: 1.02 is 2 %."""
        lane = self.timings.get(label, {})
        once = _subject(lane, str(lane.get("reference"))).get("seconds", {}).get(phase, [])
        again = lane.get("again", {}).get(phase, [])
        return noise_floor(once, again) if len(once) == len(again) > 1 else 1.0

    @cached_property
    def arms(self) -> dict[str, Arm]:
        return {arm.name: arm for arm in self.experiment.spec.arm}

    @cached_property
    def axes(self) -> list[str]:
        """The axes that take several values, the seed left out."""
        several = [n for n, values in self.experiment.spec.axes.items() if len(values) > 1]
        known = [name for name in AXIS_ORDER if name in several]
        return known + [name for name in several if name not in (*known, "seed")]

    @cached_property
    def by_context(self) -> dict[str, pd.DataFrame]:
        """The table of each context by its label."""
        return {str(label): part for label, part in self.table.groupby("context", sort=False)}

    def pairs(self, label: str, column: str = "top1_pct") -> pd.DataFrame:
        """A column of a context's trials that ended well: seeds x arms.

        Args:
            label: of the context.
            column: "top1_pct" or "key".
        """
        return self._paired[column].get(label, pd.DataFrame())

    @cached_property
    def _paired(self) -> dict[str, dict[str, pd.DataFrame]]:
        whole = {column: by_seed(self.table, column) for column in ("top1_pct", "key")}
        return {
            column: {str(at): of.droplevel("context") for at, of in frame.groupby(level="context")}
            for column, frame in whole.items()
        }

    def gain(self, row: Row) -> pd.Series[float]:
        """The row's accuracy minus the baseline arm's, points by seed."""
        return differences(self.pairs(row.label), row.arm.name, self.experiment.baseline)

    @cached_property
    def trials(self) -> pd.DataFrame:
        """The table with each trial of an arm once, whatever contexts share it."""
        return self.table.drop_duplicates(["arm", "key"])

    @cached_property
    def rows(self) -> list[Row]:
        """The results, context by context, arms in the order of the file."""
        groups = _groups(self.experiment)
        primary = self.experiment.spec.primary
        verdicts = sum(one.arm == primary[0] for one in groups) * self.looks if primary else 0
        return [_row(self, one, verdicts) for one in groups]

    @property
    def judged(self) -> list[tuple[Row, Verdict]]:
        """The rows of the primary comparison's treatment, each with its verdict."""
        return [(row, row.verdict) for row in self.rows if row.verdict]

    @cached_property
    def compared(self) -> list[Row]:
        """The rows that have a difference to the baseline arm, measured or not."""
        return [row for row in self.rows if row.difference is not None]

    def beside(self, row: Row) -> list[Row]:
        """The rows that answer its context, too."""
        return [one for one in self.rows if one is not row and row.label in one.contexts]

    def baseline_of(self, row: Row) -> Row:
        """The baseline arm's row that `row`, one of `compared`, is compared to."""
        baselines = (one for one in self.rows if one.arm.name == self.experiment.baseline)
        return next(one for one in baselines if row.label in one.contexts)


def gather(experiment: Experiment, store: Store) -> Evidence:
    """Read all that is saved for an experiment."""
    found = store.trials(experiment.runs)
    records = {key: cast("Record", record) for key, record in found.items() if record is not None}
    timings = {label: cast("Record", one) for label, one in store.timings(experiment).items()}
    looks = max(1, len(store.looks(experiment)))
    return Evidence(experiment, store.table(experiment), records, timings, looks, store)


@dataclass(frozen=True)
class _Group:
    """A distinct pair of an arm's trials and the baseline arm's."""

    arm: str
    trial: Trial
    base: Trial | None  # None while its size is not matched yet
    context: dict[str, Any]  # the first that has them
    contexts: set[str]


def _groups(experiment: Experiment) -> list[_Group]:
    contexts = {context_label(context): i for i, context in enumerate(experiment.contexts)}
    arms = [arm.name for arm in experiment.spec.arm]
    cells = [(context_label(context_of(cell.axes)), cell) for cell in experiment.cells]
    base = {label: c.trial for label, c in cells if c.arm == experiment.baseline}
    found: dict[tuple[str, ...], _Group] = {}
    for label, cell in sorted(cells, key=lambda it: (contexts[it[0]], arms.index(it[1].arm))):
        pair = [cell.trial, *([base[label]] if label in base else [])]
        name = (cell.arm, *map(experiment.recipe, pair))
        new = _Group(cell.arm, cell.trial, base.get(label), context_of(cell.axes), set())
        found.setdefault(name, new).contexts.add(label)
    return list(found.values())


def _row(evidence: Evidence, group: _Group, verdicts: int) -> Row:
    spec, baseline = evidence.experiment.spec, evidence.experiment.baseline
    arm, base, label = group.arm, group.base, context_label(group.context)
    table, pairs = evidence.by_context[label], evidence.pairs(label)
    seeds, timing = table[table["arm"] == arm], evidence.timings.get(label, {})
    answer = difference = None
    if base and spec.primary and arm == spec.primary[0]:
        answer = verdict(pairs, arm, baseline, spec.margin_pct, verdicts=verdicts)
        difference = answer.difference
        if evidence.tried(arm) != evidence.tried(baseline):
            answer = replace(answer, answer="tuned unequally")
    elif base and arm != baseline and group.trial.dataset == base.dataset:
        difference = paired_difference(pairs, arm, baseline)
    return Row(
        arm=evidence.arms[arm],
        trial=group.trial,
        context=group.context,
        contexts=frozenset(group.contexts),
        seeds=seeds,
        accuracy=t_interval(seeds.loc[seeds["status"] == "ok", "top1_pct"].tolist()),
        difference=difference,
        verdict=answer,
        crossed=_crossed(evidence, label, answer) if answer else None,
        speed=_speed(timing, group.trial),
        times=_times(timing, group.trial, base) if base and arm != baseline else {},
    )


def _crossed(evidence: Evidence, label: str, verdict: Verdict) -> Crossed | None:
    """The verdict's difference from per-image predictions; None below two seeds that have them."""
    arms, store = [verdict.treatment, verdict.baseline], evidence.store
    keys = evidence.pairs(label, "key").reindex(columns=arms).dropna()
    if len(keys) < 2 or not all(map(store.has_predictions, keys.to_numpy().flat)):
        return None
    ours, theirs = (np.array([_hits(store, key) for key in keys[arm]]) for arm in arms)
    return crossed(ours, theirs, verdict.difference.level)


def _hits(store: Store, key: str) -> Hits:
    predictions = store.predictions(key).sort_values("image")
    return (predictions["label"] == predictions["predicted"]).to_numpy()


def _speed(timing: Record, trial: Trial) -> dict[str, float]:
    metrics = _subject(timing, trial.speed_key).get("metrics", {})
    return {name: float(metric["value"]) for name, metric in metrics.items()}


def _times(timing: Record, trial: Trial, base: Trial) -> dict[str, Ratio]:
    """The trial's times over the baseline's, by phase, where both have several rounds.

    None where they ran under other settings: their steps are not the same work.
    """
    if trial.setting != base.setting:
        return {}
    ours, theirs = (_subject(timing, t.speed_key).get("seconds", {}) for t in (trial, base))
    return {
        phase: time_ratio(ours[phase], theirs[phase])
        for phase in ours
        if len(ours[phase]) == len(theirs.get(phase, [])) > 1
    }


def _subject(timing: Record, key: str) -> dict[str, Any]:
    return dict(timing.get("subjects", {}).get(key, {}))
