"""Getting the arms of an experiment timed: which are, whether it is open, what could not be."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from bench.data.library import class_count, fingerprint, open_dataset
from bench.events import Listener, TimingBegun
from bench.metrics import Weight
from bench.records import TimingRecord, write_record
from bench.run import jobs
from bench.run.processes import DiedError, call
from bench.spec.experiment import Experiment, Timing
from bench.spec.trial import Trial
from bench.store import Store


def subjects(trials: Iterable[Trial]) -> dict[str, Trial]:
    """One trial for each distinct speed, by speed key."""
    return {trial.speed_key: trial for trial in reversed(list(trials))}


def is_open(experiment: Experiment, store: Store, *, retry: bool) -> bool:
    """Whether the arms are to be timed: not on record, or some failed and are to be retried."""
    return store.timing(experiment) is None or (retry and bool(untimed(experiment, store)))


def untimed(experiment: Experiment, store: Store) -> dict[str, str]:
    """Why arms could not be timed, by arm; all of them under one name if the process ended."""
    record = store.timing(experiment)
    if record is None:
        return {}
    if record["status"] != "ok":
        return {"all arms": record["reason"]}
    arms = {cell.trial.speed_key: cell.arm for cell in reversed(experiment.cells)}
    reasons = {key: timed["reason"] for key, timed in record["subjects"].items()}
    return {f"{arms[key]} ({key})": reason for key, reason in reasons.items() if reason}


def time_experiment(experiment: Experiment, store: Store, listener: Listener) -> None:
    """Measure what the arms cost; an arm that cannot be is on record with the reason."""
    distinct = list(subjects(experiment.trials.values()).values())
    reference = next(c.trial for c in experiment.cells if c.arm == experiment.baseline)
    folder, settings = store.timing_folder(experiment), experiment.spec.timing
    time_side_by_side(folder, distinct, reference, settings, listener)


def time_side_by_side(
    folder: Path,
    trials: Sequence[Trial],
    reference: Trial,
    settings: Timing,
    listener: Listener,
) -> None:
    """Weigh some trials, then time them in turns; the record is in `folder`.

    Args:
        reference: the trial that is measured twice, for the noise floor.
    """
    classes = {trial.dataset: class_count(trial.dataset) for trial in trials}
    datasets = {name: open_dataset(name) for name in classes if fingerprint(name)}
    listener(TimingBegun(settings.rounds * (len(trials) + 1)))
    weights = [weigh(trial, classes[trial.dataset]) for trial in trials]
    asked = (folder, trials, reference, datasets, classes, settings, weights)
    try:
        call(jobs.time_arms, *asked, listener=listener)
    except DiedError as error:
        record: TimingRecord = {"status": "failed", "reason": str(error), "subjects": {}}
        write_record(folder, record)


def weigh(trial: Trial, classes: int) -> Weight:
    """What the trial's training and its inference take, each measured in a process of its own."""
    uses: tuple[Literal["train", "infer"], ...] = ("train", "infer")
    weights = [_weigh(trial, classes, use) for use in uses]
    metrics = {name: value for weight in weights for name, value in weight.metrics.items()}
    reasons = [weight.reason for weight in weights if weight.reason]
    return Weight(metrics, weights[0].memory_method, reasons[0] if reasons else "")


def _weigh(trial: Trial, classes: int, use: Literal["train", "infer"]) -> Weight:
    try:
        return call(jobs.weigh, trial, classes, use)
    except DiedError as error:
        return Weight({}, None, str(error))
