"""An experiment as a store knows it: with its matched sizes, and with what its search has found."""

from __future__ import annotations

from bench.errors import InputError
from bench.spec import tuning
from bench.spec.experiment import Experiment
from bench.spec.files import load, read, result_name
from bench.spec.mistakes import shown
from bench.store import Store


def load_from(store: Store, name: str, *, small: bool) -> Experiment:
    """Read an experiment with the sizes that the store has matched and what its search found.

    Raises:
        InputError: as `load`; or if the search was over other ranges than the file has now.
    """
    file, spec = read(name, small=small)
    record = store.search(result_name(file, small=small)) if spec.search else None
    if record and record.get("spaces") != tuning.written(spec):
        verb = f"resizer-bench search {name}" + (" --small" if small else "")
        raise InputError(f"{shown(file)} was tuned over other ranges than it has now: {verb}")
    best = store.best(result_name(file, small=small))
    return load(name, small=small, sizes=store.sizes(), best=best)
