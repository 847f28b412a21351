"""Several trials at once: in which order, on what, and how they end together."""

from __future__ import annotations

import asyncio
import math
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from bench import machine
from bench.cli.progress import Display
from bench.events import (
    Begin,
    End,
    Epoch,
    Event,
    Listener,
    MeasuringBegun,
    OnRecord,
    PlanMade,
    Resumed,
    Step,
    TrialProgress,
    Turn,
)
from bench.machine import Share, memory_bytes, shares
from bench.records import write_record
from bench.run import runner
from bench.run.executors import BYTES_OF_PROCESS, Local, memory_needed, take_all
from bench.run.processes import waited_for
from bench.spec.trial import Trial
from bench.store import Store
from tests.conftest import WriteExperiment, toy_trial
from tests.fakes import result
from tests.simulated import simulated


def by_key(*trials: Trial) -> dict[str, Trial]:
    return {trial.key: trial for trial in trials}


def taken(trials: dict[str, Trial], workers: int) -> list[str]:
    """The order in which trials begin and end, each of which takes its seed's time."""
    log: list[str] = []

    async def take(trial: Trial) -> None:
        log.append(f"+{trial.seed}")
        await asyncio.sleep(0.01 * trial.seed)
        log.append(f"-{trial.seed}")

    waited_for(take_all(trials, workers, take))
    return log


def test_trials_are_taken_in_their_order_and_so_many_at_once() -> None:
    trials = by_key(*(toy_trial(seed=seed) for seed in (3, 1, 8)))
    assert taken(trials, 1) == ["+3", "-3", "+1", "-1", "+8", "-8"]
    assert taken(trials, 2) == ["+3", "+1", "-1", "+8", "-3", "-8"]
    assert taken(trials, 9) == ["+3", "+1", "+8", "-1", "-3", "-8"]
    assert taken({}, 2) == []


def test_a_trial_waits_for_those_that_it_starts_from_and_then_goes_first() -> None:
    parent = toy_trial(seed=1)
    child = toy_trial(seed=2, backbone_from=parent.key)
    trials = by_key(parent, child, toy_trial(seed=3), toy_trial(seed=4))
    assert taken(trials, 2) == ["+1", "+3", "-1", "+2", "-3", "+4", "-2", "-4"]
    assert taken(by_key(child), 2) == ["+2", "-2"]  # its parent is none of these


def test_many_workers_are_never_idle_while_there_is_work() -> None:
    async def take(_: Trial) -> None:
        await asyncio.sleep(600)

    parents = [toy_trial(seed=seed) for seed in range(300)]
    children = [toy_trial(seed=trial.seed, backbone_from=trial.key) for trial in parents]
    trials = by_key(*parents, *children)
    assert simulated(take_all(trials, 64, take)) == 600 * math.ceil(600 / 64)
    assert simulated(take_all(trials, 512, take)) == 600 * 2  # no child before its parent


@pytest.mark.parametrize("error", [ValueError("a defect"), KeyboardInterrupt()])
def test_an_error_of_one_ends_the_others(error: BaseException) -> None:
    stopped: list[int] = []

    async def take(trial: Trial) -> None:
        if trial.seed == 2:
            raise error
        try:
            await asyncio.sleep(60)
        finally:
            stopped.append(trial.seed)

    with pytest.raises(type(error)):
        waited_for(take_all(by_key(*(toy_trial(seed=seed) for seed in range(5))), 3, take))
    assert sorted(stopped) == [0, 1]


def test_each_worker_has_its_share_of_the_cores_or_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "cores", lambda: 8)
    monkeypatch.setattr(machine, "memory_bytes", lambda: 64)
    assert shares(None, [], need=1) == [Share(1)] * 8
    assert shares(None, [], need=20) == [Share(2)] * 3
    assert shares(None, [], need=100) == [Share(8)]
    assert shares(1, [], need=1) == [Share(8)]
    assert shares(16, [], need=100) == [Share(1)] * 16
    assert shares(None, ["4", "6"], need=100) == [Share(4, "4"), Share(4, "6")]
    assert [share.card for share in shares(3, ["4", "6"], need=1)] == ["4", "6", "4"]
    assert shares(None, [None], need=100) == [Share(8)]


def test_memory_is_the_containers_where_it_has_a_limit(tmp_path: Path) -> None:
    whole = memory_bytes(tmp_path)
    (tmp_path / "memory.max").write_text("max\n")
    assert memory_bytes(tmp_path) == whole
    (tmp_path / "memory.max").write_text("1048576\n")
    assert memory_bytes(tmp_path) == 2**20


def test_a_trial_needs_memory_by_the_pixels_that_it_trains_on_at_once() -> None:
    whole, parts = (toy_trial(batch_size=8, micro_batch=micro) for micro in (None, 4))
    assert (memory_needed(whole) - BYTES_OF_PROCESS) == 2 * (
        memory_needed(parts) - BYTES_OF_PROCESS
    )


def test_the_same_threads_give_the_same_bits_whatever_runs_beside(
    tmp_path: Path, store: Store, write_experiment: WriteExperiment
) -> None:
    experiment = write_experiment()
    beside, alone = store, Store(tmp_path / "alone")
    most = 0
    running: set[str] = set()

    def count(event: Event) -> None:
        nonlocal most
        if isinstance(event, Begin):
            running.add(event.trial.key)
        elif isinstance(event, End):
            running.discard(event.trial.key)
        most = max(most, len(running))

    where = {"dataset": "toy"}
    runner.run(experiment, beside, count, where=where, choose=partial(Local, workers=4))
    assert most == 4
    for key, trial in experiment.trials.items():
        executor = Local([trial], [], workers=4)  # one thread, and nothing beside it
        asyncio.run(executor.train(trial, alone.trial_folder(key), alone.root, lambda _: None, 600))
        ours, theirs = beside.trial(key), alone.trial(key)
        assert ours
        assert theirs
        assert ours["environment"] == theirs["environment"]
        np.testing.assert_array_equal(beside.predictions(key), alone.predictions(key))


class Made:
    """An executor whose trials take no time."""

    def __init__(self, workers: int) -> None:
        self.workers, self.places = workers, f"{workers} at a time"

    async def train(self, trial: Trial, folder: Path, _: Path, tell: Listener, __: float) -> None:
        tell(Step(1, 2, 1))
        await asyncio.sleep(0)
        tell(Step(2, 2, 1))
        tell(Epoch({"epoch": 1, "step": 2, "train_s": 0.5, "top1_pct": 50.0}))
        write_record(folder, result(trial))


def test_where_nothing_redraws_each_trial_says_how_far_all_are(
    store: Store, write_experiment: WriteExperiment
) -> None:
    console = Console(file=StringIO(), width=120)
    display = Display(console)
    display.experiment = experiment = write_experiment()
    made = Made(2)
    runner.run(experiment, store, display, where={"dataset": "toy"}, choose=lambda *_, **__: made)
    assert isinstance(console.file, StringIO)
    first, *lines = console.file.getvalue().splitlines()
    assert first == "4 trials to run, 0 on record; 2 at a time"
    assert lines[0] == "  plain, seed 0: epoch 1, 32 images/s, top-1 50.0 %"
    assert all(": epoch 1, " in line for line in lines if line.startswith(" "))  # the last, too
    ends = [line for line in lines if not line.startswith(" ")]
    assert [line.partition(":")[0] for line in ends] == [
        experiment.trial_names[key] for key in experiment.trials
    ]
    assert ends[0].endswith(" s (1 of 4, 0 s left)")
    assert ends[-1].endswith("top-1 50.0 %, 0 s")


def test_a_terminal_shows_a_bar_for_each_of_the_first_trials_and_one_for_all() -> None:
    display = Display(Console(file=StringIO(), width=120, force_terminal=True))
    trials = [toy_trial(seed=seed) for seed in range(10)]
    display(PlanMade(10, 0, ""))
    for trial in trials:
        display(Begin(trial))
        display(TrialProgress(trial, Step(1, 4, 1)))
    assert len(display.progress.tasks) == 9
    display.updated = 0
    display(TrialProgress(trials[0], Step(3, 4, 1)))
    (whole,) = (task for task in display.progress.tasks if task.id == display.whole)
    assert whole.completed == pytest.approx(3 / 4 + 9 / 4)
    assert whole.fields["note"].startswith("10 running, ")


def test_a_trial_may_begin_while_another_one_is_measured() -> None:
    """As in a search of several workers, one of whose objectives is counted."""
    display = Display(Console(file=StringIO(), width=120))
    display(MeasuringBegun("timing", 2))
    display(Turn())
    display(Begin(toy_trial()))
    display(Turn())
    assert display.running


def test_what_an_earlier_process_did_of_a_trial_does_not_count_as_pace() -> None:
    display = Display(Console(file=StringIO(), width=120))
    trials = [toy_trial(seed=seed) for seed in range(2)]
    display(PlanMade(2, 0, ""))
    for trial in trials:
        display(Begin(trial))
    display(TrialProgress(trials[0], Resumed(90, ())))
    display(TrialProgress(trials[0], Step(91, 100, 1)))
    display.began -= 36  # a hundredth of a trial in 36 s
    assert display._left() == " (0 of 2, 65 min left)"


def test_a_trial_that_another_process_has_ended_is_told_and_counted_once(
    store: Store, write_experiment: WriteExperiment
) -> None:
    experiment, told = write_experiment(), list[Event]()
    theirs = list(experiment.trials.values())[1:3]

    class Sharing(Made):
        async def train(self, trial: Trial, folder: Path, *others: Any) -> None:
            await super().train(trial, folder, *others)
            for other in theirs:
                write_record(store.trial_folder(other.key), result(other))

    made = Sharing(1)
    runner.run(
        experiment, store, told.append, where={"dataset": "toy"}, choose=lambda *_, **__: made
    )
    assert [one.trial for one in told if isinstance(one, OnRecord)] == theirs
    assert len([one for one in told if isinstance(one, End)]) == 2
