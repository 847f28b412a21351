"""Where records are, and the one table made of them."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import InputError
from bench.machine import own_name, synced
from bench.metrics import METRICS
from bench.paths import snapshot_file
from bench.records import (
    KINDS,
    DamagedError,
    Ending,
    Kind,
    OwnerRecord,
    SearchRecord,
    SizeRecord,
    TimingRecord,
    TrialRecord,
    read_record,
    read_sound,
    write_record,
)
from bench.spec.experiment import Experiment, Sitting, Timing
from bench.spec.trial import TIMING_VERSION, Fields, Trial, named_by

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray


class Store:
    """A folder of trials and timings: `results/local`, or one published experiment."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.damaged: dict[str, str] = {}  # what is there but cannot be read, and why: so missing

    def _read(self, folder: Path | str, kind: type[Kind]) -> Kind | None:
        """The record in a folder; None where there is none, or one that is damaged."""
        try:
            return read_record(folder, kind)
        except DamagedError as error:
            self.damaged[str(folder)] = str(error)
            return None

    def trial_folder(self, key: str) -> Path:
        """Where the trial's record, predictions, weights and log are."""
        return self.root / "trials" / key

    def snapshot(self, key: str) -> Path:
        """Where the state of a trial in training is saved, until it has a record."""
        return snapshot_file(self.root, key)

    @contextmanager
    def own_folder(self, key: str) -> Iterator[Path]:
        """A folder of one process alone for what a trial leaves, until that is put in place."""
        shared = self.snapshot(key).parent
        (own := shared / own_name()).mkdir(parents=True)
        try:
            yield own
        finally:
            shutil.rmtree(own, ignore_errors=True)

    def sitting_folder(self, sitting: Sitting) -> Path:
        return self.root / "timings" / timing_key(sitting.subjects, sitting.settings)

    def timing_folders(self, experiment: Experiment) -> dict[str, Path]:
        """Where the record of each context's sitting is, by the context's label."""
        return {c: self.sitting_folder(one) for c, one in experiment.sittings.items()}

    def timings(self, experiment: Experiment) -> dict[str, TimingRecord]:
        """The record of each context's sitting that is finished, by the context's label."""
        folders = self.timing_folders(experiment)
        records = {folder: self._read(folder, TimingRecord) for folder in set(folders.values())}
        return {c: record for c, folder in folders.items() if (record := records[folder])}

    def search_folder(self, name: str) -> Path:
        return self.root / "searches" / name

    def owner_folder(self, name: str) -> Path:
        return self.root / "names" / name

    def owner(self, name: str) -> OwnerRecord | None:
        """Which file the results of this name are of; None before its first run."""
        return self._read(self.owner_folder(name), OwnerRecord)

    def search(self, name: str) -> SearchRecord | None:
        """What a search has found: arms with their configurations; None before the first."""
        return self._read(self.search_folder(name), SearchRecord)

    def tried(self, name: str) -> Counter[str]:
        """How many configurations of each arm of a search have ended, in whatever way."""
        record = self.search(name)
        arms = record["arms"].items() if record else ()
        tried = ((arm, one["state"]) for arm, of in arms for one in of["configurations"])
        return Counter(arm for arm, state in tried if state != "running")

    def best(self, name: str) -> dict[str, list[Fields]]:
        """The best configurations of each arm of a search that has any, the very best first."""
        record = self.search(name)
        best = {}
        for arm, tuned in record["arms"].items() if record else ():
            chosen = {one["number"]: one["chosen"] for one in tuned["configurations"]}
            if tuned["best"]:
                best[arm] = [chosen[number] for number in tuned["best"]]
        return best

    def trials(self, keys: Iterable[str]) -> dict[str, TrialRecord | None]:
        """The records of many trials; None for those that are not finished."""
        folder = self.root / "trials"
        there = {path.name for path in entries(folder)}
        # Text, not Path objects, which cost more than the reading where there are thousands.
        return {
            key: self._read(f"{folder}/{key}", TrialRecord) if key in there else None
            for key in keys
        }

    def kept(self) -> list[str]:
        """The keys of the trials that are finished, of whatever experiment."""
        there = entries(self.root / "trials")
        return [path.name for path in there if modified(f"{path}/record.json") is not None]

    def trial(self, key: str) -> TrialRecord | None:
        return self._read(self.trial_folder(key), TrialRecord)

    def smoke_folder(self, trial: Trial) -> Path:
        """Where the smoke run of every trial of this speed is recorded."""
        return self.root / "smoke" / trial.speed_key

    def smoke(self, trial: Trial) -> TrialRecord | None:
        return self._read(self.smoke_folder(trial), TrialRecord)

    def size_folder(self, key: str) -> Path:
        """Where the record of a matched size is, by the key of its `SizeRequest`."""
        return self.root / "sizes" / key

    def sizes(self) -> dict[str, int]:
        """The matched sizes, pixels, by the key of a `SizeRequest`."""
        keys = [path.name for path in entries(self.root / "sizes")]
        return {key: record["size"] for key in keys if (record := self.size(key))}

    def size(self, key: str) -> SizeRecord | None:
        """The record of a matched size: size, ratio of the costs met, what was matched to what."""
        return self._read(self.size_folder(key), SizeRecord)

    def stamp(self, experiment: Experiment) -> str:
        """Changes when the experiment, one of its records or its timings does."""
        folders = [f"{self.root}/trials/{key}" for key in experiment.trials]
        folders += map(str, self.timing_folders(experiment).values())
        folders.append(str(self.search_folder(experiment.name)))
        times = [modified(f"{folder}/record.json") for folder in folders]
        return named_by([experiment.spec.model_dump(), times])

    def table(self, experiment: Experiment) -> pd.DataFrame:
        """One row for each trial of each arm in each context: fields, status, metrics.

        A trial without a record is a row with the status "missing". Where several cells of an arm
        collapse to one trial, as a plain arm's do along an axis of the resizer's options, each
        context has its row of it.
        """
        return as_table(experiment, self.trials(experiment.runs), self.timings(experiment))

    def pictures(self, key: str) -> dict[str, NDArray[np.float16]] | None:
        """What `bench.lab.pictures` kept of the trial: (N, H, W, 3) arrays by name, or None."""
        import numpy as np

        path = self.trial_folder(key) / "pictures.npz"
        try:
            with path.open("rb") as file, np.load(file) as kept:
                return dict(kept)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            self.damaged[str(path)] = f"{path} is damaged: {error}"
            return None

    def has_predictions(self, key: str) -> bool:
        """Whether `predictions` can be read; a file that is cut or has other columns cannot."""
        import pyarrow.parquet as pq

        path = self.trial_folder(key) / "predictions.parquet"
        try:
            columns = set(pq.read_schema(path).names)
            pq.ParquetFile(path).scan_contents()
        except FileNotFoundError:
            return False
        except (OSError, ValueError) as error:  # pyarrow's own are ValueErrors
            self.damaged[str(path)] = f"{path} is damaged: {error}".splitlines()[0]
            return False
        return {"image", "label", "predicted", "probability"} <= columns

    def predictions(self, key: str) -> pd.DataFrame:
        """A row for each validation image: image, label, predicted, probability (of the label)."""
        import pandas as pd

        return pd.read_parquet(self.trial_folder(key) / "predictions.parquet")


def put_in_place(folder: Path, final: Path) -> bool:
    """Give a whole folder its final name, in one step; False where a result was there before it.

    What is there and is no result, as a trial that failed and is tried again, goes.
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    while True:
        try:
            folder.rename(final)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise
        else:
            synced(final.parent)
            return True
        there = read_sound(final, KINDS.get(final.parent.name, Ending))
        if there and there["status"] == "ok":
            return False
        with suppress(FileNotFoundError):  # another process has just moved it away
            before = final.rename(folder.with_name(f"{folder.name}-before"))
            shutil.rmtree(before) if before.is_dir() else before.unlink()


def copy_folder(there: Path, here: Path) -> None:
    """Copy a folder to one that is new, onto the disk; what could be read alone can be changed.

    Raises:
        InputError: if a file in it cannot be copied.
    """
    try:
        shutil.copytree(there, here)
    except shutil.Error as error:
        file, _, why = error.args[0][0]
        raise InputError(f"{file} cannot be copied: {why}") from error
    for path in (here, *here.rglob("*")):
        path.chmod(path.stat().st_mode | stat.S_IWUSR)
        synced(path)


def copy_record(source: Path, target: Path, *files: str, **added: str) -> None:
    """Copy a record and files beside it, the record last; nothing where there is no record."""
    record = read_record(source, KINDS[source.parent.name])
    if record is None:
        return
    target.mkdir(parents=True, exist_ok=True)
    for name in files:
        if (source / name).exists():
            shutil.copy2(source / name, target)
    write_record(target, record | added)


def entries(folder: Path) -> list[Path]:
    """What is in a folder, by name; nothing where there is none. Unlike glob, it may be denied."""
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def modified(path: Path | str) -> int | None:
    """When a file was changed; None where there is none."""
    try:
        return os.stat(path).st_mtime_ns  # noqa: PTH116 # Path is slower here
    except (FileNotFoundError, NotADirectoryError):
        return None


def timing_key(trials: Iterable[Trial], settings: Timing) -> str:
    """16 hex digits that name one sitting: what is measured against what, and how."""
    subjects = sorted({trial.speed_key for trial in trials})
    return named_by([TIMING_VERSION, subjects, settings.model_dump()])


def as_table(
    experiment: Experiment,
    records: Mapping[str, TrialRecord | None],
    timings: Mapping[str, TimingRecord],
) -> pd.DataFrame:
    """What `Store.table` makes of records: trials by key, timings by context."""
    import pandas as pd

    timed = {c: record["subjects"] for c, record in timings.items()}
    roles = {arm.name: arm.role for arm in experiment.spec.arm}
    missing = ("missing", "not run yet")
    if not experiment.spec.train:
        missing = ("not trained", "the experiment asks for the cost alone")
    rows = []
    for cell in experiment.cells:
        key, context, record = cell.trial.key, cell.label, records.get(cell.trial.key)
        status, reason = (record["status"], record["reason"]) if record else missing
        row: Fields = {"arm": cell.arm, "role": roles[cell.arm], "context": context, "key": key}
        row |= {"status": status, "reason": reason} | cell.trial.model_dump()
        row |= dict.fromkeys(METRICS, float("nan"))
        for measured in (record, timed.get(context, {}).get(cell.trial.speed_key)):
            if measured:
                row |= {name: m["value"] for name, m in measured.get("metrics", {}).items()}
                if measured["trial"].get("dataset") != cell.trial.dataset:
                    row["data_ms"] = float("nan")  # of a sitting that contexts of several share
        rows.append(row)
    return pd.DataFrame(rows)
