"""The learned resizer's head as Triton kernels, where the inner resize is the mean of 2x2 pixels.

Forward: both convolutions, both leaky ReLUs, the mean of 2x2 and the sums for batch norm in one
pass, of which no map of full size reaches memory. Backward: the same again, and down to the
weights' gradients. Both agree with `resizer.chunked.Head` in Triton's interpreter on a CPU. **Their
speed has not been measured on a GPU**, nor have they been compiled for one yet.

Importing this module imports Triton.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from resizer.moments import MomentsGrad

BLOCK = 16
"""Output pixels of one step; four times as many input pixels."""
PROGRAMS = 528
"""Programs at most: four for each multiprocessor of an H100. Each leaves one row of sums."""


@triton.jit
def _patches(images, image, row, column, height, width, channels, taps: tl.constexpr, live):
    """(pixels, taps) values in a 7x7 window around each (row, column) of its image; 0 outside."""
    tap = tl.arange(0, taps)[None, :]
    channel, y, x = tap // 49, row[:, None] + tap % 49 // 7 - 3, column[:, None] + tap % 7 - 3
    inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    inside = inside & (channel < channels) & live[:, None]
    at = ((image[:, None] * channels + channel) * height + y) * width + x
    return tl.load(images + at, mask=inside, other=0.0)


@triton.jit
def _activations(patches, wide, wide_bias, point, point_bias, slope):
    """Both activations of the pixels, (pixels, n) each."""
    hidden = tl.dot(patches, wide, input_precision="ieee") + wide_bias[None, :]
    hidden = tl.where(hidden > 0, hidden, hidden * slope)
    a = tl.dot(hidden, point, input_precision="ieee") + point_bias[None, :]
    return hidden, tl.where(a > 0, a, a * slope)


@triton.jit
def _forward(
    images, wide, wide_bias, point, point_bias, shift, out, sums,
    count, height, width, channels, slope, n: tl.constexpr, taps: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    k, j = tl.arange(0, taps), tl.arange(0, n)
    w = tl.load(wide + k[:, None] * n + j[None, :])
    p = tl.load(point + tl.arange(0, n)[:, None] * n + j[None, :])
    b, c, middle = tl.load(wide_bias + j), tl.load(point_bias + j), tl.load(shift + j)
    first, second = tl.zeros((n,), w.dtype), tl.zeros((n,), w.dtype)
    for start in range(tl.program_id(0) * block, count, tl.num_programs(0) * block):
        o = start + tl.arange(0, block)
        live = o < count
        column, row = o % (width // 2), o // (width // 2) % (height // 2)
        image = o // (width // 2) // (height // 2)
        mean = tl.zeros((block, n), w.dtype)
        for corner in range(4):
            y, x = 2 * row + corner // 2, 2 * column + corner % 2
            patches = _patches(images, image, y, x, height, width, channels, taps, live)
            _, a = _activations(patches, w, b, p, c, slope)
            mean += a * 0.25
            off = tl.where(live[:, None], a - middle[None, :], 0.0)
            first += tl.sum(off, 0)
            second += tl.sum(off * off, 0)
        tl.store(out + o[:, None] * n + j[None, :], mean, mask=live[:, None])
    tl.store(sums + tl.program_id(0) * 2 * n + j, first)
    tl.store(sums + tl.program_id(0) * 2 * n + n + j, second)


@triton.jit
def _backward(
    images, wide, wide_bias, point, point_bias, grad, level, tilt, of_wide, of_point, of_biases,
    count, height, width, channels, slope, n: tl.constexpr, taps: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    k, j = tl.arange(0, taps), tl.arange(0, n)
    w = tl.load(wide + k[:, None] * n + j[None, :])
    p = tl.load(point + tl.arange(0, n)[:, None] * n + j[None, :])
    b, c = tl.load(wide_bias + j), tl.load(point_bias + j)
    lift, lean = tl.load(level + j), tl.load(tilt + j)
    dw, dp = tl.zeros((taps, n), w.dtype), tl.zeros((n, n), w.dtype)
    db, dc = tl.zeros((n,), w.dtype), tl.zeros((n,), w.dtype)
    for start in range(tl.program_id(0) * block, count, tl.num_programs(0) * block):
        o = start + tl.arange(0, block)
        live = o < count
        column, row = o % (width // 2), o // (width // 2) % (height // 2)
        image = o // (width // 2) // (height // 2)
        g = tl.load(grad + o[:, None] * n + j[None, :], mask=live[:, None], other=0.0) * 0.25
        for corner in range(4):
            y, x = 2 * row + corner // 2, 2 * column + corner % 2
            patches = _patches(images, image, y, x, height, width, channels, taps, live)
            hidden, a = _activations(patches, w, b, p, c, slope)
            da = g + lift[None, :] + lean[None, :] * a
            da = tl.where(live[:, None], tl.where(a > 0, da, da * slope), 0.0)
            dh = tl.dot(da, tl.trans(p), input_precision="ieee")
            dh = tl.where(hidden > 0, dh, dh * slope)
            dp += tl.dot(tl.trans(hidden), da, input_precision="ieee")
            dw += tl.dot(tl.trans(patches), dh, input_precision="ieee")
            dc += tl.sum(da, 0)
            db += tl.sum(dh, 0)
    at = tl.program_id(0)
    tl.store(of_wide + at * taps * n + k[:, None] * n + j[None, :], dw)
    tl.store(of_point + at * n * n + tl.arange(0, n)[:, None] * n + j[None, :], dp)
    tl.store(of_biases + at * 2 * n + j, db)
    tl.store(of_biases + at * 2 * n + n + j, dc)


class Head(torch.autograd.Function):
    """`resizer.chunked.Head` where R is the mean of 2x2 pixels; the images get no gradient.

    Shape: (B, channels, H, W), H and W even -> (B, n, H/2, W/2), (n,), (n,).
    Args: the images, both kernels with their biases, the slope of the leaky ReLUs.
    """

    @staticmethod
    def forward(
        ctx: Any,
        images: Tensor,
        wide: Tensor,
        wide_bias: Tensor,
        point: Tensor,
        point_bias: Tensor,
        slope: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        images = images.contiguous()
        tensors = images, *_padded(wide, wide_bias, point, point_bias)
        (count, sizes), n, width = _sizes(images), len(wide), tensors[2].numel()
        grid = min(PROGRAMS, triton.cdiv(count, BLOCK))
        out = images.new_empty(count, width)
        sums = images.new_empty(grid, 2, width)
        shift = _estimate(images, wide, wide_bias, point, point_bias, slope, width)
        shapes = {"n": width, "taps": tensors[1].shape[0], "block": BLOCK}
        _forward[(grid,)](*tensors, shift, out, sums, count, *sizes, slope, **shapes)
        first, second = (sums.double().sum(dim=0) / (4 * count)).unbind()
        mean, var = (shift + first)[:n].to(wide.dtype), (second - first**2)[:n].to(wide.dtype)
        ctx.save_for_backward(images, wide, wide_bias, point, point_bias, mean)
        ctx.slope = slope
        ctx.set_materialize_grads(False)
        return _as_map(out[:, :n], images), mean, var

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, grad_out: Tensor | None, grad_mean: Tensor | None, grad_var: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        images, *parameters, mean = ctx.saved_tensors
        tensors = images, *_padded(*parameters)
        (count, sizes), n = _sizes(images), len(mean)
        taps, width = tensors[1].shape
        grad = images.new_zeros(count, width)
        if grad_out is not None:
            grad[:, :n] = grad_out.permute(0, 2, 3, 1).reshape(count, n)
        moments = MomentsGrad(grad_mean, grad_var, mean, 4 * count)
        level, tilt = (
            torch.nn.functional.pad(t.flatten().to(images.dtype), (0, width - n))
            for t in (moments.level, moments.slope)
        )
        grid = min(PROGRAMS, triton.cdiv(count, BLOCK))
        rows = [images.new_empty(grid, *s) for s in ((taps, width), (width, width), (2, width))]
        shapes = {"n": width, "taps": taps, "block": BLOCK}
        _backward[(grid,)](*tensors, grad, level, tilt, *rows, count, *sizes, ctx.slope, **shapes)
        of_wide, of_point, of_biases = (r.sum(dim=0) for r in rows)
        wide, _, point, _ = parameters
        return (
            None,
            of_wide[: wide[0].numel(), :n].t().reshape(wide.shape),
            of_biases[0, :n],
            of_point[:n, :n].t().reshape(point.shape),
            of_biases[1, :n],
            None,
        )


def _sizes(images: Tensor) -> tuple[int, tuple[int, int, int]]:
    """The output's pixels, and the images' height, width and channels."""
    batch, channels, height, width = images.shape
    return batch * (height // 2) * (width // 2), (height, width, channels)


def _padded(wide: Tensor, wide_bias: Tensor, point: Tensor, point_bias: Tensor) -> list[Tensor]:
    """Both kernels as (inputs, outputs) matrices, every side a power of two of 16 or more."""
    n = max(16, triton.next_power_of_2(len(wide)))
    taps = max(16, triton.next_power_of_2(wide[0].numel()))
    made = [wide.new_zeros(s) for s in ((taps, n), (n,), (n, n), (n,))]
    for room, tensor in zip(made, (wide, wide_bias, point, point_bias), strict=True):
        matrix = tensor.flatten(1).t() if tensor.dim() == 4 else tensor
        room[tuple(slice(s) for s in matrix.shape)] = matrix
    return made


def _estimate(
    images: Tensor,
    wide: Tensor,
    wide_bias: Tensor,
    point: Tensor,
    point_bias: Tensor,
    slope: float,
    width: int,
) -> Tensor:
    """(width,) means over a corner of one image: sums of squares around them do not cancel."""
    leaky = torch.nn.functional.leaky_relu
    hidden = leaky(torch.conv2d(images[:1, :, :16, :16], wide, wide_bias, padding=3), slope)
    means = leaky(torch.conv2d(hidden, point, point_bias), slope).mean(dim=(0, 2, 3))
    return torch.nn.functional.pad(means, (0, width - len(means)))


def _as_map(rows: Tensor, images: Tensor) -> Tensor:
    """(pixels, n) as (B, n, H/2, W/2), channels-last."""
    batch, _, height, width = images.shape
    return rows.reshape(batch, height // 2, width // 2, -1).permute(0, 3, 1, 2)
