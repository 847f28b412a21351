"""How much of a training step's speed is left when it must also get its data.

The step is timed in interleaved rounds: on batches that the loader makes, and on one batch that is
already there. The ratio of the two speeds is 1 where the data cost nothing.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from bench.data.library import open_dataset
from bench.lab import device as devices
from bench.lab.stepper import Stepper, batchwise
from bench.spec.trial import Trial

ROUNDS = 15
STEPS = 4
UNTIMED_STEPS = 3
"""Of each round: they use up the batches that the loader made while the other side ran."""


def rounds(trial: Trial) -> tuple[list[float], list[float]]:
    """Seconds of steps without their data and with it, from interleaved rounds."""
    devices.keep_freed_memory()
    dataset = open_dataset(trial.dataset)
    stepper = Stepper(trial, len(dataset.classes))
    stepper.model.train()
    on_new_data = partial(stepper.train_step_on, stepper.batches(dataset.train))
    without: list[float] = []
    with_data: list[float] = []
    for _ in range(ROUNDS):
        for step, seconds in ((stepper.train_step, without), (on_new_data, with_data)):
            steps, many = batchwise(stepper, step)
            taken = [stepper.timed(steps) / many for _ in range(UNTIMED_STEPS + STEPS)]
            seconds += taken[UNTIMED_STEPS:]
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
