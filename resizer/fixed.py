"""Plain interpolation: the resizer without anything to learn."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from numbers import Integral

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from resizer.specs import ANTIALIASED, INTERPOLATIONS, MOST, check_flags, is_whole, one_of

Size = int | tuple[int, int]


class FixedResizer(nn.Module):
    """Resize images by one fixed interpolation.

    Shape: (B, C, H, W) float -> (B, C, height, width), same dtype.
    Args:
        output_size: side of the output, pixels; an int or (height, width).
        interpolation: nearest, bilinear, bicubic, area or lanczos.
        antialias: widen the filter when reducing; bilinear and bicubic only (lanczos always does).
    Raises:
        ValueError: if an option is none of these.
    """

    def __init__(
        self, *, output_size: Size, interpolation: str = "bilinear", antialias: bool = False
    ) -> None:
        super().__init__()
        self.output_size = checked_size(output_size)
        self.interpolation, self.antialias = interpolation, antialias
        if interpolation not in INTERPOLATIONS:
            raise ValueError(
                f"unknown interpolation {interpolation!r}{one_of(interpolation, INTERPOLATIONS)}"
            )
        check_flags(antialias=antialias)
        if antialias and interpolation not in ANTIALIASED:
            has = " and ".join(ANTIALIASED)
            raise ValueError(f"interpolation {interpolation!r} has no antialias; {has} have")

    def forward(self, images: Tensor) -> Tensor:
        return resize(
            images, self.output_size, interpolation=self.interpolation, antialias=self.antialias
        )

    def extra_repr(self) -> str:
        return f"{self.output_size}, {self.interpolation}, antialias={self.antialias}"


def resize(images: Tensor, size: tuple[int, int], *, interpolation: str, antialias: bool) -> Tensor:
    """Resample (B, C, H, W) to (B, C, *size). Pixel centres at half integers, as in Pillow.

    `nearest` takes the pixel under the centre of the new one ("nearest-exact" in torch, whose
    plain "nearest" is shifted by half a pixel); `area` is the mean of the pixels covered;
    `lanczos` is the windowed sinc of radius 3, widened when reducing. With antialias, and `lanczos`
    always, images of half precision are resampled in float32: torch has no antialias of theirs on
    a CPU, and rows of `lanczos` weights would sum to 0.997.
    """
    wide = antialias or interpolation == "lanczos"
    if wide and images.dtype in (torch.bfloat16, torch.float16):
        whole = resize(images.float(), size, interpolation=interpolation, antialias=antialias)
        return whole.to(images.dtype)
    if interpolation == "lanczos":
        return resize_lanczos(images, size)
    if antialias and size[1] == 1 < size[0]:  # torch 2.14 is wrong there: channels-last, gradient
        rows = resize(images.mT, (1, size[0]), interpolation=interpolation, antialias=True)
        return rows.mT
    if strict(images) and not antialias:
        if block := covered(images.shape[2:], size, interpolation):
            return F.avg_pool2d(images, block)
        if interpolation == "bilinear":
            raise ValueError(
                f"bilinear from {tuple(images.shape[2:])} to {size} is deterministic on a GPU only "
                "by another, slower algorithm, unless it halves both sides or leaves them"
            )
    mode = "nearest-exact" if interpolation == "nearest" else interpolation
    corners = False if interpolation in ANTIALIASED else None
    return F.interpolate(images, size, mode=mode, align_corners=corners, antialias=antialias)


def strict(images: Tensor) -> bool:
    """Whether torch would put slower algorithms in place of those that are not deterministic."""
    return images.is_cuda and torch.are_deterministic_algorithms_enabled()


def covered(
    before: Sequence[int], after: tuple[int, int], interpolation: str
) -> tuple[int, int] | None:
    """The block of pixels whose mean is an output; None where the outputs are no such means.

    >>> covered((8, 6), (4, 3), "bilinear"), covered((8, 6), (2, 3), "bilinear")
    ((2, 2), None)
    >>> covered((8, 6), (8, 6), "bilinear")
    (1, 1)
    >>> covered((8, 6), (2, 3), "area"), covered((8, 6), (3, 3), "area")
    ((4, 2), None)
    """
    if before[0] % after[0] or before[1] % after[1]:
        return None
    block = before[0] // after[0], before[1] // after[1]
    means = interpolation == "area" or (interpolation == "bilinear" and block in ((1, 1), (2, 2)))
    return block if means else None


def resize_lanczos(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Resample (B, C, H, W) to (B, C, *size) by one matrix along each side."""
    table = lanczos_table.__wrapped__ if torch.compiler.is_compiling() else lanczos_table
    rows, columns = (
        table(before, after, images.dtype, images.device)
        for before, after in zip(images.shape[2:], size, strict=True)
    )
    with torch.autocast(images.device.type, enabled=False):  # as precise as the other filters
        return rows @ images @ columns.T


@cache  # a copy to a GPU waits for it: it could not be part of a captured step
def lanczos_table(before: int, after: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """(after, before) weights that sum to one in each row: Pillow's, of each output pixel.

    They are made whatever mode torch is in; what is traced must not be kept.
    """
    scale = max(before / after, 1.0)
    centres = (np.arange(after) + 0.5) * before / after
    x = (np.arange(before) + 0.5 - centres[:, None]) / scale
    weights = np.sinc(x) * np.sinc(x / 3) * (np.abs(x) < 3)
    rows = weights / weights.sum(axis=1, keepdims=True)
    with torch.inference_mode(False):
        return torch.as_tensor(rows, dtype=dtype, device=device)


def checked_size(size: Size) -> tuple[int, int]:
    """(height, width) of an `output_size`.

    Raises:
        ValueError: if it is not one or two whole numbers from 1 to MOST.
    """
    match (size, size) if isinstance(size, Integral) else size:
        case [height, width] if is_whole(height) and is_whole(width):
            return int(height), int(width)
    raise ValueError(f"output_size is {size!r}; it takes 1 to {MOST} pixels, or (height, width)")
