"""A trial in the middle of its training, on the disk: stopped or killed, it goes on from there.

(A checkpoint, in this program, is what a backbone starts from: see `bench.lab.checkpoints`.)
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench.errors import first_line
from bench.events import Listener, Resumed, StartedAnew
from bench.lab import device as devices
from bench.machine import written_whole
from bench.records import CurveRow
from bench.spec.trial import Trial

EVERY_S = 300.0  # a kill loses so much training at the most
BINDING = ["device", "device_name", "precision", "threads", "platform"]
BINDING += ["torch", "torchvision", "timm", "numpy", "pillow", "data", "loader"]
"""With another of these, the undisturbed trial would have given other bits."""


@dataclass
class State:
    """All that a training run is between two of its steps."""

    trial: Trial
    precision: devices.Precision
    model: nn.Module
    optimizer: torch.optim.Optimizer
    scheduler: torch.optim.lr_scheduler.LRScheduler
    scaler: torch.amp.GradScaler
    losses: Tensor  # (), on the device: the sum over the epoch's steps so far
    step: int = 0  # optimiser steps so far
    lr: float = 0.0  # of the last step
    train_s: float = 0.0  # training alone, evaluation excluded
    curve: list[CurveRow] = field(default_factory=list)  # a row for each whole epoch
    counted: float = 0.0  # the clock when `train_s` was last brought up to date

    @property
    def device(self) -> torch.device:
        return self.losses.device

    @property
    def epoch_began(self) -> int:
        """The step at which this epoch began."""
        return self.curve[-1]["step"] if self.curve else 0

    def count(self, *, training: bool) -> None:
        """Bring `train_s` up to date; what passed since the last call was training, or was not."""
        now = time.perf_counter()
        self.train_s += now - self.counted if training else 0.0
        self.counted = now


PARTS = ("model", "optimizer", "scheduler", "scaler")
NUMBERS = ("step", "lr", "train_s", "curve")


class Snapshots:
    """What a trial saves of its training, and what an earlier process has saved of it.

    Args:
        path: the file. It is replaced as a whole, so that a kill leaves one or the other.
        facts: where and on what the trial is trained: its environment, the fingerprint of its
            "data", and the "loader" that makes its batches. A snapshot from elsewhere is deleted,
            and `tell` hears why.
    """

    def __init__(self, path: Path, facts: Mapping[str, object], tell: Listener) -> None:
        self.bound = {name: facts[name] for name in BINDING}
        self.path, self.tell = path, tell
        self.began = self.saved = time.perf_counter()
        self.found: dict[str, Any] = {}
        if not path.exists():
            return
        try:
            found = torch.load(path, map_location="cpu", weights_only=True)
            why = difference(found["bound"], self.bound)
        except Exception as error:  # of a damaged file torch raises what it likes
            why = f"cannot be read: {first_line(error)}"
        if why:
            path.unlink()
            tell(StartedAnew(f"its snapshot {why}"))
        else:
            self.found = found

    @property
    def resumptions(self) -> int:
        """How often the training was taken up again."""
        return self.found["resumptions"] + 1 if self.found else 0

    @property
    def earlier_s(self) -> float:
        """Seconds of the earlier processes, up to what they saved."""
        return self.found["wall_s"] if self.found else 0.0

    def resume(self, state: State) -> None:
        """Bring a fresh state to where the snapshot was taken; without one it stays as it is."""
        if not self.found:
            return
        for name in PARTS:
            getattr(state, name).load_state_dict(self.found.pop(name))
        for name in NUMBERS:
            setattr(state, name, self.found[name])
        state.losses.copy_(self.found["losses"])
        devices.set_random_state(state.device, self.found["random"])
        self.tell(Resumed(state.step, tuple(state.curve)))

    def save_if_due(self, state: State) -> None:
        if time.perf_counter() - self.saved >= EVERY_S:
            self.save(state)

    def save(self, state: State) -> None:
        devices.synchronise(state.device)
        state.count(training=True)
        content = {name: getattr(state, name).state_dict() for name in PARTS}
        content |= {name: getattr(state, name) for name in (*NUMBERS, "losses")}
        content |= {
            "random": devices.random_state(state.device),
            "bound": self.bound,
            "resumptions": self.resumptions,
            "wall_s": self.earlier_s + time.perf_counter() - self.began,
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(self.path) as file:
            torch.save(content, file)
        self.saved = time.perf_counter()
        state.count(training=False)


def difference(there: Mapping[str, object], here: Mapping[str, object]) -> str:
    """The first fact in which a snapshot differs from what is here; "" if none does.

    An older one may lack a fact.

    >>> difference({"torch": "2.13", "threads": 2}, {"torch": "2.14", "threads": 2})
    "is of torch '2.13', not '2.14'"
    """
    for name, value in here.items():
        if there.get(name, value) != value:
            return f"is of {name} {there[name]!r}, not {value!r}"
    return ""
