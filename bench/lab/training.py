"""The training loop, and validation."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import partial

import torch
from timm.optim import create_optimizer_v2
from torch import Tensor, nn
from torch.nn import functional as F

from bench.data.batches import Loader
from bench.errors import InputError, message, readable
from bench.events import Epoch, Listener, Step, StoppedError
from bench.lab import device as devices
from bench.lab.capture import Call, Captured, captured
from bench.lab.snapshots import Snapshots, State
from bench.records import CurveRow
from bench.seeds import seed_for
from bench.spec.trial import Trial


class DivergedError(RuntimeError):
    """The loss, in training or validation, is no longer a finite number."""


@dataclass(frozen=True)
class Predictions:
    """Of each validation image, in the master's order, on the CPU."""

    predicted: Tensor  # (N,) int64
    probability: Tensor  # (N,) of the true class
    val_loss: float  # mean cross-entropy, nat
    top1_pct: float


@dataclass(frozen=True)
class Trained:
    curve: list[CurveRow]  # a row for each epoch
    predictions: Predictions  # after the final step
    train_s: float  # training alone, evaluation excluded
    steps: int
    capture: str | None = None
    """Of a GPU: "ok" where its steps were captured, else why they were not."""


def train(
    model: nn.Module, data: tuple[Loader, Loader], snapshots: Snapshots, tell: Listener
) -> Trained:
    """Train `model` in place by the trial's recipe, validating as it asks and after the last step.

    Args:
        data: the trial's loaders of the train and the val split.
        snapshots: where it goes on from, if there is one, and where it is saved now and then.
        tell: hears of every step and every epoch.
    Raises:
        InputError: if there are fewer images than make a batch.
        DivergedError: at the end of an epoch whose loss is not finite, or that of a validation.
    """
    train_data, val_data = data
    trial = train_data.trial
    total = trial.total_steps(len(train_data.master))
    if trial.epochs == 0:
        return Trained([], validate(model, val_data), 0.0, 0)
    per_epoch = min(total, train_data.per_epoch)
    state = begin(model, trial, total, per_epoch)
    devices.begin_random_streams(seed_for("training noise", trial.dataset, trial.seed))
    snapshots.resume(state)
    step = stepping(state)
    predictions = None
    state.count(training=False)
    try:
        while state.epoch_began < total:
            model.train()
            epoch, seen = len(state.curve) + 1, state.step - state.epoch_began
            batches = itertools.islice(train_data.train(epoch, seen), total - state.step)
            for images, labels in devices.delivered(batches, state.device):
                state.lr = state.optimizer.param_groups[0]["lr"]
                state.losses += step(images, labels)
                state.scheduler.step()
                state.step += 1
                tell(Step(state.step, total, epoch))
                snapshots.save_if_due(state)
            train_loss = state.losses.item() / (state.step - state.epoch_began)
            state.count(training=True)  # item() has waited for the device
            if not math.isfinite(train_loss):
                raise DivergedError(f"the training loss is {train_loss} in epoch {epoch}")
            row: CurveRow = {"epoch": epoch, "step": state.step, "train_loss": train_loss}
            row |= {"lr": state.lr, "train_s": state.train_s}
            if state.step >= total or epoch % trial.eval_every_epochs == 0:
                predictions = validate(model, val_data)
                row |= {"val_loss": predictions.val_loss, "top1_pct": predictions.top1_pct}
            state.curve.append(row)
            state.losses.zero_()
            state.count(training=False)
            tell(Epoch(row))
    except StoppedError:
        snapshots.save(state)
        raise
    predictions = predictions or validate(model, val_data)
    capture = (step.refusal or "ok") if isinstance(step, Captured) else None
    return Trained(state.curve, predictions, state.train_s, state.step, capture)


def begin(model: nn.Module, trial: Trial, total: int, per_epoch: int) -> State:
    """The model's training by the trial's recipe, before the first of `total` steps."""
    optimizer, scheduler = build_optimizer(model, trial, total, per_epoch)
    device, precision = devices.device_and_precision(model, trial.precision)
    scaler, losses = devices.gradient_scaler(device, precision), torch.zeros((), device=device)
    return State(trial, precision, model, optimizer, scheduler, scaler, losses)


def stepping(state: State) -> Call[Tensor]:
    """`update` of this state, of images and labels; captured, unless the trial compiles it."""
    step = partial(update, state)
    if state.trial.compile:
        return step
    return captured(step, state.device, state.optimizer)


def update(state: State, images: Tensor, labels: Tensor) -> Tensor:
    """Forward, backward, optimiser step on one batch; returns its mean loss, detached.

    With a `micro_batch` the gradients of the batch's parts add up to those of its mean loss; batch
    norm then sees the parts.
    """
    trial, model, optimizer, scaler = state.trial, state.model, state.optimizer, state.scaler
    optimizer.zero_grad(set_to_none=True)
    total = torch.zeros((), device=images.device)
    part = trial.micro_batch or len(images)
    for some, of in zip(torch.split(images, part), torch.split(labels, part), strict=True):
        with devices.autocast(images.device, state.precision):
            loss = F.cross_entropy(model(some), of, label_smoothing=trial.label_smoothing)
        loss = loss * (len(some) / len(images))
        scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        total += loss.detach()
    if trial.clip_norm is not None:
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), trial.clip_norm)
    scaler.step(optimizer)
    scaler.update()
    return total


def build_optimizer(
    model: nn.Module, trial: Trial, total: int, per_epoch: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """The trial's optimiser (no weight decay on biases and norms) and its schedule by step."""
    optimizer = create_optimizer_v2(
        model,
        opt="momentum" if trial.optimizer == "sgd" else trial.optimizer,  # timm's sgd is Nesterov's
        lr=trial.lr,
        weight_decay=trial.weight_decay,
        momentum=trial.momentum or 0.0,
        fused=True,
    )
    if trial.resizer_lr_factor is not None:
        _at_own_rate(optimizer, model.get_submodule("resizer"), trial.resizer_lr_factor)
    if trial.schedule == "one_cycle":
        assert trial.warmup_fraction is not None
        rising = trial.warmup_fraction
        if rising * total == 1:
            rising += 1e-9  # torch divides by the steps of the rise less one
        return optimizer, torch.optim.lr_scheduler.OneCycleLR(
            optimizer,
            [group["lr"] for group in optimizer.param_groups],
            total,
            pct_start=rising,
            cycle_momentum=False,
        )
    assert trial.decay_every_epochs is not None
    assert trial.decay_factor is not None
    return optimizer, torch.optim.lr_scheduler.StepLR(
        optimizer, trial.decay_every_epochs * per_epoch, trial.decay_factor
    )


def _at_own_rate(optimizer: torch.optim.Optimizer, part: nn.Module, factor: float) -> None:
    """Let a part of the model learn at `factor` times the rate, in parameter groups of its own."""
    own = set(map(id, part.parameters()))
    for group in list(optimizer.param_groups):
        apart = [p for p in group["params"] if id(p) in own]
        group["params"] = [p for p in group["params"] if id(p) not in own]
        if apart:
            optimizer.add_param_group({**group, "params": apart, "lr": factor * group["lr"]})


@torch.no_grad()
def validate(model: nn.Module, data: Loader) -> Predictions:
    """What the model makes of the val split.

    Raises:
        DivergedError: if the mean loss is not finite.
    """
    model.eval()
    device, precision = devices.device_and_precision(model, data.trial.precision)
    predicted, probability, losses = [], [], []
    for images, labels in devices.delivered(data.evaluate(), device):
        whole = devices.padded(images, data.trial.batch_size, device)
        with devices.autocast(device, precision):
            logits = model(whole)[: len(labels)]
        log_p = F.log_softmax(logits.float(), dim=1)
        own = log_p.gather(1, labels[:, None])[:, 0]  # (B,) of the true class
        predicted.append(log_p.argmax(dim=1))
        probability.append(own.exp())
        losses.append(-own)
    val_loss = torch.cat(losses).double().mean().item()
    if not math.isfinite(val_loss):
        raise DivergedError(f"the validation loss is {val_loss}")
    hits = torch.cat(predicted).cpu()
    labels = torch.from_numpy(data.master.labels)
    return Predictions(
        predicted=hits,
        probability=torch.cat(probability).cpu(),
        val_loss=val_loss,
        top1_pct=100 * (hits == labels).double().mean().item(),
    )


def explain(error: BaseException) -> str:
    """The reason of a row whose trial raised `error`."""
    first_line = readable((message(error).strip() or type(error).__name__).splitlines()[0])
    if isinstance(error, (InputError, DivergedError)) or devices.is_out_of_memory(error):
        return first_line
    return f"{type(error).__name__}: {first_line}"
