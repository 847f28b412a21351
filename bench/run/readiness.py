"""What must be there before the first trial starts: data, device, backbones, resizers."""

from __future__ import annotations

import math
from collections.abc import Iterable

from bench.data.library import content, fingerprint, held_out_count, open_dataset
from bench.errors import InputError, counted
from bench.events import Listener, Trying
from bench.paths import WEIGHTS
from bench.records import other_content
from bench.run import jobs
from bench.run.processes import DiedError, TimedOutError, call
from bench.spec.experiment import Experiment
from bench.spec.trial import Trial
from bench.store import Store

TRYING_S = 1800.0  # a user's own front ends are tried for so long, which takes seconds


def prepare(
    experiment: Experiment,
    trials: Iterable[Trial],
    store: Store,
    listener: Listener,
    scored: Iterable[str] = (),
) -> list[str | None]:
    """Have the data ready and the names checked before the first of the trials starts.

    Args:
        scored: keys of other trials whose results are used, as a search's configurations.
    Returns: the GPUs that trials may have; see `bench.lab.device.cards`.
    Raises:
        InputError: if a dataset is not there or is not the one that finished trials were run on,
            or if a device, a backbone or a resizer cannot be had.
    """
    trials = list(trials)
    for name in dict.fromkeys(trial.dataset for trial in trials):
        if experiment.spec.train:
            images = len(open_dataset(name, listener).train)
            check_same_data(name, (*experiment.trials, *scored), store)
            for trial in trials:
                if trial.dataset == name:
                    check_amounts(trial, images)
        elif fingerprint(name):  # what is only timed may do without its images
            open_dataset(name)
    own = sorted({trial.resizer for trial in trials if ":" in trial.resizer})
    if own:
        listener(Trying(own))
    try:
        return call(jobs.check, trials, timeout_s=TRYING_S if own else math.inf)
    except TimedOutError:
        said = f"{' or '.join(own)} does not come to an end: it was tried for {TRYING_S:g} s"
        raise InputError(f"{experiment.name}: {said}") from None
    except (InputError, DiedError) as error:
        raise InputError(f"{experiment.name}: {error}") from None


def need_weights(todo: Iterable[Trial], store: Store) -> None:
    """Raise InputError if one starts from a finished trial whose weights were not kept.

    They are another experiment's to keep, which may not need them.
    """
    parents = dict.fromkeys(key for trial in todo for key in trial.parents)
    lost = [
        key
        for key, record in store.trials(parents).items()
        if record and record["status"] == "ok" and not (store.trial_folder(key) / WEIGHTS).exists()
    ]
    if lost:
        raise InputError(
            f"{counted(len(lost), 'finished trial')} that others start from kept no weights: "
            f"delete {', '.join(lost)} in {store.root / 'trials'}, and the same command trains anew"
        )


def check_same_data(dataset: str, keys: Iterable[str], store: Store) -> None:
    """Raise InputError if finished ones of these trials saw other files of the dataset's name."""
    here = content(dataset)
    for key, record in store.trials(keys).items():
        if not (record and record["status"] == "ok" and record["data"]["name"] == dataset):
            continue
        if why := other_content(record["data"], here):
            raise InputError(
                f"trial {key} was run on other files called {dataset!r} ({why}): import these "
                "under another name, or set RESIZER_BENCH_RESULTS to another folder"
            )


def check_amounts(trial: Trial, images: int) -> None:
    """Raise InputError unless there are images enough to train on, and to be held out."""
    where, held = f"{trial.dataset} has {images} training images", 0
    if trial.holdout:
        held = held_out_count(images, trial.holdout)
        if held in (0, images):
            raise InputError(f"{where}: holdout = {trial.holdout:g} of them leaves a part empty")
        where += f", {images - held} without those held out"
    if trial.epochs != 0 and images - held < trial.batch_size:
        raise InputError(f"{where}, fewer than one batch of {trial.batch_size}")
