"""Which trained weights are kept: a large grid's would fill a disk."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from bench.spec.experiment import Experiment, context_of
from bench.store import Store

WEIGHTS = "weights.safetensors"


def needed(experiment: Experiment, store: Store) -> set[str]:
    """The keys of the trials whose weights the experiment keeps, by its `keep_weights`."""
    keys = set(experiment.runs)
    if experiment.spec.keep_weights == "all":
        return keys
    parents = {key for trial in experiment.runs.values() for key in trial.parents}
    return (
        parents if experiment.spec.keep_weights == "parents" else parents | _best(experiment, store)
    )


def _best(experiment: Experiment, store: Store) -> set[str]:
    """The most accurate trial of each arm in each context, so far."""
    records = store.trials(experiment.runs)
    best: dict[str, tuple[float, str]] = {}
    for cell in experiment.cells:
        record = records.get(cell.trial.key)
        if record and "top1_pct" in record["metrics"]:
            group = json.dumps([cell.arm, context_of(cell.axes)], default=str)
            scored = (record["metrics"]["top1_pct"]["value"], cell.trial.key)
            best[group] = max(best.get(group, scored), scored)
    return {key for _, key in best.values()}


def droppable(
    experiment: Experiment, store: Store, among: Iterable[str] | None = None
) -> dict[Path, int]:
    """The files of weights that the experiment does not keep, and their bytes.

    Args:
        among: keys: of these trials alone.
    """
    keys = set(experiment.runs if among is None else among) - needed(experiment, store)
    files = [store.trial_folder(key) / WEIGHTS for key in keys]
    return {path: path.stat().st_size for path in files if path.exists()}


def drop(experiment: Experiment, store: Store, among: Iterable[str] | None = None) -> int:
    """Delete what is `droppable`; returns the bytes that were freed."""
    found = droppable(experiment, store, among)
    for path in found:
        path.unlink()
    return sum(found.values())
