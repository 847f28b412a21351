"""MULLER: a resize sharpened by a few scalars."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from resizer.fixed import FixedResizer, Size, strict
from resizer.specs import MOST, check_real, check_whole


class MullerResizer(nn.Module):
    """Add bands of detail to a plain resize, each with a learned gain and offset.

        y = R(x);  u = x;  for each layer: g = G(u);  y += tanh(alpha R(g - u) + beta);  u = g

    R is the plain resize, G a Gaussian blur. Gains and offsets start at zero, so the module starts
    as R. What they mean depends on the scale of the images.

    Shape: (B, C, H, W) float -> (B, C, height, width), same dtype.
    Args:
        output_size: side of the output, pixels; an int or (height, width).
        num_layers: bands; each has two parameters.
        kernel_size: side of the Gaussian's window, pixels, odd.
        sigma: of the Gaussian, pixels, 0.01 or more.
        interpolation: of R: nearest, bilinear, bicubic, area or lanczos.
        antialias: of R; bilinear and bicubic only.
    Raises:
        ValueError: if an option is none of these.
    Source: Tu, Milanfar & Talebi, ICCV 2023 (arXiv 2304.02859). Differs: the blur repeats the
        border's pixels where the published one takes zeros.
    """

    def __init__(
        self,
        *,
        output_size: Size,
        num_layers: int = 2,
        kernel_size: int = 5,
        sigma: float = 1.0,
        interpolation: str = "bilinear",
        antialias: bool = False,
    ) -> None:
        super().__init__()
        self.resize = FixedResizer(
            output_size=output_size, interpolation=interpolation, antialias=antialias
        )
        check_whole(num_layers=num_layers, kernel_size=kernel_size)
        if kernel_size % 2 == 0:
            raise ValueError(f"kernel_size is {kernel_size}; it takes an odd number")
        check_real(0.01, MOST, sigma=sigma)  # whose square is far from zero
        self.alpha = nn.Parameter(torch.zeros(num_layers))
        self.beta = nn.Parameter(torch.zeros(num_layers))
        at = torch.arange(kernel_size) - kernel_size // 2
        line = torch.exp(-(at**2) / (2 * sigma**2))
        self.line: Tensor
        self.register_buffer("line", line / line.sum(), persistent=False)  # (kernel_size,)

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = self.resize(images)
        band = images
        for alpha, beta in zip(self.alpha.unbind(), self.beta.unbind(), strict=True):
            blurred = self._blur(band)
            out = out + torch.tanh(alpha * self.resize(blurred - band) + beta)
            band = blurred
        return out

    def _blur(self, x: Tensor) -> Tensor:
        channels, k = x.shape[1], len(self.line)
        padded = repeated_edges(x, k // 2)
        kernel = self.line.to(x.dtype).expand(channels, 1, 1, k)
        with torch.autocast(x.device.type, enabled=False):  # a filter, as precise as the resize
            rows = F.conv2d(padded, kernel, groups=channels)
            return F.conv2d(rows, kernel.transpose(2, 3), groups=channels)


def repeated_edges(x: Tensor, width: int) -> Tensor:
    """(B, C, H, W) with `width` more pixels at each side, which repeat the border's."""
    if not strict(x):
        return F.pad(x, [width] * 4, mode="replicate")
    rows, columns = (
        torch.arange(-width, side + width, device=x.device).clamp(0, side - 1)
        for side in x.shape[2:]
    )
    return x.index_select(2, rows).index_select(3, columns)
