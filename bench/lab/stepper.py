"""Steps without data loading, and what one image costs in multiply-adds and parameters."""

from __future__ import annotations

import itertools
import math
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property, partial

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from bench.data.batches import Batch
from bench.data.master import Master
from bench.lab import device as devices
from bench.lab import models, training
from bench.lab.capture import Call, captured
from bench.lab.resampling import AT_ONCE, loader
from bench.spec.trial import Trial

WARM_UP_CALLS = 2
BLOCK_S = 0.05
"""The device is waited for after calls of at least so long; after each one for the latency."""
LEAST_BLOCKS = 3
SHARE_CALLS = 6


class Stepper:
    """A classifier and one resident batch of noise: steps whose cost holds no data loading."""

    def __init__(self, trial: Trial, classes: int) -> None:
        devices.configure(deterministic=trial.deterministic)
        self.trial, self.device = trial, devices.pick()
        model = models.build(trial, classes, start=False)
        self.model = models.placed(model, trial, self.device)
        self.state = training.begin(self.model, trial, 1000, 100)
        self.precision = self.state.precision
        self.layout = torch.channels_last if trial.channels_last else torch.contiguous_format
        self.part = trial.micro_batch or trial.batch_size  # images that go through at once
        # its own, since a call that draws from the processor's streams is not captured
        self.stream = torch.Generator()
        self.images = self._pixels(trial.input_size)
        self.labels = torch.randint(classes, (trial.batch_size,)).to(self.device)

    @cached_property
    def validated(self) -> torch.Tensor:
        """The batch that is classified: that of training, unless validation has a size of its own.

        (B, 3, S, S) uint8.
        """
        side = self.trial.evaluated_size
        return self.images if side == self.trial.input_size else self._pixels(side)

    def _pixels(self, side: int) -> torch.Tensor:
        shape = (self.trial.batch_size, 3, side, side)
        pixels = torch.randint(256, shape, dtype=torch.uint8, generator=self.stream)
        return pixels.to(self.device).contiguous(memory_format=self.layout)

    @cached_property
    def resized(self) -> torch.Tensor:
        """What the backbone gets: (B, 3, height, width), noise.

        It needs a gradient where there is something to train in front of the backbone.
        """
        trains = any(p.requires_grad for p in self.model.resizer.parameters())
        return self._noise().requires_grad_(trains)

    @cached_property
    def gradient(self) -> torch.Tensor:
        """What comes back from a backbone: the shape of `resized`, in the dtype of the resizer."""
        with torch.no_grad(), devices.autocast(self.device, self.precision):
            out = self.model.resizer(self.model.normalised(self.images[:2]))
        return self._noise().to(out.dtype)

    def _noise(self) -> torch.Tensor:
        side = self.trial.backbone_size
        noise = torch.randn(self.trial.batch_size, 3, side, side, generator=self.stream)
        return noise.to(self.device).contiguous(memory_format=self.layout)

    @cached_property
    def update(self) -> Call[torch.Tensor]:
        return training.stepping(self.state)

    def launched(self, step: Callable[[Stepper], None]) -> Callable[[], None]:
        """The call of one of these steps, launched as a GPU launches those of a training."""
        call = partial(step, self)
        one = self.trial.compile or step is Stepper.train_step  # is captured by itself
        return call if one else captured(call, self.device)

    def train_step(self) -> None:
        """Forward, backward, optimiser, on the resident batch; the model is in training mode."""
        self.update(self.images, self.labels)

    def train_step_by_kernels(self) -> None:
        """The same, never captured: the allocator sees all that it takes."""
        training.update(self.state, self.images, self.labels)

    def train_step_on(self, batches: Iterator[Batch]) -> None:
        """The same on the next of these batches, which is resident from then on."""
        self.images, self.labels = next(batches)
        self.train_step()

    def resizer_step(self) -> None:
        parts = torch.split(self.images, self.part), torch.split(self.gradient, self.part)
        for images, gradient in zip(*parts, strict=True):
            with devices.autocast(self.device, self.precision):
                out = self.model.resizer(self.model.normalised(images))
            if out.requires_grad:
                torch.autograd.backward(out, gradient)
        self.state.optimizer.zero_grad(set_to_none=True)

    def backbone_step(self) -> None:
        """Forward and backward through the backbone alone, on a resident batch of its size."""
        parts = torch.split(self.resized, self.part), torch.split(self.labels, self.part)
        for resized, labels in zip(*parts, strict=True):
            with devices.autocast(self.device, self.precision):
                loss = F.cross_entropy(self.model.backbone(resized), labels)
            if loss.requires_grad:
                loss.backward()  # type: ignore[no-untyped-call]
        self.state.optimizer.zero_grad(set_to_none=True)
        self.resized.grad = None

    def batches(self, images: Master) -> Iterator[Batch]:
        """Training batches of the images on the device, epoch after epoch."""
        train = loader(images, self.trial, self.device).train
        endless = itertools.chain.from_iterable(map(train, itertools.count(1)))
        return devices.delivered(endless, self.device)

    def infer_step(self) -> None:
        """Classify a resident batch; the model is in evaluation mode."""
        self._infer(self.validated)

    def infer_one(self) -> None:
        """Classify one image of it, likewise."""
        self._infer(self.validated[:1])

    @torch.no_grad()
    def _infer(self, images: torch.Tensor) -> None:
        with devices.autocast(self.device, self.precision):
            self.model(images)

    def busy_share(self) -> float | None:
        """Share of a training step's time in which a GPU is at work; None elsewhere."""
        if self.device.type != "cuda":
            return None
        wall_s = statistics.median([self.timed(self.train_step) for _ in range(SHARE_CALLS)][1:])
        return (devices.busy_s(self.train_step, wall_s, self.device) or 0.0) / wall_s

    def timed(self, step: Callable[[], object]) -> float:
        """Seconds that one call of `step` takes, the device waited for."""
        devices.synchronise(self.device)
        began = time.perf_counter()
        step()
        devices.synchronise(self.device)
        return time.perf_counter() - began


def timed_blocks(
    stepper: Stepper,
    step: Callable[[], object],
    seconds: float,
    block_s: float = BLOCK_S,
    during: AbstractContextManager[None] | None = None,
) -> list[float]:
    """Seconds of a call: the mean over each block of calls that lasts about `block_s` or more.

    The device is waited for at both ends of a block. There are as many blocks as fill `seconds`,
    and at least LEAST_BLOCKS, none of them planned to be longer; the first calls warm up.

    Args:
        during: held while the blocks are taken, and not while the first calls warm up.
    """
    warm = [stepper.timed(step) for _ in range(WARM_UP_CALLS)][-1]
    calls = max(1, math.ceil(min(block_s, seconds) / warm))

    def block() -> None:
        for _ in range(calls):
            step()

    values: list[float] = []
    with during or nullcontext():
        end = time.perf_counter() + seconds
        while len(values) < LEAST_BLOCKS or time.perf_counter() < end:
            values.append(stepper.timed(block) / calls)
    return values


def timed_batches(stepper: Stepper, batches: Iterator[Batch], seconds: float) -> list[float]:
    """Seconds of a batch, as `timed_blocks` has those of a call.

    To a GPU they come several at a time: one by one, the second call would take next to nothing.
    """
    take, many = batchwise(stepper, partial(next, batches))
    return [value / many for value in timed_blocks(stepper, take, seconds)]


def batchwise(stepper: Stepper, call: Callable[[], object]) -> tuple[Callable[[], None], int]:
    """Calls of one for each of the batches that are made at once, and how many these are."""
    many = AT_ONCE if stepper.device.type == "cuda" else 1

    def calls() -> None:
        for _ in range(many):
            call()

    return calls, many


def cost(model: models.Classifier, side: int) -> dict[str, float]:
    """Parameters (millions) and multiply-adds of one image (billions), in all and of the resizer.

    Multiply-adds are those that torch's counter knows: convolutions and matrix products.

    Args:
        side: of the image, pixels.
    """
    image = torch.zeros(1, 3, side, side)
    model.eval()
    return {
        "gmacs": gmacs(model, image),
        "resizer_gmacs": gmacs(model.resizer, image),
        "params_m": params_m(model),
        "resizer_params_m": params_m(model.resizer),
    }


def gmacs(module: nn.Module, image: torch.Tensor) -> float:
    """Multiply-adds of one forward pass, billions.

    Attention is computed as matrix products: torch counts nothing of a CPU's fused attention.
    """
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        module(image)
    return float(counter.get_total_flops()) / 2e9


def params_m(module: nn.Module) -> float:
    """Parameters, millions."""
    return sum(p.numel() for p in module.parameters()) / 1e6
