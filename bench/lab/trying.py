"""What is tried before the first trial starts: backbones, resizers, and steps of one's own."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from bench.errors import InputError, first_line
from bench.lab import backbones, checkpoints, models, training, weights
from bench.lab import device as devices
from bench.spec.trial import Trial

IMAGES = 3
"""Of a training step that is only tried: one or two may be special to a module."""

SHARED = {
    "default dtype": torch.get_default_dtype,
    "default device": torch.get_default_device,
    "number of threads": torch.get_num_threads,
    "recording of gradients": torch.is_grad_enabled,
}
"""What torch has once for all arms of a process, as they are timed in."""

ROUNDING = 1e-2
"""A resizer's outputs for an image may differ by so much of their mean size."""


def check(trials: Iterable[Trial]) -> None:
    """Raise InputError at the first device, backbone or resizer that cannot be had.

    Each is built, and gets one image of each size that it is trained or validated at. A resizer of
    the user's own is also trained for two steps.
    """
    fronts, networks, own = {}, {}, {}
    for trial in trials:
        loaded, out = (trial.input_size, trial.evaluated_size), trial.output_size
        fronts[trial.resizer, loaded, out, trial.deterministic, str(trial.resizer_options)] = trial
        networks[trial.backbone, out or loaded, str(trial.pretrained)] = trial
        if ":" in trial.resizer and trial.epochs != 0:
            own[trial.speed_key] = trial
    device = devices.pick()
    for trial in networks.values():
        backbones.check(trial)
    before = {name: get() for name, get in SHARED.items()}
    for trial in fronts.values():
        try_resizer(trial)
        for name, get in SHARED.items():
            if get() != before[name]:
                raise InputError(
                    f"resizer {trial.resizer!r} changes torch's {name}, for other arms, too"
                )
        if trial.deterministic and device.type == "cuda":
            refuse_undeterministic(trial, device)
    for trial in own.values():
        try_training(trial, device)


def try_resizer(trial: Trial) -> None:
    """Raise InputError unless the trial's resizer can be built and gives images of its size."""
    if (front := models.build_resizer(trial)) is None:
        return
    what = f"resizer {trial.resizer!r}"
    weights.refuse_lazy(front, what)
    try:
        with torch.no_grad():
            sides = dict.fromkeys((trial.input_size, trial.evaluated_size))
            every = [front.eval()(torch.zeros(1, 3, side, side)) for side in sides]
    except BaseException as error:  # a user's own module may raise anything
        raise InputError(f"{what} fails: {first_line(error)}") from error
    wanted = (1, 3, trial.output_size, trial.output_size)
    for given in every:
        shape = tuple(given.shape) if isinstance(given, torch.Tensor) else type(given).__name__
        if shape != wanted:
            raise InputError(f"{what} gives {shape}, not {wanted}")
        if not given.is_floating_point() or given.device.type != "cpu":
            raise InputError(f"{what} gives {given.dtype} on {given.device}, not floats on cpu")
    weights.rehearse(front, what)
    if ":" in trial.resizer:
        refuse_unsteady(front, what, trial.evaluated_size)


@torch.no_grad()
def refuse_unsteady(front: nn.Module, what: str, side: int) -> None:
    """Raise InputError unless what it makes of an image in evaluation is of that image alone."""
    stream = torch.Generator().manual_seed(0)
    brightness = torch.arange(1.0, 1 + IMAGES).view(-1, 1, 1, 1)
    images = brightness * (torch.randn(IMAGES, 3, side, side, generator=stream) + 1)

    def alone() -> Tensor:
        return torch.cat([front(image[None].clone()) for image in images])

    try:
        first, again, together = alone(), [alone(), alone()], front(images.clone())
    except BaseException as error:  # a user's own module may raise anything
        raise InputError(f"{what} fails: {first_line(error)}") from error
    if any(_differ(first, other) for other in again):
        raise InputError(f"{what} makes another picture of the same image each time in evaluation")
    if _differ(first, together):
        raise InputError(
            f"{what} makes another picture of an image in evaluation where others are beside it: "
            "its accuracy would depend on the batches"
        )


def _differ(one: Tensor, other: Tensor) -> bool:
    rounding = ROUNDING * one.abs().mean()
    return one.shape != other.shape or bool((one - other).abs().mean() > rounding)


def try_training(trial: Trial, device: torch.device) -> None:
    """Raise InputError unless the trial's classifier can be trained, and its resizer resumed."""
    what = f"resizer {trial.resizer!r}"
    trial = trial.model_copy(update={"compile": None, "micro_batch": None})
    model = models.placed(models.build(trial, IMAGES, start=False), trial, device).train()
    labels = torch.arange(IMAGES, device=device)
    devices.resolve_precision(trial.precision, device)  # a wrong one is no fault of the resizer
    devices.configure(deterministic=trial.deterministic)
    try:
        state = training.begin(model, trial, 1000, 100)
        for _ in range(2):  # the first may fill what is only kept to be had again
            before = {name: buffer.clone() for name, buffer in unsaved(model.resizer).items()}
            images = torch.rand(IMAGES, 3, *[trial.input_size] * 2, device=device)
            training.update(state, images, labels)
    except BaseException as error:  # a user's own module may raise anything
        raise InputError(f"{what} fails in training: {first_line(error)}") from error
    finally:
        devices.configure(deterministic=False)
    for name, buffer in unsaved(model.resizer).items():
        if name not in before or not torch.equal(buffer, before[name]):
            raise InputError(
                f"{what} changes its buffer {name!r} in training, which is not in its "
                "state_dict(): a resumed trial would lose it"
            )
    refuse_outgrown(model.resizer, trial)
    refuse_unreached(model.resizer, what)


def refuse_outgrown(trained: nn.Module, trial: Trial) -> None:
    """Raise InputError unless a fresh resizer can take the weights of one that was trained.

    A layer that is made in its first forward pass is one that no optimiser trains, either.
    """
    fresh = models.build_resizer(trial)
    assert fresh
    own, state = fresh.state_dict(), trained.state_dict()
    try:
        fresh.load_state_dict(state)
    except Exception as error:  # a user's own module may raise anything
        why = checkpoints.misfit(weights.tensors(own), weights.tensors(state)) or first_line(error)
        raise InputError(
            f"resizer {trial.resizer!r} has other tensors after a step of training than as it is "
            f"built, which could not be loaded again ({why}): make them all in __init__"
        ) from error


def refuse_unreached(trained: nn.Module, what: str) -> None:
    """Raise InputError if a resizer has something to learn, and no gradient reaches any of it."""
    learning = {n: p for n, p in trained.named_parameters() if p.requires_grad}
    if learning and all(weight.grad is None for weight in learning.values()):
        raise InputError(
            f"{what} would not learn: no gradient reaches its weights ({next(iter(learning))}); "
            'frozen = ["resizer"] says that this is meant'
        )


def unsaved(module: nn.Module) -> dict[str, Tensor]:
    """The module's buffers that are not in its state dict, by name."""
    kept = module.state_dict().keys()
    return {name: buffer for name, buffer in module.named_buffers() if name not in kept}


def refuse_undeterministic(trial: Trial, device: torch.device) -> None:
    """Raise InputError where the resizer has no deterministic form, or one of another price."""
    if (front := models.build_resizer(trial)) is None:
        return
    devices.configure(deterministic=True)
    try:
        for side in dict.fromkeys((trial.input_size, trial.evaluated_size)):
            out = front.to(device)(torch.zeros(2, 3, side, side, device=device))
            if side == trial.input_size and out.requires_grad:
                out.sum().backward()
    except Exception as error:
        raise InputError(
            f"resizer {trial.resizer!r} cannot be deterministic here: {first_line(error)}; "
            'interpolation = "nearest" and "lanczos" can'
        ) from error
    finally:
        devices.configure(deterministic=False)
