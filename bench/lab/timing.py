"""What arms cost, measured side by side: one round of a sitting, and what one subject weighs.

A round is a process of its own, takes its turns in an order of its own, and leaves one record: a
sitting that was killed goes on behind the rounds that are there.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bench.events import Listener, Turn
from bench.lab import device as devices
from bench.lab import environment, models
from bench.lab.card import Card
from bench.lab.disturbance import Watch
from bench.lab.stepper import BLOCK_S, LEAST_BLOCKS, Stepper, cost, timed_blocks
from bench.lab.training import explain
from bench.metrics import Weight
from bench.records import RoundRecord, write_record
from bench.seeds import seed_for
from bench.spec.experiment import Sitting
from bench.spec.trial import Trial

if TYPE_CHECKING:
    from bench.data.library import Dataset

PHASES: dict[str, Callable[[Stepper], Callable[[], None]]] = {
    "train": lambda stepper: stepper.train_step,
    "resizer": lambda stepper: stepper.resizer_step,
    "backbone": lambda stepper: stepper.backbone_step,
    "infer": lambda stepper: stepper.infer_step,
    "latency": lambda stepper: stepper.infer_one,
}
"""What is timed; the model is in evaluation mode for the last two, else in training mode."""
PARTS = ("resizer", "backbone")
"""Of a training step; a model that is compiled as a whole has none."""
EVALUATED = ("infer", "latency")
COMPARED = ("train", "infer")
"""Of these it is also measured how long a GPU itself is at work."""
MEMORY_STEPS = 3

Samples = dict[str, list[float]]
"""Seconds of a call by phase, a value for each block of calls."""


def take_round(
    tell: Listener,
    folder: Path,
    number: int,
    sitting: Sitting,
    datasets: Mapping[str, Dataset],
    classes: Mapping[str, int],
) -> None:
    """Time every subject once, the reference twice, and record the round in `folder`.

    A turn builds the model afresh and warms each phase up. How far the reference's two turns are
    apart, over the rounds, is the noise floor. A subject that fails is on record with the reason.

    Args:
        number: of the round; the order of its turns is drawn by it.
        datasets: those that are here, by name; data is timed of these.
        classes: how many there are, by dataset.
    """
    devices.keep_freed_memory()
    device = devices.pick()
    turns = [(subject, False) for subject in sitting.subjects] + [(sitting.reference, True)]
    random.Random(seed_for("order of turns", sitting.reference.speed_key, number)).shuffle(turns)
    samples: dict[str, Samples] = {}
    again: Samples = {}
    failures: dict[str, str] = {}
    watch, card = Watch(), Card(device)
    for subject, repeated in turns:
        data, seconds = datasets.get(subject.dataset), sitting.settings.seconds
        try:
            taken = turn(subject, classes[subject.dataset], data, seconds, card)
        except Exception as error:
            failures[subject.speed_key] = explain(error)[1]
        else:
            again = taken if repeated else again
            samples |= {} if repeated else {subject.speed_key: taken}
        devices.release_memory(device)
        tell(Turn())
    precision = devices.resolve_precision(sitting.reference.precision, device)
    record: RoundRecord = {
        "status": "ok",
        "reason": "",
        "samples": samples,
        "again": again,
        "failures": failures,
        "disturbance": watch.disturbance(),
        "environment": environment.describe(device, precision),
        "finished": environment.now(),
    }
    if facts := card.facts():
        record |= {"card": facts, "watts": card.watts}
    write_record(folder, record)


def turn(
    subject: Trial, classes: int, dataset: Dataset | None, seconds: float, card: Card
) -> Samples:
    """One subject's samples of one round; data is timed of `dataset`, where it is here."""
    stepper = Stepper(subject, classes)
    steps = {phase: step_of(stepper) for phase, step_of in PHASES.items()}
    if dataset:
        steps["data"] = partial(next, stepper.batches(dataset))
    if subject.resizer == "none":
        del steps["resizer"]
    if subject.compile:  # as one
        steps = {phase: step for phase, step in steps.items() if phase not in PARTS}
    samples: Samples = {}
    for phase, step in steps.items():
        stepper.model.train(phase not in EVALUATED)
        block_s = 0.0 if phase == "latency" else BLOCK_S
        with card.metered(subject.speed_key) if phase == "train" else nullcontext():
            samples[phase] = timed_blocks(stepper, step, seconds, block_s)
        if phase in COMPARED:
            samples |= busy_samples(stepper, phase, statistics.median(samples[phase]))
    return samples


def busy_samples(stepper: Stepper, phase: str, wall_s: float) -> Samples:
    """Seconds that a GPU itself works in a call of the phase; none of other devices."""
    step = PHASES[phase](stepper)
    measured = (devices.busy_s(step, wall_s, stepper.device) for _ in range(LEAST_BLOCKS))
    values = [value for value in measured if value is not None]
    return {f"{phase} busy": values} if values else {}


def weigh(subject: Trial, classes: int, use: Literal["train", "infer"]) -> Weight:
    """What one subject takes in memory and arithmetic, or the reason why it cannot be run.

    In a fresh process: see PeakMemory.

    Args:
        use: what the memory is measured of: training steps, or inference on the same batch.
    """
    memory = devices.PeakMemory(devices.pick())
    try:
        metrics = measured_weight(subject, classes, use, memory)
        return Weight(metrics, memory.method, reserved_mib=memory.reserved_mib())
    except Exception as error:
        return Weight({}, memory.method, explain(error)[1])


def measured_weight(
    subject: Trial, classes: int, use: Literal["train", "infer"], memory: devices.PeakMemory
) -> dict[str, float]:
    """Peak memory over a few steps after a first one; of training, also what is counted.

    What the first step alone takes, such as the workspaces in which algorithms are tried out, is
    not in the peak; what it leaves, such as the optimiser's state, is.
    """
    stepper = Stepper(subject, classes)
    stepper.model.train(use == "train")
    step = stepper.train_step if use == "train" else stepper.infer_step
    memory.start()
    step()
    devices.synchronise(memory.device)
    memory.forget_peak()
    for _ in range(MEMORY_STEPS):
        step()
    devices.synchronise(memory.device)
    peak = memory.read_mib()
    if use == "infer":
        return {"infer_memory_mib": peak} if memory.method else {}
    counts = cost(models.build(subject, classes, start=False), subject)
    return counts | ({"peak_memory_mib": peak} if memory.method else {})
