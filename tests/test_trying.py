"""What could not be used after hours of training is refused before the first step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from torch import Tensor, nn

from bench.data import library
from bench.errors import InputError
from bench.events import Event, Trying
from bench.lab import trial, trying
from bench.run import readiness, runner
from bench.run.processes import TimedOutError
from bench.store import Store
from tests.conftest import WriteExperiment, toy_trial

FRONT = """
import torch
from torch import nn
class Front(nn.Module):
    def __init__(self, *, output_size):
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(output_size)
        {init}
    def forward(self, x):
        {use}
        return self.pool(x)
    {more}
"""
BAD = {
    "lazy": ("self.c = nn.LazyConv2d(3, 1)", "x = self.c(x)", "", "has lazy layers, whose weights"),
    "lazy norm": ("self.n = nn.LazyBatchNorm2d()", "x = self.n(x)", "", "has lazy layers, whose"),
    "unsaved state": (
        "pass", "pass", "def get_extra_state(self): return lambda: 1", "cannot be saved and loaded"
    ),
    "unloadable": (
        "pass", "pass",
        "def get_extra_state(self): return 1\\n    def set_extra_state(self, s): 1 / 0",
        "cannot be saved and loaded: ZeroDivisionError",
    ),
    "pair": ("pass", "return x, x", "", r"gives tuple, not \(1, 3,"),
    "failing": ("pass", "1 / 0", "", "fails: ZeroDivisionError"),
    "no module": ("pass", "pass", "def __new__(cls, **_): return 3", "makes int, not torch.nn.M"),
    "leaves": ("raise SystemExit(0)", "pass", "", "cannot be built: SystemExit: 0"),
    "leaves in use": ("pass", "raise SystemExit(0)", "", "fails: SystemExit: 0"),
    "interrupts": ("raise KeyboardInterrupt", "pass", "", "cannot be built: KeyboardInterrupt"),
    "closes": ("raise GeneratorExit", "pass", "", "cannot be built: GeneratorExit"),
    "fails in training": ("pass", "if self.training: 1 / 0", "", "fails in training: ZeroDivi"),
    "leaves in training": (
        "pass", "if self.training: raise SystemExit(0)", "", "fails in training: SystemExit: 0"
    ),
    "complex": (
        "self.w = nn.Parameter(torch.ones(1, dtype=torch.complex64))", "x = (x * self.w).real", "",
        "fails in training: RuntimeError",
    ),
    "two at most": (
        "pass", "x = x[:2] if self.training else x", "",
        "fails in training: ValueError: Expected input batch",
    ),
    "two at most at all": ("pass", "x = x[:2]", "", "another picture .* where others are beside"),
    "unsaved mean": (
        "self.register_buffer('m', torch.zeros(1), persistent=False)",
        "self.m += x.mean().detach() * self.training", "", "changes its buffer 'm' in training",
    ),
    "made in use": (
        "self.c = None", "self.c = self.c or nn.Conv2d(3, 3, 1); x = self.c(x)", "",
        "left over: c.weight, c.bias.*make them all in __init__",
    ),
    "growing": (
        "self.register_buffer('seen', torch.zeros(0))",
        "self.seen = torch.cat([self.seen, x.mean().detach().view(1)]) if self.training else "
        "self.seen", "", r"of another shape: seen \(2, not 0\)",
    ),
    "unreached": (
        "self.c = nn.Conv2d(3, 3, 1)", "x = self.c(x).detach()", "",
        r"would not learn: no gradient reaches its weights \(c.weight\)",
    ),
    "noise": ("pass", "x = x + torch.randn_like(x)", "", "makes another picture of the same image"),
    "dropout": (
        "pass", "x = nn.functional.dropout(x)", "", "another picture of the same image each time"
    ),
    "remembering": (
        "self.register_buffer('seen', torch.zeros(1))", "self.seen += 1; x = x + self.seen", "",
        "another picture of the same image each time",
    ),
    "batch statistics": (
        "self.n = nn.BatchNorm2d(3, track_running_stats=False)", "x = self.n(x)", "",
        "where others are beside it: its accuracy would depend on the batches",
    ),
    "contrast of the batch": (
        "pass", "x = (x - x.mean()) / (x.std() + 1)", "", "another picture .* where others are",
    ),
    "whole numbers": ("pass", "return self.pool(x).int()", "", r"gives torch.int32 on cpu, not"),
    "nowhere": ("pass", "return self.pool(x).to('meta')", "", r"gives torch.float32 on meta, not"),
    "threads": ("torch.set_num_threads(3)", "pass", "", "changes torch's number of threads, for"),
    "speechless": (
        "raise type('E', (Exception,), {'__str__': lambda _: 1 / 0})", "pass", "", "be built: E: "
    ),
    "exits": ("import os; os._exit(0)", "pass", "", "ended with exit status 0"),
}  # fmt: skip


@pytest.mark.parametrize("how", BAD)
def test_a_module_that_could_not_be_used_after_training_is_refused_before_it(
    how: str,
    store: Store,
    write_experiment: WriteExperiment,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    init, use, more, why = BAD[how]
    name = f"bad_{how.replace(' ', '_')}"
    text = FRONT.format(init=init, use=use, more=more.replace("\\n", "\n"))
    (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    experiment = write_experiment(rest=f'[[arm]]\nname = "own"\nresizer = "{name}:Front"')
    with pytest.raises(InputError, match=why):
        runner.run(experiment, store, lambda _: None)
    assert not (store.root / "trials").exists()


def test_a_front_end_is_named_before_it_is_tried_and_when_it_comes_to_no_end(
    store: Store, write_experiment: WriteExperiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "endless.py").write_text(FRONT.format(init="pass", use="pass", more=""))
    monkeypatch.chdir(tmp_path)
    experiment = write_experiment(rest='[[arm]]\nname = "own"\nresizer = "endless:Front"')
    heard: list[Event] = []

    def tried(*_: object, timeout_s: float) -> None:
        assert heard == [Trying(["endless:Front"])]
        assert timeout_s == readiness.TRYING_S
        raise TimedOutError

    monkeypatch.setattr(readiness, "call", tried)
    with pytest.raises(InputError, match="toy: endless:Front does not come to an end"):
        runner.run(experiment, store, heard.append)


def test_a_front_end_that_writes_over_its_images_rounds_or_gives_no_numbers_is_steady() -> None:
    class Writing(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images.mul_(8).round_().div_(8).log()

    trying.refuse_unsteady(Writing().eval(), "it", 16)


@pytest.mark.parametrize(
    ("change", "images", "why"),
    [
        ({"batch_size": 64}, 63, "toy has 63 training images, fewer than one batch of 64"),
        ({"batch_size": 8, "holdout": 0.01}, 20, "holdout = 0.01 of them leaves a part empty"),
        ({"batch_size": 8, "holdout": 0.99}, 20, "holdout = 0.99 of them leaves a part empty"),
        ({"batch_size": 16, "holdout": 0.25}, 20, "20 training images, 15 without those held out"),
    ],
)
def test_amounts_that_cannot_be_are_refused(change: dict[str, Any], images: int, why: str) -> None:
    with pytest.raises(InputError, match=why):
        readiness.check_amounts(toy_trial(**change), images)
    readiness.check_amounts(toy_trial(**change), 10_000)


@pytest.mark.parametrize(("batch", "micro"), [(9, 8), (64, 3), (5, 2)])
def test_parts_of_one_image_are_refused(batch: int, micro: int) -> None:
    with pytest.raises(ValueError, match=f"micro_batch = {micro} leaves one image of a batch of"):
        toy_trial(batch_size=batch, micro_batch=micro)
    assert toy_trial(batch_size=batch - 1, micro_batch=micro)


def test_pixels_that_changed_under_the_same_names_and_sizes_are_not_mixed(
    store: Store, write_experiment: WriteExperiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = write_experiment()
    for one in experiment.trials.values():
        trial.run(lambda _: None, one, store.trial_folder(one.key), store.root)
        break
    readiness.check_same_data("toy", experiment.trials, store)
    monkeypatch.setattr(readiness, "content", lambda _: {"pixels": "other"})
    with pytest.raises(InputError, match=r"was run on other files called 'toy' \(pixels "):
        readiness.check_same_data("toy", experiment.trials, store)
    assert library.content("toy")["pixels"] == library.open_dataset("toy").manifest.pixels


def test_a_precision_that_there_is_not_is_no_fault_of_the_front_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sound_front.py").write_text(FRONT.format(init="pass", use="pass", more=""))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("RESIZER_BENCH_PRECISION", "bf61")
    own = toy_trial(resizer="sound_front:Front", output_size=8)
    with pytest.raises(InputError, match=r"^RESIZER_BENCH_PRECISION='bf61' is unknown"):
        trying.check([own])
