"""Means and variances of a map that is never there as a whole, and their gradient.

Variances are taken in two passes over each chunk and joined by their pairwise formula (Chan, Golub
& LeVeque 1983) in float64: E[x^2] - E[x]^2 in float32 would cost 4e-3 in the gradients.
"""

from __future__ import annotations

import torch
from torch import Tensor


class Moments:
    """Mean and biased variance of each channel, gathered chunk by chunk in float64."""

    def __init__(self) -> None:
        self.counts: list[int] = []
        self.means: list[Tensor] = []
        self.vars: list[Tensor] = []

    def add(self, x: Tensor) -> None:
        """Count in a chunk, (B, n, H, W)."""
        wide = torch.float64 if x.dtype == torch.float64 else torch.float32
        start = x.new_zeros(x.shape[1], dtype=wide)  # not changed at a momentum of 0
        mean, var = torch.ops.aten.batch_norm_update_stats(x, start, torch.ones_like(start), 0.0)
        self.counts.append(x.numel() // x.shape[1])
        self.means.append(mean)
        self.vars.append(var)

    def joined(self) -> tuple[Tensor, Tensor]:
        """Mean and variance over all that was added, (n,) each."""
        means, variances = torch.stack(self.means).double(), torch.stack(self.vars).double()
        share = means.new_tensor(self.counts)[:, None] / sum(self.counts)  # (chunks, 1)
        mean = (share * means).sum(dim=0)
        var = (share * (variances + (means - mean) ** 2)).sum(dim=0)
        return mean.to(self.means[0].dtype), var.to(self.means[0].dtype)


class MomentsGrad:
    """What a map's gradient gets from the gradients of its own mean and variance.

    Args:
        grad_mean, grad_var: (n,), or None for none.
        mean: (n,) of the map.
        count: values of each channel.
    """

    def __init__(
        self, grad_mean: Tensor | None, grad_var: Tensor | None, mean: Tensor, count: int
    ) -> None:
        self.none = grad_mean is None and grad_var is None
        mean = mean.double()
        zero = torch.zeros_like(mean)
        slope = (zero if grad_var is None else grad_var.double()) * (2 / count)
        level = (zero if grad_mean is None else grad_mean.double()) / count - slope * mean
        self.slope, self.level = slope[:, None, None], level[:, None, None]  # (n, 1, 1)

    def added(self, grad: Tensor, x: Tensor) -> Tensor:
        """A copy of `grad`, (B, n, H, W), with the part of the chunk `x` of the map."""
        if self.none:
            return grad.clone()
        return torch.addcmul(grad, x, self.slope.to(grad)).add_(self.level.to(grad))
