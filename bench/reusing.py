"""Taking from what is published: finished trials and counted sizes."""

from __future__ import annotations

from pathlib import Path

from bench.data.library import content
from bench.opening import again
from bench.paths import PUBLISHED
from bench.records import TrialRecord, other_content, read_record
from bench.spec.experiment import Experiment
from bench.spec.trial import Trial
from bench.store import Store, copy_record


def reuse(experiment: Experiment, store: Store) -> tuple[Experiment, int]:
    """Take counted sizes and finished trials from what is published, the experiment's own first.

    Timings, and sizes that meet a time, are not taken: they are another machine's. Nor is a trial
    that was run on other files, or from which one that is still to be run starts: its weights were
    not published.

    Returns: the experiment with these sizes, and how many trials were taken.
    """
    counted = [key for key, size in experiment.sizes.items() if size.kind == "equal_gmacs"]
    for folder in (one for key in counted for one in PUBLISHED.glob(f"*/sizes/{key}")):
        copy_record(folder, store.size_folder(folder.name))
    experiment, taken = again(store, experiment), 0
    needed: set[str] = set()
    for key, trial in reversed(experiment.trials.items()):  # children before their parents
        if (record := store.trial(key)) and record["status"] == "ok":
            continue
        if key not in needed and (source := published_trial(trial, experiment.name)):
            files = ("predictions.parquet", "pictures.npz")
            origin = f"published/{source.parent.parent.name}"
            copy_record(source, store.trial_folder(key), *files, reused_from=origin)
            taken += 1
        else:
            needed |= set(trial.parents)
    return experiment, taken


def published_trial(trial: Trial, name: str) -> Path | None:
    """The published folder of a trial that ended well on the files that are here, if there are.

    Of several that of the experiment of this name is the first.
    """
    here = content(trial.dataset)
    folders = PUBLISHED.glob(f"*/trials/{trial.key}")
    for folder in sorted(folders, key=lambda at: (at.parent.parent.name != name, at)):
        record = read_record(folder, TrialRecord)
        if record and record["status"] == "ok" and not other_content(record["data"], here):
            return folder
    return None
