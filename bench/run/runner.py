"""What is missing of an experiment, and getting it done: plan, claim, run, resume, retry."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

from filelock import FileLock, Timeout

from bench.data.library import class_count, fingerprint, open_dataset
from bench.errors import InputError
from bench.events import Listener, PrunedError
from bench.metrics import Status
from bench.run import timing as lane
from bench.run.plan import Plan, make_plan, select, smoke_folder
from bench.run.processes import DiedError, TimedOutError, call
from bench.spec.experiment import Experiment
from bench.spec.trial import Trial
from bench.store import Record, Store, load_from, read_record, write_record


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    plan: Plan
    failures: Mapping[str, Record]  # trial key -> record, of every trial that is not ok
    elsewhere: int  # trials that another process is running, or that wait for one of these
    untimed: Mapping[str, str]  # reasons of the arms that the timing lane could not measure


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


def match_sizes(experiment: Experiment, store: Store, listener: Listener) -> Experiment:
    """Count and time the sizes that are not matched, save them, and name the trials they give.

    Raises:
        InputError: if one cannot be matched.
    """
    if not experiment.sizes:
        return experiment
    asked = experiment.sizes
    prepare(experiment, [request.like for request in asked.values()], store, listener)
    names = {request.like.dataset for request in asked.values()}
    classes = {name: class_count(name) for name in names}
    listener({"event": "matching", "total": len(asked)})
    for event in _asked("bench.lab.matching:match", asked, classes):
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
        experiment: with every size matched.
        where: run only trials whose fields print as these values, and those that they start from;
            no timing lane then.
        retry: take up the trials that failed, too.
    Raises:
        InputError: before anything is run, if the experiment cannot be.
    """
    planned = make_plan(experiment, store)
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
    planned = make_plan(experiment, store) if todo else planned
    elsewhere = sum(planned.states[key] == "missing" for key in todo)
    if to_time and "missing" not in planned.states.values():
        with claim(store, store.timing_folder(experiment).name) as claimed:
            if claimed and lane.is_open(experiment, store, retry=retry):
                lane.run(experiment, store, listener)
    failures = {k: store.trial(k) for k, s in planned.states.items() if s not in ("ok", "missing")}
    failed = {key: record for key, record in failures.items() if record}
    return Outcome(planned, failed, elsewhere, lane.untimed(experiment, store))


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
