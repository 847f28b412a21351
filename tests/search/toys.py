"""A toy search, whose configurations are scored without training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import optuna

from bench.data.library import fingerprint
from bench.events import Listener, ignore
from bench.records import Json, write_record
from bench.run import studies
from bench.run.search import Search
from bench.run.studies import Tuner
from bench.spec.trial import Trial
from bench.store import Store
from tests import fakes
from tests.conftest import toy_toml

SETTINGS = """
[search]
arms = {arms}
trials = 3
holdout = 0.3
{more}
"""
ARMS = '["plain", "learned"]'
RANGES = "lr = {{ log = [1e-4, 1e-1] }}\nweight_decay = {{ uniform = [0.0, 0.3] }}\n"


def written(
    folder: Path, *, top: str = "", trial: str = RANGES, more: str = "", arms: str = ARMS
) -> Path:
    path = folder / "tuned.toml"
    rest = SETTINGS.format(more=more, arms=arms)
    path.write_text(toy_toml(top=top, trial=trial.format(), rest=rest))
    return path


def scoring(store: Store, score: Callable[[Trial], float]) -> studies.Evaluate:
    """Records a score of the fields in place of a training run."""

    async def evaluate(trial: Trial, _: optuna.Trial, __: Listener) -> Json:
        record = fakes.result(trial, score(trial), wall_s=1.0, curve=[{"epoch": 1}])
        data = {"train_images": 14, "val_images": 6, "fingerprint": fingerprint(trial.dataset)}
        record["data"] |= data
        write_record(store.trial_folder(trial.key), record)
        return record

    return evaluate


def tuned(found: Search, store: Store, score: Callable[[Trial], float]) -> Json:
    Tuner(found, store, ignore, scoring(store, score)).run()
    record = store.search(found.name)
    assert record
    return record


def low_rate_wins(trial: Trial) -> float:
    return 50 - 10 * float(np.log10(trial.lr))
