"""What a report is made of: the rows of an experiment with what they measured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from itertools import product
from statistics import mean, median

import pandas as pd

from bench.analysis.judging import SETTLED, Verdict
from bench.analysis.pairs import Pair, Predicted, of_treatment, prior_for, verdicts
from bench.analysis.statistics import (
    Estimate,
    Interval,
    Ratio,
    by_seed,
    differences,
    estimate,
    noise_floor,
    t_interval,
    time_ratio,
)
from bench.records import SearchRecord, TimedArm, TimingRecord, TrialRecord
from bench.spec.experiment import Arm, Experiment, context_label
from bench.spec.trial import Fields, Trial
from bench.store import Store, as_table

AXIS_ORDER = ("dataset", "backbone", "input_size", "output_size")
"""Named first, in this order, wherever a context is put into words."""


PARENTS = ("resizer_from", "backbone_from")
"""Fields that differ from seed to seed as the seeds of those do that a trial starts from."""


@dataclass(frozen=True)
class Row:
    """One line of the results: the trials of an arm in a context, one for each seed."""

    arm: Arm
    trial: Trial  # of one seed
    context: Fields  # axis values; the first of them, where the arm does not use an axis
    contexts: frozenset[str]  # the labels of all that it answers, this one among them
    seeds: pd.DataFrame  # its lines of the store's table
    accuracy: Interval
    difference: Interval | None  # to the baseline arm; None for that arm itself, or other data
    verdict: Verdict | None  # of the primary comparison's treatment; `difference` is then its own
    speed: dict[str, float]
    times: dict[str, Ratio]  # over the baseline arm's, by phase of the timing

    @property
    def label(self) -> str:
        """Of its context."""
        return context_label(self.context)

    @property
    def terms(self) -> tuple[object, ...]:
        """What two rows share whose prices, or pixels, are compared: data, settings, training."""
        of = self.trial
        return of.dataset, of.setting, of.epochs, of.steps, len(of.parents)

    @cached_property
    def size(self) -> str:
        """As `Trial.size`; of all its trials, where seeds take sizes in turn."""
        both = zip(self.seeds["input_size"], self.seeds["output_size"], strict=True)
        sides = dict.fromkeys(tuple(f"{px:g}" for px in one if pd.notna(px)) for one in both)
        return ", ".join(" → ".join(one) for one in sides)

    @property
    def top1(self) -> dict[int, float]:
        """Accuracies, %, by seed that ended well."""
        done = self.seeds[self.seeds["status"] == "ok"]
        return dict(zip(done["seed"].tolist(), done["top1_pct"].tolist(), strict=True))

    @cached_property
    def statuses(self) -> Counter[str]:
        return Counter(self.seeds["status"].tolist())


@dataclass(frozen=True)
class Evidence:
    """An experiment and all that is saved for it."""

    experiment: Experiment
    table: pd.DataFrame
    records: dict[str, TrialRecord]  # by key, those that are there
    timings: dict[str, TimingRecord]  # of each context that has been timed, by its label
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

    @cached_property
    def search(self) -> SearchRecord | None:
        """What the experiment's arms were tuned by, if they were."""
        searched = self.experiment.spec.search
        return self.store.search(self.experiment.name) if searched else None

    def tried(self, arm: str) -> int:
        """The configurations that an arm was tuned over; 0 of an arm that was not."""
        tuned = self.search["arms"].get(arm) if self.search else None
        return sum(one["state"] != "running" for one in tuned["configurations"]) if tuned else 0

    @cached_property
    def sittings(self) -> list[TimingRecord]:
        """What was timed side by side, each sitting once."""
        return list({id(record): record for record in self.timings.values()}.values())

    def floor(self, label: str, phase: str) -> float:
        """How far apart two measurements of one arm may be in a context: 1.02 is 2 %."""
        timing = self.timings.get(label)
        if timing is None or "reference" not in timing:
            return 1.0
        once = _seconds(timing, timing["reference"]).get(phase, [])
        again = timing.get("again", {}).get(phase, [])
        return noise_floor(once, again) if len(once) == len(again) > 1 else 1.0

    def seconds(self, label: str, phase: str, trial: Trial) -> list[float]:
        """Of a call, round by round of the context's sitting."""
        return _seconds(self.timings.get(label), trial.speed_key).get(phase, [])

    def busy(self, label: str, trial: Trial) -> float | None:
        """Share of a training step in which a GPU was at work; None of other devices."""
        wall, busy = (self.seconds(label, phase, trial) for phase in ("train", "train busy"))
        return median(busy) / median(wall) if wall and busy else None

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
    def by_arm(self) -> dict[tuple[str, str], pd.DataFrame]:
        """The table of each arm in each context, by that one's label."""
        return {
            (str(label), str(arm)): part
            for (label, arm), part in self.table.groupby(["context", "arm"], sort=False)
        }

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

    def gain_by_recipe(self, row: Row) -> list[pd.Series[float]]:
        """The same, apart for each recipe that the row's seeds take in turn."""
        told = [name for name in Trial.model_fields if name not in ("seed", *PARENTS)]
        recipes = row.seeds.set_index("seed")[told].map(str).agg("|".join, axis=1)
        gain = self.gain(row)
        return [of for _, of in gain.groupby(recipes.reindex(gain.index), sort=False)]

    @cached_property
    def trials(self) -> pd.DataFrame:
        """The table with each trial of an arm once, whatever contexts share it."""
        return self.table.drop_duplicates(["arm", "key"])

    @cached_property
    def rows(self) -> list[Row]:
        """The results, context by context, arms in the order of the file."""
        return [_row(self, one) for one in _groups(self.experiment)]

    @cached_property
    def verdicts(self) -> dict[str, Verdict]:
        """Of the primary comparison, by the label of the first context that it is of."""
        return self._verdicts(self.experiment.spec.primary)

    @cached_property
    def secondary(self) -> dict[str, Verdict]:
        """Of the secondary comparison: none where the primary one, tested first, is not settled."""
        first = self.verdicts
        return {
            label: verdict
            if label in first and first[label].answer in SETTLED
            else replace(verdict, answer="no verdict", reason="primary not settled")
            for label, verdict in self._verdicts(self.experiment.spec.secondary).items()
        }

    def _verdicts(self, compared: tuple[str, str] | None) -> dict[str, Verdict]:
        spec = self.experiment.spec
        if not compared or not spec.train:
            return {}
        return verdicts(
            self.table,
            compared,
            spec.margin_pct,
            looks=spec.looks,
            predicted=self.predicted,
            unequal=len({self.tried(arm) for arm in compared}) > 1,
        )

    @cached_property
    def predicted(self) -> Predicted:
        """A trial's predictions by its key; None where it has none."""
        store = self.store
        return cache(lambda key: store.predictions(key) if store.has_predictions(key) else None)

    @cached_property
    def _of_treatment(self) -> list[Pair]:
        return of_treatment(self.table, (self.experiment.spec.primary or ("",))[0])

    def moderated(self, pair: Pair) -> Estimate:
        """A difference of the treatment, its variance moderated as that of a verdict is."""
        prior = prior_for(pair, self._of_treatment, self.predicted)
        return estimate(list(pair.differences.values()), prior)

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
        return [one for one in self._by_label.get(row.label, []) if one is not row]

    @cached_property
    def _by_label(self) -> dict[str, list[Row]]:
        """The rows that answer each context."""
        found: dict[str, list[Row]] = {}
        for row in self.rows:
            for label in row.contexts:
                found.setdefault(label, []).append(row)
        return found

    def baseline_of(self, row: Row) -> Row:
        """The baseline arm's row that `row`, one of `compared`, is compared to."""
        baseline = self.experiment.baseline
        return next(one for one in self._by_label[row.label] if one.arm.name == baseline)


def gather(experiment: Experiment, store: Store) -> Evidence:
    """Read all that is saved for an experiment."""
    found = store.trials(experiment.runs)
    records = {key: record for key, record in found.items() if record is not None}
    timings = store.timings(experiment)
    return Evidence(experiment, as_table(experiment, records, timings), records, timings, store)


@dataclass(frozen=True)
class _Group:
    """A distinct pair of an arm's trials and the baseline arm's."""

    arm: str
    trials: dict[int, Trial]  # by seed
    base: dict[int, Trial]  # of the baseline arm; empty while its size is not matched yet
    context: Fields  # the first that has them
    contexts: set[str]

    @property
    def trial(self) -> Trial:
        return next(iter(self.trials.values()))

    @property
    def speeds(self) -> list[Trial]:
        """A trial of each speed that the arm has: one, unless its seeds have recipes in turns."""
        return list({trial.speed_key: trial for trial in self.trials.values()}.values())

    @property
    def pairs(self) -> list[tuple[Trial, Trial]]:
        """A trial of each pair of speeds, and the baseline arm's of the same seed."""
        both = [(self.trials[seed], self.base[seed]) for seed in self.trials if seed in self.base]
        return list({(one.speed_key, base.speed_key): (one, base) for one, base in both}.values())


def _groups(experiment: Experiment) -> list[_Group]:
    trials: dict[tuple[str, str], dict[int, Trial]] = {}
    for cell in experiment.cells:
        at = cell.label, cell.arm
        trials.setdefault(at, {})[cell.trial.seed] = cell.trial
    found: dict[tuple[object, ...], _Group] = {}
    for context, arm in product(experiment.contexts, experiment.spec.arm):
        label = context_label(context)
        ours, base = (trials.get((label, of), {}) for of in (arm.name, experiment.baseline))
        if ours:
            name = (arm.name, *(tuple(one.key for one in of.values()) for of in (ours, base)))
            new = _Group(arm.name, ours, base, context, set())
            found.setdefault(name, new).contexts.add(label)
    return list(found.values())


def _row(evidence: Evidence, group: _Group) -> Row:
    spec, baseline = evidence.experiment.spec, evidence.experiment.baseline
    arm, label = group.arm, context_label(group.context)
    base = next(iter(group.base.values()), None)
    seeds, timing = evidence.by_arm[label, arm], evidence.timings.get(label)
    verdict = difference = None
    if base and arm == (spec.primary or ("",))[0]:
        given = [evidence.verdicts[at] for at in group.contexts if at in evidence.verdicts]
        verdict = given[0] if given else None
    if base and arm != baseline and group.trial.dataset == base.dataset:
        plain = t_interval(differences(evidence.pairs(label), arm, baseline).tolist())
        difference = verdict.difference if verdict else plain
    return Row(
        arm=evidence.arms[arm],
        trial=group.trial,
        context=group.context,
        contexts=frozenset(group.contexts),
        seeds=seeds,
        accuracy=t_interval(seeds.loc[seeds["status"] == "ok", "top1_pct"].tolist()),
        difference=difference,
        verdict=verdict,
        speed=_speed(timing, group.speeds),
        times=_times(timing, group.pairs) if arm != baseline else {},
    )


def _speed(timing: TimingRecord | None, trials: Sequence[Trial]) -> dict[str, float]:
    """The mean of each cost over an arm's speeds."""
    subjects = [subject for one in trials if (subject := _subject(timing, one.speed_key))]
    metrics = [subject.get("metrics", {}) for subject in subjects]
    names = dict.fromkeys(name for of in metrics for name in of)
    return {name: mean(of[name]["value"] for of in metrics if name in of) for name in names}


def _times(timing: TimingRecord | None, pairs: Sequence[tuple[Trial, Trial]]) -> dict[str, Ratio]:
    """The trials' times over the baseline's, by phase, where both have several rounds.

    None where they ran under other settings: their steps are not the same work.
    """
    if any(trial.setting != base.setting for trial, base in pairs):
        return {}
    rounds: dict[str, tuple[list[float], list[float]]] = {}
    for trial, base in pairs:
        ours, theirs = (_seconds(timing, one.speed_key) for one in (trial, base))
        for phase in ours:
            if len(ours[phase]) == len(theirs.get(phase, [])) > 1:
                both = rounds.setdefault(phase, ([], []))
                both[0].extend(ours[phase])
                both[1].extend(theirs[phase])
    return {phase: time_ratio(*both) for phase, both in rounds.items()}


def _seconds(timing: TimingRecord | None, key: str) -> dict[str, list[float]]:
    """Of a call of the trials with this speed key, by phase, round by round."""
    subject = _subject(timing, key)
    return subject.get("seconds", {}) if subject else {}


def _subject(timing: TimingRecord | None, key: str) -> TimedArm | None:
    return timing.get("subjects", {}).get(key) if timing else None
