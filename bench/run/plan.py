"""What an experiment consists of, what of it is done, and how long the rest takes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from pydantic import ValidationError

from bench.data.library import fingerprint, images, known_names
from bench.data.specs import DATASETS
from bench.errors import InputError
from bench.machine import cores
from bench.records import TrialRecord
from bench.spec.experiment import Experiment
from bench.spec.mistakes import shown
from bench.spec.trial import Trial
from bench.store import Store
from resizer.specs import nearest, one_of


@dataclass(frozen=True)
class Pace:
    step_s: float  # seconds of a training step, with all that comes with it
    device: str  # its name


@dataclass(frozen=True)
class Plan:
    experiment: Experiment
    states: Mapping[str, str]  # trial key -> status, or "missing"
    seconds: Mapping[str, float]  # trial key -> estimate, for the missing trials that have one:
    # of a whole device, so that of a processor trials at once take a part each
    lent: Sequence[str] = ()  # other devices by whose published pace some are estimated

    def missing(self, *, retry: bool = False) -> dict[str, Trial]:
        """The trials to run, by key; `retry` takes the failed ones in."""
        return {
            key: trial
            for key, trial in self.experiment.runs.items()
            if self.states[key] == "missing" or (retry and self.states[key] != "ok")
        }

    def elapsed_s(self, devices: int) -> float | None:
        """About how long the missing trials take on so many devices; None without estimates.

        The work shared out evenly, or the longest chain of trials that start from one another.
        """
        missing = self.missing()
        if not missing.keys() <= self.seconds.keys():
            return None
        ends: dict[str, float] = {}
        for key, trial in missing.items():  # each after its parents
            ends[key] = self.seconds[key] + max((ends.get(k, 0) for k in trial.parents), default=0)
        return max(sum(self.seconds.values()) / devices, max(ends.values(), default=0))

    @property
    def counts(self) -> Counter[str]:
        return Counter(self.states.values())


def make_plan(
    experiment: Experiment, store: Store, published: Mapping[str, Pace] | None = None
) -> Plan:
    """Look at what is saved; nothing is run.

    Args:
        published: by what pace the time is estimated where nothing was measured here.
    """
    check_datasets(experiment.trials.values(), experiment.file)
    records = store.trials(experiment.runs)
    states = {key: r["status"] if r else "missing" for key, r in records.items()}
    missing = {key: experiment.trials[key] for key, state in states.items() if state == "missing"}
    ended = [(experiment.trials[key], record) for key, record in records.items() if record]
    here = _smoked(experiment, store) | _pace(ended) if missing else {}
    pace = {**(published or {}), **here}
    counts = {name: images(name, "train") for name in {one.dataset for one in missing.values()}}
    seconds = {
        key: pace[trial.speed_key].step_s * trial.total_steps(count)
        for key, trial in missing.items()
        if (count := counts[trial.dataset]) and trial.speed_key in pace
    }
    lent = {missing[key].speed_key for key in seconds} - here.keys()
    return Plan(experiment, states, seconds, sorted({pace[speed].device for speed in lent}))


def lacking(experiment: Experiment) -> list[str]:
    """What a run would stumble over, or a reader should know: data not here, enlarged images."""
    trials, lines = experiment.trials.values(), []
    for name in dict.fromkeys(t.dataset for t in trials if experiment.spec.train):
        spec = DATASETS.get(name)
        if spec and spec.archive and fingerprint(name) is None:
            lines.append(f"{name} is not here: resizer-bench data fetch {name}, or data import")
        sizes = {trial.input_size for trial in trials if trial.dataset == name}
        if spec and spec.side and max(sizes) > spec.side:
            lines.append(f"{name} has images of {spec.side} px: {max(sizes)} px are enlarged ones")
    backbones = dict.fromkeys(trial.backbone for trial in trials)
    return lines + [line for one in backbones if (line := _unlisted(one))]


def _unlisted(backbone: str) -> str:
    """That no library lists the backbone, and what it may be; "" of one that is listed.

    A run looks closer: at old names that are still taken, and at the weights after the dot.
    """
    library = backbone.rpartition(":")[0]
    known = [f"{library}:{one}" if library else one for one in _listed(library or "timm")]
    if not known or backbone.partition(".")[0] in known:
        return ""
    return f"{library or 'timm'} lists no backbone {backbone!r}{nearest(backbone, known)}"


REGISTERED = re.compile(r"^@register_model\b.*?^def (\w+)", re.MULTILINE | re.DOTALL)
"""A network in the sources of timm and torchvision."""


@cache
def _listed(library: str) -> list[str]:
    """The library's networks, read from its sources: to import it would load torch."""
    found = find_spec(library) if library in ("timm", "torchvision") else None
    places = found.submodule_search_locations if found else None
    files = [file for place in places or () for file in Path(place, "models").glob("*.py")]
    return [name for file in files for name in REGISTERED.findall(file.read_text("utf-8"))]


def check_datasets(trials: Iterable[Trial], file: Path) -> None:
    """Raise InputError at the first dataset that nobody knows."""
    known = known_names()
    for name in {trial.dataset for trial in trials} - set(known):
        raise InputError(f"{shown(file)}: unknown dataset {name!r}{one_of(name, known)}")


def published_pace(folder: Path) -> dict[str, Pace]:
    """The pace of every kind of trial that is published of a processor, by speed key.

    Of a GPU it is not known how many trials it had at once.
    """
    measured = []
    for store in map(Store, sorted(folder.glob("*/"))):
        for record in store.trials(store.kept()).values():
            if record and record["status"] == "ok" and record["environment"]["device"] == "cpu":
                with suppress(ValidationError):  # where the code of its front end is not here
                    measured.append((Trial(**record["trial"]), record))
    return _pace(measured)


def _pace(ended: Iterable[tuple[Trial, TrialRecord]]) -> dict[str, Pace]:
    """What a step of a finished trial took of a whole device, by speed key: loading and all."""
    pace: dict[str, Pace] = {}
    for trial, record in ended:
        timed = record["status"] == "ok" and record["steps"] and "reused_from" not in record
        if timed and trial.speed_key not in pace:
            seconds = record.get("wall_s", record["metrics"]["train_s"]["value"])
            environment, share = record["environment"], 1.0
            if environment["device"] == "cpu":  # of which it had its threads alone
                share = min(1.0, environment["threads"] / cores())
            step_s = seconds * share / record["steps"]
            pace[trial.speed_key] = Pace(step_s, environment["device_name"])
    return pace


def _smoked(experiment: Experiment, store: Store) -> dict[str, Pace]:
    """What a step took in smoke runs, which have the device for themselves, by speed key."""
    trials = {trial.speed_key: trial for trial in experiment.trials.values()}
    return {
        key: Pace(record["seconds_per_step"], "here")
        for key, trial in trials.items()
        if (record := store.smoke(trial)) and record["status"] == "ok"
    }


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
