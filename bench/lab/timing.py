"""What the arms of one experiment cost, measured side by side, in turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypedDict

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.events import Listener, Round, Turn
from bench.lab import device as devices
from bench.lab import environment, models
from bench.lab.disturbance import Disturbance, Watch
from bench.lab.stepper import Stepper, cost
from bench.lab.training import explain
from bench.metrics import Weight, as_metrics
from bench.records import DisturbanceFacts, TimedArm, TimingRecord, write_record
from bench.spec.experiment import Timing
from bench.spec.trial import Trial

if TYPE_CHECKING:
    from bench.data.library import Dataset


class Call(TypedDict):
    """One timed call of a turn."""

    phase: str  # one of PHASES, or "data"
    seconds: float


class Sample(Call):
    """One timed call: a row of samples.parquet."""

    subject: str  # speed key
    again: bool  # whether it is of the reference's second turn
    round: int  # from 0


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


def run(
    tell: Listener,
    folder: Path,
    subjects: Sequence[Trial],
    reference: Trial,
    datasets: Mapping[str, Dataset],
    classes: Mapping[str, int],
    settings: Timing,
    weights: Sequence[Weight],
) -> None:
    """Time every subject in interleaved rounds (A B C A B C ...) and record the costs in `folder`.

    A turn builds the model afresh, warms each phase up, then times single calls, the device
    waited for, until `settings.seconds` are over: a drift of the machine falls on all subjects.
    The reference has a second turn in each round, as if it were another arm: how far its two
    measurements are apart is the noise floor. A round in which other load took more than its share
    of the processor is marked, and repeated; at most as many rounds again as were asked for.

    Args:
        reference: one of the subjects, usually the baseline.
        datasets: those that are here, by name; data is timed of these.
        classes: how many there are, by dataset.
        weights: what each subject takes, both uses together.
    """
    devices.keep_freed_memory()
    reasons = {s.speed_key: w.reason for s, w in zip(subjects, weights, strict=True)}
    turns = [(subject, False) for subject in subjects] + [(reference, True)]
    samples, disturbances = take_rounds(tell, turns, datasets, classes, settings, reasons)
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(samples), folder / "samples.parquet", compression="zstd")
    used = rounds_to_use(disturbances)
    kept = [sample for sample in samples if sample["round"] in used]
    device = devices.pick()
    precision = devices.resolve_precision(subjects[0].precision, device)
    record: TimingRecord = {
        "status": "ok",
        "reason": "",
        "settings": settings.model_dump(),
        "environment": environment.describe(device, precision),
        "finished": environment.now(),
        "memory_method": weights[0].memory_method,
        "reference": reference.speed_key,
        "again": by_round(kept, reference, again=True),
        "disturbances": [_facts(one) for one in disturbances],
        "rounds_used": used,
        "subjects": {
            subject.speed_key: _timed(subject, weight, kept, reasons[subject.speed_key])
            for subject, weight in zip(subjects, weights, strict=True)
        },
    }
    write_record(folder, record)


def _timed(subject: Trial, weight: Weight, samples: Sequence[Sample], reason: str) -> TimedArm:
    return {
        "trial": subject.model_dump(),
        "reason": reason,
        "seconds": by_round(samples, subject),
        "metrics": as_metrics({**weight.metrics, **summarise(samples, subject)}),
    }


def _facts(disturbance: Disturbance) -> DisturbanceFacts:
    return {
        "share": disturbance.share,
        "switches_per_s": disturbance.switches_per_s,
        "load": disturbance.load,
        "disturbed": disturbance.disturbed,
    }


def take_rounds(
    tell: Listener,
    turns: Sequence[tuple[Trial, bool]],
    datasets: Mapping[str, Dataset],
    classes: Mapping[str, int],
    settings: Timing,
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
    while more_rounds(disturbances, settings.rounds):
        watch = Watch()
        for subject, again in turns:
            key, name, number = subject.speed_key, subject.dataset, len(disturbances)
            try:
                if not reasons[key]:
                    calls = turn(subject, classes[name], datasets.get(name), settings.seconds)
                    samples += [
                        {"subject": key, "again": again, "round": number, **one} for one in calls
                    ]
            except Exception as error:
                reasons[key] = explain(error)[1]
            tell(Turn())
        disturbances.append(last := watch.disturbance())
        quiet = sum(not one.disturbed for one in disturbances)
        tell(Round(quiet, settings.rounds, last.disturbed, last.share))
    return [sample for sample in samples if not reasons[sample["subject"]]], disturbances


def more_rounds(done: Sequence[Disturbance], asked: int) -> bool:
    """Whether undisturbed rounds are lacking, and may still be had."""
    return sum(not one.disturbed for one in done) < asked and len(done) < 2 * asked


def rounds_to_use(done: Sequence[Disturbance]) -> list[int]:
    """The numbers of the undisturbed rounds; of all, where these are too few to tell a spread."""
    quiet = [number for number, one in enumerate(done) if not one.disturbed]
    return quiet if len(quiet) >= min(LEAST_QUIET, len(done)) else list(range(len(done)))


def turn(subject: Trial, classes: int, dataset: Dataset | None, seconds: float) -> list[Call]:
    """One subject's calls of one round."""
    device = devices.pick()
    devices.configure(deterministic=subject.deterministic)
    precision = devices.resolve_precision(subject.precision, device)
    stepper = Stepper(subject, classes, device, precision)
    steps = {phase: step_of(stepper) for phase, step_of in PHASES.items()}
    if dataset:
        steps["data"] = stepper.data_step(dataset)
    if subject.resizer == "none":
        del steps["resizer"]
    calls: list[Call] = []
    for phase, step in steps.items():
        stepper.model.train(phase not in EVALUATED)
        for _ in range(WARM_UP_CALLS):
            step()
        calls += [
            {"phase": phase, "seconds": value} for value in timed_calls(stepper, step, seconds)
        ]
    return calls


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
    phases: dict[str, dict[int, list[float]]] = {}
    for sample in samples:
        if (sample["subject"], sample["again"]) == (subject.speed_key, again):
            rounds = phases.setdefault(sample["phase"], {})
            rounds.setdefault(sample["round"], []).append(sample["seconds"])
    return {
        phase: [float(np.median(rounds[number])) for number in sorted(rounds)]
        for phase, rounds in phases.items()
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


def weigh(subject: Trial, classes: int, use: Literal["train", "infer"]) -> Weight:
    """What one subject takes in memory and arithmetic, or the reason why it cannot be run.

    In a fresh process: see PeakMemory.

    Args:
        use: what the memory is measured of: training steps, or inference on the same batch.
    """
    memory = devices.PeakMemory(devices.pick())
    try:
        return Weight(measured_weight(subject, classes, use, memory), memory.method)
    except Exception as error:
        return Weight({}, memory.method, explain(error)[1])


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
    counts = cost(models.build(subject, classes, start=False), subject)
    return counts | ({"peak_memory_mib": peak} if memory.method else {})
