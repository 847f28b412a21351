"""resizer-bench: does a learned image resizer help, and is it worth what it costs?

    >>> import bench
    >>> table = bench.table("quick", "results/published/quick")
    >>> means = table.groupby(["dataset", "arm"])["top1_pct"].mean()
    >>> means.round(1).loc["synthetic-fine"].to_dict()
    {'fixed': 10.2, 'learned': 100.0, 'plain': 10.0}

Beside the functions here `resizer.build` makes a resizer; all else is the command line's.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from bench.lab.models import Classifier
    from bench.report.made import Report
    from bench.store import Store

__all__ = ["__version__", "load", "make_report", "table"]

__version__ = "0.1.0"


def table(
    name: Path | str, results: Path | str | None = None, *, small: bool = False
) -> pd.DataFrame:
    """One row for each trial of each arm in each context: fields, status, metrics with units.

    Args:
        name: an experiment of `experiments/`, or the path of a TOML file.
        results: a folder of results; the user's own unless given.
        small: of `run --small`.
    Raises:
        InputError: as `bench.spec.files.read`, or if there is no such folder of results.
    """
    from bench.opening import load_from

    store = _store(results)
    return store.table(load_from(store, str(name), small=small))


def load(key: str, results: Path | str | None = None) -> Classifier:
    """The trained classifier of a finished trial, in evaluation mode.

    It takes (B, 3, H, W) images, uint8 or floats in [0, 1], and gives (B, classes) logits.

    Args:
        key: of the trial, as the column of `table`.
        results: the folder of results that it is in; unless given, your own, or the published one
            that has its weights.
    Raises:
        InputError: if no weights of it were kept.
    """
    from bench.lab import models

    return models.load(key, _store(results).root if results else None)


def make_report(
    name: Path | str, results: Path | str | None = None, *, small: bool = False
) -> Report:
    """Make the report of an experiment from what is saved, into its folder of the results."""
    from bench.opening import load_from
    from bench.report.pages import make

    store = _store(results)
    experiment = load_from(store, str(name), small=small)
    return make(experiment, store, store.root / experiment.name)


def _store(results: Path | str | None) -> Store:
    from bench.errors import InputError
    from bench.paths import expanded, local_results
    from bench.store import Store

    if results and not expanded(results).is_dir():
        raise InputError(f"there is no folder of results {str(results)!r}")
    return Store(expanded(results) if results else local_results())
