"""One strided convolution: the least that can be learned in front of a backbone."""

from __future__ import annotations

from torch import Tensor, nn

from resizer.fixed import Size, checked_size, resize
from resizer.specs import check_whole


class StridedResizer(nn.Module):
    """Reduce images by one strided convolution; a bilinear resize makes up what is left.

    Shape: (B, channels, H, W) float -> (B, channels, height, width), same dtype.
    Args:
        output_size: side of the output, pixels; an int or (height, width).
        channels: of the images and of the output.
        stride: of the convolution, whose kernel is twice as wide; at an input of stride x
            output_size its output has the size asked for, and nothing is left to resize; even.
    Raises:
        ValueError: if an option is none of these.
    Source: our own control; compare the convolutional stems of Xiao et al., NeurIPS 2021.
    """

    def __init__(self, *, output_size: Size, channels: int = 3, stride: int = 2) -> None:
        super().__init__()
        self.output_size = checked_size(output_size)
        check_whole(channels=channels, stride=stride)
        if stride % 2:
            raise ValueError(f"stride is {stride}; it takes an even number")
        self.reduce = nn.Conv2d(channels, channels, 2 * stride, stride, padding=stride // 2)

    def forward(self, images: Tensor) -> Tensor:
        reduced: Tensor = self.reduce(images)
        if reduced.shape[2:] == self.output_size:
            return reduced
        return resize(reduced, self.output_size, interpolation="bilinear", antialias=False)
