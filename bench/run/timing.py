"""Getting the arms of an experiment timed: a sitting for each context, a round at a time."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from bench.data.library import class_count, fingerprint, open_dataset
from bench.events import Listener, MeasuringBegun, Round
from bench.metrics import Weight, as_metrics
from bench.records import RoundRecord, TimedArm, TimingRecord, read_sound, write_record
from bench.run import jobs
from bench.run.processes import DiedError, perform
from bench.spec.experiment import Experiment, Sitting
from bench.spec.trial import Trial
from bench.store import Store

LEAST_QUIET = 3
"""With fewer undisturbed rounds than this, disturbed ones count, too, and the record says so."""
ALIKE = ("device_name", "driver", "precision", "threads", "torch")
"""A round that was measured under other values of these is not of the same sitting."""


def unfinished(experiment: Experiment, store: Store, *, retry: bool) -> dict[Path, Sitting]:
    """The sittings that are not on record, or lack an arm that is to be tried again, by folder."""
    folders = {store.sitting_folder(sitting): sitting for sitting in experiment.sittings.values()}
    return {
        folder: sitting
        for folder, sitting in folders.items()
        if (record := read_sound(folder, TimingRecord)) is None or (retry and _reasons(record))
    }


def untimed(experiment: Experiment, store: Store) -> dict[str, str]:
    """Why arms could not be timed, by arm; all arms of a context under one name."""
    arms = {cell.trial.speed_key: cell.arm for cell in reversed(experiment.cells)}
    return {
        f"{arms[key]} ({key})" if key else f"all arms {context}".rstrip(): reason
        for context, record in store.timings(experiment).items()
        for key, reason in _reasons(record).items()
    }


def _reasons(record: TimingRecord) -> dict[str, str]:
    """Why arms could not be timed, by speed key; that of the sitting as a whole under ""."""
    if record["status"] != "ok":
        return {"": record["reason"]}
    timed = record["subjects"].items()
    return {key: arm["reason"] for key, arm in timed if arm.get("reason")}


async def sit(folder: Path, sitting: Sitting, listener: Listener) -> None:
    """Weigh and time the subjects of a sitting, going on behind the rounds that are there.

    An arm that cannot be timed is on record with the reason; it is tried again where the folder
    has a record already.
    """
    if (folder / "record.json").exists():
        shutil.rmtree(folder)
    if sitting.settings.rounds:
        turns = sitting.settings.rounds * (len(sitting.subjects) + 1)
        listener(MeasuringBegun("timing", turns))
    try:
        rounds = await take_rounds(folder / "rounds", sitting, listener)
        weights = [await weigh(trial) for trial in sitting.subjects]
        record = assembled(sitting, rounds, weights)
    except DiedError as error:
        record = {"status": "failed", "reason": str(error), "subjects": {}}
    if read_sound(folder, TimingRecord) is None:  # by a process that took this one for dead
        write_record(folder, record)


async def take_rounds(folder: Path, sitting: Sitting, listener: Listener) -> list[RoundRecord]:
    """Rounds until enough of them are undisturbed, or as many again were disturbed."""
    classes = {trial.dataset: class_count(trial.dataset) for trial in sitting.subjects}
    datasets = {name: open_dataset(name) for name in classes if fingerprint(name)}
    rounds: list[RoundRecord] = []
    number = 0
    while more_rounds([one["disturbance"]["disturbed"] for one in rounds], sitting.settings.rounds):
        own = folder / str(number)
        if read_sound(own, RoundRecord) is None:
            await perform(
                jobs.take_round, own, number, sitting, datasets, classes, listener=listener
            )
        taken = read_sound(own, RoundRecord)
        assert taken, "a job that ends well has written its round"
        rounds = [*(one for one in rounds if _alike(one, taken)), taken]
        quiet = sum(not one["disturbance"]["disturbed"] for one in rounds)
        last = taken["disturbance"]
        listener(Round(quiet, sitting.settings.rounds, last["disturbed"], last["share"]))
        number += 1
    return rounds


def _alike(one: RoundRecord, other: RoundRecord) -> bool:
    ours, theirs = one["environment"], other["environment"]
    return all(ours.get(name) == theirs.get(name) for name in ALIKE)


def more_rounds(disturbed: Sequence[bool], asked: int) -> bool:
    """Whether undisturbed rounds are lacking, and may still be had.

    >>> more_rounds([False, True], 2), more_rounds([True] * 4, 2)
    (True, False)
    """
    return sum(not one for one in disturbed) < asked and len(disturbed) < 2 * asked


def rounds_to_use(disturbed: Sequence[bool]) -> list[int]:
    """The numbers of the undisturbed rounds; of all, where these are too few to tell a spread.

    >>> rounds_to_use([False, True, False, False]), rounds_to_use([True, False])
    ([0, 2, 3], [0, 1])
    """
    quiet = [number for number, one in enumerate(disturbed) if not one]
    return quiet if len(quiet) >= min(LEAST_QUIET, len(disturbed)) else list(range(len(disturbed)))


def assembled(
    sitting: Sitting, rounds: Sequence[RoundRecord], weights: Sequence[Weight]
) -> TimingRecord:
    """The record of a sitting, from its rounds and what its subjects weigh."""
    used = rounds_to_use([one["disturbance"]["disturbed"] for one in rounds])
    kept = [rounds[number] for number in used]
    arms = zip(sitting.subjects, weights, strict=True)
    record: TimingRecord = {
        "status": "ok",
        "reason": "",
        "settings": sitting.settings.model_dump(),
        "memory_method": weights[0].memory_method,
        "reference": sitting.reference.speed_key,
        "again": medians([one["again"] for one in kept if one["again"]]),
        "disturbances": [one["disturbance"] for one in rounds],
        "rounds_used": used,
        "subjects": {arm.speed_key: _timed(arm, weight, kept) for arm, weight in arms},
    }
    if rounds:
        record |= {"environment": rounds[-1]["environment"], "finished": rounds[-1]["finished"]}
    if cards := [one["card"] for one in rounds if "card" in one]:
        record["cards"] = cards
    return record


def _timed(subject: Trial, weight: Weight, rounds: Sequence[RoundRecord]) -> TimedArm:
    key = subject.speed_key
    reasons = [weight.reason, *(one["failures"].get(key, "") for one in rounds)]
    reason = next(filter(None, reasons), "")
    samples = [] if reason else [one["samples"][key] for one in rounds]
    timed: TimedArm = {
        "trial": subject.model_dump(),
        "reason": reason,
        "seconds": medians(samples),
        "metrics": as_metrics({**weight.metrics, **summarised(samples, subject.batch_size)}),
    }
    if weight.reserved_mib is not None:
        timed["reserved_mib"] = weight.reserved_mib
    watts = [one["watts"][key] for one in rounds if key in one.get("watts", {})]
    if samples and watts:
        step_j = np.median(watts) * np.median(timed["seconds"]["train"])
        timed["joules_per_image"] = float(step_j) / subject.batch_size
    return timed


def medians(samples: Sequence[Mapping[str, list[float]]]) -> dict[str, list[float]]:
    phases = samples[0] if samples else ()
    return {phase: [float(np.median(one[phase])) for one in samples] for phase in phases}


def summarised(samples: Sequence[Mapping[str, list[float]]], batch: int) -> dict[str, float]:
    """The speed metrics of one subject, over its samples of all rounds; none without samples."""
    if not samples:
        return {}
    seconds = {phase: np.concatenate([one[phase] for one in samples]) for phase in samples[0]}
    median = {phase: float(np.median(values)) for phase, values in seconds.items()}
    latency = {
        f"latency_p{p}_ms": 1e3 * float(np.percentile(seconds["latency"], p)) for p in (50, 95, 99)
    }
    parts = {
        f"{part}_ms": 1e3 * median.get(part, 0.0) / batch
        for part in ("resizer", "backbone", "data")
        if part in median or (part == "resizer" and "backbone" in median)
    }
    return {
        "train_images_per_s": batch / median["train"],
        "infer_images_per_s": batch / median["infer"],
        **latency,
        **parts,
    }


async def weigh(trial: Trial) -> Weight:
    """What the trial's training and its inference take, each measured in a process of its own."""
    classes = class_count(trial.dataset)
    training = await _weigh(trial, classes, "train")
    inference = await _weigh(trial, classes, "infer")
    metrics = {**training.metrics, **inference.metrics}
    return replace(training, metrics=metrics, reason=training.reason or inference.reason)


async def _weigh(trial: Trial, classes: int, use: Literal["train", "infer"]) -> Weight:
    try:
        return await perform(jobs.weigh, trial, classes, use)
    except DiedError as error:
        return Weight({}, None, str(error))
