"""The doors into the laboratory: what fresh processes are asked to do.

No other module of the room knows `bench.lab`, which is imported when a job runs: the program that
plans and reports never loads torch. What a job does, the function says that it opens on to; its
first argument is told what happens on the way.
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
    from bench.lab import device, trying

    trying.check(trials)
    return device.cards()


def train(tell: Listener, trial: Trial, folder: Path, results: Path, share: Share) -> None:
    from bench.lab import device
    from bench.lab import trial as program

    device.take(share)
    program.run(tell, trial, folder, results)


def smoke(_: Listener, trial: Trial, folder: Path) -> None:
    from bench.lab import trial as program

    program.smoke(trial, folder)


def match_size(_: Listener, request: SizeRequest, classes: int) -> SizeMatched:
    from bench.lab import matching

    return matching.match(request, classes)


def weigh(_: Listener, trial: Trial, classes: int, use: Literal["train", "infer"]) -> Weight:
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
    from bench.lab import timing

    timing.take_round(tell, folder, number, sitting, datasets, classes)


def take_round_of_forms(_: Listener, number: int, seconds: float) -> FormsRound:
    from bench.lab import implementations

    return implementations.take_round(number, seconds)


def weigh_form(_: Listener, name: str) -> dict[str, float]:
    from bench.lab import implementations

    return implementations.weigh(name)


def data_overhead(_: Listener, trial: Trial) -> tuple[float, float, float]:
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
    from bench.lab import export as program

    program.export(results, key, form, path, told)
