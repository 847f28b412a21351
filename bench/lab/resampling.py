"""Batches made on the device: pictures resampled from a split's pixels, which lie there.

Two passes, one along each side, in integers that are rounded in between: Pillow's arithmetic in
Pillow's order, so that a trial sees the same pictures whichever way they were made. `torch_pass` is
the readable form, for any device; `bench.lab.kernels` has the same pass for GPUs.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.data.batches import Asked, Batch, Boxes, Loader, Rows
from bench.data.master import Master
from bench.lab import device as devices
from bench.spec.trial import Trial

WEIGHT_BITS = 22  # with 8 bits of a pixel, and what negative lobes add, 32 are enough for a sum
RESIDENT_SHARE = 0.5
"""Of the device's free memory, that a split's pixels or its validation batches may take."""
AT_ONCE = 8
"""Batches that a GPU's kernel makes at a time: to launch it takes longer than its work."""


def _cubic(x: Tensor) -> Tensor:
    x, a = x.abs(), -0.5
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return torch.where(x < 1, near, torch.where(x < 2, far, 0.0))


AVERAGING: dict[str, tuple[float, Callable[[Tensor], Tensor]]] = {
    "box": (0.5, lambda x: ((x > -0.5) & (x <= 0.5)).double()),
    "bilinear": (1.0, lambda x: (1 - x.abs()).clamp(min=0)),
    "bicubic": (2.0, _cubic),
    "lanczos": (3.0, lambda x: torch.sinc(x) * torch.sinc(x / 3) * ((x >= -3) & (x < 3))),
}
"""Radius and kernel of each filter, in pixels of the smaller of both images."""


@dataclass(frozen=True)
class Steps:
    """The pixel (i, j) of an image is at `base + i * along + j * across`; each is (n,) int64."""

    base: Tensor
    along: Tensor
    across: Tensor


@dataclass(frozen=True)
class Pass:
    """`out[b, i, j]` is the sum over k of `weights[b, i, k] * source[b, first[b, i] + k, j]`.

    Shapes: first (n, side) int64; weights (n, side, taps) int32, scaled by 2 ** bits, and zero
    where the image ends before `first + k`.
    """

    first: Tensor
    weights: Tensor
    source: Steps
    out: Steps
    extent: int  # j goes from 0 to it; an image that has less is read beyond its end, for nothing
    channel: int  # step between the values of a pixel of the output; in the source it is 1
    bits: int = WEIGHT_BITS


Run = Callable[[Tensor, Tensor, Pass], None]
"""Carries out a pass from a flat source to a flat output, uint8 both."""


def torch_pass(source: Tensor, out: Tensor, one: Pass) -> None:
    """Gather tap after tap; the reference of `bench.lab.kernels.triton_pass`."""
    j = torch.arange(one.extent, device=out.device)
    channel = torch.arange(3, device=out.device)

    def places(steps: Steps, i: Tensor) -> Tensor:
        rows = steps.base[:, None] + i * steps.along[:, None]  # (n, side)
        return (rows[:, :, None] + (j * steps.across[:, None])[:, None])[..., None]

    at = places(one.source, one.first) + channel  # (n, side, extent, 3)
    total = torch.full(at.shape, 1 << (one.bits - 1), dtype=torch.int32, device=out.device)
    for k in range(one.weights.shape[2]):
        pixels = source.take(
            (at + k * one.source.along[:, None, None, None]).clamp(max=len(source) - 1)
        )
        total += pixels * one.weights[:, :, k, None, None]
    outputs = torch.arange(one.first.shape[1], device=out.device)
    to = places(one.out, outputs) + channel * one.channel
    out[to] = (total >> one.bits).clamp(0, 255).to(torch.uint8)


def taps(
    low: Tensor, high: Tensor, size: Tensor, side: int, name: str, most: int
) -> tuple[Tensor, Tensor]:
    """First pixel and weights of the outputs along one side of each image, as in `Pass`.

    Args:
        low, high: (n,) float32, the stretch that the outputs cover, pixels.
        size: (n,) int64, how many pixels there are.
        side: the number of outputs.
        name: of the filter.
        most: no output has more taps.
    """
    radius, kernel = AVERAGING[name]
    # by a tensor: CUDA multiplies by the inverse of a number, which may differ in the last digit
    scale = ((high - low).double() / torch.full_like(low, side).double())[:, None]
    stretch = scale.clamp(min=1)
    centre = low.double()[:, None] + (torch.arange(side, device=low.device) + 0.5) * scale
    first = (centre - radius * stretch + 0.5).clamp(min=0).long()
    end = (centre + radius * stretch + 0.5).long().minimum(size[:, None])
    pixels = first[:, :, None] + torch.arange(most, device=low.device)
    values = kernel((pixels - centre[:, :, None] + 0.5) * (1 / stretch)[:, :, None])
    values = values * (pixels < end[:, :, None])
    total = values.sum(dim=2, keepdim=True)
    values = values / torch.where(total == 0, 1.0, total) * 2**WEIGHT_BITS
    return first, (values + 0.5 * values.sign()).int()  # rounded: int() cuts towards zero


def columns_first(sizes: NDArray[np.int64], side: int) -> NDArray[np.bool_]:
    """Which images of these (height, width) Pillow 13 resamples along their columns first.

    Those that lose rows, and more than twice as many as columns (its pull request 9549).
    """
    lost = sizes - side
    result: NDArray[np.bool_] = (lost[:, 0] > 0) & (lost[:, 0] > 2 * lost[:, 1])
    return result


@dataclass(frozen=True)
class Cut:
    """What is cut out of which images, and how it is laid out, on the host."""

    offsets: NDArray[np.int64]  # (n,), where each image begins in the split's pixels
    sizes: NDArray[np.int64]  # (n, 2), height and width of each
    boxes: Boxes
    mirrored: NDArray[np.bool_]  # (n,)

    def limits(self, side: int, name: str) -> tuple[int, int]:
        """The most taps of an output, and the most pixels across the first pass of an image."""
        spans = (self.boxes[:, 2:] - self.boxes[:, :2])[:, ::-1]  # (n, 2), as the sizes
        reach = AVERAGING[name][0] * np.maximum(1, spans / side)
        used = np.minimum(self.sizes, np.ceil(spans + 2 * reach) + 1)
        across = np.where(columns_first(self.sizes, side), used[:, 1], used[:, 0])
        return math.ceil(reach.max()) * 2 + 1, int(across.max())

    def columns(self, side: int, device: torch.device) -> tuple[Tensor, ...]:
        """All of it on the device, in one copy; last, which images go along their columns first."""
        swapped = columns_first(self.sizes, side)
        table = [self.offsets, *self.sizes.T, self.mirrored, swapped, *self.boxes.T]
        columns = torch.from_numpy(np.array(table, dtype=float)).to(device, non_blocking=True)
        return *columns[:3].long(), *(columns[3:5] > 0), *columns[5:].float()


def resample(pixels: Tensor, cut: Cut, trial: Trial, run: Run) -> Tensor:
    """Each box of a master copy's pixels resampled once: (n, 3, input_size, input_size) uint8."""
    n, side, device = len(cut.offsets), trial.input_size, pixels.device
    most, extent = cut.limits(side, trial.resample)
    start, height, width, mirrored, swapped, left, top, right, bottom = cut.columns(side, device)
    made = partial(taps, side=side, name=trial.resample, most=most)
    (x, x_weights), (y, y_weights) = made(left, right, width), made(top, bottom, height)
    image, pixel, row = torch.arange(n, device=device), torch.full_like(width, 3), 3 * width

    def ordered(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        """What is along a row and a column, as what is of the first and of the second pass."""
        swap = swapped.view(-1, *[1] * (a.dim() - 1))
        return torch.where(swap, b, a), torch.where(swap, a, b)

    (first, second), weights = ordered(x, y), ordered(x_weights, y_weights)
    along, across = ordered(pixel, row)
    half = torch.empty(n * side * extent * 3, dtype=torch.uint8, device=device)
    kept = Steps(image * side * extent * 3, pixel * extent, pixel)  # (n, side, extent, 3)
    source = Steps(start + second[:, 0] * across, along, across)
    run(pixels, half, Pass(first, weights[0], source, kept, extent, 1))

    layout = torch.channels_last if trial.channels_last else torch.contiguous_format
    out = torch.empty((n, 3, side, side), dtype=torch.uint8, device=device, memory_format=layout)
    of_image, channel, of_row, of_pixel = out.stride()
    step = torch.where(mirrored, -of_pixel, of_pixel)
    base = image * of_image + mirrored * (side - 1) * of_pixel
    across, along = ordered(step, torch.full_like(step, of_row))
    turned = Steps(kept.base, kept.across, kept.along)
    flat = out.as_strided((out.numel(),), (1,))
    origin = second - second[:, :1]
    run(half, flat, Pass(origin, weights[1], turned, Steps(base, along, across), side, channel))
    return out


class ResidentLoader(Loader):
    """A loader whose split lies on the device, where its batches are made when they are asked for.

    The validation batches are made once and kept, where there is room.
    """

    def __init__(self, master: Master, trial: Trial, device: torch.device) -> None:
        super().__init__(master, trial, threads=0)
        self.name, self.run = fastest_pass(device)
        self.pixels = torch.from_file(
            str(master.file), size=master.file.stat().st_size, dtype=torch.uint8
        ).to(device)
        self.labels = torch.from_numpy(master.labels).to(device)
        self.kept: list[Batch] | None = None
        self.pictures(np.zeros(1, dtype=np.int64))  # the kernel is compiled, not in timed training

    def evaluate(self) -> Iterator[Batch]:
        needed = len(self.master) * 3 * self.trial.input_size**2
        if self.kept is None and has_room(needed, self.pixels.device):
            self.kept = list(super().evaluate())
        return super().evaluate() if self.kept is None else iter(self.kept)

    def _prepared(self, asked: Iterator[Asked]) -> Iterator[Batch]:
        while some := list(itertools.islice(asked, AT_ONCE if self.name == "triton" else 1)):
            rows, boxes, mirrored = zip(*some, strict=True)
            made = self._make(*map(np.concatenate, (rows, boxes, mirrored)))
            lengths = list(map(len, rows))
            yield from zip(*(torch.split(part, lengths) for part in made), strict=True)

    def _make(self, rows: Rows, boxes: Boxes, mirrored: NDArray[np.bool_]) -> Batch:
        cut = Cut(self.master.offsets[rows], self.master.sizes[rows], boxes, mirrored)
        numbers = torch.from_numpy(rows).to(self.pixels.device, non_blocking=True)
        return resample(self.pixels, cut, self.trial, self.run), self.labels[numbers]


def loader(master: Master, trial: Trial, device: torch.device) -> Loader:
    """Of a GPU, from pixels that lie on it, if there is room; else by Pillow, on the processor.

    Pictures whose pixels are sampled, not averaged, are Pillow's as well.
    """
    averaged = trial.resample in AVERAGING and trial.load_antialias is not False
    if averaged and device.type == "cuda" and has_room(master.file.stat().st_size, device):
        return ResidentLoader(master, trial, device)
    threads = devices.loader_threads(device)
    return Loader(master, trial, threads, pinned=device.type == "cuda")


def has_room(size: int, device: torch.device) -> bool:
    """Whether so many bytes may stay on the device."""
    return size <= RESIDENT_SHARE * devices.free_bytes(device)


def fastest_pass(device: torch.device) -> tuple[str, Run]:
    """Triton's on a GPU that has it, by its name."""
    if device.type != "cuda" or find_spec("triton") is None:
        return "torch", torch_pass
    from bench.lab.kernels import triton_pass

    return "triton", triton_pass
