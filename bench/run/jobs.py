"""The doors into the laboratory: what fresh processes are asked to do.

`bench.run.processes.call` runs each in a process of its own. This is the only module of the room
that knows `bench.lab`, and it imports it when a job runs: torch is never loaded by the program that
plans and reports. The first argument of each is told what happens on the way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from bench.data.library import Dataset
    from bench.events import Listener, SizeMatched
    from bench.metrics import Weight
    from bench.spec.experiment import SizeRequest, Timing
    from bench.spec.trial import Trial


def check(_: Listener, trials: Sequence[Trial]) -> None:
    """Raise InputError at the first device, backbone or resizer that cannot be had."""
    from bench.lab import models

    models.check(trials)


def train(tell: Listener, trial: Trial, folder: Path) -> None:
    """Train and validate one trial; its record in `folder` says what became of it."""
    from bench.lab import trial as program

    program.run(tell, trial, folder)


def smoke(tell: Listener, trial: Trial, folder: Path) -> None:
    """Take a few training steps at full size; the record in `folder` says how long one took."""
    from bench.lab import trial as program

    program.smoke(tell, trial, folder)


def match_size(_: Listener, request: SizeRequest, classes: int) -> SizeMatched:
    """Find the size of equal cost.

    Raises:
        InputError: if there is none.
    """
    from bench.lab import matching

    return matching.match(request, classes)


def weigh(_: Listener, trial: Trial, classes: int, use: Literal["train", "infer"]) -> Weight:
    """What one use of the trial's model takes in memory, and its arithmetic."""
    from bench.lab import timing

    return timing.weigh(trial, classes, use)


def time_arms(
    tell: Listener,
    folder: Path,
    subjects: Sequence[Trial],
    reference: Trial,
    datasets: Mapping[str, Dataset],
    classes: Mapping[str, int],
    settings: Timing,
    weights: Sequence[Weight],
) -> None:
    """Time the subjects side by side; the record is in `folder`: see `bench.lab.timing.run`."""
    from bench.lab import timing

    timing.run(tell, folder, subjects, reference, datasets, classes, settings, weights)
