"""Triton's form of a resampling pass; importing this module imports Triton.

With TRITON_INTERPRET=1 in the environment before that, it runs on a CPU, slowly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import triton
import triton.language as tl
from torch import Tensor

if TYPE_CHECKING:
    from bench.lab.resampling import Pass

BLOCK = 64  # pixels of a program
SIZES = ["taps", "extent", "channel", "last"]
"""Arguments whose every value would otherwise be compiled for anew where it is 1 or 16 fold."""


def triton_pass(source: Tensor, out: Tensor, one: Pass) -> None:
    """Carry out a pass on a GPU: a program for each image, output along it, and block across."""
    n, side, taps = one.weights.shape
    grid = (side, triton.cdiv(one.extent, BLOCK), n)
    steps = [part for at in (one.source, one.out) for part in (at.base, at.along, at.across)]
    sizes = taps, one.extent, one.channel, len(source) - 1
    _pass[grid](source, out, one.first, one.weights, *steps, *sizes, BLOCK, one.bits)


@triton.jit(do_not_specialize=SIZES)
def _pass(
    source, out, firsts, weights,
    base, along, across, out_base, out_along, out_across,
    taps, extent, channel, last, block: tl.constexpr, bits: tl.constexpr,
):  # fmt: skip
    i, image, side = tl.program_id(0), tl.program_id(2), tl.num_programs(0)
    j = (tl.program_id(1) * block + tl.arange(0, block))[:, None]
    value = tl.arange(0, 4)[None, :]  # of a pixel; the fourth is not there
    here = (j < extent) & (value < 3)
    output = image.to(tl.int64) * side + i
    step = tl.load(along + image)
    at = tl.load(base + image) + tl.load(firsts + output) * step
    at += j * tl.load(across + image) + value
    total = tl.full((block, 4), 1 << (bits - 1), tl.int32)
    for k in range(taps):
        weight = tl.load(weights + output * taps + k)
        pixel = tl.load(source + tl.minimum(at + k * step, last), mask=here, other=0)
        total += pixel.to(tl.int32) * weight
    level = tl.minimum(tl.maximum(total >> bits, 0), 255).to(tl.uint8)
    to = tl.load(out_base + image) + i * tl.load(out_along + image)
    tl.store(out + to + j * tl.load(out_across + image) + value * channel, level, mask=here)
