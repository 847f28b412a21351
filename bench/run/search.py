"""What a search is: a file whose tuned arms have ranges in place of values.

A configuration is a trial whose images for scoring are held out of the training images. How they
are proposed and scored is in `bench.run.studies`; what is known of them is the search's record,
from which the best are retrained and the report is made.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import optuna

from bench.data.library import fingerprint
from bench.errors import InputError
from bench.events import Event, Listener, OnRecord, PrunedError, TrialProgress, epochs_of
from bench.metrics import METRICS
from bench.paths import WEIGHTS
from bench.records import TimingRecord, TrialRecord, read_sound
from bench.run import timing
from bench.run.attempt import attempt, ended
from bench.run.claims import waiting_claim
from bench.run.executors import Executor
from bench.run.plan import check_datasets
from bench.run.readiness import check_same_data
from bench.spec import tuning
from bench.spec.experiment import Asked, Experiment, ExperimentFile, SearchSettings, Sitting
from bench.spec.files import read
from bench.spec.grid import Cross
from bench.spec.mistakes import of_file
from bench.spec.ranges import Range, Scalar, Space
from bench.spec.trial import SEMANTICS, Fields, Trial, digest
from bench.store import Store


@dataclass(frozen=True)
class Search(Asked):
    @cached_property
    def spaces(self) -> dict[str, Space]:
        """By tuned arm."""
        return tuning.spaces(self.spec)

    @property
    def settings(self) -> SearchSettings:
        assert self.spec.search
        return self.spec.search

    def configuration(self, chosen: Mapping[str, Fields]) -> Experiment:
        """The trials that score one choice for each arm named, as an experiment."""
        spec = tuning.configuration(self.spec, chosen)
        with of_file(self.file):
            cells = list(Cross(spec, {}).cells())
        return Experiment(self.file, self.small, self.changes, spec, cells, {}, {})

    def trial(self, arm: str, chosen: Fields) -> Trial:
        (cell,) = self.configuration({arm: chosen}).cells
        return cell.trial

    @property
    def tried(self) -> list[Trial]:
        """Each tuned arm at both ends, or every choice, of each of its ranges."""
        return [
            self.trial(arm, space.chosen(_first({field: value})))
            for arm, space in self.spaces.items()
            for field, of in space.ranges.items()
            for value in of.tried
        ]

    @property
    def example(self) -> Experiment:
        """Every tuned arm at the first value of each of its ranges."""
        return self.configuration({arm: of.chosen(_first({})) for arm, of in self.spaces.items()})


def open_search(name: str, *, small: bool = False) -> Search:
    """Read a search, and make a trial of both ends, or every choice, of each range.

    Raises:
        InputError: with the file, the field, the value and what is allowed.
    """
    asked = read(name, small=small)
    if asked.spec.search is None:
        raise InputError(f"{asked.file.stem} has no [search] table: {asked.command}")
    search = Search(asked.file, asked.small, asked.changes, asked.spec)
    with of_file(search.file):
        check_datasets(search.tried, search.file)
    return search


def _first(but: Mapping[str, Scalar]) -> Callable[[str, Range], Scalar]:
    """Chooses the first value of each range, but what is given."""
    return lambda name, of: but.get(name, of.tried[0])


def finished(search: Search, store: Store) -> bool:
    """Whether the search's record holds all that the file asks for."""
    record = store.search(search.name)
    if record is None or record["asked"] != binding(search):
        return False
    if record["settings"]["retrain"] != search.settings.retrain:
        return False
    tried = store.tried(search.name)
    return all(tried[arm] >= search.settings.trials for arm in record["arms"])


def binding(search: Search) -> dict[str, str]:
    """What a study is bound to, by arm: another space, split, recipe or sampler is another study.

    So are other files under the dataset's name, and code that gives other results. The number of
    configurations may change, and of those that are retrained; so may a field of the retraining
    that [search.trial] sets otherwise.
    """
    own = search.settings.trial
    settings = search.settings.model_dump(exclude={"arms", "trials", "retrain"})
    here = {t.dataset: fingerprint(t.dataset) for t in search.example.trials.values()}
    texts = {
        arm: json.dumps(
            [
                {n: v for n, v in space.fixed.items() if n not in own},
                {n: r.written for n, r in space.ranges.items()},
                settings | {"seed": tuning.search_seed(search.spec, arm)},
                here,
                SEMANTICS,
                *tuning.contents(space),
            ]
        )
        for arm, space in search.spaces.items()
    }
    return {arm: digest(text.encode())[:8] for arm, text in texts.items()}


def measures(settings: SearchSettings) -> bool:
    """Whether an objective is measured, which takes the machine for itself; others are counted."""
    asked = [METRICS[name] for name in settings.objectives]
    return any(one.source == "timing" and not one.counted for one in asked)


Evaluate = Callable[[Trial, optuna.Trial, Listener], Awaitable[TrialRecord]]
"""Gives the record of a configuration's trial; reports to Optuna's trial while it runs."""


class Evaluator:
    """Gives the record of a configuration: from the store, or by running its trial."""

    def __init__(self, spec: ExperimentFile, store: Store, executor: Executor) -> None:
        assert spec.search
        self.spec, self.store, self.settings = spec, store, spec.search
        self.executor = executor

    async def __call__(
        self, trial: Trial, proposal: optuna.Trial, listener: Listener
    ) -> TrialRecord:
        async with waiting_claim(self.store, trial.key, listener):
            return await self._record(trial, proposal, listener)

    async def _record(
        self, trial: Trial, proposal: optuna.Trial, listener: Listener
    ) -> TrialRecord:
        """The trial's record; one that another study has pruned does not answer this one."""
        study = proposal.study.study_name
        record = self.store.trial(trial.key)
        if record and record.get("pruned_by", study) == study:
            check_same_data(trial.dataset, [trial.key], self.store)
            listener(OnRecord(trial, record))
        else:
            heed = self._heeding(trial, proposal, listener)
            await attempt(trial, self.store, self.executor, heed, self.spec.timeout_s)
            if self.spec.keep_weights != "all":  # nothing starts from a configuration's trial
                (self.store.trial_folder(trial.key) / WEIGHTS).unlink(missing_ok=True)
            record = self.store.trial(trial.key)
        assert record
        return record if record["status"] != "ok" else await self._timed(trial, record, listener)

    def _heeding(self, trial: Trial, proposal: optuna.Trial, listener: Listener) -> Listener:
        """Tells Optuna the accuracy of every epoch, and ends the trial when it says so."""

        def heed(event: Event) -> None:
            listener(event)
            told = event.told if isinstance(event, TrialProgress) else event
            for row in epochs_of(told) if self.settings.prunes else ():
                if "top1_pct" in row:
                    epoch = row["epoch"]
                    last = epoch == trial.epochs or row["step"] == trial.steps
                    proposal.report(row["top1_pct"], epoch)
                    if not last and proposal.should_prune():
                        reason = f"below the median after epoch {epoch}"
                        raise PrunedError(reason, by=proposal.study.study_name)

        return heed

    def sitting(self, trial: Trial) -> Sitting:
        """That of one configuration; what is counted takes no round."""
        settings = self.spec.timing
        if not measures(self.settings):
            settings = settings.model_copy(update={"rounds": 0})
        return Sitting((trial,), trial, settings)

    async def _timed(self, trial: Trial, record: TrialRecord, listener: Listener) -> TrialRecord:
        """The record with what the second objective asks for, which is timed or counted."""
        wanted = [name for name in self.settings.objectives if name not in record["metrics"]]
        if not wanted:
            return record
        alone = self.sitting(trial)
        folder = self.store.sitting_folder(alone)
        if read_sound(folder, TimingRecord) is None:
            async with waiting_claim(self.store, "timing", listener):
                if read_sound(folder, TimingRecord) is None:  # by another process meanwhile
                    await timing.sit(folder, alone, listener)
        timed = read_sound(folder, TimingRecord)
        assert timed, "a sitting that ends has written its record"
        arm = timed["subjects"].get(trial.speed_key)
        metrics = arm["metrics"] if arm else {}
        if lost := [name for name in wanted if name not in metrics]:
            reason = (arm and arm["reason"]) or timed["reason"]
            return ended(trial, "failed", f"{lost[0]} not measured: {reason}")
        return record | {"metrics": record["metrics"] | metrics}
