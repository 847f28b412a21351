"""The timing lane: what the arms of one experiment cost, measured side by side in one sitting."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.data.library import Dataset
from bench.events import Tell
from bench.lab import device as devices
from bench.lab import environment, models
from bench.lab.disturbance import Disturbance, Watch
from bench.lab.stepper import Stepper, size
from bench.lab.training import explain
from bench.metrics import as_metrics
from bench.spec.experiment import Timing
from bench.spec.trial import Trial
from bench.store import write_record

Sample = dict[str, Any]
"""One timed call: subject (speed key), again (see `run`), round, phase, seconds."""

PHASES: dict[str, Callable[[Stepper], Callable[[], None]]] = {
    "train": lambda stepper: stepper.train_step,
    "resizer": lambda stepper: stepper.resizer_step,
    "backbone": lambda stepper: stepper.backbone_step,
    "infer": lambda stepper: stepper.infer_step,
    "latency": lambda stepper: stepper.infer_one,
}
"""What is timed; the model is in evaluation mode for the last two, else in training mode."""
EVALUATED = ("infer", "latency")
WARM_UP_CALLS = 2
LEAST_CALLS = 3
MEMORY_STEPS = 3
LEAST_QUIET = 3
"""With fewer undisturbed rounds than this, disturbed ones count, too, and the record says so."""

Weight = Mapping[str, Any]
"""What `weigh` told of a subject: "metrics", "memory_method", "reason"."""


def run(
    tell: Tell,
    folder: Path,
    subjects: Sequence[Trial],
    reference: Trial,
    datasets: Mapping[str, Dataset],
    classes: Mapping[str, int],
    timing: Timing,
    weights: Sequence[Weight],
) -> None:
    """Time every subject in interleaved rounds (A B C A B C ...) and record the lane in `folder`.

    A turn builds the model afresh, warms each phase up, then times single calls, the device
    waited for, until `timing.seconds` are over: a drift of the machine falls on all subjects.
    The reference has a second turn in each round, as if it were another arm: how far its two
    measurements are apart is the noise floor. A round in which other load took more than its share
    of the processor is marked, and repeated; at most as many rounds again as were asked for.

    Args:
        reference: one of the subjects, usually the baseline.
        datasets: those that are here, by name; data is timed of these.
        classes: how many there are, by dataset.
        weights: what `weigh` told of each subject.
    """
    devices.keep_freed_memory()
    reasons = {s.speed_key: w["reason"] for s, w in zip(subjects, weights, strict=True)}
    turns = [(subject, False) for subject in subjects] + [(reference, True)]
    samples, disturbances = take_rounds(tell, turns, datasets, classes, timing, reasons)
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(samples), folder / "samples.parquet", compression="zstd")
    used = rounds_to_use(disturbances)
    kept = [sample for sample in samples if sample["round"] in used]
    device = devices.pick()
    precision = devices.resolve_precision(subjects[0].precision, device)
    record = {
        "status": "ok",
        "reason": "",
        "settings": timing.model_dump(),
        "environment": environment.describe(device, precision),
        "finished": environment.now(),
        "memory_method": weights[0]["memory_method"],
        "reference": reference.speed_key,
        "again": by_round(kept, reference, again=True),
        "disturbances": [asdict(one) for one in disturbances],
        "rounds_used": used,
        "subjects": {
            subject.speed_key: {
                "trial": subject.model_dump(),
                "reason": reasons[subject.speed_key],
                "seconds": by_round(kept, subject),
                "metrics": as_metrics(weight["metrics"] | summarise(kept, subject)),
            }
            for subject, weight in zip(subjects, weights, strict=True)
        },
    }
    write_record(folder, record)


def take_rounds(
    tell: Tell,
    turns: Sequence[tuple[Trial, bool]],
    datasets: Mapping[str, Dataset],
    classes: Mapping[str, int],
    timing: Timing,
    reasons: dict[str, str],
) -> tuple[list[Sample], list[Disturbance]]:
    """Every turn in each round, and how far each round was disturbed.

    Args:
        turns: a subject each, and whether it is measured again as the reference.
        reasons: why a subject cannot be run, by speed key; a turn that fails puts its own there,
            and the subject's samples are left out.
    """
    samples: list[Sample] = []
    disturbances: list[Disturbance] = []
    while more_rounds(disturbances, timing.rounds):
        watch = Watch()
        for subject, again in turns:
            key, name = subject.speed_key, subject.dataset
            of = {"subject": key, "again": again, "round": len(disturbances)}
            try:
                if not reasons[key]:
                    taken = turn(subject, classes[name], datasets.get(name), timing.seconds)
                    samples += [of | sample for sample in taken]
            except Exception as error:
                reasons[key] = explain(error)[1]
            tell({"event": "turn"})
        disturbances.append(watch.disturbance())
        quiet = sum(not one.disturbed for one in disturbances)
        told = {"quiet": quiet, "asked": timing.rounds} | asdict(disturbances[-1])
        tell({"event": "round"} | told)
    return [sample for sample in samples if not reasons[sample["subject"]]], disturbances


def more_rounds(done: Sequence[Disturbance], asked: int) -> bool:
    """Whether undisturbed rounds are lacking, and may still be had."""
    return sum(not one.disturbed for one in done) < asked and len(done) < 2 * asked


def rounds_to_use(done: Sequence[Disturbance]) -> list[int]:
    """The numbers of the undisturbed rounds; of all, where these are too few to tell a spread."""
    quiet = [number for number, one in enumerate(done) if not one.disturbed]
    return quiet if len(quiet) >= min(LEAST_QUIET, len(done)) else list(range(len(done)))


def turn(subject: Trial, classes: int, dataset: Dataset | None, seconds: float) -> list[Sample]:
    """One subject's samples of one round: phase and seconds."""
    device = devices.pick()
    devices.configure(deterministic=subject.deterministic)
    precision = devices.resolve_precision(subject.precision, device)
    stepper = Stepper(subject, classes, device, precision)
    steps = {phase: step_of(stepper) for phase, step_of in PHASES.items()}
    if dataset:
        steps["data"] = stepper.data_step(dataset)
    if subject.resizer == "none":
        del steps["resizer"]
    samples = []
    for phase, step in steps.items():
        stepper.model.train(phase not in EVALUATED)
        for _ in range(WARM_UP_CALLS):
            step()
        samples += [
            {"phase": phase, "seconds": value} for value in timed_calls(stepper, step, seconds)
        ]
    return samples


def timed_calls(stepper: Stepper, step: Callable[[], None], seconds: float) -> list[float]:
    """Seconds of each call, for as many calls as fill `seconds`, and at least LEAST_CALLS."""
    values: list[float] = []
    end = time.perf_counter() + seconds
    while len(values) < LEAST_CALLS or time.perf_counter() < end:
        values.append(stepper.timed(step))
    return values


def by_round(
    samples: Iterable[Sample], subject: Trial, *, again: bool = False
) -> dict[str, list[float]]:
    """Median seconds of each phase in each round, in the order of the rounds."""
    found: dict[str, dict[int, list[float]]] = {}
    for sample in samples:
        if (sample["subject"], sample["again"]) == (subject.speed_key, again):
            rounds = found.setdefault(sample["phase"], {})
            rounds.setdefault(sample["round"], []).append(sample["seconds"])
    return {
        phase: [float(np.median(rounds[number])) for number in sorted(rounds)]
        for phase, rounds in found.items()
    }


def summarise(samples: Sequence[Sample], subject: Trial) -> dict[str, float]:
    """The speed metrics of one subject, over its samples of all rounds; none without samples."""
    seconds: dict[str, list[float]] = {}
    for sample in samples:
        if sample["subject"] == subject.speed_key and not sample["again"]:
            seconds.setdefault(sample["phase"], []).append(sample["seconds"])
    if not seconds:
        return {}
    median = {phase: float(np.median(values)) for phase, values in seconds.items()}
    latency = {
        f"latency_p{p}_ms": 1e3 * float(np.percentile(seconds["latency"], p)) for p in (50, 95, 99)
    }
    parts = {
        f"{part}_ms": 1e3 * median.get(part, 0.0) / subject.batch_size
        for part in ("resizer", "backbone", "data")
        if part in median or part == "resizer"
    }
    return {
        "train_images_per_s": subject.batch_size / median["train"],
        "infer_images_per_s": subject.batch_size / median["infer"],
        **latency,
        **parts,
    }


def weigh(tell: Tell, subject: Trial, classes: int, use: Literal["train", "infer"]) -> None:
    """Tell what one subject takes in memory and arithmetic, or the reason why it cannot be run.

    In a fresh process: see PeakMemory.

    Args:
        use: what the memory is measured of: training steps, or inference on the same batch.
    """
    memory = devices.PeakMemory(devices.pick())
    reason = ""
    metrics: dict[str, float] = {}
    try:
        metrics = measured_weight(subject, classes, use, memory)
    except Exception as error:
        reason = explain(error)[1]
    tell({"event": "weighed", "metrics": metrics, "memory_method": memory.method, "reason": reason})


def measured_weight(
    subject: Trial, classes: int, use: Literal["train", "infer"], memory: devices.PeakMemory
) -> dict[str, float]:
    """Peak memory over a few steps; after training also multiply-adds and parameters."""
    devices.configure(deterministic=subject.deterministic)
    precision = devices.resolve_precision(subject.precision, memory.device)
    stepper = Stepper(subject, classes, memory.device, precision)
    stepper.model.train(use == "train")
    step = stepper.train_step if use == "train" else stepper.infer_step
    memory.start()
    for _ in range(MEMORY_STEPS):
        step()
    devices.synchronise(memory.device)
    peak = memory.read_mib()
    if use == "infer":
        return {"infer_memory_mib": peak} if memory.method else {}
    weights = size(models.build(subject, classes, start=False), subject)
    return weights | ({"peak_memory_mib": peak} if memory.method else {})
