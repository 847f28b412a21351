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
    from bench.machine import Share
    from bench.metrics import Weight
    from bench.records import FormsRound
    from bench.spec.experiment import Sitting, SizeRequest
    from bench.spec.trial import Trial


def check(_: Listener, trials: Sequence[Trial]) -> list[str | None]:
    """The GPUs that trials may have; see `bench.lab.device.cards`.

    Raises:
        InputError: at the first device, backbone or resizer that cannot be had.
    """
    from bench.lab import device, models

    models.check(trials)
    return device.cards()


def train(tell: Listener, trial: Trial, folder: Path, results: Path, share: Share) -> None:
    """Train and validate one trial; its record in `folder` says what became of it.

    What it starts from is in `results`, and there its state stays when it is stopped.
    """
    from bench.lab import device
    from bench.lab import trial as program

    device.take(share)
    program.run(tell, trial, folder, results)


def smoke(_: Listener, trial: Trial, folder: Path) -> None:
    """Take a few training steps at full size; the record in `folder` says how long one took."""
    from bench.lab import trial as program

    program.smoke(trial, folder)


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


def take_round(
    tell: Listener,
    folder: Path,
    number: int,
    sitting: Sitting,
    datasets: Mapping[str, Dataset],
    classes: Mapping[str, int],
) -> None:
    """Time the subjects of a sitting once; the record of the round is in `folder`."""
    from bench.lab import timing

    timing.take_round(tell, folder, number, sitting, datasets, classes)


def take_round_of_forms(_: Listener, number: int, seconds: float) -> FormsRound:
    """Time every implementation of the learned resizer once."""
    from bench.lab import implementations

    return implementations.take_round(number, seconds)


def weigh_form(_: Listener, name: str) -> dict[str, float]:
    """What training one of them takes: memory, arithmetic, traffic."""
    from bench.lab import implementations

    return implementations.weigh(name)


def data_overhead(_: Listener, trial: Trial) -> tuple[float, float, float]:
    """The speed of the trial's training step with its data over that without, and its interval."""
    from bench.lab import overhead

    return overhead.speed_ratio(*overhead.rounds(trial))


def export(
    _: Listener,
    results: Path,
    key: str,
    form: Literal["onnx", "pt2"],
    path: Path,
    told: Sequence[str],
) -> None:
    """Write a finished trial's model as one checked file; see `bench.lab.export`.

    Raises:
        InputError: if it cannot be had, or does not classify as its record says.
    """
    from bench.lab import export as program

    program.export(results, key, form, path, told)
