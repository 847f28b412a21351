"""An experiment as a store knows it: with its matched sizes, and with what its search has found."""

from __future__ import annotations

from pathlib import Path

from bench.errors import InputError
from bench.records import OwnerRecord, write_record
from bench.spec import tuning
from bench.spec.experiment import Experiment
from bench.spec.files import load, read, result_name
from bench.spec.mistakes import shown
from bench.spec.trial import Fields
from bench.store import Store


def load_from(store: Store, name: str, *, small: bool, changes: Fields | None = None) -> Experiment:
    """Read an experiment with the sizes that the store has matched and what its search found.

    Raises:
        InputError: as `load`; or if the search was over other ranges than the file has now.
    """
    file, spec = read(name, small=small, changes=changes)
    called = result_name(file, small=small, changes=changes)
    check_owner(store, file, small=small, changes=changes)
    record = store.search(called) if spec.search else None
    if record and record.get("spaces") != tuning.written(spec):
        verb = f"resizer-bench search {name}" + (" --small" if small else "")
        raise InputError(f"{shown(file)} was tuned over other ranges than it has now: {verb}")
    sizes, best = store.sizes(), store.best(called)
    return load(name, small=small, sizes=sizes, best=best, changes=changes)


def again(store: Store, experiment: Experiment) -> Experiment:
    """The experiment as the store knows it now."""
    name, changes = str(experiment.file), experiment.changes
    return load_from(store, name, small=experiment.small, changes=changes)


def check_owner(store: Store, file: Path, *, small: bool, changes: Fields | None = None) -> None:
    """Raise InputError if the results of this name are those of another file that is still there.

    Two files of one name in two folders would else replace each other's report and search.
    """
    name = result_name(file, small=small, changes=changes)
    record = store.owner(name)
    owner = Path(record["file"]) if record else file
    if owner != file and owner.is_file():
        raise InputError(
            f"{store.root / name} has the results of {owner}: give one of the two files another "
            "name, or set RESIZER_BENCH_RESULTS to another folder"
        )


def note_owner(store: Store, experiment: Experiment) -> None:
    """Put on record which file the results of an experiment's name are of."""
    record = store.owner(experiment.name)
    if record is None or record["file"] != str(experiment.file):
        made: OwnerRecord = {"status": "ok", "reason": "", "file": str(experiment.file)}
        write_record(store.owner_folder(experiment.name), made)
