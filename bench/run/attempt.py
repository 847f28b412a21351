"""One trial from its claim to its record, whatever becomes of it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from filelock import FileLock, Timeout

from bench.events import Begin, End, Event, Listener, PrunedError, epochs_of
from bench.metrics import Status
from bench.records import CurveRow, TrialRecord, write_record
from bench.run import jobs
from bench.run.processes import DiedError, TimedOutError, call
from bench.spec.trial import Trial
from bench.store import Store

SAVING_S = 60.0
"""So long a stopped trial has to come to the end of its step and to save its state."""


@contextmanager
def claim(store: Store, key: str) -> Iterator[bool]:
    """Hold the key's lock, which the system lets go if we die; False if another process has it."""
    try:
        held = _lock(store, key).acquire(timeout=0)
    except Timeout:
        yield False
        return
    with held:
        yield True


def exclusive(store: Store) -> AbstractContextManager[object]:
    """Wait until no other process of this store is timing, and keep others from it."""
    return _lock(store, "timing")


def _lock(store: Store, name: str) -> FileLock:
    folder = store.root / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    return FileLock(folder / name)


def attempt(trial: Trial, store: Store, listener: Listener, timeout_s: float) -> None:
    """Run one trial to its record.

    A trial that starts from one that failed is skipped, with the reason; one that starts from one
    that is not there yet is left for later.
    """
    parents = {key: record for key in trial.parents if (record := store.trial(key))}
    if len(parents) < len(trial.parents):
        return
    (store.trial_folder(trial.key) / "record.json").unlink(missing_ok=True)
    listener(Begin(trial))
    lost = {key: record for key, record in parents.items() if record["status"] != "ok"}
    if lost:
        key, record = lost.popitem()
        reason = f"it starts from {key}, which ended as {record['status']}: {record['reason']}"
        write_record(store.trial_folder(trial.key), ended(trial, "skipped", reason))
    else:
        _attempt(trial, store, listener, timeout_s)
    written = store.trial(trial.key)
    assert written
    shutil.rmtree(store.snapshot(trial.key).parent, ignore_errors=True)
    listener(End(trial, written))


def _attempt(trial: Trial, store: Store, listener: Listener, timeout_s: float) -> None:
    folder = store.trial_folder(trial.key)
    curve: list[CurveRow] = []
    began = time.perf_counter()

    def hear(event: Event) -> None:
        curve.extend(epochs_of(event))
        listener(event)

    try:
        call(
            jobs.train,
            trial,
            folder,
            store.snapshot(trial.key),
            listener=hear,
            timeout_s=timeout_s,
            grace_s=SAVING_S,
        )
        return
    except TimedOutError:
        reason = f"not finished within {timeout_s:g} s (timeout_s of the experiment)"
        record = ended(trial, "timeout", reason)
    except DiedError as error:
        record = ended(trial, "failed", str(error))
    except PrunedError as error:
        record = ended(trial, "pruned", str(error))
        record["pruned_by"] = error.by
    if not store.trial(trial.key):  # the process may have ended after its record was written
        record |= {"curve": curve, "wall_s": time.perf_counter() - began}
        write_record(folder, record)


def ended(trial: Trial, status: Status, reason: str) -> TrialRecord:
    """The record of a trial that could not write its own."""
    return {
        "status": status,
        "reason": reason,
        "metrics": {},
        "key": trial.key,
        "trial": trial.model_dump(),
    }
