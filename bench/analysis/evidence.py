"""What a report is made of: the rows of an experiment with what they measured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from itertools import product
from statistics import mean, median

import numpy as np
import pandas as pd

from bench.analysis.compared import recipe
from bench.analysis.judging import SETTLED, Verdict, verdicts
from bench.analysis.pairs import Pair, Predicted, pairs
from bench.analysis.pooled import Peers
from bench.analysis.statistics import (
    Interval,
    Ratio,
    estimate,
    geometric_mean,
    noise_floor,
    t_interval,
)
from bench.records import SearchRecord, TimedArm, TimingRecord, TrialRecord
from bench.spec.experiment import Arm, Experiment
from bench.spec.trial import Fields, Trial
from bench.store import Store, as_table

AXIS_ORDER = ("dataset", "backbone", "input_size", "output_size")
"""Named first, in this order, wherever a context is put into words."""


@dataclass(frozen=True)
class Row:
    """One line of the results: the trials of an arm in a context, one for each seed."""

    arm: Arm
    trials: Mapping[int, Trial]  # by seed
    context: Fields  # axis values; the first of them, where the arm does not use an axis
    contexts: Sequence[str]  # the labels of all that it answers, this one first
    seeds: pd.DataFrame  # its lines of the store's table
    difference: Interval | None  # to the baseline arm; None for that arm itself, or other data
    verdict: Verdict | None  # of the primary comparison's treatment; `difference` is then its own
    speed: dict[str, float]
    times: dict[str, Ratio]  # over the baseline arm's, by phase of the timing

    @property
    def label(self) -> str:
        """Of its context."""
        return self.contexts[0]

    @property
    def trial(self) -> Trial:
        """Of the first seed."""
        return next(iter(self.trials.values()))

    @property
    def terms(self) -> tuple[object, ...]:
        """What two rows share whose prices, or pixels, are compared: data and training."""
        return self.trial.dataset, self.trial.length, len(self.trial.parents)

    @cached_property
    def setting(self) -> tuple[object, ...]:
        """As `Trial.setting`; all values of a field that seeds take in turn."""
        fields = zip(*(trial.setting for trial in self.trials.values()), strict=True)
        values = (tuple(dict.fromkeys(of)) for of in fields)
        return tuple(of if len(of) > 1 else of[0] for of in values)

    @cached_property
    def size(self) -> str:
        """As `Trial.size`; of all its trials, where seeds take sizes in turn."""
        return ", ".join(dict.fromkeys(trial.size for trial in self.trials.values()))

    @cached_property
    def top1(self) -> pd.Series[float]:
        """Accuracies, %, by seed that ended well."""
        return self.seeds[self.seeds["status"] == "ok"].set_index("seed")["top1_pct"]

    @cached_property
    def accuracy(self) -> Interval:
        """Their mean."""
        return t_interval(self.top1)


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
        return self.store.tried(self.experiment.name)[arm] if self.search else 0

    @cached_property
    def sittings(self) -> list[TimingRecord]:
        """What was timed side by side, each sitting once."""
        return list({id(record): record for record in self.timings.values()}.values())

    def floor(self, label: str, phase: str) -> float | None:
        """How far apart two measurements of an arm may be: 1.02 is 2 %; None below two rounds."""
        sitting = self.timings.get(label)
        once = self.seconds(label, sitting.get("reference", "")) if sitting else {}
        again = sitting.get("again", {}) if sitting else {}
        rounds = [of.get(phase, []) for of in (once, again)]
        return noise_floor(*rounds) if len(rounds[0]) == len(rounds[1]) > 1 else None

    def timed(self, label: str, speed_key: str) -> TimedArm | None:
        """What a context's sitting measured of the trials with a speed key."""
        sitting = self.timings.get(label)
        return sitting["subjects"].get(speed_key) if sitting else None

    def seconds(self, label: str, speed_key: str) -> dict[str, list[float]]:
        """Of a call, by phase, round by round of the context's sitting."""
        timed = self.timed(label, speed_key)
        return timed.get("seconds", {}) if timed else {}

    def timed_of(self, label: str, arm: str) -> list[TimedArm | None]:
        """What was measured of an arm in a context, seed by seed: they may take recipes in turn."""
        return [self.timed(label, trial.speed_key) for trial in self.trials_of(label, arm).values()]

    def busy(self, row: Row) -> float | None:
        """Share of a training step in which a GPU was at work; None of other devices."""
        timed = [one["seconds"] for one in self.timed_of(row.label, row.arm.name) if one]
        both = [(one["train busy"], one["train"]) for one in timed if one.get("train busy")]
        return mean(median(busy) / median(wall) for busy, wall in both) if both else None

    @cached_property
    def arms(self) -> dict[str, Arm]:
        return {arm.name: arm for arm in self.experiment.spec.arm}

    @cached_property
    def axes(self) -> list[str]:
        """The axes that take several values, the seed left out."""
        axes = self.experiment.spec.axes.items()
        several = [name for name, values in axes if len(values) > 1 and name != "seed"]
        return sorted(several, key=[*AXIS_ORDER, *several].index)

    @cached_property
    def by_arm(self) -> dict[tuple[str, str], pd.DataFrame]:
        """The table of each arm in each context, by that one's label."""
        groups = self.table.groupby(["context", "arm"], sort=False)
        return {(str(label), str(arm)): part for (label, arm), part in groups}

    def trials_of(self, label: str, arm: str) -> dict[int, Trial]:
        """By seed; of an arm whose size is not matched yet, none."""
        if (part := self.by_arm.get((label, arm))) is None:
            return {}
        known = self.experiment.trials
        return {seed: known[key] for seed, key in zip(part["seed"], part["key"], strict=True)}

    def pair(self, row: Row, to: str) -> Pair | None:
        """The row's arm and another in its context; None where that has no such arm."""
        return self._pairs(row.arm.name, to).get(row.label)

    @cached_property
    def _pairs(self) -> Callable[[str, str], dict[str, Pair]]:
        """Two arms in each context that has both, by its label."""
        return cache(lambda arm, to: {of.context: of for of in pairs(self.table, arm, to)})

    def difference(self, label: str, arm: str, to: str) -> pd.Series[float]:
        """One arm's accuracy minus another's, points by seed of a context that both finished."""
        pair = self._pairs(arm, to).get(label)
        return pair.differences if pair else pd.Series(dtype=float)

    def gain(self, row: Row) -> pd.Series[float]:
        """The row's accuracy minus the baseline arm's, points by seed."""
        return self.difference(row.label, row.arm.name, self.experiment.baseline)

    def gain_by_recipe(self, row: Row) -> list[pd.Series[float]]:
        """The same, apart for each recipe that the row's seeds take in turn."""
        gain = self.gain(row)
        recipes = [recipe(row.trials[seed]) for seed in gain.index]
        return [of for _, of in gain.groupby(recipes, sort=False)]

    @cached_property
    def trials(self) -> pd.DataFrame:
        """The table with each trial of an arm once, whatever contexts share it."""
        return self.table.drop_duplicates(["arm", "key"])

    @cached_property
    def rows(self) -> list[Row]:
        """The results, context by context, arms in the order of the file."""
        found: dict[tuple[object, ...], list[str]] = {}
        for label, arm in product(self.experiment.by_context, self.experiment.spec.arm):
            both = [(label, of) for of in (arm.name, self.experiment.baseline)]
            if both[0] in self.by_arm:
                keys = (tuple(trial.key for trial in self.trials_of(*of).values()) for of in both)
                found.setdefault((arm.name, *keys), []).append(label)
        return [_row(self, str(arm), labels) for (arm, *_), labels in found.items()]

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

    def secondary_of(self, row: Row) -> Verdict | None:
        """Of the secondary comparison, in the context of the primary one's row."""
        return next((self.secondary[at] for at in row.contexts if at in self.secondary), None)

    def _verdicts(self, compared: tuple[str, str] | None) -> dict[str, Verdict]:
        spec = self.experiment.spec
        if not compared or not spec.train:
            return {}
        return verdicts(
            self.table,
            compared,
            spec.margin_pct,
            self.peers,
            looks=spec.looks,
            unequal=len({self.tried(arm) for arm in compared}) > 1,
        )

    @cached_property
    def predicted(self) -> Predicted:
        """A trial's predictions by its key; None where it has none."""
        store = self.store
        return cache(lambda key: store.predictions(key) if store.has_predictions(key) else None)

    @cached_property
    def peers(self) -> Peers:
        """The treatment's differences, each of which tells of the others' spread."""
        treatment, *_ = self.experiment.spec.primary or ("",)
        return Peers(self.table, treatment, self.predicted)

    @property
    def judged(self) -> list[tuple[Row, Verdict]]:
        """The rows of the primary comparison's treatment, each with its verdict."""
        return [(row, row.verdict) for row in self.rows if row.verdict]

    @cached_property
    def treated(self) -> list[Row]:
        """The treatment's rows that have a difference to the baseline arm.

        Without a primary comparison the treatment is the one arm of that role, if there is one.
        """
        if self.experiment.spec.primary:
            return [row for row, _ in self.judged]
        treatments = {arm.name for arm in self.arms.values() if arm.role == "treatment"}
        return [row for row in self.compared if {row.arm.name} == treatments]

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


def holds_for(evidence: Evidence, row: Row) -> Fields:
    """For what a row holds: the columns of a verdict from `dataset` to `started_from`."""
    known, trial = evidence.experiment.trials, row.trial
    others = [name for name in evidence.axes if name not in (*AXIS_ORDER, "epochs", "steps")]
    return {
        "dataset": trial.dataset,
        "input_size": trial.input_size,
        "output_size": trial.output_size,
        "size": row.size,
        "backbone": _named(trial),
        "others": {name: row.context[name] for name in others},
        "length": trial.length if evidence.experiment.spec.train else (0, "epochs"),
        "started_from": tuple(
            dict.fromkeys(known[key].length for key in trial.parents if key in known)
        ),
    }


def _named(trial: Trial) -> str:
    """The backbone, and which weights it starts from, unless they are an arm's or random."""
    if isinstance(trial.pretrained, str):
        return f"{trial.backbone} from a checkpoint"
    return f"pretrained {trial.backbone}" if trial.pretrained else trial.backbone


def _row(evidence: Evidence, arm: str, labels: Sequence[str]) -> Row:
    """Of the trials that an arm, and the baseline arm, have in each of some contexts."""
    primary, baseline = evidence.experiment.spec.primary, evidence.experiment.baseline
    label = labels[0]
    trials, base = (evidence.trials_of(label, of) for of in (arm, baseline))
    first = next(iter(trials.values()))
    verdict = difference = None
    if base and primary and arm == primary[0]:
        verdict = next((evidence.verdicts[at] for at in labels if at in evidence.verdicts), None)
    if base and arm != baseline and first.dataset == next(iter(base.values())).dataset:
        plain = t_interval(evidence.difference(label, arm, baseline))
        difference = verdict.difference if verdict else plain
    return Row(
        arm=evidence.arms[arm],
        trials=trials,
        context=evidence.experiment.by_context[label][0].context,
        contexts=labels,
        seeds=evidence.by_arm[label, arm],
        difference=difference,
        verdict=verdict,
        speed=_speed(evidence.timed_of(label, arm)),
        times=_times(evidence, label, trials, base) if arm != baseline else {},
    )


def _speed(timed: Sequence[TimedArm | None]) -> dict[str, float]:
    """The mean of each cost over an arm's seeds, where that of each is known."""
    known = [one["metrics"] if one else {} for one in timed]
    names = [name for name in known[0] if all(name in of for of in known)]
    return {name: mean(of[name]["value"] for of in known) for name in names}


def _times(
    evidence: Evidence, label: str, trials: Mapping[int, Trial], base: Mapping[int, Trial]
) -> dict[str, Ratio]:
    """The trials' times over the baseline's, by phase, where both have several rounds.

    Where seeds take recipes in turn, a round has the mean of their ratios. None where they ran
    under other settings: their steps are not the same work.
    """
    both = [(trials[seed], base[seed]) for seed in trials if seed in base]
    if not both or any(one.setting != other.setting for one, other in both):
        return {}
    recipes = Counter((one.speed_key, other.speed_key) for one, other in both)
    shares = np.array(list(recipes.values())) / len(both)
    timed = [[evidence.seconds(label, key) for key in keys] for keys in recipes]
    found, trained = {}, both[0][0].epochs != 0
    for phase in [name for name in timed[0][0] if name != "train" or trained]:
        rounds = [[seconds.get(phase, []) for seconds in pair] for pair in timed]
        if len({len(of) for pair in rounds for of in pair}) == 1 and len(rounds[0][0]) > 1:
            logs = [np.log(np.array(ours) / np.array(base)) for ours, base in rounds]
            found[phase] = geometric_mean(estimate(shares @ np.array(logs)))
    return found
