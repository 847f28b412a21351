"""The learned resizer for inference, its batch norms folded away: what is exported."""

from __future__ import annotations

import copy
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from resizer.learned import LearnedResizer


class FoldedResizer(nn.Module):
    """The same function as a LearnedResizer in evaluation mode, of plain operators.

    The head's norm stands behind the resize, as one factor and one offset a channel: a leaky ReLU
    is between it and the convolution before it, zero padding between it and the one after, and a
    resize, whose weights sum to one, lets it through. Every other norm is part of its convolution.

    Shape: (B, in_channels, H, W) -> (B, out_channels, height, width), float32.
    Args:
        module: copied from, in its present state.
    """

    def __init__(self, module: LearnedResizer) -> None:
        super().__init__()
        module = copy.deepcopy(module).float().eval().requires_grad_(False)
        self.resize = module.resize
        self.head = nn.Sequential(*module.head[:-1])
        gain, offset = factors(cast("nn.BatchNorm2d", module.head[-1]))
        self.gain: Tensor
        self.offset: Tensor
        self.register_buffer("gain", gain[:, None, None])
        self.register_buffer("offset", offset[:, None, None])
        self.blocks = nn.ModuleList(fused(cast("nn.Sequential", b.body)) for b in module.blocks)
        self.merge, self.skip = fused(module.merge), module.skip
        self.tail = widened(module.tail, module.resize.output_size)

    def forward(self, images: Tensor) -> Tensor:
        branch = self.resize(self.head(images)) * self.gain + self.offset
        z = branch
        for block in self.blocks:
            z = z + block(z)
        out: Tensor = self.tail(self.merge(z) + branch) + self.resize(self.skip(images))
        return out


def fused(layers: nn.Sequential) -> nn.Sequential:
    """The layers, each batch norm as part of the convolution before it."""
    kept: list[nn.Module] = []
    for layer in layers:
        if isinstance(layer, nn.BatchNorm2d):
            kept.append(fuse_conv_bn_eval(cast("nn.Conv2d", kept.pop()), layer))
        else:
            kept.append(layer)
    return nn.Sequential(*kept)


def widened(conv: nn.Conv2d, size: tuple[int, int]) -> nn.Module:
    """The same convolution to an output of that size, four pixels at a time where that pays.

    It does where whole blocks of 2x2 pixels have few channels: a CPU computes them in vectors of
    16, of which 3 use little.
    """
    if conv.out_channels > 4 or size[0] % 2 or size[1] % 2:
        return conv
    kernel, bias = (nn.Parameter(tensor.detach(), requires_grad=False) for tensor in spread(conv))
    wide = nn.Conv2d(
        kernel.shape[1], len(bias), kernel.shape[2], stride=2, padding=conv.kernel_size[0] // 2
    )
    wide.weight, wide.bias = kernel, bias
    return nn.Sequential(wide, nn.PixelShuffle(2))


def spread(conv: nn.Conv2d) -> tuple[Tensor, Tensor]:
    """Kernel and bias whose convolution of stride 2 gives the pixels of each 2x2 block as channels.

    The kernel has the given one at four offsets: (4 out, in, side + 1, side + 1), and (4 out,).
    """
    assert conv.bias is not None
    offsets = [(x, 1 - x, y, 1 - y) for y in (0, 1) for x in (0, 1)]
    kernels = torch.stack([F.pad(conv.weight, offset) for offset in offsets], dim=1)
    return kernels.flatten(0, 1), conv.bias.repeat_interleave(4)


def factors(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """(n,) factor and offset that batch norm with its running statistics amounts to."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    gain = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    return gain, norm.bias - norm.running_mean * gain
