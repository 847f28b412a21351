"""The timing lane: what the arms of one experiment cost, measured side by side in one sitting."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from bench import device as devices
from bench import environment, models
from bench.experiment import Timing, Trial
from bench.processes import Tell
from bench.store import as_metrics, write_record
from bench.trial import Stepper, explain

Sample = dict[str, Any]
"""One timed call: subject (speed key), round, phase, seconds."""

PHASES: dict[str, Callable[[Stepper], Callable[[], None]]] = {
    "train": lambda stepper: stepper.train_step,
    "infer": lambda stepper: stepper.infer_step,
    "latency": lambda stepper: stepper.infer_one,
}
"""What is timed; the model is in training mode for "train", else in evaluation mode."""
WARM_UP_CALLS = 3
LEAST_CALLS = 5
MEMORY_STEPS = 3


def run(
    tell: Tell,
    folder: Path,
    subjects: Sequence[Trial],
    classes: int,
    timing: Timing,
    weights: Sequence[Mapping[str, Any]],
) -> None:
    """Time every subject in interleaved rounds (A B C A B C ...) and record the lane in `folder`.

    A turn builds the model afresh, warms each phase up, then times single calls, the device
    waited for, until `timing.seconds` are over: a drift of the machine falls on all subjects.

    Args:
        weights: what `weigh` told of each subject.
    """
    samples: list[Sample] = []
    reasons = {s.speed_key: w["reason"] for s, w in zip(subjects, weights, strict=True)}
    for number in range(timing.rounds):
        for subject in subjects:
            if not reasons[subject.speed_key]:
                try:
                    samples += turn(subject, classes, number, timing.seconds)
                except Exception as error:
                    reasons[subject.speed_key] = explain(error)[1]
            tell({"event": "turn"})
    samples = [sample for sample in samples if not reasons[sample["subject"]]]
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(samples), folder / "samples.parquet", compression="zstd")
    device = devices.pick()
    precision = devices.settle_precision(subjects[0].precision, device)
    record = {
        "status": "ok",
        "reason": "",
        "settings": timing.model_dump(),
        "environment": environment.describe(device, precision),
        "memory_method": weights[0]["memory_method"],
        "subjects": {
            subject.speed_key: {
                "trial": subject.model_dump(),
                "reason": reasons[subject.speed_key],
                "metrics": as_metrics(weight["metrics"] | summarise(samples, subject)),
            }
            for subject, weight in zip(subjects, weights, strict=True)
        },
    }
    write_record(folder, record)


def turn(subject: Trial, classes: int, number: int, seconds: float) -> list[Sample]:
    """One subject's samples of one round."""
    device = devices.pick()
    devices.configure(deterministic=subject.deterministic)
    stepper = Stepper(subject, classes, device, devices.settle_precision(subject.precision, device))
    samples = []
    for phase, step_of in PHASES.items():
        step = step_of(stepper)
        stepper.model.train(phase == "train")
        for _ in range(WARM_UP_CALLS):
            step()
        for value in timed_calls(stepper, step, seconds):
            sample = {"subject": subject.speed_key, "round": number, "phase": phase}
            samples.append(sample | {"seconds": value})
    return samples


def timed_calls(stepper: Stepper, step: Callable[[], None], seconds: float) -> list[float]:
    """Seconds of each call, for as many calls as fill `seconds`, and at least LEAST_CALLS."""
    values: list[float] = []
    end = time.perf_counter() + seconds
    while len(values) < LEAST_CALLS or time.perf_counter() < end:
        values.append(stepper.timed(step))
    return values


def summarise(samples: Sequence[Sample], subject: Trial) -> dict[str, float]:
    """The speed metrics of one subject, over its samples of all rounds; none without samples."""
    own = [sample for sample in samples if sample["subject"] == subject.speed_key]
    if not own:
        return {}
    seconds = {
        phase: np.array([s["seconds"] for s in own if s["phase"] == phase]) for phase in PHASES
    }
    return {
        "train_images_per_s": subject.batch_size / float(np.median(seconds["train"])),
        "infer_images_per_s": subject.batch_size / float(np.median(seconds["infer"])),
        "latency_p50_ms": 1e3 * float(np.percentile(seconds["latency"], 50)),
        "latency_p95_ms": 1e3 * float(np.percentile(seconds["latency"], 95)),
    }


def weigh(tell: Tell, subject: Trial, classes: int) -> None:
    """Tell what one subject takes in memory and arithmetic, or the reason why it cannot be run.

    In a fresh process: see PeakMemory.
    """
    memory = devices.PeakMemory(devices.pick())
    reason = ""
    metrics: dict[str, float] = {}
    try:
        metrics = measured_weight(subject, classes, memory)
    except Exception as error:
        reason = explain(error)[1]
    tell({"event": "weighed", "metrics": metrics, "memory_method": memory.method, "reason": reason})


def measured_weight(subject: Trial, classes: int, memory: devices.PeakMemory) -> dict[str, float]:
    """Peak memory over a few training steps, multiply-adds and parameters of one subject."""
    devices.configure(deterministic=subject.deterministic)
    precision = devices.settle_precision(subject.precision, memory.device)
    stepper = Stepper(subject, classes, memory.device, precision)
    stepper.model.train()
    memory.start()
    for _ in range(MEMORY_STEPS):
        stepper.train_step()
    devices.synchronise(memory.device)
    peak = {"peak_memory_mib": memory.read_mib()}
    return peak | size(models.build(subject, classes, start=False), subject)


def size(model: nn.Module, trial: Trial) -> dict[str, float]:
    """Parameters (millions) and multiply-adds of one image (billions) of resizer and backbone.

    Multiply-adds are those that torch's counter knows: convolutions and matrix products.
    """
    image = torch.zeros(1, 3, trial.input_size, trial.input_size)
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        model.eval()(image)
    parameters = sum(p.numel() for p in model.parameters())
    return {"gmacs": counter.get_total_flops() / 2e9, "params_m": parameters / 1e6}
