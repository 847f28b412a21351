"""Pictures resampled on the device: the same as Pillow's, from the same boxes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench.data.batches import Loader
from bench.data.library import Dataset
from bench.lab import resampling
from bench.lab.gpu import levels_off_pillow, random_sizes
from bench.lab.resampling import AVERAGING, ResidentLoader, torch_pass
from bench.spec.trial import Trial

CPU = torch.device("cpu")


def trial(**fields: Any) -> Trial:
    given = {"dataset": "toy", "backbone": "b", "input_size": 16, "epochs": 1, "batch_size": 5}
    return Trial(**{**given, **fields})


@pytest.mark.parametrize("name", AVERAGING)
def test_thousands_of_boxes_are_pillows_up_and_down_in_its_order(name: str) -> None:
    for seed, side in enumerate((1, 2, 7, 24, 33)):
        levels = levels_off_pillow(torch_pass, random_sizes(200, 100, seed), side, name, seed, CPU)
        assert levels.max() <= 1
        assert levels.mean() < 0.001


@pytest.mark.parametrize("name", AVERAGING)
def test_sides_of_one_pixel_and_of_thousands_are_pillows_too(name: str) -> None:
    extreme = np.array([(5000, 1), (1, 5000), (5000, 3), (2, 5000), (1, 1)])
    assert levels_off_pillow(torch_pass, extreme, 20, name, 1, CPU).max() <= 1


def test_both_orders_of_the_passes_are_among_the_boxes() -> None:
    first = resampling.columns_first(random_sizes(200, 100, 3), 24)
    assert 20 < first.sum() < 180


def test_an_image_is_never_read_beyond_the_end_of_the_pixels() -> None:
    levels = levels_off_pillow(torch_pass, np.array([(90, 3), (2, 2)]), 8, "lanczos", 1, CPU)
    assert levels.max() <= 1


INTERPRETED = """
import torch
from bench.lab.resampling import AVERAGING
from bench.lab.gpu import levels_off_pillow, random_sizes
from bench.lab.kernels import triton_pass
for seed, name in enumerate(AVERAGING):
    side, cpu = (1, 3, 6, 5)[seed], torch.device("cpu")
    levels = levels_off_pillow(triton_pass, random_sizes(13, 12, seed), side, name, seed, cpu)
    assert levels.max() <= 1 and levels.mean() < 0.001, name
print("as Pillow")
"""


def test_the_kernel_is_pillow_too_in_tritons_interpreter() -> None:
    pytest.importorskip("triton")
    project = Path(__file__).resolve().parent.parent
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": str(project)}
    done = subprocess.run(
        [sys.executable, "-c", INTERPRETED],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout == "as Pillow\n", done.stderr


def test_the_kernel_compiles_for_gpus_that_are_not_here() -> None:
    triton = pytest.importorskip("triton")
    compiler = pytest.importorskip("triton.backends.compiler")
    from bench.lab.kernels import _pass

    pointers = dict.fromkeys(_pass.arg_names[2:10], "*i64") | {"weights": "*i32"}
    kinds = {"source": "*u8", "out": "*u8", **pointers}
    kinds |= {"taps": "i32", "extent": "i32", "channel": "i32", "last": "i64"}
    kinds |= {"block": "constexpr", "bits": "constexpr"}
    signature = {name: kinds[name] for name in _pass.arg_names}
    source = triton.compiler.ASTSource(_pass, signature, {"block": 64, "bits": 22})
    for capability in (80, 90):
        target = compiler.GPUTarget("cuda", capability, 32)
        assert triton.compile(source, target=target).asm["cubin"]


@pytest.mark.parametrize(("size", "channels_last"), [(16, True), (16, False), (41, True)])
def test_batches_of_both_loaders_are_the_same_boxes_at_every_size(
    toy: Dataset, size: int, channels_last: bool
) -> None:
    asked = trial(input_size=size, channels_last=channels_last)
    theirs, ours = Loader(toy.train, asked, threads=1), ResidentLoader(toy.train, asked, CPU)
    for one, other in zip(theirs.train(2), ours.train(2), strict=True):
        assert torch.equal(one[0], other[0])
        assert torch.equal(one[1], other[1])
        assert one[0].stride() == other[0].stride()
    rows = np.array([3, 0])
    assert torch.equal(theirs.pictures(rows)[0], ours.pictures(rows)[0])


def test_batches_that_are_made_several_at_a_time_are_those_made_one_by_one(
    toy: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resampling.devices, "free_bytes", lambda _: 2**30)
    loaders = [ResidentLoader(toy.train, trial(), CPU) for _ in range(2)]
    loaders[1].name = "triton"
    for batches in (lambda one: one.train(1, 1), ResidentLoader.evaluate):
        one_by_one, together = (list(batches(loader)) for loader in loaders)
        assert len(one_by_one) > 1
        for one, other in zip(one_by_one, together, strict=True):
            assert all(map(torch.equal, one, other))
            assert one[0].stride() == other[0].stride()


def test_a_held_out_part_has_its_own_images(toy: Dataset) -> None:
    part = toy.held_out(0.3).val
    theirs, ours = Loader(part, trial(), threads=1), ResidentLoader(part, trial(), CPU)
    for one, other in zip(theirs.train(1), ours.train(1), strict=True):
        assert torch.equal(one[0], other[0])


def test_validation_batches_are_made_once_where_there_is_room(
    toy: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = len(toy.val) * 3 * 16**2
    for free, once in ((2 * size, True), (2 * size - 1, False)):
        monkeypatch.setattr(resampling.devices, "free_bytes", lambda _, free=free: free)
        loader = ResidentLoader(toy.val, trial(), CPU)
        first, second = list(loader.evaluate()), list(loader.evaluate())
        assert (first[0][0] is second[0][0]) == once
        assert torch.equal(first[0][0], second[0][0])


def test_a_split_that_takes_too_much_of_a_gpus_memory_stays_with_pillow(
    toy: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = toy.train.file.stat().st_size
    monkeypatch.setattr(resampling.devices, "free_bytes", lambda _: 2 * size - 1)
    refused = resampling.loader(toy.train, trial(), torch.device("cuda"))
    assert refused.name == "pillow"
    assert refused.pinned
    here = resampling.loader(toy.train, trial(), CPU)
    assert (here.name, here.pinned) == ("pillow", False)
