"""What an experiment consists of, what of it is done, and how long the rest takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from bench.data.library import fingerprint, known_names, train_images
from bench.data.specs import DATASETS
from bench.errors import InputError
from bench.records import TrialRecord
from bench.spec.experiment import Experiment
from bench.spec.mistakes import shown
from bench.spec.trial import Trial
from bench.store import Store
from resizer.specs import one_of


@dataclass(frozen=True)
class Plan:
    experiment: Experiment
    states: Mapping[str, str]  # trial key -> status, or "missing"
    seconds: Mapping[str, float]  # trial key -> estimate, for the missing trials that have one

    def missing(self, *, retry: bool = False) -> dict[str, Trial]:
        """The trials to run, by key; `retry` takes the failed ones in."""
        return {
            key: trial
            for key, trial in self.experiment.runs.items()
            if self.states[key] == "missing" or (retry and self.states[key] != "ok")
        }

    @property
    def counts(self) -> Counter[str]:
        return Counter(self.states.values())


def make_plan(experiment: Experiment, store: Store) -> Plan:
    """Look at what is saved; nothing is run."""
    check_datasets(experiment)
    records = store.trials(experiment.runs)
    states = {key: r["status"] if r else "missing" for key, r in records.items()}
    missing = [key for key, state in states.items() if state == "missing"]
    pace = _pace(experiment, store, records) if missing else {}
    images = {name: train_images(name) for name in {t.dataset for t in experiment.trials.values()}}
    seconds = {}
    for key in missing:
        trial = experiment.trials[key]
        if images[trial.dataset] and trial.speed_key in pace:
            seconds[key] = pace[trial.speed_key] * trial.total_steps(images[trial.dataset] or 0)
    return Plan(experiment, states, seconds)


def lacking(experiment: Experiment) -> list[str]:
    """What a run would stumble over, or a reader should know: data not here, enlarged images."""
    trials, lines = experiment.trials.values(), []
    for name in dict.fromkeys(trial.dataset for trial in trials):
        spec = DATASETS.get(name)
        if spec and spec.archive and fingerprint(name) is None:
            lines.append(f"{name} is not here: resizer-bench data fetch {name}, or data import")
        sizes = {trial.input_size for trial in trials if trial.dataset == name}
        if spec and spec.side and max(sizes) > spec.side:
            lines.append(f"{name} has images of {spec.side} px: {max(sizes)} px are enlarged ones")
    return lines


def check_datasets(experiment: Experiment) -> None:
    """Raise InputError at the first dataset that nobody knows."""
    for name in {trial.dataset for trial in experiment.trials.values()} - set(DATASETS):
        if name not in known_names():
            raise InputError(
                f"{shown(experiment.file)}: unknown dataset {name!r}{one_of(name, known_names())}"
            )


def _pace(
    experiment: Experiment, store: Store, records: Mapping[str, TrialRecord | None]
) -> dict[str, float]:
    """Seconds of a step by speed key: of trials that finished here, or else of a smoke run.

    A trial's seconds are all that it took, loading and validation included.
    """
    pace: dict[str, float] = {}
    for key, record in records.items():
        if record and record["status"] == "ok" and record["steps"] and "reused_from" not in record:
            seconds = record.get("wall_s", record["metrics"]["train_s"]["value"])
            pace.setdefault(experiment.trials[key].speed_key, seconds / record["steps"])
    if not (store.root / "smoke").exists():
        return pace
    for speed_key, trial in {t.speed_key: t for t in experiment.trials.values()}.items():
        smoked = store.smoke(trial) if speed_key not in pace else None
        if smoked and smoked["status"] == "ok":
            pace[speed_key] = smoked["seconds_per_step"]
    return pace


def select(
    experiment: Experiment, trials: Mapping[str, Trial], where: Mapping[str, str]
) -> dict[str, Trial]:
    """The trials whose fields have the values that `where` asks for, and what they start from.

    Values are compared as text, whatever their case.

    Raises:
        InputError: if a field is unknown, or no trial of the experiment has the value.
    """
    for name, value in where.items():
        if name not in Trial.model_fields:
            known = list(Trial.model_fields)
            raise InputError(f"--where: unknown field {name!r}{one_of(name, known)}")
        values = {str(getattr(trial, name)): None for trial in experiment.trials.values()}
        if value.lower() not in map(str.lower, values):
            raise InputError(f"--where: no trial has {name} = {value!r}{one_of(value, values)}")
    wanted: set[str] = set()
    for key, trial in reversed(experiment.trials.items()):  # children before their parents
        fits = all(str(getattr(trial, n)).lower() == v.lower() for n, v in where.items())
        if key in trials and (fits or key in wanted):
            wanted |= {key, *trial.parents}
    return {key: trial for key, trial in trials.items() if key in wanted}
