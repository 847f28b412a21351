"""How much of a training step's speed is left when it must also get its data.

The step is timed in interleaved rounds: on batches that the loader makes, and on one batch that is
already there. The ratio of the two speeds is 1 where the data cost nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from bench.data.batches import Batch
from bench.data.library import open_dataset
from bench.lab import device as devices
from bench.lab.stepper import Stepper
from bench.spec.trial import Trial

ROUNDS = 15
STEPS = 4
UNTIMED_STEPS = 3
"""Of each round: they use up the batches that the loader made while the other side ran."""


def seconds_of_steps(stepper: Stepper, batches: Iterator[Batch] | None) -> list[float]:
    """Seconds of the steps of one round; on the resident batch where `batches` is None."""

    def step() -> None:
        if batches is not None:
            stepper.images, stepper.labels = next(batches)
        stepper.train_step()

    return [stepper.timed(step) for _ in range(UNTIMED_STEPS + STEPS)][UNTIMED_STEPS:]


def rounds(trial: Trial) -> tuple[list[float], list[float]]:
    """Seconds of steps without their data and with it, from interleaved rounds."""
    devices.keep_freed_memory()
    dataset = open_dataset(trial.dataset)
    stepper = Stepper(trial, len(dataset.classes))
    stepper.model.train()
    batches = stepper.batches(dataset)
    without, with_data = [], []
    for _ in range(ROUNDS):
        without += seconds_of_steps(stepper, None)
        with_data += seconds_of_steps(stepper, batches)
    return without, with_data


def speed_ratio(without: list[float], with_data: list[float]) -> tuple[float, float, float]:
    """Ratio of the lower quartiles of the times, and its 95 % bootstrap interval.

    The lower quartile, because whatever else the machine does can only make a step slower.
    """

    def ratio(
        a: NDArray[np.float64], b: NDArray[np.float64], axis: int = -1
    ) -> NDArray[np.float64]:
        return np.asarray(np.quantile(a, 0.25, axis) / np.quantile(b, 0.25, axis))

    pair = np.array(without), np.array(with_data)
    interval = stats.bootstrap(pair, ratio, rng=np.random.default_rng(0), method="percentile")
    low, high = interval.confidence_interval
    return float(ratio(*pair)), float(low), float(high)
