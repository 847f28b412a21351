"""Which trained weights are kept: a large grid's would fill a disk."""

from __future__ import annotations

import json
from collections.abc import Iterable

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


def drop(experiment: Experiment, store: Store, among: Iterable[str]) -> int:
    """Delete the weights of those of some trials that the experiment does not keep.

    Args:
        among: keys; those of trials that an earlier run or another experiment left are not touched
            while a run goes on.
    Returns: bytes that were freed.
    """
    freed, kept = 0, needed(experiment, store)
    for key in set(among) - kept:
        path = store.trial_folder(key) / WEIGHTS
        if path.exists():
            freed += path.stat().st_size
            path.unlink()
    return freed


def droppable(experiment: Experiment, store: Store) -> dict[str, int]:
    """Bytes of the weights that the experiment does not keep, by key."""
    files = {
        key: store.trial_folder(key) / WEIGHTS
        for key in set(experiment.runs) - needed(experiment, store)
    }
    return {key: path.stat().st_size for key, path in files.items() if path.exists()}
