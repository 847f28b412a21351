"""An experiment as a store knows it: with its matched sizes, and with what its search has found."""

from __future__ import annotations

from pathlib import Path

from bench.errors import InputError
from bench.records import OwnerRecord, write_record
from bench.spec import tuning
from bench.spec.experiment import Asked, Experiment
from bench.spec.files import crossed, read
from bench.spec.mistakes import shown
from bench.spec.trial import Fields
from bench.store import Store


def load_from(store: Store, name: str, *, small: bool, changes: Fields | None = None) -> Experiment:
    """Read an experiment with the sizes that the store has matched and what its search found."""
    return crossed_from(store, read(name, small=small, changes=changes))


def crossed_from(store: Store, asked: Asked) -> Experiment:
    """The same of a file that has been read.

    Raises:
        InputError: as `crossed`; or if the search was over other ranges than the file has now.
    """
    check_owner(store, asked)
    record = store.search(asked.name) if asked.spec.search else None
    if record and record.get("spaces") != tuning.written(asked.spec):
        raise InputError(
            f"{shown(asked.file)} was tuned over other ranges than it has now: {asked.command}"
        )
    return crossed(asked, store.sizes(), store.best(asked.name))


def again(store: Store, experiment: Experiment) -> Experiment:
    """The experiment as the store knows it now."""
    file, small, changes = str(experiment.file), experiment.small, experiment.changes
    return load_from(store, file, small=small, changes=changes)


def check_owner(store: Store, asked: Asked) -> None:
    """Raise InputError if the results of this name are those of another file that is still there.

    Two files of one name in two folders would else replace each other's report and search.
    """
    record = store.owner(asked.name)
    owner = Path(record["file"]) if record else asked.file
    if owner != asked.file and owner.is_file():
        raise InputError(
            f"{store.root / asked.name} has the results of {owner}: give one of the two files "
            "another name, or set RESIZER_BENCH_RESULTS to another folder"
        )


def note_owner(store: Store, asked: Asked) -> None:
    """Put on record which file the results of an experiment's name are of."""
    record = store.owner(asked.name)
    if record is None or record["file"] != str(asked.file):
        made: OwnerRecord = {"status": "ok", "reason": "", "file": str(asked.file)}
        write_record(store.owner_folder(asked.name), made)
