"""What is missing of an experiment, and getting it done: plan, claim, run, resume, retry."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from bench.datasets.library import fingerprint, known_names, listing, open_dataset
from bench.datasets.specs import DATASETS
from bench.errors import InputError
from bench.experiment import Experiment, Trial
from bench.processes import DiedError, TimedOutError, call
from bench.store import Record, Status, Store, read_record, write_record
from resizer.specs import nearest

Listener = Callable[[dict[str, Any]], None]
"""Told every event of a run, to show it; each is a dict with an "event"."""


@dataclass(frozen=True)
class Plan:
    """What an experiment consists of, what is done, and how long the rest takes."""

    experiment: Experiment
    states: Mapping[str, str]  # trial key -> status, or "missing"
    seconds: Mapping[str, float]  # trial key -> estimate, for the missing trials that have one

    def missing(self, *, retry: bool = False) -> dict[str, Trial]:
        """The trials to run, by key; `retry` takes the failed ones in."""
        return {
            key: trial
            for key, trial in self.experiment.trials.items()
            if self.states[key] == "missing" or (retry and self.states[key] != "ok")
        }

    @property
    def counts(self) -> Counter[str]:
        """How many trials there are of each state."""
        return Counter(self.states.values())


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    plan: Plan
    failures: Mapping[str, Record]  # trial key -> record, of every trial that is not ok
    elsewhere: int  # trials that another process is running
    new: bool  # whether anything was run or timed


def plan(experiment: Experiment, store: Store) -> Plan:
    """Look at what is saved; nothing is run."""
    check_datasets(experiment)
    records = {key: store.trial(key) for key in experiment.trials}
    states = {key: r["status"] if r else "missing" for key, r in records.items()}
    pace = _pace(experiment, store, records)
    images = {name: train_images(name) for name in {t.dataset for t in experiment.trials.values()}}
    seconds = {
        key: pace[trial.speed_key] * trial.total_steps(images[trial.dataset] or 0)
        for key, trial in experiment.trials.items()
        if states[key] == "missing" and images[trial.dataset] and trial.speed_key in pace
    }
    return Plan(experiment, states, seconds)


def check_datasets(experiment: Experiment) -> None:
    """Raise InputError at the first dataset that nobody knows."""
    for name in {trial.dataset for trial in experiment.trials.values()} - set(DATASETS):
        if name not in known_names():
            raise InputError(
                f"{experiment.file.parent.name}/{experiment.file.name}: unknown dataset {name!r}"
                f"{nearest(name, known_names())} One of: {', '.join(known_names())}"
            )


def _pace(
    experiment: Experiment, store: Store, records: Mapping[str, Record | None]
) -> dict[str, float]:
    """Seconds a step by speed key: from finished trials, else from a smoke run."""
    pace = {}
    for key, trial in experiment.trials.items():
        if trial.speed_key in pace:
            continue
        record = records[key]
        if record and record["status"] == "ok":
            pace[trial.speed_key] = record["metrics"]["train_s"]["value"] / record["steps"]
            continue
        smoked = read_record(smoke_folder(store, trial))
        if smoked and smoked["status"] == "ok":
            pace[trial.speed_key] = smoked["seconds_per_step"]
    return pace


def smoke_folder(store: Store, trial: Trial) -> Path:
    """Where the smoke run of every trial of this speed is recorded."""
    return store.root / "smoke" / trial.speed_key


def train_images(dataset: str) -> int | None:
    """How many training images the dataset has; None while nobody can know."""
    spec = DATASETS.get(dataset)
    if spec and spec.counts:
        return sum(spec.counts["train"].values())
    return next(row.train_images for row in listing() if row.name == dataset)


def prepare(plan: Plan, store: Store, listener: Listener) -> None:
    """Have the data ready and the names checked before the first trial starts.

    Raises:
        InputError: if a dataset is not there or is not the one that finished trials were run on,
            or if a backbone or a resizer cannot be built.
    """
    trials = list(plan.experiment.trials.values())
    for name in dict.fromkeys(trial.dataset for trial in trials):
        open_dataset(name, lambda *at: listener({"event": "data", "progress": at}))
        check_same_data(name, plan, store)
    for event in call("bench.models:check", trials):
        raise InputError(f"{plan.experiment.name}: {event['refused']}")


def check_same_data(dataset: str, plan: Plan, store: Store) -> None:
    """Raise InputError if finished trials saw other files under the dataset's name."""
    for key, trial in plan.experiment.trials.items():
        if trial.dataset != dataset or plan.states[key] != "ok":
            continue
        seen = (store.trial(key) or {})["data"]["fingerprint"]
        if seen != fingerprint(dataset):
            raise InputError(
                f"trial {key} was run on other files called {dataset!r} (fingerprint {seen[:12]}, "
                f"now {str(fingerprint(dataset))[:12]}): import these under another name, or set "
                "RESIZER_BENCH_RESULTS to another folder"
            )


def run(
    experiment: Experiment,
    store: Store,
    listener: Listener,
    *,
    where: Mapping[str, str] | None = None,
    retry: bool = False,
) -> Outcome:
    """Run every trial that is missing, then the timing lane. Again = resume.

    Args:
        where: run only trials whose fields print as these values; no timing lane then.
        retry: take up the trials that failed, too.
    Raises:
        InputError: before anything is run, if the experiment cannot be.
    """
    planned = plan(experiment, store)
    todo = select(planned.missing(retry=retry), where or {})
    to_time = not where and lane_is_open(experiment, store, retry=retry)
    if todo or to_time:
        prepare(planned, store, listener)
    listener({"event": "plan", "plan": planned, "todo": todo})
    elsewhere = 0
    for key, trial in todo.items():
        with claim(store, key) as claimed:
            if not claimed:
                elsewhere += 1
            elif (record := store.trial(key)) is None or (retry and record["status"] != "ok"):
                attempt(trial, store, listener, experiment.spec.timeout_s)
    planned = plan(experiment, store) if todo else planned
    if to_time and "missing" not in planned.states.values():
        time_lane(experiment, store, listener)
    failures = {k: store.trial(k) for k, s in planned.states.items() if s not in ("ok", "missing")}
    failed = {key: record for key, record in failures.items() if record}
    return Outcome(planned, failed, elsewhere, new=bool(todo) or to_time)


def select(trials: Mapping[str, Trial], where: Mapping[str, str]) -> dict[str, Trial]:
    """The trials whose fields have the values that `where` asks for, both as text.

    Raises:
        InputError: if a field is unknown.
    """
    for name in where:
        if name not in Trial.model_fields:
            known = list(Trial.model_fields)
            raise InputError(
                f"--where: unknown field {name!r}{nearest(name, known)} One of: {', '.join(known)}"
            )
    return {
        key: trial
        for key, trial in trials.items()
        if all(str(getattr(trial, name)) == value for name, value in where.items())
    }


@contextmanager
def claim(store: Store, key: str) -> Iterator[bool]:
    """Hold the key's lock, which the system lets go if we die; False if another process has it."""
    folder = store.root / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / key)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def attempt(trial: Trial, store: Store, listener: Listener, timeout_s: float) -> None:
    """Run one trial to its record, whatever becomes of it."""
    folder = store.trial_folder(trial.key)
    listener({"event": "begin", "trial": trial})
    try:
        for event in call("bench.trial:run", trial, folder, timeout_s=timeout_s):
            listener(event)
    except TimedOutError:
        reason = f"not finished within {timeout_s:g} s (timeout_s of the experiment)"
        write_record(folder, ended(trial, "timeout", reason))
    except DiedError as error:
        write_record(folder, ended(trial, "failed", str(error)))
    listener({"event": "end", "trial": trial, "record": store.trial(trial.key)})


def ended(trial: Trial, status: Status, reason: str) -> Record:
    """The record of a trial that could not write its own."""
    fields = {"status": status, "reason": reason, "metrics": {}}
    return fields | {"key": trial.key, "trial": trial.model_dump()}


def subjects(experiment: Experiment) -> dict[str, Trial]:
    """One trial for each distinct speed, by speed key."""
    return {trial.speed_key: trial for trial in reversed(experiment.trials.values())}


def smoke(experiment: Experiment, store: Store, listener: Listener) -> Mapping[str, Record]:
    """Take training steps of every distinct arm at full size; returns the failed ones' records."""
    prepare(plan(experiment, store), store, listener)
    todo = subjects(experiment)
    listener({"event": "smoke", "todo": todo})
    failures = {}
    for key, trial in todo.items():
        folder = smoke_folder(store, trial)
        listener({"event": "begin", "trial": trial})
        try:
            for event in call("bench.trial:smoke", trial, folder, timeout_s=600):
                listener(event)
        except (TimedOutError, DiedError) as error:
            write_record(folder, ended(trial, "failed", str(error) or "no step within 600 s"))
        record = read_record(folder) or ended(trial, "failed", "no record was written")
        listener({"event": "end", "trial": trial, "record": record})
        if record["status"] != "ok":
            failures[key] = record
    return failures


def lane_is_open(experiment: Experiment, store: Store, *, retry: bool) -> bool:
    """Whether the arms are to be timed: not on record, or some failed and are to be retried."""
    record = store.timing(experiment)
    return record is None or (retry and any(s.get("reason") for s in record["subjects"].values()))


def time_lane(experiment: Experiment, store: Store, listener: Listener) -> None:
    """Measure what the arms cost; an arm that cannot be is on record with the reason."""
    lane = list(subjects(experiment).values())
    classes = len(open_dataset(lane[0].dataset).classes)
    settings = experiment.spec.timing
    listener({"event": "timing", "turns": settings.rounds * len(lane)})
    weights = [weigh(trial, classes) for trial in lane]
    folder = store.timing_folder(experiment)
    for event in call("bench.timing:run", folder, lane, classes, settings, weights):
        listener(event)


def weigh(trial: Trial, classes: int) -> dict[str, Any]:
    """What a fresh process tells of the trial's memory and arithmetic, or why it could not."""
    try:
        (event,) = call("bench.timing:weigh", trial, classes)
    except DiedError as error:
        return {"metrics": {}, "memory_method": None, "reason": str(error)}
    return event
