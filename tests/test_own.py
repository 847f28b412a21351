"""The front ends that ship as an example: each begins as a plain reduction, and learns."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch.nn import functional as F

import resizer
from bench.lab.stepper import Stepper
from bench.paths import PROJECT
from bench.spec.files import load
from experiments.own.front_ends import dct

NAMES = ["LearnedBlur", "SpaceToDepth", "DctReduction"]


def built(name: str) -> torch.nn.Module:
    torch.manual_seed(0)
    return resizer.build(f"experiments.own.front_ends:{name}", output_size=16)


@pytest.mark.parametrize("name", NAMES)
def test_a_front_end_begins_as_a_plain_reduction(name: str) -> None:
    """Of smooth images they are all the mean of each block, nearly."""
    x = torch.linspace(0, 3, 32)
    images = (torch.sin(x)[:, None] + torch.cos(x)).expand(2, 3, -1, -1)
    assert torch.allclose(built(name)(images), F.avg_pool2d(images, 2), atol=0.05)


@pytest.mark.parametrize("name", NAMES)
def test_a_front_end_keeps_the_brightness_and_learns(name: str) -> None:
    front = built(name)
    assert torch.allclose(front(torch.full((1, 3, 32, 32), 0.7)), torch.tensor(0.7), atol=1e-5)
    front(torch.rand(2, 3, 32, 32)).square().sum().backward()
    assert all(float(p.grad.abs().sum()) > 0 for p in front.parameters() if p.grad is not None)
    assert all(p.grad is not None for p in front.parameters())


@pytest.mark.parametrize("name", ["SpaceToDepth", "DctReduction"])
def test_a_size_that_the_blocks_do_not_fit_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="this front end takes 32"):
        built(name)(torch.rand(1, 3, 40, 40))


def test_the_transform_is_orthonormal() -> None:
    assert torch.allclose(dct(8) @ dct(8).T, torch.eye(8), atol=1e-6)


def test_the_example_is_planned_by_its_bare_name_in_a_fresh_process() -> None:
    command = [sys.executable, "-m", "bench", "plan", "front-ends"]
    ran = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "15 trials" in ran.stdout


@pytest.mark.parametrize("arm", ["space-to-depth", "blur", "dct"])
def test_each_arm_of_the_example_takes_a_step(arm: str) -> None:
    trial = next(cell.trial for cell in load("front-ends").cells if cell.arm == arm)
    stepper = Stepper(trial, classes=2)
    before = [p.detach().clone() for p in stepper.model.resizer.parameters()]
    stepper.train_step()
    after = list(stepper.model.resizer.parameters())
    assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))
