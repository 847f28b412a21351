"""The checks of a GPU: they run, on a CPU too, and one that fails is a line with the reason."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from bench import cli
from bench.data.library import Dataset, open_dataset
from bench.lab import device, gpu
from bench.records import CheckRecord, Finding, read_record

CPU = torch.device("cpu")


@pytest.fixture
def bench(toy: Dataset, monkeypatch: pytest.MonkeyPatch) -> gpu.Bench:
    """Checks of the least size, on a CPU."""
    monkeypatch.setitem(gpu.BASE, "batch_size", 8)
    return gpu.Bench(CPU, toy, seconds=0.001, backbone="test_resnet", boxes=5, images=16)


SMALL = [one for one in gpu.CHECKS if one is not gpu.speeds]


@pytest.mark.parametrize("check", SMALL, ids=lambda one: one.__name__)
def test_every_check_holds_on_a_cpu(check: Any, bench: gpu.Bench) -> None:
    if check is gpu.memory and device.PeakMemory(CPU).method is None:
        pytest.skip("needs Linux's /proc")
    lines = list(check(bench))
    assert [line["what"] for line in lines if line["holds"] is not True] == []
    assert bool(lines) == (check is not gpu.busy_time)


def test_a_front_end_whose_step_is_not_captured_is_named(
    bench: gpu.Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = gpu.Stepper.train_step

    def refused(stepper: gpu.Stepper) -> None:
        usual(stepper)
        if stepper.trial.interpolation == "lanczos":
            monkeypatch.setattr(stepper.update, "refusal", "it waits", raising=False)

    monkeypatch.setattr(gpu.Stepper, "train_step", refused)
    (line,) = gpu.front_ends_captured(bench)
    assert not line["holds"]
    assert line["what"].endswith("captured: fixed lanczos, learned lanczos, muller lanczos")


def test_speeds_are_of_the_step_the_data_both_and_timms_loader(bench: gpu.Bench) -> None:
    lines = list(gpu.speeds(replace(bench, input_size=32, batch_size=8)))
    assert [line["what"].partition(",")[0] for line in lines] == [
        "step",
        "step",  # kernel by kernel
        "data",
        "step with its data",
        "timm's loader",
        "step with its data over step without",
    ]
    assert all(line["found"] and line["found"] > 0 for line in lines)


def test_a_check_that_breaks_is_a_line_that_fails_and_the_others_go_on(
    bench: gpu.Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: gpu.Bench) -> Iterator[Finding]:
        yield gpu.figure("before", 1)
        raise RuntimeError("no kernel image is available\nmore")

    monkeypatch.setattr(gpu, "CHECKS", (broken, gpu.memory))
    told: list[Finding] = []
    gpu.prove(bench, tmp_path, told.append)
    record = read_record(tmp_path, CheckRecord)
    assert record
    assert record["findings"] == told
    assert record["status"] == "failed"
    assert record["reason"].startswith("broken: RuntimeError: no kernel image is available")
    assert told[0]["holds"] is None
    assert len(told) > 2


def test_without_a_gpu_the_command_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESIZER_BENCH_DEVICE", "cpu")
    done = CliRunner().invoke(cli.app, ["check", "gpu"])
    assert str(done.exception) == "check gpu needs a GPU with CUDA; the device here is cpu"


@pytest.mark.cuda
@pytest.mark.parametrize("check", gpu.CHECKS, ids=lambda one: one.__name__)
def test_every_check_holds_on_a_gpu(check: Any) -> None:
    bench = gpu.Bench(torch.device("cuda"), open_dataset("synthetic-coarse"))
    assert [line["what"] for line in check(bench) if line["holds"] is False] == []
