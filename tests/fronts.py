"""Front ends with a known price, for experiments/check-lane.toml: what is measured must be found.

They take two options of the grid as plain numbers: `num_kernels` tells copies of one arm apart,
`negative_slope` is a delay in seconds.
"""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

HELD_MIB = 64


class Once(nn.Module):
    """A bilinear resize."""

    def __init__(self, *, output_size: int, num_kernels: int, negative_slope: float = 0.0) -> None:
        super().__init__()
        self.output_size = output_size
        self.copy = num_kernels
        self.delay_s = negative_slope

    def forward(self, images: Tensor) -> Tensor:
        return F.interpolate(images, self.output_size, mode="bilinear", antialias=False)


class Again(Once):
    """The same under another name."""


class Delayed(Once):
    """The same, later by `delay_s`."""

    def forward(self, images: Tensor) -> Tensor:
        end = time.perf_counter() + self.delay_s
        while time.perf_counter() < end:  # asleep, the processor would cool down, which costs more
            pass
        return super().forward(images)


class Holding(Once):
    """The same, holding HELD_MIB more from the forward to the backward pass."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.weight = nn.Parameter(torch.ones(1))  # gives it a backward pass

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = Hold.apply(super().forward(images), self.weight)  # type: ignore[no-untyped-call]
        return out


class Hold(torch.autograd.Function):
    """The identity, with a filled block of memory kept for the backward pass."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(torch.ones(HELD_MIB * 2**20, dtype=torch.uint8), weight)
        return images * weight

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        held, weight = ctx.saved_tensors
        assert int(held[-1]) == 1
        return gradient, torch.zeros_like(weight)
