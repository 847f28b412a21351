"""The Triton kernels against the torch head, in Triton's interpreter, in a process of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")
PROJECT = Path(__file__).resolve().parent.parent
PROGRAM = """
import torch
from resizer import chunked, kernels

kernels.BLOCK, kernels.PROGRAMS = 16, 3
torch.manual_seed(0)
for channels, n, (height, width), slope in [(3, 16, (10, 6), 0.2), (1, 5, (8, 12), 0.0)]:
    dtype = torch.float32
    shapes = [(n, channels, 7, 7), (n,), (n, n, 1, 1), (n,)]
    images = torch.randn(3, channels, height, width) + 3
    size = height // 2, width // 2
    plan = chunked.Plan(torch.float64, torch.float64)
    how = chunked.Resample(size, "bilinear", False)
    ours = [(torch.randn(s) * 0.3).requires_grad_() for s in shapes]
    truth = [t.detach().double().requires_grad_() for t in ours]
    got = kernels.Head.apply(images, *ours, slope)
    wanted = chunked.Head.apply(images.double(), *truth, slope, how, plan)
    grads = [torch.randn(t.shape) for t in got]
    torch.autograd.backward(got, grads)
    torch.autograd.backward(wanted, [g.double() for g in grads])
    pairs = [*zip(got, wanted), *((a.grad, b.grad) for a, b in zip(ours, truth))]
    for i, (a, b) in enumerate(pairs):
        assert a.shape == b.shape, i
        error = ((a.double() - b).norm() / b.norm()).item()
        assert error <= 1e-5, (channels, i, error)
print("agree")
"""


def test_the_kernels_agree_with_the_torch_head_forward_and_backward() -> None:
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": str(PROJECT)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout == "agree\n", done.stderr
