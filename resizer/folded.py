"""The learned resizer's branch for inference: norms folded, a few images at a time in the cache."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from resizer.chunked import Plan, Resample, activations, chunks, exactly

if TYPE_CHECKING:
    from resizer.learned import LearnedResizer


class Folded(nn.Module):
    """The branch of a LearnedResizer with its running statistics, for inference alone.

    The head's norm stands behind the resize, as one factor and one offset a channel (a leaky ReLU
    is between it and the convolution before it, zero padding between it and the one after); every
    other norm is part of its convolution.

    Shape: (B, in_channels, H, W) -> (B, out_channels, height, width), in the dtype of the weights.
    Args:
        module: copied from, in its present state.
        dtype: of the weights.
    """

    def __init__(self, module: LearnedResizer, dtype: torch.dtype) -> None:
        super().__init__()
        self.how = Resample(module.output_size, module.interpolation, module.antialias)
        parts: Any = module  # as LearnedResizer made it
        wide, activation, point, _, norm = parts.head
        self.slope: float = activation.negative_slope
        tensors: dict[str, Tensor] = {
            "wide": wide.weight,
            "wide_bias": wide.bias,
            "point": point.weight,
            "point_bias": point.bias,
            "tail": parts.tail.weight,
            "tail_bias": parts.tail.bias,
        }
        tensors["gain"], tensors["offset"] = factors(norm)
        self.blocks = len(parts.blocks)
        pairs = [pair for block in parts.blocks for pair in (block.body[:2], block.body[3:])]
        for i, (convolution, norm) in enumerate([*pairs, parts.merge]):
            gain, offset = factors(norm)
            tensors[f"kernel{i}"] = convolution.weight * gain[:, None, None, None]
            tensors[f"bias{i}"] = offset
        for name, tensor in tensors.items():
            layout = torch.channels_last if tensor.dim() == 4 else torch.contiguous_format
            value = tensor.detach().to(dtype, memory_format=layout, copy=True)
            self.register_buffer(name, value)

    def forward(self, images: Tensor) -> Tensor:
        weights = [self.get_buffer(n) for n in ("wide", "wide_bias", "point", "point_bias")]
        _, a = activations(images, weights, self.slope)  # one matrix product for the 1x1
        gain, offset = (self.get_buffer(n)[:, None, None] for n in ("gain", "offset"))
        branch = self.how(a) * gain + offset
        z = branch
        for i in range(self.blocks):
            hidden = F.leaky_relu_(self._convolved(2 * i, z), self.slope)
            z = z + self._convolved(2 * i + 1, hidden)
        refined = self._convolved(2 * self.blocks, z) + branch
        return F.conv2d(refined, self.get_buffer("tail"), self.get_buffer("tail_bias"), padding=3)

    def _convolved(self, i: int, x: Tensor) -> Tensor:
        return F.conv2d(x, self.get_buffer(f"kernel{i}"), self.get_buffer(f"bias{i}"), padding=1)


class FoldedResizer(nn.Module):
    """All of a LearnedResizer for inference, of plain operators: to export it.

    Shape: (B, in_channels, H, W) -> (B, out_channels, height, width), float32.
    Args:
        module: copied from, in its present state.
    """

    def __init__(self, module: LearnedResizer) -> None:
        super().__init__()
        self.branch = Folded(module, torch.float32)
        self.skip = copy.deepcopy(module.skip).requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = self.branch(images) + self.branch.how(self.skip(images))
        return out


def factors(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """(n,) factor and offset that batch norm with its running statistics amounts to."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    gain = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    return gain, norm.bias - norm.running_mean * gain


@torch.no_grad()
def forward(module: LearnedResizer, images: Tensor) -> Tensor:
    """The branch of `module.reference` in evaluation mode, without gradients.

    Shape: (B, in_channels, H, W) -> (B, out_channels, height, width), in autocast's type.
    """
    plan = Plan.here(images)
    with exactly(images):
        branch = Folded(module, plan.computed)
        out = plan.room(len(images), module.out_channels, module.output_size, images)
        for part in chunks(images, module.num_kernels):
            out[part] = branch(plan.take(images[part]))
    return out
