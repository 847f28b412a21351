"""Several processes at one store, on one host or many: each trial is published once."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from bench.events import Begin, Event, TrialProgress, Waiting
from bench.records import TrialRecord, read_record, write_record
from bench.run import claims, runner
from bench.run.attempt import ended
from bench.run.claims import claim
from bench.spec.trial import Trial
from bench.store import Store, put_in_place
from tests import fakes
from tests.conftest import WriteExperiment
from tests.test_runner import WARM
from tests.test_scheduling import Made

LEASE_S = 0.6

pytestmark = pytest.mark.usefixtures("store")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "LEASE_S", LEASE_S)
    monkeypatch.setattr(runner, "POLL_S", 0.1)


TRIAL = Trial(dataset="toy", backbone="test_resnet", input_size=16, epochs=1)


def work(root: Path, there: Connection) -> None:
    """Another process: claim a trial, do it, publish it."""
    claims.LEASE_S = LEASE_S
    store = Store(root)
    with claim(store, "key") as claimed, store.own_folder("key") as folder:
        write_record(folder, {"status": "ok", "reason": "of the first"})
        there.send(claimed)
        there.recv()
        there.send(put_in_place(folder, store.trial_folder("key")))


@pytest.fixture
def other(store: Store) -> Iterator[tuple[Any, Connection]]:
    """Another process that has claimed the trial, and waits for a word to publish it."""
    spawn = multiprocessing.get_context("spawn")
    here, there = spawn.Pipe()
    process = spawn.Process(target=work, args=(store.root, there))
    process.start()
    assert here.recv()
    yield process, here
    process.kill()
    process.join()


def taken_after(store: Store, seconds: float) -> bool:
    """Whether the claim can be had, looking again and again for so long."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with claim(store, "key") as claimed:
            if claimed:
                return True
        time.sleep(0.05)
    return False


def test_a_living_holder_keeps_its_claim_and_a_task_beside_it_gets_none(
    store: Store, other: tuple[Any, Connection]
) -> None:
    assert not taken_after(store, 2 * LEASE_S)
    other[1].send("go on")
    assert other[1].recv()
    assert taken_after(store, 10)
    with claim(store, "mine") as claimed, claim(store, "mine") as again:
        assert (claimed, again) == (True, False)


def test_a_killed_holder_loses_its_claim_at_once(
    store: Store, other: tuple[Any, Connection]
) -> None:
    other[0].kill()
    other[0].join()
    with claim(store, "key") as claimed:
        assert claimed


def test_a_killed_holder_on_another_host_loses_its_claim_when_the_lease_is_over(
    store: Store, other: tuple[Any, Connection]
) -> None:
    other[0].kill()
    other[0].join()
    marker = store.root / "claims" / "key"
    lines = marker.read_text().splitlines()
    hosts = ["host=another" if line.startswith("host=") else line for line in lines]
    marker.write_text("\n".join(hosts) + "\n")
    with claim(store, "key") as claimed:
        assert not claimed
    began = time.monotonic()
    assert taken_after(store, 10)
    assert time.monotonic() - began >= LEASE_S / 2


def test_a_claim_that_a_lost_machine_left_empty_is_taken_when_the_lease_is_over(
    store: Store,
) -> None:
    (marker := store.root / "claims" / "key").parent.mkdir(parents=True)
    marker.touch()
    with claim(store, "key") as claimed:
        assert not claimed
    os.utime(marker, (0, 0))
    with claim(store, "key") as claimed, claim(store, "key") as again:
        assert (claimed, again) == (True, False)


def test_a_stopped_holder_that_wakes_up_does_not_publish_over_its_successor(
    store: Store, other: tuple[Any, Connection]
) -> None:
    os.kill(other[0].pid, signal.SIGSTOP)
    assert taken_after(store, 10)
    with store.own_folder("key") as folder:
        write_record(folder, fakes.result(TRIAL, key="key", finished="of the successor"))
        assert put_in_place(folder, store.trial_folder("key"))
    os.kill(other[0].pid, signal.SIGCONT)
    other[1].send("go on")
    assert other[1].recv() is False
    record = read_record(store.trial_folder("key"), TrialRecord)
    assert record
    assert record["finished"] == "of the successor"


def test_a_run_that_is_overtaken_keeps_the_record_of_the_faster(
    store: Store, write_experiment: WriteExperiment
) -> None:
    experiment = write_experiment()
    first, *_ = experiment.runs
    faster = fakes.result(experiment.runs[first], finished="earlier")

    def hear(event: Event) -> None:
        if isinstance(event, TrialProgress) and event.trial.key == first:
            with store.own_folder(first) as folder:
                write_record(folder, faster)
                put_in_place(folder, store.trial_folder(first))

    outcome = runner.run(experiment, store, hear, where={"seed": "0"})
    assert store.trial(first) == {"schema": 1, **faster}
    assert not outcome.failures
    assert not list(store.root.glob("unfinished/*"))


def test_what_another_process_ends_while_a_run_makes_ready_is_not_run_again(
    store: Store, write_experiment: WriteExperiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = write_experiment()
    theirs, *_ = (cell.trial for cell in experiment.cells if cell.trial.seed == 0)
    begun: list[str] = []

    def making_ready(*_: object) -> list[str | None]:
        write_record(store.trial_folder(theirs.key), fakes.result(theirs))
        return []

    def hear(event: Event) -> None:
        if isinstance(event, Begin):
            begun.append(event.trial.key)

    monkeypatch.setattr(runner, "prepare", making_ready)
    runner.run(experiment, store, hear, where={"seed": "0"}, choose=lambda *_, **__: Made(1))
    assert begun
    assert theirs.key not in begun


def test_a_run_waits_for_what_another_process_has_and_takes_what_that_leaves(
    store: Store, write_experiment: WriteExperiment
) -> None:
    experiment = write_experiment(rest=WARM)
    keys = {c.arm: c.trial.key for c in experiment.cells if c.trial.seed == 0}
    begun: list[str] = []
    waiting: list[Waiting] = []
    with ExitStack() as theirs:
        assert theirs.enter_context(claim(store, keys["learned"]))
        assert theirs.enter_context(claim(store, keys["plain"]))

        def hear(event: Event) -> None:
            if isinstance(event, Begin):
                begun.append(event.trial.key)
            if isinstance(event, Waiting):
                waiting.append(event)
                plain = experiment.runs[keys["plain"]]
                write_record(store.trial_folder(plain.key), ended(plain, "failed", "theirs"))
                theirs.close()

        outcome = runner.run(experiment, store, hear, where={"seed": "0"})
    assert waiting[0] == Waiting(5)
    assert begun[0] == keys["learned"]
    assert keys["plain"] not in begun
    reasons = {record["status"]: record["reason"] for record in outcome.failures.values()}
    assert set(reasons) == {"failed", "skipped"}


def test_a_trial_that_another_process_tries_again_is_tried_once(
    store: Store, write_experiment: WriteExperiment
) -> None:
    experiment = write_experiment()
    lost, *_ = experiment.runs
    write_record(store.trial_folder(lost), ended(experiment.runs[lost], "oom", "once"))
    begun: list[str] = []

    def hear(event: Event) -> None:
        if isinstance(event, Begin):
            begun.append(event.trial.key)
        if isinstance(event, Waiting):
            again = ended(experiment.runs[lost], "oom", "twice")
            write_record(store.trial_folder(lost), again)

    with claim(store, lost):
        outcome = runner.run(experiment, store, hear, where={"seed": "0"}, retry=True)
    assert lost not in begun
    assert [record["reason"] for record in outcome.failures.values()] == ["twice"]
