"""What arms cost, measured side by side: one round of a sitting, and what one subject weighs.

A round is a process of its own, takes its turns in an order of its own, and leaves one record: a
sitting that was killed goes on behind the rounds that are there.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import torch

from bench.data.library import Dataset
from bench.errors import RAISED
from bench.events import Listener, Turn
from bench.lab import device as devices
from bench.lab import environment, models
from bench.lab.card import Card
from bench.lab.stepper import BLOCK_S, LEAST_BLOCKS, Stepper, cost, timed_batches, timed_blocks
from bench.lab.training import explain
from bench.metrics import Weight
from bench.records import RoundRecord, write_record
from bench.seeds import seed_for
from bench.spec.experiment import Sitting
from bench.spec.trial import Trial


class Phase(NamedTuple):
    """What is timed of a model."""

    step: Callable[[Stepper], None]
    training: bool = True  # the mode of the model
    part: bool = False  # of a training step: a model that is compiled as a whole has none
    busy: bool = False  # it is also measured how long a GPU itself is at work
    block_s: float = BLOCK_S


PHASES = {
    "train": Phase(Stepper.train_step, busy=True),
    "resizer": Phase(Stepper.resizer_step, part=True),
    "backbone": Phase(Stepper.backbone_step, part=True),
    "infer": Phase(Stepper.infer_step, training=False, busy=True),
    "latency": Phase(Stepper.infer_one, training=False, block_s=0.0),
}
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
    seconds = sitting.settings.seconds
    watch, card = environment.Watch(), Card(device)
    for subject, repeated in turns:
        name = subject.dataset
        try:
            taken = turn(subject, classes[name], datasets.get(name), seconds, card)
        except RAISED as error:
            failures[subject.speed_key] = explain(error)
        else:
            if repeated:
                again = taken
            else:
                samples[subject.speed_key] = taken
        devices.release_memory(device)
        tell(Turn())
    record: RoundRecord = {
        "status": "ok",
        "reason": "",
        "samples": samples,
        "again": again,
        "failures": failures,
        "disturbance": watch.disturbance(),
        "environment": environment.describe(device, sitting.reference.precision),
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
    samples: Samples = {}
    for name, phase in PHASES.items():
        absent = name == "resizer" and subject.resizer == "none"
        if absent or (phase.part and subject.compile):
            continue
        stepper.model.train(phase.training)
        step = stepper.launched(phase.step)
        during = card.metered(subject.speed_key) if name == "train" else None
        samples[name] = timed_blocks(stepper, step, seconds, phase.block_s, during)
        wall_s = statistics.median(samples[name])
        if phase.busy and (busy := busy_samples(step, wall_s, stepper.device)):
            samples[f"{name} busy"] = busy
    if dataset:
        samples["data"] = timed_batches(stepper, stepper.batches(dataset.train), seconds)
    return samples


def busy_samples(step: Callable[[], object], wall_s: float, device: torch.device) -> list[float]:
    """Seconds that a GPU itself works in a call; none of other devices."""
    measured = (devices.busy_s(step, wall_s, device) for _ in range(LEAST_BLOCKS))
    return [value for value in measured if value is not None]


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
    except RAISED as error:
        return Weight({}, memory.method, explain(error))


def measured_weight(
    subject: Trial, classes: int, use: Literal["train", "infer"], memory: devices.PeakMemory
) -> dict[str, float]:
    """Peak memory; of training, also what is counted."""
    stepper = Stepper(subject, classes)
    stepper.model.train(use == "train")
    peak = memory.of_calls(stepper.train_step_by_kernels if use == "train" else stepper.infer_step)
    if use == "infer":
        return {"infer_memory_mib": peak} if memory.method else {}
    counts = cost(models.build(subject, classes, start=False), subject.evaluated_size)
    return counts | ({"peak_memory_mib": peak} if memory.method else {})
