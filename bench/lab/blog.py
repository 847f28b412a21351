"""The learned resizer of the blog post, from its description: what ours is measured against."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

SLOPE = 0.2


class BlogResizer(nn.Module):
    """The published layers one after the other, with nothing in place and nothing left out.

    Its parameters have the order of `LearnedResizer`'s.

    Shape: (B, 3, H, W) float -> (B, 3, output_size, output_size).
    Args:
        output_size: side of the output, pixels.
        num_resblocks: residual blocks at the output size.
        num_kernels: channels of the branch.
    Source: the post "Data augmentation with Resizer network for Image Classification". Differs: the
        output has the size asked for (as printed there, the factor enlarges).
    """

    def __init__(self, *, output_size: int, num_resblocks: int = 2, num_kernels: int = 16) -> None:
        super().__init__()
        n = num_kernels
        self.output_size = output_size
        self.conv1, self.conv2 = nn.Conv2d(3, n, 7, padding=3), nn.Conv2d(n, n, 1)
        self.norm1 = nn.BatchNorm2d(n)
        self.blocks = nn.Sequential(*(BlogBlock(n) for _ in range(num_resblocks)))
        self.conv3, self.norm3 = nn.Conv2d(n, n, 3, padding=1, bias=False), nn.BatchNorm2d(n)
        self.conv4 = nn.Conv2d(n, 3, 7, padding=3)

    def forward(self, images: Tensor) -> Tensor:
        y = F.leaky_relu(self.conv1(images), SLOPE)
        y = F.leaky_relu(self.conv2(y), SLOPE)
        first = self._resized(self.norm1(y))
        y = self.norm3(self.conv3(self.blocks(first))) + first
        out: Tensor = self.conv4(y) + self._resized(images)
        return out

    def _resized(self, x: Tensor) -> Tensor:
        return F.interpolate(x, self.output_size, mode="bilinear", align_corners=False)


class BlogBlock(nn.Module):
    """Shape: (B, n, H, W) -> the same."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(n, n, 3, padding=1, bias=False), nn.BatchNorm2d(n)
        self.conv2, self.norm2 = nn.Conv2d(n, n, 3, padding=1, bias=False), nn.BatchNorm2d(n)

    def forward(self, x: Tensor) -> Tensor:
        y = F.leaky_relu(self.norm1(self.conv1(x)), SLOPE)
        out: Tensor = self.norm2(self.conv2(y)) + x
        return out
