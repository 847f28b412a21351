"""What `run` shows: tables and answers, failed trials, and where it was stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from bench import cli
from bench.cli import console
from bench.cli.progress import Display
from bench.paths import PROJECT
from bench.run import runner
from bench.run.attempt import ended
from bench.spec.files import RESERVED, load
from bench.store import Store
from tests.cli.conftest import Command, separately
from tests.conftest import WriteExperiment


def test_a_run_ends_with_a_table_an_answer_and_the_path_of_the_report(
    toy: Path, store: Store, command: Command
) -> None:
    done = separately("run", toy)
    assert done.returncode == 0, done.stderr
    assert "4 trials to run, 0 on record" in done.stdout
    assert "learned, seed 1: top-1" in done.stdout
    page = store.root / "toy" / "report.html"
    assert done.stdout.replace("\n", "").endswith(f"report: {page}")
    assert "Does it run?" in page.read_text()
    again = command("run", toy)
    assert "0 trials to run, 4 on record" in again.stdout
    table, answer = "top-1", "Scope: toy"
    assert table in again.stdout
    assert answer in again.stdout
    told = command("report", toy)
    assert told.returncode == 0, told.stderr
    assert answer in told.stdout
    both = command("report", store.root / "toy", store.root / "toy")
    assert both.returncode == 0, both.stderr
    assert "A: toy\nB: toy" in both.stdout
    assert both.stdout.rstrip().endswith("comparison.html")
    assert {path.name for path in store.root.iterdir() if path.is_dir()} <= {"toy", *RESERVED}


def test_a_variant_has_its_own_name_and_shares_the_trials_that_do_not_change(
    toy: Path, store: Store, command: Command
) -> None:
    told = command("run", toy, "--set", "negative_slope=0.1")
    assert "4 trials to run, 0 on record" in told.stdout, told.stderr
    page = store.root / "toy+negative_slope=0.1" / "report.md"
    assert f"resizer-bench run {toy} --set negative_slope=0.1" in page.read_text()
    assert "2 trials to run, 2 on record" in command("run", toy).stdout
    assert len(store.kept()) == 6
    command("export", toy, "--tensorboard")
    folder = store.root / "toy" / "tensorboard" / "learned, seed 1"
    read = EventAccumulator(str(folder)).Reload()
    (key,) = [key for key, name in load(str(toy)).trial_names.items() if name == folder.name]
    record = store.trial(key)
    assert record
    shown = [(one.step, one.value) for one in read.Scalars("top1_pct")]
    assert shown == [(row["step"], pytest.approx(row["top1_pct"])) for row in record["curve"]]


def test_a_failed_trial_is_named_at_the_end_with_a_non_zero_exit_status(
    toy: Path, write_experiment: WriteExperiment, command: Command
) -> None:
    write_experiment(top="timeout_s = 0.01")
    done = command("run", toy)
    assert done.returncode == 1
    assert "4 trials failed; `--retry` tries again:" in done.stdout
    assert "timeout: not finished within 0.01 s" in done.stdout


def test_smoke_takes_steps_of_the_arms_that_where_asks_for(
    toy: Path, store: Store, command: Command
) -> None:
    done = command("run", toy, "--smoke", "--where", "resizer=none")
    assert done.returncode == 0, done.stderr
    assert "1 distinct arm, three training steps each" in done.stdout
    assert len(list(store.root.glob("smoke/*/record.json"))) == 1


def test_smoke_failures_of_two_learned_arms_are_told_apart(
    store: Store,
    write_experiment: WriteExperiment,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    wide = '[[arm]]\nname = "wide"\nresizer = "learned"\nnum_kernels = 8'
    experiment = write_experiment(rest=wide)
    failed = [cell.trial for cell in experiment.cells if cell.arm in ("learned", "wide")]
    records = [ended(trial, "oom", "full") for trial in failed if trial.seed == 0]
    monkeypatch.setattr(runner, "smoke", lambda *_, **__: records)
    with pytest.raises(typer.Exit):
        cli._smoke(experiment, store, Display(console.out), {})
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["learned, seed 0: oom (full)", "wide, seed 0: oom (full)"]


def test_a_run_that_is_stopped_in_the_middle_of_a_trial_goes_on_from_there(
    toy: Path, store: Store
) -> None:
    toy.write_text(toy.read_text().replace("epochs = 2", "epochs = 20000"))
    for stop, seen in ((signal.SIGINT, ": epoch 1,"), (signal.SIGTERM, ": goes on after step")):
        process = subprocess.Popen(
            [sys.executable, "-m", "bench", "run", str(toy), "--workers", "1"],
            cwd=PROJECT, stdout=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        assert process.stdout
        while seen not in process.stdout.readline():
            assert process.poll() is None
        os.killpg(process.pid, stop)
        printed, _ = process.communicate(timeout=900)
        assert process.returncode == 128 + stop
        said = "stopped with 4 trials left, 1 begun; the same command goes on"
        assert printed.splitlines()[-1] == said
    assert not list(store.root.glob("trials/*/record.json"))


def test_a_run_that_is_stopped_while_arms_are_timed_speaks_of_no_trials(
    store: Store, write_experiment: WriteExperiment, capsys: pytest.CaptureFixture[str]
) -> None:
    display = Display(console.out)
    display.experiment = write_experiment(top="train = false")
    with pytest.raises(typer.Exit) as ended, cli._shown(display, store, None):
        raise KeyboardInterrupt
    assert ended.value.exit_code == 128 + signal.SIGINT
    said = "stopped while sizes or times were measured; the same command goes on"
    assert capsys.readouterr().out.splitlines()[-1] == said
