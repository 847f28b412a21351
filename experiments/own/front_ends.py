"""Three front ends of one's own: a learned blur, space to depth, and a reduction in the DCT.

Each begins as a plain reduction, has few parameters, and is an arm of `front-ends.toml`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class LearnedBlur(nn.Module):
    """Low-pass each channel by a kernel that is learned and stays a mean, then resize.

    Shape: (B, 3, H, W) float -> (B, 3, output_size, output_size), same dtype.
    """

    def __init__(self, *, output_size: int, kernel_size: int = 5) -> None:
        super().__init__()
        self.output_size = output_size
        offsets = torch.arange(kernel_size) - (kernel_size - 1) / 2
        squares = offsets[:, None] ** 2 + offsets**2
        self.logits = nn.Parameter(-squares.expand(3, 1, -1, -1).clone())  # a Gaussian's

    def forward(self, images: Tensor) -> Tensor:
        kernel = self.logits.flatten(2).softmax(-1).view_as(self.logits).to(images.dtype)
        side = kernel.shape[-1] // 2
        padded = F.pad(images, [side] * 4, mode="replicate")
        blurred = F.conv2d(padded, kernel, groups=3)
        return F.interpolate(blurred, self.output_size, mode="bilinear", align_corners=False)


class SpaceToDepth(nn.Module):
    """Move each block of pixels into channels, and learn three channels of them.

    Shape: (B, 3, f * output_size, f * output_size) -> (B, 3, output_size, output_size).
    Begins as the mean over each block. Raises ValueError for another input size.
    """

    def __init__(self, *, output_size: int, factor: int = 2) -> None:
        super().__init__()
        self.output_size, self.factor = output_size, factor
        self.mix = nn.Conv2d(3 * factor**2, 3, 1)
        with torch.no_grad():
            own = torch.eye(3).repeat_interleave(factor**2, dim=1) / factor**2
            self.mix.weight.copy_(own[:, :, None, None])
            nn.init.zeros_(self.mix.bias)

    def forward(self, images: Tensor) -> Tensor:
        check_side(images, self.factor * self.output_size)
        out: Tensor = self.mix(F.pixel_unshuffle(images, self.factor))
        return out


class DctReduction(nn.Module):
    """Reduce in blocks of 8 x 8 pixels: keep the low frequencies of the DCT, each with a gain.

    Shape: (B, 3, f * output_size, f * output_size) -> (B, 3, output_size, output_size); f divides
    8, and the input's side is a multiple of 8. Begins as an ideal low-pass filter in each block.
    Raises ValueError for another input size.
    """

    BLOCK = 8

    def __init__(self, *, output_size: int, factor: int = 2) -> None:
        super().__init__()
        self.output_size, self.factor = output_size, factor
        kept = self.BLOCK // factor
        forth, back = dct(self.BLOCK)[:kept], dct(kept).T / math.sqrt(factor)
        self.register_buffer("forth", forth)  # (kept, 8)
        self.register_buffer("back", back)  # (kept, kept)
        self.gain = nn.Parameter(torch.ones(3, 1, 1, kept, kept))

    def forward(self, images: Tensor) -> Tensor:
        check_side(images, self.factor * self.output_size)
        n = images.shape[-1] // self.BLOCK
        blocks = images.reshape(*images.shape[:2], n, self.BLOCK, n, self.BLOCK).transpose(3, 4)
        forth, back = self.get_buffer("forth"), self.get_buffer("back")
        low = forth @ blocks @ forth.T * self.gain
        small = back @ low @ back.T  # (B, 3, n, n, kept, kept)
        return small.transpose(3, 4).reshape(*images.shape[:2], *[self.output_size] * 2)


def dct(size: int) -> Tensor:
    """The orthonormal DCT-II of so many samples: (size, size), a row a frequency."""
    frequency, sample = torch.arange(size)[:, None], torch.arange(size)
    waves = torch.cos(math.pi * frequency * (sample + 0.5) / size) * math.sqrt(2 / size)
    waves[0] /= math.sqrt(2)
    return waves


def check_side(images: Tensor, side: int) -> None:
    """Raise ValueError unless the images are squares of that side, pixels."""
    if images.shape[-2:] != (side, side):
        raise ValueError(
            f"images of {tuple(images.shape[-2:])} pixels; this front end takes {side}"
        )
