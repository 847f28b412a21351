"""The learned image resizer of Talebi & Milanfar."""

from __future__ import annotations

from torch import Tensor, nn

from resizer.fixed import FixedResizer, Size
from resizer.specs import check_flags, check_real, check_whole


class LearnedResizer(nn.Module):
    """Resize images with a small CNN added to a plain resize, trained with the task.

        skip    x -> resize
        branch  x -> Conv7x7 -> LeakyReLU -> Conv1x1 -> LeakyReLU -> BatchNorm -> resize = b
                b -> num_resblocks ResBlocks -> Conv3x3 -> BatchNorm -> (+ b) -> Conv7x7 -> (+ skip)

    Shape: (B, in_channels, H, W) float -> (B, out_channels, height, width), same dtype.
    Args:
        output_size: side of the output, pixels; an int or (height, width).
        in_channels: channels of the images.
        out_channels: channels of the output; where they differ from in_channels, the skip has a
            1x1 convolution.
        num_kernels: channels of the branch; 16 in the paper.
        num_resblocks: residual blocks at the output size; 0 or more; 1 in the paper, 2 in the blog.
        negative_slope: of the leaky ReLUs, 0 to 1.
        interpolation: of both inner resizes: nearest, bilinear, bicubic, area or lanczos.
        antialias: of both inner resizes; bilinear and bicubic only.
        zero_init: start with a branch of exactly zero, that is as the plain resize.
    Raises:
        ValueError: if an option is none of these.
    Source: Talebi & Milanfar, ICCV 2021 (arXiv 2103.09950). Differs: takes any channel counts,
        inner interpolation, antialias and zero_init, none of which the paper varies.
    """

    def __init__(
        self,
        *,
        output_size: Size,
        in_channels: int = 3,
        out_channels: int = 3,
        num_kernels: int = 16,
        num_resblocks: int = 1,
        negative_slope: float = 0.2,
        interpolation: str = "bilinear",
        antialias: bool = False,
        zero_init: bool = False,
    ) -> None:
        super().__init__()
        self.resize = FixedResizer(
            output_size=output_size, interpolation=interpolation, antialias=antialias
        )
        check_whole(in_channels=in_channels, out_channels=out_channels, num_kernels=num_kernels)
        check_whole(0, num_resblocks=num_resblocks)
        check_real(0, 1, negative_slope=negative_slope)
        check_flags(zero_init=zero_init)
        n = num_kernels
        self.head = nn.Sequential(
            nn.Conv2d(in_channels, n, 7, padding=3),
            nn.LeakyReLU(negative_slope, inplace=True),
            nn.Conv2d(n, n, 1),
            nn.LeakyReLU(negative_slope, inplace=True),
            nn.BatchNorm2d(n),
        )
        self.blocks = nn.Sequential(*(ResBlock(n, negative_slope) for _ in range(num_resblocks)))
        self.merge = nn.Sequential(nn.Conv2d(n, n, 3, padding=1, bias=False), nn.BatchNorm2d(n))
        self.tail = nn.Conv2d(n, out_channels, 7, padding=3)
        self.skip = (
            nn.Identity()
            if in_channels == out_channels
            else nn.Conv2d(in_channels, out_channels, 1)
        )
        if zero_init:
            for parameter in self.tail.parameters():
                nn.init.zeros_(parameter)

    def forward(self, images: Tensor) -> Tensor:
        branch = self.resize(self.head(images))  # (B, n, height, width)
        refined = self.merge(self.blocks(branch)) + branch
        out: Tensor = self.tail(refined) + self.resize(self.skip(images))
        return out


class ResBlock(nn.Module):
    """Two 3x3 convolutions with batch norm beside an identity; no activation after the sum.

    Shape: (B, channels, H, W) -> the same.
    """

    def __init__(self, channels: int, negative_slope: float) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.LeakyReLU(negative_slope, inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.body(x)
        return out
