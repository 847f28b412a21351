"""A run that is stopped by a signal or its own time: it goes on from where it was."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from bench.events import Event, Step, TrialProgress, ignore
from bench.run import runner, stopping
from bench.run.executors import Local
from bench.store import Store
from tests.conftest import WriteExperiment


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGALRM, 0)]
)
def test_a_stopped_run_leaves_a_snapshot_and_goes_on_from_it(
    store: Store, write_experiment: WriteExperiment, number: int, status: int
) -> None:
    experiment = write_experiment()

    def stop_at_2(event: Event) -> None:
        if isinstance(event, TrialProgress) and event.told == Step(2, 4, 1):
            os.kill(os.getpid(), number)

    with pytest.raises(stopping.SignalledError) as stop, stopping.stoppable(minutes=60):
        runner.run(experiment, store, stop_at_2, choose=partial(Local, workers=1))
    assert stop.value.status == status
    first, *_ = experiment.runs
    assert store.snapshot(first).exists()
    runner.run(experiment, store, ignore)
    record = store.trial(first)
    assert record
    assert record["resumptions"] == 1
    assert not store.snapshot(first).parent.exists()


def test_a_run_stops_when_its_minutes_are_up() -> None:
    usual = signal.getsignal(signal.SIGTERM)
    with pytest.raises(stopping.SignalledError) as stop, stopping.stoppable(minutes=0.001):
        time.sleep(60)
    assert stop.value.status == 0
    assert signal.getsignal(signal.SIGTERM) is usual


def test_a_background_job_whose_script_ignores_ctrl_c_stops_all_the_same() -> None:
    usual = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with pytest.raises(stopping.SignalledError), stopping.stoppable(minutes=0.001):
            time.sleep(60)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, usual)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stop_in_the_midst_of_an_import_is_put_off_as_the_module_might_swallow_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, status: int
) -> None:
    (tmp_path / "swallows.py").write_text(
        "import os, signal\n"
        "whole = False\n"
        "try:\n"
        f"    os.kill(os.getpid(), {number:d})\n"
        "    whole = True\n"
        "except BaseException:\n"
        "    pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "swallows", raising=False)

    def imported() -> None:
        assert importlib.import_module("swallows").whole
        time.sleep(60)

    with pytest.raises(stopping.SignalledError) as stop, stopping.stoppable():
        imported()
    assert stop.value.status == status
