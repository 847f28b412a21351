"""Getting the arms of an experiment timed: a sitting for each context, a round at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.data.library import class_count, fingerprint, open_dataset
from bench.metrics import as_metrics
from bench.run.processes import DiedError, call
from bench.spec.experiment import Experiment, Timing
from bench.spec.trial import Trial
from bench.store import Record, Store, read_record, write_record

LEAST_QUIET = 3
"""With fewer undisturbed rounds than this, disturbed ones count, too, and the record says so."""

Listen = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Sitting:
    """What is timed side by side: the arms of one context."""

    folder: Path
    subjects: list[Trial]  # one for each distinct speed
    reference: Trial  # of the baseline arm, or the first
    settings: Timing


def subjects(trials: Iterable[Trial]) -> dict[str, Trial]:
    """One trial for each distinct speed, by speed key."""
    return {trial.speed_key: trial for trial in reversed(list(trials))}


def sittings(experiment: Experiment, store: Store) -> list[Sitting]:
    """Those that the experiment asks for; contexts whose arms cost the same share one."""
    found = {}
    for label, cells in experiment.by_context.items():
        baseline = [cell.trial for cell in cells if cell.arm == experiment.baseline]
        timed = list(subjects(cell.trial for cell in cells).values())
        folder = store.timing_folder(experiment, label)
        found[folder] = Sitting(folder, timed, (baseline or timed)[0], experiment.spec.timing)
    return list(found.values())


def unfinished(experiment: Experiment, store: Store, *, retry: bool) -> list[Sitting]:
    """The sittings that are not on record, or that failed and are to be taken again."""
    return [
        sitting
        for sitting in sittings(experiment, store)
        if (record := read_record(sitting.folder)) is None or (retry and lost(record))
    ]


def lost(record: Record) -> dict[str, str]:
    """Why a sitting could not measure what it could not, by speed key; "" is the sitting itself."""
    if record["status"] != "ok":
        return {"": record["reason"]}
    return {key: one["reason"] for key, one in record["subjects"].items() if one.get("reason")}


def untimed(experiment: Experiment, store: Store) -> dict[str, str]:
    """Why an arm of the experiment could not be timed, by what it is."""
    arms = {cell.trial.speed_key: cell.arm for cell in reversed(experiment.cells)}
    return {
        f"{arms[key]} ({key})" if key else f"sitting {sitting.folder.name}": reason
        for sitting in sittings(experiment, store)
        if (record := read_record(sitting.folder))
        for key, reason in lost(record).items()
    }


def sit(sitting: Sitting, listener: Listen) -> None:
    """Weigh and time the subjects of a sitting, going on behind the rounds that are there.

    A round in which other load took more than its share of the processor is repeated, at most as
    many times as rounds were asked for. A subject that cannot be timed is on record with the
    reason.
    """
    names = {trial.dataset for trial in sitting.subjects}
    datasets = {name: open_dataset(name) for name in names if fingerprint(name)}
    classes = {name: class_count(name) for name in names}
    try:
        rounds = _rounds(sitting, datasets, classes, listener)
    except DiedError as error:
        failed = {"status": "failed", "reason": str(error), "subjects": {}}
        write_record(sitting.folder, failed)
        return
    weights = [weigh(trial, classes[trial.dataset]) for trial in sitting.subjects]
    write_record(sitting.folder, assembled(sitting, rounds, weights))


def _rounds(
    sitting: Sitting, datasets: Mapping[str, Any], classes: Mapping[str, int], listener: Listen
) -> list[Record]:
    """Rounds until there are enough undisturbed ones, each in a fresh process."""
    done: list[Record] = []
    asked = sitting.settings.rounds
    listener({"event": "timing", "turns": asked * (len(sitting.subjects) + 1)})
    while more_rounds([one["disturbance"]["disturbed"] for one in done], asked):
        folder = sitting.folder / "rounds" / str(len(done))
        if (record := read_record(folder)) is None:
            for event in call(
                "bench.lab.timing:take_round", folder, len(done), sitting.subjects,
                sitting.reference, datasets, classes, sitting.settings,
            ):  # fmt: skip
                listener(event)
            record = read_record(folder)
            assert record
        done.append(record)
        quiet = sum(not one["disturbance"]["disturbed"] for one in done)
        listener({"event": "round", "quiet": quiet, "asked": asked} | record["disturbance"])
    return done


def more_rounds(disturbed: list[bool], asked: int) -> bool:
    """Whether undisturbed rounds are lacking, and may still be had.

    >>> more_rounds([False, True], 2), more_rounds([True] * 4, 2)
    (True, False)
    """
    return disturbed.count(False) < asked and len(disturbed) < 2 * asked


def rounds_to_use(disturbed: list[bool]) -> list[int]:
    """The numbers of the undisturbed rounds; of all, where these are too few to tell a spread.

    >>> rounds_to_use([False, True, False, False]), rounds_to_use([True, False])
    ([0, 2, 3], [0, 1])
    """
    quiet = [number for number, one in enumerate(disturbed) if not one]
    return quiet if len(quiet) >= min(LEAST_QUIET, len(disturbed)) else list(range(len(disturbed)))


def assembled(sitting: Sitting, rounds: list[Record], weights: list[dict[str, Any]]) -> Record:
    """The record of a sitting, from its rounds and what its subjects weigh."""
    used = rounds_to_use([one["disturbance"]["disturbed"] for one in rounds])
    kept = [rounds[number] for number in used]
    measured = {}
    for subject, weight in zip(sitting.subjects, weights, strict=True):
        key = subject.speed_key
        reasons = [weight["reason"], *(one["failures"].get(key, "") for one in rounds)]
        reason = next(filter(None, reasons), "")
        samples = [] if reason else [one["samples"][key] for one in kept]
        measured[key] = {
            "trial": subject.model_dump(),
            "reason": reason,
            "seconds": medians(samples),
            "metrics": as_metrics(weight["metrics"] | summarised(samples, subject)),
        }
    return {
        "status": "ok",
        "reason": "",
        "settings": sitting.settings.model_dump(),
        "environment": rounds[-1]["environment"],
        "finished": rounds[-1]["finished"],
        "memory_method": weights[0]["memory_method"],
        "reference": sitting.reference.speed_key,
        "again": medians([one["again"] for one in kept]),
        "disturbances": [one["disturbance"] for one in rounds],
        "rounds_used": used,
        "subjects": measured,
    }


def medians(samples: list[dict[str, list[float]]]) -> dict[str, list[float]]:
    """Median seconds of each phase in each round."""
    phases = samples[0] if samples else {}
    return {phase: [float(np.median(one[phase])) for one in samples] for phase in phases}


def summarised(samples: list[dict[str, list[float]]], subject: Trial) -> dict[str, float]:
    """The speed metrics of one subject, over its samples of all rounds; none without samples."""
    if not samples:
        return {}
    seconds = {phase: np.concatenate([one[phase] for one in samples]) for phase in samples[0]}
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


def weigh(trial: Trial, classes: int) -> dict[str, Any]:
    """What fresh processes tell of the trial's memory and arithmetic, or why they could not."""
    told: dict[str, Any] = {"metrics": {}, "memory_method": None, "reason": ""}
    for use in ("train", "infer"):
        try:
            (event,) = call("bench.lab.timing:weigh", trial, classes, use)
        except DiedError as error:
            return told | {"reason": str(error)}
        metrics = told["metrics"] | event["metrics"]
        told |= {"metrics": metrics, "memory_method": event["memory_method"]}
        told["reason"] = told["reason"] or event["reason"]
    return told
