"""A run that is disturbed at random: killed, or its writes fail. A program of its own.

`python -m tests.faulty FILE FAULT ROUNDS SEED` prints a line of JSON for each round: the digests of
the records that are there, the trials that were begun, and how it ended. It has loaded what a run
and its trials need and forks for each round, so that a round costs no more than what it trains.
"""

from __future__ import annotations

import errno
import hashlib
import importlib
import json
import multiprocessing
import os
import random
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import bench.lab.snapshots
from bench.errors import InputError
from bench.events import Begin, Event
from bench.opening import load_from
from bench.paths import local_results
from bench.run import processes, runner
from bench.store import Store

FULL = (errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EMFILE)
"""What a write fails with: a full disk, one that turned read-only, a quota, no more handles."""


def once(file: Path, log: Path) -> None:
    """Run what is missing; each trial that begins is a line of the log."""
    store = Store(local_results())

    def hear(event: Event) -> None:
        if isinstance(event, Begin):
            with log.open("a") as lines:
                lines.write(event.trial.key + "\n")

    runner.run(load_from(store, str(file), small=False), store, hear, where={"dataset": "toy"})


def child(file: Path, log: Path, told: Path) -> int:
    """Fork a run in a session of its own; its sentence, or its traceback, goes to `told`."""
    if pid := os.fork():
        return pid
    os.setsid()
    status = 0
    try:
        once(file, log)
    except (InputError, OSError) as error:
        told.write_bytes(str(error).encode())
        status = 2
    except BaseException:
        told.write_bytes(traceback.format_exc().encode())
        status = 1
    os._exit(status)


def failing_writes(at: int, number: int) -> Any:
    """Let the at-th write from now on, counted over all processes, fail; returns the real one."""
    real, count = os.fsync, multiprocessing.get_context("fork").Value("i", 0)

    def fsync(descriptor: int) -> None:
        with count.get_lock():
            count.value += 1
            if count.value >= at:
                raise OSError(number, os.strerror(number))
        real(descriptor)

    os.fsync = fsync
    return real


def ended(pid: int) -> int:
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


def state(store: Store) -> dict[str, str]:
    return {
        path.parent.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in store.root.glob("trials/*/record.json")
    }


def main() -> None:
    file, fault, rounds, seed = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]
    for name in processes.PRELOADED:
        importlib.import_module(name)
    bench.lab.snapshots.EVERY_S = 0.0
    processes._context = lambda: multiprocessing.get_context("fork")  # type: ignore[assignment]
    chance, store = random.Random(seed), Store(local_results())
    log, told = store.root.with_suffix(".log"), store.root.with_suffix(".told")
    for _ in range(rounds):
        log.write_text("")
        told.write_text("")
        if fault == "kill":
            pid = child(file, log, told)
            time.sleep(chance.uniform(0.05, 1.0))
            os.killpg(pid, signal.SIGKILL)
            status = ended(pid)
        else:
            real = failing_writes(chance.randint(1, 14), chance.choice(FULL))
            status = ended(child(file, log, told))
            os.fsync = real
        print(json.dumps([state(store), log.read_text().split(), status, told.read_text()]))  # noqa: T201
    log.write_text("")
    told.write_text("")
    status = ended(child(file, log, told))
    print(json.dumps([state(store), log.read_text().split(), status, told.read_text()]))  # noqa: T201


if __name__ == "__main__":
    main()
