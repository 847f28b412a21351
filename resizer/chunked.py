"""The learned resizer's training pass, a few images at a time.

The readable module keeps whole feature maps for its backward pass. Here each convolution is one
autograd function together with what stands around it. It takes the batch in chunks that stay in the
cache, saves only what batch norm cannot do without (the convolutions' outputs at the output size,
never a map of full size), and recomputes the rest in the backward pass. At 224 -> 112 (16 kernels,
2 blocks, batch 32) that takes half the memory of the readable layers in float32 and a third under
bf16, and on a Xeon with AVX-512 and a large L3 1.2 to 1.4 times their processor time in float32:
there arithmetic bounds both. So it is not the default. Three identities make it exact:

- Batch norm and resize commute, as every filter's weights sum to one: the head is normalised
  *behind* its resize, with the statistics of the full-size map.
- A layer that hands out its mean and variance as well as its values lets autograd carry batch
  norm's gradient: d/dx = g + g_mean / N + 2 g_var (x - mean) / N.
- A leaky ReLU's output has the sign of its input, so that it can be overwritten.

In mixed precision maps are stored in the lower precision; on a CPU without AMX the arithmetic on a
chunk is float32, which is faster there than the lower precision is, and closer.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from resizer.fixed import resize
from resizer.moments import Moments, MomentsGrad

if TYPE_CHECKING:
    from resizer.learned import LearnedResizer

aten = torch.ops.aten
CACHED = 1 << 20
"""Bytes of a float32 feature map in one chunk on a CPU: measured best at 2 MiB of L2 a core."""
LARGE = 256 << 20
"""The same elsewhere: enough to fill a GPU, small beside its memory."""


def forward(module: LearnedResizer, images: Tensor) -> Tensor:
    """The branch of `module.reference`, with gradients and with running statistics kept up.

    Shape: (B, in_channels, H, W) -> (B, out_channels, height, width), in autocast's type.
    """
    plan = Plan.here(images)
    how = Resample(module.output_size, module.interpolation, module.antialias)
    parts: Any = module  # as LearnedResizer made it: `fits` has looked
    wide, activation, point, _, norm = parts.head
    weights = wide.weight, wide.bias, point.weight, point.bias
    if has_kernels(module, images):
        from resizer import kernels  # imports Triton

        r, *moments = kernels.Head.apply(images, *weights, activation.negative_slope)
        r = r.to(plan.stored)
    else:
        r, *moments = Head.apply(images, *weights, activation.negative_slope, how, plan)
    y = normed(norm, r, moments, images)
    entered: list[Tensor] = []  # what goes into each block; without one, into the merge
    for block in parts.blocks:
        first, norm, activation, second, last = block.body
        z, c, *moments = Layer.apply(*y, _last(entered), first.weight, None, None, True, plan)
        entered.append(z)
        y = normed(norm, c, moments, c)
        slope = activation.negative_slope
        _, c, *moments = Layer.apply(*y, None, second.weight, None, slope, False, plan)
        y = normed(last, c, moments, c)
    convolution, norm = parts.merge
    z, c, *moments = Layer.apply(
        *(*y, _last(entered), convolution.weight, None, None, not entered, plan)
    )
    y = normed(norm, c, moments, c)
    branch = entered[0] if entered else z
    out: Tensor
    _, out, *_ = Layer.apply(*y, branch, module.tail.weight, module.tail.bias, None, False, plan)
    return out


def _last(entered: list[Tensor]) -> Tensor | None:
    return entered[-1] if entered else None


def normed(
    norm: nn.BatchNorm2d, y: Tensor, moments: Sequence[Tensor], counted: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, float]:
    """`y` and what normalises it: mean, variance, gain, offset, epsilon.

    In training these are the batch's moments, which the running statistics then follow.

    Args:
        counted: (B, C, H, W) that the moments were taken over, for the number of its pixels.
    """
    mean, var = moments
    if norm.training:
        _follow(norm, mean, var, counted.numel() // counted.shape[1])
    else:
        assert norm.running_mean is not None
        assert norm.running_var is not None
        mean, var = norm.running_mean, norm.running_var
    return y, mean, var, norm.weight, norm.bias, norm.eps


@torch.no_grad()
def _follow(norm: nn.BatchNorm2d, mean: Tensor, var: Tensor, count: int) -> None:
    """Move the running statistics towards the batch's, as nn.BatchNorm2d does."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert norm.num_batches_tracked is not None
    norm.num_batches_tracked += 1
    rate = norm.momentum
    if rate is None:  # a plain mean over all batches
        rate = 1 / float(norm.num_batches_tracked)
    norm.running_mean.lerp_(mean, rate)
    norm.running_var.lerp_(var * (count / (count - 1)), rate)


def fits(module: LearnedResizer, images: Tensor) -> bool:
    """Whether this file computes what the module's own layers would.

    It does not where the layers have been exchanged or hooked, where something traces or
    transforms them, and where batch norm has one value a channel, which is an error to raise.
    """
    layers = list(module.modules())[1:]
    types = {images.dtype, *(t.dtype for t in module.parameters())}
    least = min(images.shape[2] * images.shape[3], module.output_size[0] * module.output_size[1])
    return (
        len(types) == 1
        and types <= {torch.float32, torch.float64}
        and type(images) is Tensor
        and len(images) * least > 1
        and not any(map(_altered, layers))
        and not torch.compiler.is_compiling()
        and not torch._C._get_tracing_state()
        and not torch._C._functorch.maybe_current_level()
    )


def has_kernels(module: LearnedResizer, images: Tensor) -> bool:
    """Whether the head can be the Triton kernels of `resizer.kernels`."""
    how = Resample(module.output_size, module.interpolation, module.antialias)
    return (
        images.is_cuda
        and images.dtype == torch.float32
        and not images.requires_grad
        and how.halves(images.shape[2:])
        and importlib.util.find_spec("triton") is not None
    )


def _altered(layer: nn.Module) -> bool:
    """Whether a layer is hooked, or not as LearnedResizer made it."""
    hooks = layer._forward_hooks, layer._forward_pre_hooks, layer._backward_hooks
    if any(hooks) or layer._backward_pre_hooks:
        return True
    if isinstance(layer, nn.LeakyReLU):
        return layer.negative_slope < 0
    if isinstance(layer, nn.modules.batchnorm._NormBase):
        return type(layer) is not nn.BatchNorm2d or not (layer.affine and layer.track_running_stats)
    return isinstance(layer, nn.Conv2d) and type(layer) is not nn.Conv2d


@dataclass(frozen=True)
class Plan:
    """In which types one pass stores and computes.

    Args:
        stored: of the maps that are saved or handed on.
        computed: of the arithmetic on a chunk.
    """

    stored: torch.dtype
    computed: torch.dtype

    @classmethod
    def here(cls, images: Tensor) -> Plan:
        """The plan for these images under the autocast that is in force."""
        kind = images.device.type
        stored = images.dtype
        if torch.is_autocast_enabled(kind) and stored != torch.float64:
            stored = torch.get_autocast_dtype(kind)
        return cls(stored, stored if _multiplies(stored, kind) else torch.float32)

    def take(self, x: Tensor) -> Tensor:
        """A chunk as it is computed with: channels-last."""
        return x.to(self.computed, memory_format=torch.channels_last)

    def room(self, images: int, channels: int, size: tuple[int, ...], like: Tensor) -> Tensor:
        """An empty (images, channels, *size) map to store."""
        return torch.empty(
            *(images, channels, *size),
            dtype=self.stored,
            device=like.device,
            memory_format=torch.channels_last,
        )


def _multiplies(dtype: torch.dtype, device: str) -> bool:
    """Whether the device is faster in `dtype` than in float32 at so few channels."""
    if dtype in (torch.float32, torch.float64) or device != "cpu":
        return True
    return dtype == torch.bfloat16 and bool(torch.cpu.get_capabilities().get("amx_bf16"))


@dataclass(frozen=True)
class Resample:
    """The inner resize R of a (B, C, H, W) map, and its transpose."""

    size: tuple[int, int]
    interpolation: str
    antialias: bool

    def halves(self, before: tuple[int, ...]) -> bool:
        """Whether R is the mean of 2x2 pixels, as bilinear is at exactly 2x without antialias."""
        plain = self.interpolation == "bilinear" and not self.antialias
        return plain and tuple(before) == (2 * self.size[0], 2 * self.size[1])

    def __call__(self, x: Tensor) -> Tensor:
        if self.halves(x.shape[2:]):
            return F.avg_pool2d(x, 2)
        return resize(x, self.size, interpolation=self.interpolation, antialias=self.antialias)

    def transposed(self, grad: Tensor, before: tuple[int, ...]) -> Tensor:
        """R's transpose: (B, C, *size) -> (B, C, *before)."""
        if self.halves(before):
            return F.interpolate(grad / 4, scale_factor=2, mode="nearest")
        images, channels = grad.shape[:2]
        point = grad.new_zeros(()).expand(images, channels, *before)
        with torch.enable_grad():
            point = point.contiguous(memory_format=torch.channels_last).requires_grad_()
            (back,) = torch.autograd.grad(self(point), point, grad)
        return back


class Head(torch.autograd.Function):
    """Conv7x7, leaky ReLU, Conv1x1, leaky ReLU: a. Gives R(a) and a's mean and variance.

    Shape: (B, channels, H, W) -> (B, n, height, width) in the stored type, (n,), (n,).
    Args: the images, both kernels with their biases, the slope of the leaky ReLUs, R, the plan.
    """

    @staticmethod
    def forward(
        ctx: Any,
        images: Tensor,
        wide: Tensor,
        wide_bias: Tensor,
        point: Tensor,
        point_bias: Tensor,
        slope: float,
        how: Resample,
        plan: Plan,
    ) -> tuple[Tensor, Tensor, Tensor]:
        parameters = wide, wide_bias, point, point_bias
        moments = Moments()
        with exactly(images):
            weights = [w.to(plan.computed) for w in parameters]
            out = plan.room(len(images), len(wide), how.size, images)
            for part in chunks(images, len(wide)):
                _, a = activations(plan.take(images[part]), weights, slope)
                moments.add(a)
                out[part] = how(a)
        mean, var = moments.joined()
        ctx.save_for_backward(images, *parameters, mean)
        ctx.slope, ctx.how, ctx.plan = slope, how, plan
        ctx.set_materialize_grads(False)
        return out, mean, var

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, grad_out: Tensor | None, grad_mean: Tensor | None, grad_var: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        images, *parameters, mean = ctx.saved_tensors
        plan, how, slope = ctx.plan, ctx.how, ctx.slope
        to_images, *to_parameters = ctx.needs_input_grad[:5]
        grad_images = torch.empty_like(images) if to_images else None
        sums = [torch.zeros_like(w) for w in parameters]
        of_moments = MomentsGrad(grad_mean, grad_var, mean, images.numel() // images.shape[1])
        with exactly(images):
            weights = [w.to(plan.computed) for w in parameters]
            for part in chunks(images, len(mean)):
                x = plan.take(images[part])
                hidden, a = activations(x, weights, slope)
                if grad_out is None:
                    grad = torch.zeros_like(a)
                else:
                    grad = how.transposed(plan.take(grad_out[part]), a.shape[2:])
                grad = leaky_backward_(of_moments.added(grad, a), a, slope)
                grad, *of_point = pointwise_backward(grad, hidden, weights[2])
                grad = leaky_backward_(grad, hidden, slope)
                back, *of_wide = convolution_backward(
                    grad, x, weights[0], (to_images, *to_parameters[:2])
                )
                add_up(sums, (*of_wide, *of_point))
                if grad_images is not None:
                    grad_images[part] = back
        return grad_images, *sums, None, None, None


def activations(x: Tensor, weights: Sequence[Tensor], slope: float) -> tuple[Tensor, Tensor]:
    """Both activations of the head on a chunk, (B, n, H, W) each."""
    wide, wide_bias, point, point_bias = weights
    hidden = F.leaky_relu_(F.conv2d(x, wide, wide_bias, padding=wide.shape[2] // 2), slope)
    return hidden, F.leaky_relu_(pointwise(hidden, point, point_bias), slope)


class Layer(torch.autograd.Function):
    """Normalise, activate or add, convolve: u = act(norm(y)) + rest; y' = u * weight + bias.

    Gives u if it is to be kept, else None, y', and the mean and variance of y'.

    Shape: (B, n, h, w) -> (B, n, h, w), (B, m, h, w), (m,), (m,); maps in the stored type.
    Args:
        y: what is normalised, with its mean and variance, gain and offset, (n,) each, and epsilon.
        rest: (B, n, h, w), or None for nothing to add.
        weight, bias: (m, n, k, k) with same padding, and (m,) or None.
        slope: of the leaky ReLU behind the norm; None for no activation.
        keep: whether to give u.
    """

    @staticmethod
    def forward(
        ctx: Any,
        y: Tensor,
        mean: Tensor,
        var: Tensor,
        gain: Tensor,
        offset: Tensor,
        eps: float,
        rest: Tensor | None,
        weight: Tensor,
        bias: Tensor | None,
        slope: float | None,
        keep: bool,
        plan: Plan,
    ) -> tuple[Tensor | None, Tensor, Tensor, Tensor]:
        norm = mean, var, gain, offset, eps
        moments = Moments()
        with exactly(y):
            kernel = weight.to(plan.computed)
            shift = None if bias is None else bias.to(plan.computed)
            out = plan.room(len(y), len(weight), y.shape[2:], y)
            kept = plan.room(len(y), y.shape[1], y.shape[2:], y) if keep else None
            for part in chunks(y, y.shape[1]):
                u = entering(plan, y[part], norm, slope, None if rest is None else rest[part])
                if kept is not None:
                    kept[part] = u
                made = F.conv2d(u, kernel, shift, padding=kernel.shape[2] // 2)
                moments.add(made)
                out[part] = made
        out_mean, out_var = moments.joined()
        ctx.save_for_backward(y, mean, var, gain, offset, rest, weight, out, out_mean)
        ctx.eps, ctx.slope, ctx.plan = eps, slope, plan
        ctx.set_materialize_grads(False)
        return kept, out, out_mean, out_var

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any,
        grad_kept: Tensor | None,
        grad_out: Tensor | None,
        grad_mean: Tensor | None,
        grad_var: Tensor | None,
    ) -> tuple[Tensor | None, ...]:
        y, mean, var, gain, offset, rest, weight, out, out_mean = ctx.saved_tensors
        plan, norm = ctx.plan, (mean, var, gain, offset, ctx.eps)
        grad_y = torch.empty_like(y)
        grad_rest = None if rest is None else torch.empty_like(rest)
        sums = [torch.zeros_like(total) for total in (weight, out_mean, gain, offset)]
        of_moments = MomentsGrad(grad_mean, grad_var, out_mean, out.numel() // out.shape[1])
        mask = True, ctx.needs_input_grad[7], ctx.needs_input_grad[8]
        with exactly(y):
            kernel = weight.to(plan.computed)
            for part in chunks(y, y.shape[1]):
                some = plan.take(y[part])
                u = entering(plan, some, norm, ctx.slope, None if rest is None else rest[part])
                made = plan.take(out[part])
                grad = torch.zeros_like(made) if grad_out is None else plan.take(grad_out[part])
                grad, *of_kernel = convolution_backward(
                    of_moments.added(grad, made), u, kernel, mask
                )
                if ctx.slope is not None:
                    grad = leaky_backward_(grad, u, ctx.slope)
                if grad_kept is not None:
                    grad += grad_kept[part]
                if grad_rest is not None:
                    grad_rest[part] = grad
                grad_y[part], *of_norm = norm_backward(grad, some, norm)
                add_up(sums, (*of_kernel, *of_norm))
        of_weight, of_bias, of_gain, of_offset = sums
        inverse = gain * torch.rsqrt(var + ctx.eps)
        of_mean, of_var = -inverse * of_offset, -0.5 * inverse / (var + ctx.eps).sqrt() * of_gain
        of_conv = of_weight, of_bias if mask[2] else None
        return grad_y, of_mean, of_var, of_gain, of_offset, None, grad_rest, *of_conv, *[None] * 3


Norm = tuple[Tensor, Tensor, Tensor, Tensor, float]
"""Mean, variance, gain and offset, (n,) each, and epsilon."""


def entering(plan: Plan, y: Tensor, norm: Norm, slope: float | None, rest: Tensor | None) -> Tensor:
    """What enters a layer's convolution, of a chunk: (B, n, h, w)."""
    mean, var, gain, offset, eps = norm
    u = F.batch_norm(plan.take(y), mean, var, gain, offset, training=False, eps=eps)
    if slope is not None:
        u = F.leaky_relu_(u, slope)
    return u if rest is None else u.add_(rest)


def norm_backward(grad: Tensor, y: Tensor, norm: Norm) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of y, gain and offset of a norm whose statistics are given."""
    mean, var, gain, _, eps = norm
    back: tuple[Tensor, Tensor, Tensor] = aten.native_batch_norm_backward(
        grad, y, gain, mean, var, None, None, False, eps, [True, True, True]
    )
    return back


def leaky_backward_(grad: Tensor, activated: Tensor, slope: float) -> Tensor:
    """`grad`, overwritten with its product by the leaky ReLU's derivative."""
    aten.leaky_relu_backward.grad_input(grad, activated, slope, True, grad_input=grad)
    return grad


def convolution_backward(
    grad: Tensor, x: Tensor, weight: Tensor, mask: tuple[bool, ...]
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Gradients of x, of the weight and of the bias of a convolution with same padding.

    Args:
        mask: which of the three are wanted; the others are None.
    """
    pad = [weight.shape[2] // 2] * 2
    back: tuple[Tensor, Tensor | None, Tensor | None] = aten.convolution_backward(
        *(grad, x, weight, [len(weight)], [1, 1], pad, [1, 1], False, [0, 0], 1, list(mask))
    )
    return back


def pointwise(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A 1x1 convolution as one matrix product; of a channels-last map a view goes in and out."""
    images, channels, height, width = x.shape
    pixels = x.permute(0, 2, 3, 1).reshape(-1, channels)
    out = torch.addmm(bias, pixels, weight.flatten(1).t())
    return out.view(images, height, width, -1).permute(0, 3, 1, 2)


def pointwise_backward(grad: Tensor, x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """`convolution_backward` of a 1x1 convolution as two matrix products: a third of the time."""
    images, _, height, width = x.shape
    of_pixels = grad.permute(0, 2, 3, 1).reshape(-1, grad.shape[1])  # views: channels-last
    pixels = x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])
    matrix = weight.flatten(1)
    back = (of_pixels @ matrix).view(images, height, width, -1).permute(0, 3, 1, 2)
    return back, (of_pixels.t() @ pixels).view(weight.shape), of_pixels.sum(dim=0)


def add_up(sums: Sequence[Tensor], parts: Sequence[Tensor | None]) -> None:
    """Add each part to its sum, in the sum's precision."""
    for total, part in zip(sums, parts, strict=True):
        if part is not None:
            total += part


def chunks(batch: Tensor, channels: int) -> Iterator[slice]:
    """Slices of (B, C, H, W) for which a float32 map of that many channels stays in the cache."""
    budget = CACHED if batch.device.type == "cpu" else LARGE
    step = max(1, budget // (4 * channels * batch.shape[2] * batch.shape[3]))
    for first in range(0, len(batch), step):
        yield slice(first, first + step)


def exactly(x: Tensor) -> torch.autocast:
    """No autocast, also in a backward pass that is run under one: the plan has settled types."""
    return torch.autocast(x.device.type, enabled=False)
