"""One trial from its claim to its record, whatever becomes of it."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bench.events import Begin, End, Event, Listener, PrunedError, TrialProgress, epochs_of
from bench.metrics import Status
from bench.records import CurveRow, TrialRecord, read_record, write_record
from bench.run.processes import DiedError, TimedOutError
from bench.spec.trial import Trial
from bench.store import Store, put_in_place

if TYPE_CHECKING:
    from bench.run.executors import Executor


async def attempt(
    trial: Trial, store: Store, executor: Executor, listener: Listener, timeout_s: float
) -> bool:
    """Run one trial to its record; that of a process that was faster stays.

    A trial that starts from one that failed is skipped, with the reason.

    Returns: False for one that starts from one that is not there yet, and is left for later.
    """
    parents = {key: record for key in trial.parents if (record := store.trial(key))}
    if len(parents) < len(trial.parents):
        return False
    listener(Begin(trial))
    lost = {key: record for key, record in parents.items() if record["status"] != "ok"}
    with store.own_folder(trial.key) as folder:
        if lost:
            key, record = lost.popitem()
            reason = f"it starts from {key}, which ended as {record['status']}: {record['reason']}"
            write_record(folder, ended(trial, "skipped", reason))
        else:
            await _attempt(trial, folder, store, executor, listener, timeout_s)
        put_in_place(folder, store.trial_folder(trial.key))
    written = store.trial(trial.key)
    assert written
    shutil.rmtree(store.snapshot(trial.key).parent, ignore_errors=True)
    listener(End(trial, written))
    return True


async def _attempt(
    trial: Trial,
    folder: Path,
    store: Store,
    executor: Executor,
    listener: Listener,
    timeout_s: float,
) -> None:
    curve: list[CurveRow] = []
    began = time.perf_counter()

    def hear(event: Event) -> None:
        curve.extend(epochs_of(event))
        listener(TrialProgress(trial, event))

    try:
        await executor.train(trial, folder, store.root, hear, timeout_s)
        return
    except TimedOutError:
        reason = f"not finished within {timeout_s:g} s (timeout_s of the experiment)"
        record = ended(trial, "timeout", reason)
    except DiedError as error:
        record = ended(trial, "failed", str(error))
    except PrunedError as error:
        record = ended(trial, "pruned", str(error))
        record["pruned_by"] = error.by
    if not read_record(folder, TrialRecord):  # the process may have ended after writing its own
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
