"""Which trained weights are kept: a large grid's would fill a disk."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from bench.paths import WEIGHTS
from bench.records import TrialRecord
from bench.spec.experiment import Experiment
from bench.store import Store

Group = tuple[str, str]
"""An arm and a context's label: of the trials of each, differing in the seed, one is the best."""


class Keeper:
    """Which weights of an experiment's trials are kept, as its `keep_weights` says."""

    def __init__(self, experiment: Experiment, store: Store) -> None:
        spec, runs = experiment.spec, experiment.runs
        parents = {key for trial in runs.values() for key in trial.parents}
        self.store, self.ours = store, set[str]()
        self.always = set(runs) if spec.keep_weights == "all" else parents
        self.groups: dict[str, list[Group]] = defaultdict(list)  # by trial
        for cell in experiment.cells if spec.keep_weights == "best" else ():
            self.groups[cell.trial.key].append((cell.arm, cell.label))
        self.best: dict[Group, tuple[float, str]] = {}  # accuracy and trial, so far
        for key, record in store.trials(runs).items():
            self._score(key, record)

    def _score(self, key: str, record: TrialRecord | None) -> None:
        """Take a trial into account."""
        if record and "top1_pct" in record["metrics"]:
            scored = record["metrics"]["top1_pct"]["value"], key
            for group in self.groups.get(key, ()):
                self.best[group] = max(scored, self.best.get(group, scored))

    @property
    def needed(self) -> set[str]:
        """The keys of the trials whose weights are kept."""
        return self.always | {key for _, key in self.best.values()}

    def ended(self, key: str) -> None:
        """Delete what is needed no more now that a trial has ended, of those that ended so."""
        self.ours.add(key)
        there = self.ours & {key, *self.needed}
        self._score(key, self.store.trial(key))
        for lost in there - self.needed:
            (self.store.trial_folder(lost) / WEIGHTS).unlink(missing_ok=True)


def droppable(experiment: Experiment, store: Store) -> dict[Path, int]:
    """The files of weights that the experiment does not keep, and their bytes."""
    keys = set(experiment.runs) - Keeper(experiment, store).needed
    files = [store.trial_folder(key) / WEIGHTS for key in keys]
    return {path: path.stat().st_size for path in files if path.exists()}
