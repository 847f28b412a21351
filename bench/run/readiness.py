"""What must be there before the first trial starts: data, device, backbones, resizers."""

from __future__ import annotations

from collections.abc import Iterable

from bench.data.library import fingerprint, open_dataset
from bench.errors import InputError
from bench.events import DataRead, Listener
from bench.run import jobs
from bench.run.processes import DiedError, call
from bench.spec.experiment import Experiment
from bench.spec.trial import Trial
from bench.store import Store


def prepare(
    experiment: Experiment, trials: Iterable[Trial], store: Store, listener: Listener
) -> None:
    """Have the data ready and the names checked before the first of the trials starts.

    Raises:
        InputError: if a dataset is not there or is not the one that finished trials were run on,
            or if a device, a backbone or a resizer cannot be had.
    """
    trials = list(trials)
    names = dict.fromkeys(trial.dataset for trial in trials)
    for name in names if experiment.spec.train else ():
        open_dataset(name, lambda *at: listener(DataRead(*at)))
        check_same_data(name, experiment, store)
    try:
        call(jobs.check, trials)
    except (InputError, DiedError) as error:
        raise InputError(f"{experiment.name}: {error}") from None


def check_same_data(dataset: str, experiment: Experiment, store: Store) -> None:
    """Raise InputError if finished trials saw other files under the dataset's name."""
    here = fingerprint(dataset)
    for key, trial in experiment.trials.items():
        if trial.dataset != dataset:
            continue
        record = store.trial(key)
        if record and record["status"] == "ok" and record["data"]["fingerprint"] != here:
            raise InputError(
                f"trial {key} was run on other files called {dataset!r} (fingerprint "
                f"{record['data']['fingerprint'][:12]}, now {str(here)[:12]}): import these under "
                "another name, or set RESIZER_BENCH_RESULTS to another folder"
            )
