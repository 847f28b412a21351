"""How much of a training step's speed is left when it must also get its data.

    python -m bench.data_overhead [EXPERIMENT] [--small]

takes the experiment's treatment (woof-first unless named) and times its training step in
interleaved rounds: on batches that the loader makes, and on one batch that is already there. It
prints the ratio of the two speeds; 1 means that the data cost nothing.
"""

from __future__ import annotations

import itertools
import statistics
import sys
import time
from collections.abc import Iterator

from bench import device as devices
from bench.datasets.batches import Batch, Loader
from bench.datasets.library import open_dataset
from bench.errors import InputError
from bench.experiment import Trial
from bench.loading import load
from bench.trial import Stepper

ROUNDS = 15
STEPS = 4
UNTIMED_STEPS = 3
"""Of each round: they use up the batches that the loader made while the other side ran."""


def seconds_a_step(stepper: Stepper, batches: Iterator[Batch] | None) -> float:
    """Seconds of one training step in one round; on the resident batch where `batches` is None."""
    stepper.model.train()
    for number in range(UNTIMED_STEPS + STEPS):
        if number == UNTIMED_STEPS:
            devices.synchronise(stepper.device)
            began = time.perf_counter()
        if batches is not None:
            stepper.images, stepper.labels = devices.put(next(batches), stepper.device)
        stepper.train_step()
    devices.synchronise(stepper.device)
    return (time.perf_counter() - began) / STEPS


def ratios(trial: Trial) -> list[float]:
    """Speed with data over speed without, of each round."""
    device = devices.pick()
    dataset = open_dataset(trial.dataset)
    precision = devices.settle_precision(trial.precision, device)
    stepper = Stepper(trial, len(dataset.classes), device, precision)
    loader = Loader(dataset.train, trial, devices.loader_threads(device))
    batches = itertools.chain.from_iterable(map(loader.train, itertools.count(1)))
    return [seconds_a_step(stepper, None) / seconds_a_step(stepper, batches) for _ in range(ROUNDS)]


def main(arguments: list[str]) -> None:
    """Print the ratio for the treatment of the experiment that the arguments name."""
    names = [argument for argument in arguments if argument != "--small"] or ["woof-first"]
    experiment = load(names[0], small="--small" in arguments)
    roles = {arm.name: arm.role for arm in experiment.spec.arm}
    trial = next(c.trial for c in experiment.cells if roles[c.arm] == "treatment")
    found = sorted(ratios(trial))
    low, _, high = statistics.quantiles(found, n=4)
    print(  # noqa: T201
        f"{experiment.name}: a training step with its data is {statistics.median(found):.3f} times "
        f"as fast as on a batch that is there (half of {ROUNDS} rounds: {low:.3f} to {high:.3f})"
    )


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except InputError as error:
        sys.exit(f"data_overhead: {error}")
