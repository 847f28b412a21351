"""Several configurations at once, and workers that are stopped, killed or taken for dead."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.exceptions import StorageInternalError

from bench.errors import MachineError
from bench.events import Event, Listener, Waiting, ignore
from bench.paths import PROJECT
from bench.records import Json, write_record
from bench.run import search, studies
from bench.run.executors import Local
from bench.run.processes import waited_for
from bench.run.search import Evaluator, Search
from bench.run.studies import Tuner
from bench.spec.experiment import Timing
from bench.spec.trial import Trial
from bench.store import Store
from tests import fakes
from tests.search.toys import low_rate_wins, scoring, tuned, written


def test_several_configurations_at_once_are_scored_once_each_and_a_stopped_one_is_drawn_again(
    store: Store, toy_search: Callable[..., Search]
) -> None:
    at_once, most, events = set[str](), 0, list[Event]()
    stop_at = 3

    async def evaluate(trial: Trial, asked: optuna.Trial, listener: Listener) -> Json:
        nonlocal most
        at_once.add(trial.key)
        most = max(most, len(at_once))
        await asyncio.sleep(0.02)
        at_once.discard(trial.key)
        if len(list(store.root.glob("trials/*"))) == stop_at:
            raise KeyboardInterrupt
        return await scoring(store, low_rate_wins)(trial, asked, listener)

    with pytest.raises(KeyboardInterrupt):
        Tuner(toy_search(), store, events.append, evaluate, workers=4).run()
    stop_at = -1
    Tuner(toy_search(), store, events.append, evaluate, workers=4).run()
    assert most == 4
    assert not [event for event in events if isinstance(event, Waiting)]
    record = store.search("tuned")
    assert record
    for told in record["arms"].values():
        assert [row["state"] for row in told["configurations"]] == ["ok"] * 3
    assert len(store.kept()) == 6  # the stopped ones had the same fields again


def test_an_error_of_ours_ends_the_search_instead_of_drawing_on(
    store: Store, toy_search: Callable[..., Search]
) -> None:
    async def broken(trial: Trial, _: optuna.Trial, __: Listener) -> Json:
        raise ValueError(f"a defect met by {trial.backbone}")

    with pytest.raises(ValueError, match="a defect met by test_resnet"):
        Tuner(toy_search(), store, ignore, broken).run()


def test_a_configuration_that_the_machine_failed_is_drawn_again(
    store: Store, toy_search: Callable[..., Search]
) -> None:
    lost: list[float] = []

    async def full(trial: Trial, _: optuna.Trial, __: Listener) -> Json:
        lost.append(trial.lr)
        raise MachineError("no space left")

    with pytest.raises(MachineError):
        Tuner(toy_search(), store, ignore, full).run()
    record = tuned(toy_search(), store, low_rate_wins)
    rates = [row["chosen"]["lr"] for row in record["arms"]["plain"]["configurations"]]
    assert len(rates) == 3
    assert set(lost) <= set(rates)


def test_a_study_on_a_disk_that_is_full_is_not_taken_for_damaged(
    store: Store, toy_search: Callable[..., Search], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = sqlite3.OperationalError("database or disk is full")

    async def filled(*_: object) -> Json:
        raise StorageInternalError from said

    with pytest.raises(MachineError, match=r"study\.db: no space left$"):
        Tuner(toy_search(), store, ignore, filled).run()

    def full() -> sqlite3.Connection:
        raise said

    monkeypatch.setattr(studies, "connected", lambda _: {"creator": full})
    with pytest.raises(MachineError, match=r"study\.db: no space left$"):
        Tuner(toy_search(), store, ignore, filled)


def test_a_configuration_that_another_process_has_timed_meanwhile_is_not_timed_again(
    store: Store, toy_search: Callable[..., Search], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = toy_search(more='objectives = ["top1_pct", "gmacs"]')
    trial = found.trial("plain", {"lr": 0.01, "weight_decay": 0.1})
    study = optuna.create_study(directions=["maximize", "minimize"])
    waited_for(scoring(store, low_rate_wins)(trial, study.ask(), ignore))
    subjects = {trial.speed_key: fakes.timed_arm(trial, {"gmacs": 1.5})}
    evaluator = Evaluator(found.spec, store, Local([trial], []))

    @asynccontextmanager
    async def waiting(of: Store, name: str, _: Listener) -> AsyncIterator[None]:
        if name == "timing":
            folder = of.sitting_folder(evaluator.sitting(trial))
            write_record(folder, {"status": "ok", "reason": "", "subjects": subjects})
        yield

    monkeypatch.setattr(search, "waiting_claim", waiting)
    monkeypatch.setattr(search.timing, "sit", lambda *_: pytest.fail("it is timed again"))
    record = waited_for(evaluator(trial, study.ask(), ignore))
    assert record["metrics"]["gmacs"]["value"] == 1.5


@pytest.mark.parametrize(
    ("objective", "measured", "rounds"),
    [("gmacs", False, 0), ("params_m", False, 0), ("latency_p50_ms", True, 4)],
)
def test_an_objective_that_is_measured_takes_the_machine_for_itself_and_all_rounds(
    store: Store, toy_search: Callable[..., Search], objective: str, measured: bool, rounds: int
) -> None:
    found = toy_search(more=f'objectives = ["top1_pct", "{objective}"]')
    trial = found.trial("plain", {"lr": 0.01, "weight_decay": 0.1})
    spec = found.spec.model_copy(update={"timing": Timing(rounds=4)})
    sitting = Evaluator(spec, store, Local([trial], [])).sitting(trial)
    assert sitting.settings.rounds == rounds
    assert search.measures(found.settings) is measured


def test_a_worker_that_was_taken_for_dead_goes_on_with_another_configuration(
    store: Store, toy_search: Callable[..., Search]
) -> None:
    lost: list[int] = []

    async def evaluate(trial: Trial, asked: optuna.Trial, listener: Listener) -> Json:
        if not lost:
            lost.append(asked.number)
            storage = asked.study._storage
            storage.set_trial_state_values(asked._trial_id, optuna.trial.TrialState.FAIL)
            asked.study.enqueue_trial(asked.params)
        return await scoring(store, low_rate_wins)(trial, asked, listener)

    Tuner(toy_search(), store, ignore, evaluate).run()
    record = store.search("tuned")
    assert record
    for arm in ("plain", "learned"):
        assert [row["state"] for row in record["arms"][arm]["configurations"]] == ["ok"] * 3


class KilledError(BaseException):
    """Ends a worker as SIGKILL does: nothing of Optuna's or ours catches it."""


@pytest.mark.parametrize("dies", ["before it has leased it", "after it"])
def test_what_a_dead_worker_had_drawn_is_taken_up(
    store: Store,
    toy_search: Callable[..., Search],
    monkeypatch: pytest.MonkeyPatch,
    dies: str,
) -> None:
    monkeypatch.setattr(studies, "POLL_S", 0.1)
    found = toy_search()

    def killed(*_: Any) -> None:
        raise KilledError

    async def killed_later(*_: Any) -> Json:
        raise KilledError

    with monkeypatch.context() as patched:
        if dies.startswith("before"):
            patched.setattr(studies, "claim", killed)
        with pytest.raises(KilledError):
            Tuner(found, store, ignore, killed_later).run()

    waited: list[float] = []

    def impatient(event: Event) -> None:
        if isinstance(event, Waiting):
            waited.append(time.monotonic())
            assert waited[-1] - waited[0] < 60, "it waits for the dead"

    Tuner(found, store, impatient, scoring(store, low_rate_wins)).run()
    record = store.search("tuned")
    assert record
    for arm in ("plain", "learned"):
        assert [row["state"] for row in record["arms"][arm]["configurations"]] == ["ok"] * 3


WORKER = """
import asyncio, os, sys
from pathlib import Path
from bench.data.library import fingerprint
from bench.run import search, studies
from bench.run.search import open_search
from bench.records import write_record
from bench.store import Store
from tests.fakes import result

studies.POLL_S = search.POLL_S = 0.1
store, log = Store(Path(sys.argv[2])), Path(sys.argv[3])

def note(word, key):
    with log.open("a") as file:
        file.write(f"{word} {key} {os.getpid()}\\n")

class Slow(search.Evaluator):
    async def _record(self, trial, asked, listener):
        if store.trial(trial.key) is None:
            note("begin", trial.key)
            while not log.with_name("released").exists():
                await asyncio.sleep(0.02)
            record = result(trial, 100 * trial.lr)
            record["data"] |= {"fingerprint": fingerprint(trial.dataset)}
            write_record(store.trial_folder(trial.key), record)
            note("end", trial.key)
        return await super()._record(trial, asked, listener)

if __name__ == "__main__":
    found = open_search(sys.argv[1])
    studies.Tuner(found, store, lambda event: None, Slow(found.spec, store, None)).run()
"""


def test_what_a_killed_worker_was_at_is_not_told_as_on_record(
    store: Store, toy_search: Callable[..., Search]
) -> None:
    record = tuned(toy_search(), store, low_rate_wins)
    assert store.tried("tuned") == {"plain": 3, "learned": 3}
    record["arms"]["plain"]["configurations"][-1]["state"] = "running"
    write_record(store.search_folder("tuned"), record)
    assert store.tried("tuned") == {"plain": 2, "learned": 3}


def test_a_killed_workers_configuration_is_taken_up_and_none_is_evaluated_twice(
    tmp_path: Path, store: Store
) -> None:
    path = written(tmp_path)
    path.write_text(path.read_text().replace("trials = 3", "trials = 10"))
    script, log = tmp_path / "worker.py", tmp_path / "log"
    script.write_text(WORKER)
    log.touch()
    command = [sys.executable, str(script), str(path), str(store.root), str(log)]
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(command, env=environment, cwd=PROJECT)

    def begun(pid: int) -> bool:
        lines = log.read_text().splitlines()
        mine = [line for line in lines if line.endswith(f" {pid}")]
        return bool(mine) and mine[-1].startswith("begin")

    with start() as steady:
        try:
            for _ in range(3):
                killed = start()
                while not begun(killed.pid):
                    assert killed.poll() is None, "the worker evaluated nothing"
                    time.sleep(0.02)
                os.kill(killed.pid, signal.SIGKILL)
                killed.wait()
            (tmp_path / "released").touch()
            assert steady.wait(timeout=300) == 0
        finally:
            steady.kill()
    record = json.loads((store.search_folder("tuned") / "record.json").read_text())
    for arm in ("plain", "learned"):
        states = [row["state"] for row in record["arms"][arm]["configurations"]]
        assert states == ["ok"] * 10
    ended = Counter(line.split()[1] for line in log.read_text().splitlines() if "end" in line)
    assert set(ended.values()) == {1}
    assert len(ended) == 20
