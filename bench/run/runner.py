"""What is missing of an experiment, and getting it done: plan, claim, run, resume, retry."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from bench.data.library import (
    class_count,
    fingerprint,
    known_names,
    open_dataset,
    train_images,
)
from bench.data.specs import DATASETS
from bench.errors import InputError
from bench.run import timing as lane
from bench.run.processes import DiedError, TimedOutError, call
from bench.spec.experiment import Experiment, Trial
from bench.spec.files import load_from
from bench.store import Record, Status, Store, read_record, write_record
from resizer.specs import nearest


class PrunedError(Exception):
    """Raised by a listener to end the trial that it hears of: it becomes a row, "pruned"."""

    def __init__(self, reason: str, *, by: str) -> None:
        super().__init__(reason)
        self.by = by


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
            for key, trial in self.experiment.runs.items()
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
    elsewhere: int  # trials that another process is running, or that wait for one of these
    untimed: Mapping[str, str]  # reasons of the arms that the timing lane could not measure


def plan(experiment: Experiment, store: Store) -> Plan:
    """Look at what is saved; nothing is run."""
    check_datasets(experiment)
    records = store.trials(experiment.runs)
    states = {key: r["status"] if r else "missing" for key, r in records.items()}
    missing = [key for key, state in states.items() if state == "missing"]
    pace = _pace(experiment, store, records) if missing else {}
    images = {name: train_images(name) for name in {t.dataset for t in experiment.trials.values()}}
    seconds = {}
    for key in missing:
        trial = experiment.trials[key]
        if images[trial.dataset] and trial.speed_key in pace:
            seconds[key] = pace[trial.speed_key] * trial.total_steps(images[trial.dataset] or 0)
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
    """Seconds a step by speed key: of trials that finished here, all told, else of a smoke run."""
    pace: dict[str, float] = {}
    for key, record in records.items():
        if record and record["status"] == "ok" and record["steps"] and "reused_from" not in record:
            seconds = record.get("wall_s", record["metrics"]["train_s"]["value"])
            pace.setdefault(experiment.trials[key].speed_key, seconds / record["steps"])
    if not (store.root / "smoke").exists():
        return pace
    for speed_key in {trial.speed_key for trial in experiment.trials.values()} - set(pace):
        smoked = read_record(store.root / "smoke" / speed_key)
        if smoked and smoked["status"] == "ok":
            pace[speed_key] = smoked["seconds_per_step"]
    return pace


def smoke_folder(store: Store, trial: Trial) -> Path:
    """Where the smoke run of every trial of this speed is recorded."""
    return store.root / "smoke" / trial.speed_key


def prepare(
    experiment: Experiment, trials: Iterable[Trial], store: Store, listener: Listener
) -> None:
    """Have the data ready and the names checked before the first of the trials starts.

    Raises:
        InputError: if a dataset is not there or is not the one that finished trials were run on,
            or if a device, a backbone or a resizer cannot be had.
    """
    trials = list(trials)
    names = dict.fromkeys(trial.dataset for trial in trials)
    for name in names if experiment.spec.train else ():
        open_dataset(name, lambda *at: listener({"event": "data", "progress": at}))
        check_same_data(name, experiment, store)
    for event in _asked("bench.lab.models:check", trials):
        raise InputError(f"{experiment.name}: {event['refused']}")


def _asked(function: str, *arguments: Any) -> Iterator[dict[str, Any]]:
    """The events of a question that a fresh process answers before anything is run."""
    try:
        yield from call(function, *arguments)
    except DiedError as error:
        raise InputError(f"the experiment could not be checked: {error}") from None


def check_same_data(dataset: str, experiment: Experiment, store: Store) -> None:
    """Raise InputError if finished trials saw other files under the dataset's name."""
    here = fingerprint(dataset)
    for key, trial in experiment.trials.items():
        if trial.dataset != dataset:
            continue
        record = store.trial(key)
        seen = record["data"]["fingerprint"] if record and record["status"] == "ok" else here
        if seen != here:
            raise InputError(
                f"trial {key} was run on other files called {dataset!r} (fingerprint "
                f"{str(seen)[:12]}, now {str(here)[:12]}): import these under another name, or set "
                "RESIZER_BENCH_RESULTS to another folder"
            )


def settle_sizes(experiment: Experiment, store: Store, listener: Listener) -> Experiment:
    """Count and time the sizes that are not settled, save them, and name the trials they give.

    Raises:
        InputError: if one cannot be settled.
    """
    if not experiment.sizes:
        return experiment
    asked = experiment.sizes
    prepare(experiment, [request.like for request in asked.values()], store, listener)
    names = {request.like.dataset for request in asked.values()}
    classes = {name: class_count(name) for name in names}
    listener({"event": "settle", "total": len(asked)})
    for event in _asked("bench.spec.controls:settle", asked, classes):
        if event["reason"]:
            raise InputError(f"{experiment.name}: {event['reason']}")
        request = asked[event["key"]]
        listener(event | {"request": request})
        record = {"status": "ok", "reason": "", "kind": request.kind, "arm": request.arm}
        measured = {name: event[name] for name in ("size", "ratio", "environment")}
        trials = {"like": request.like.model_dump(), "plain": request.plain.model_dump()}
        write_record(store.root / "sizes" / request.key, record | measured | trials)
    return load_from(store, str(experiment.file), small=experiment.small)


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
        experiment: with every size settled.
        where: run only trials whose fields print as these values, and those that they start from;
            no timing lane then.
        retry: take up the trials that failed, too.
    Raises:
        InputError: before anything is run, if the experiment cannot be.
    """
    planned = plan(experiment, store)
    todo = select(experiment, planned.missing(retry=retry), where or {})
    to_time = not where and lane.is_open(experiment, store, retry=retry)
    if todo or to_time:
        prepare(experiment, (experiment.trials if to_time else todo).values(), store, listener)
    listener({"event": "plan", "plan": planned, "todo": todo})
    for key, trial in todo.items():
        with claim(store, key) as claimed:
            record = store.trial(key)
            if claimed and (record is None or (retry and record["status"] != "ok")):
                attempt(trial, store, listener, experiment.spec.timeout_s)
    planned = plan(experiment, store) if todo else planned
    elsewhere = sum(planned.states[key] == "missing" for key in todo)
    if to_time and "missing" not in planned.states.values():
        with claim(store, store.timing_folder(experiment).name) as claimed:
            if claimed and lane.is_open(experiment, store, retry=retry):
                lane.run(experiment, store, listener)
    failures = {k: store.trial(k) for k, s in planned.states.items() if s not in ("ok", "missing")}
    failed = {key: record for key, record in failures.items() if record}
    return Outcome(planned, failed, elsewhere, lane.untimed(experiment, store))


def select(
    experiment: Experiment, trials: Mapping[str, Trial], where: Mapping[str, str]
) -> dict[str, Trial]:
    """The trials whose fields have the values that `where` asks for, and what they start from.

    Values are compared as text, whatever their case.

    Raises:
        InputError: if a field is unknown, or no trial of the experiment has the value.
    """
    for name, value in where.items():
        if name not in Trial.model_fields:
            known = list(Trial.model_fields)
            raise InputError(
                f"--where: unknown field {name!r}{nearest(name, known)} One of: {', '.join(known)}"
            )
        values = {str(getattr(trial, name)): None for trial in experiment.trials.values()}
        if value.lower() not in map(str.lower, values):
            raise InputError(
                f"--where: no trial has {name} = {value!r}{nearest(value, values)} "
                f"One of: {', '.join(values)}"
            )
    wanted: set[str] = set()
    for key, trial in reversed(experiment.trials.items()):  # children before their parents
        fits = all(str(getattr(trial, n)).lower() == v.lower() for n, v in where.items())
        if key in trials and (fits or key in wanted):
            wanted |= {key, *trial.parents}
    return {key: trial for key, trial in trials.items() if key in wanted}


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
    """Run one trial to its record, whatever becomes of it.

    A trial that starts from one that failed is skipped, with the reason; one that starts from one
    that is not there yet is left for later.
    """
    folder = store.trial_folder(trial.key)
    parents = {key: store.trial(key) for key in trial.parents}
    if None in parents.values():
        return
    (folder / "record.json").unlink(missing_ok=True)
    listener({"event": "begin", "trial": trial})
    for key, record in parents.items():
        if record and record["status"] != "ok":
            reason = f"it starts from {key}, which ended as {record['status']}: {record['reason']}"
            write_record(folder, ended(trial, "skipped", reason))
    if not store.trial(trial.key):
        _attempt(trial, store, listener, timeout_s)
    listener({"event": "end", "trial": trial, "record": store.trial(trial.key)})


def _attempt(trial: Trial, store: Store, listener: Listener, timeout_s: float) -> None:
    folder = store.trial_folder(trial.key)
    status: Status
    curve: list[dict[str, Any]] = []
    facts: dict[str, Any] = {}
    began = time.perf_counter()
    try:
        with closing(call("bench.lab.trial:run", trial, folder, timeout_s=timeout_s)) as events:
            for event in events:
                if event["event"] == "epoch":
                    curve.append({name: v for name, v in event.items() if name != "event"})
                listener(event)
        status, reason = "failed", "no record was written"
    except TimedOutError:
        status = "timeout"
        reason = f"not finished within {timeout_s:g} s (timeout_s of the experiment)"
    except DiedError as error:
        status, reason = "failed", str(error)
    except PrunedError as error:
        status, reason, facts = "pruned", str(error), {"pruned_by": error.by}
    if not store.trial(trial.key):  # the process may have ended after its record was written
        facts |= {"curve": curve, "wall_s": time.perf_counter() - began}
        write_record(folder, ended(trial, status, reason) | facts)


def ended(trial: Trial, status: Status, reason: str) -> Record:
    """The record of a trial that could not write its own."""
    fields = {"status": status, "reason": reason, "metrics": {}}
    return fields | {"key": trial.key, "trial": trial.model_dump()}


def smoke(
    experiment: Experiment, store: Store, listener: Listener, *, where: Mapping[str, str]
) -> Mapping[str, Record]:
    """Take training steps of every distinct arm at full size; returns the failed ones' records."""
    todo = lane.subjects(select(experiment, experiment.trials, where).values())
    prepare(experiment, todo.values(), store, listener)
    listener({"event": "smoke", "todo": todo})
    failures = {}
    for key, trial in todo.items():
        folder = smoke_folder(store, trial)
        listener({"event": "begin", "trial": trial})
        try:
            for event in call("bench.lab.trial:smoke", trial, folder, timeout_s=600):
                listener(event)
        except (TimedOutError, DiedError) as error:
            write_record(folder, ended(trial, "failed", str(error) or "no step within 600 s"))
        record = read_record(folder) or ended(trial, "failed", "no record was written")
        listener({"event": "end", "trial": trial, "record": record})
        if record["status"] != "ok":
            failures[key] = record
    return failures
