"""Getting the timing lane of an experiment done: who is timed, what is open, what could not be."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from bench.data.library import class_count, fingerprint, open_dataset
from bench.run.processes import DiedError, call
from bench.spec.experiment import Experiment, Timing
from bench.spec.trial import Trial
from bench.store import Store, write_record


def subjects(trials: Iterable[Trial]) -> dict[str, Trial]:
    """One trial for each distinct speed, by speed key."""
    return {trial.speed_key: trial for trial in reversed(list(trials))}


def is_open(experiment: Experiment, store: Store, *, retry: bool) -> bool:
    """Whether the arms are to be timed: not on record, or some failed and are to be retried."""
    return store.timing(experiment) is None or (retry and bool(untimed(experiment, store)))


def untimed(experiment: Experiment, store: Store) -> dict[str, str]:
    """Why the timing lane could not measure what it could not, by what."""
    record = store.timing(experiment)
    if record is None:
        return {}
    if record["status"] != "ok":
        return {"the timing lane": record["reason"]}
    arms = {cell.trial.speed_key: cell.arm for cell in reversed(experiment.cells)}
    lost = {key: s["reason"] for key, s in record["subjects"].items() if s.get("reason")}
    return {f"{arms[key]} ({key})": reason for key, reason in lost.items()}


def run(experiment: Experiment, store: Store, listener: Callable[[dict[str, Any]], None]) -> None:
    """Measure what the arms cost; an arm that cannot be is on record with the reason."""
    lane = list(subjects(experiment.trials.values()).values())
    reference = next(c.trial for c in experiment.cells if c.arm == experiment.baseline)
    sit(store.timing_folder(experiment), lane, reference, experiment.spec.timing, listener)


def sit(
    folder: Path,
    lane: list[Trial],
    reference: Trial,
    settings: Timing,
    listener: Callable[[dict[str, Any]], None],
) -> None:
    """One sitting: weigh and time some trials side by side, the record in `folder`."""
    here = {trial.dataset for trial in lane if fingerprint(trial.dataset)}
    datasets = {name: open_dataset(name) for name in here}
    classes = {trial.dataset: class_count(trial.dataset) for trial in lane}
    listener({"event": "timing", "turns": settings.rounds * (len(lane) + 1)})
    weights = [weigh(trial, classes[trial.dataset]) for trial in lane]
    asked = (folder, lane, reference, datasets, classes, settings, weights)
    try:
        for event in call("bench.lab.timing:run", *asked):
            listener(event)
    except DiedError as error:
        write_record(folder, {"status": "failed", "reason": str(error), "subjects": {}})


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
