"""Records on disk, and the one table made of them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import InputError
from bench.metrics import METRICS
from bench.spec import ranges
from bench.spec.experiment import Experiment, Timing, context_of
from bench.spec.files import load, read, result_name
from bench.spec.mistakes import shown
from bench.spec.trial import LANE, Trial

if TYPE_CHECKING:
    import pandas as pd

Record = dict[str, Any]


class Store:
    """A folder of trials and timings: `results/local`, or one published experiment."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def trial_folder(self, key: str) -> Path:
        """Where the trial's record, predictions, weights and log are."""
        return self.root / "trials" / key

    def timing_folder(self, experiment: Experiment) -> Path:
        """Where the records of the experiment's timing lane are."""
        return self.lane_folder(experiment.trials.values(), experiment.spec.timing)

    def lane_folder(self, trials: Iterable[Trial], timing: Timing) -> Path:
        """Where the record of a sitting of the timing lane is."""
        return self.root / "timings" / lane_key(trials, timing)

    def search_folder(self, name: str) -> Path:
        """Where a search's studies and its record are."""
        return self.root / "searches" / name

    def name_folder(self, name: str) -> Path:
        """Where it stands which file the results of this name are of."""
        return self.root / "names" / name

    def search(self, name: str) -> Record | None:
        """What a search has found: arms with their configurations; None before the first."""
        return read_record(self.search_folder(name))

    def best(self, name: str) -> dict[str, list[dict[str, Any]]]:
        """The best configurations of each arm of a search that has any, the very best first."""
        found = {}
        for arm, told in (self.search(name) or {"arms": {}})["arms"].items():
            chosen = {one["number"]: one["chosen"] for one in told["configurations"]}
            if told["best"]:
                found[arm] = [chosen[number] for number in told["best"]]
        return found

    def trials(self, keys: Iterable[str]) -> dict[str, Record | None]:
        """The records of many trials; None for those that are not finished."""
        folder = self.root / "trials"
        there = {path.name for path in folder.iterdir()} if folder.exists() else set()
        # Text, not Path objects, which cost more than the reading where there are thousands.
        return {key: read_record(f"{folder}/{key}") if key in there else None for key in keys}

    def kept(self) -> list[str]:
        """The keys of the trials that are finished, of whatever experiment."""
        return sorted(path.parent.name for path in self.root.glob("trials/*/record.json"))

    def trial(self, key: str) -> Record | None:
        """The trial's record, or None while it is not finished."""
        return read_record(self.trial_folder(key))

    def sizes(self) -> dict[str, int]:
        """The matched sizes, pixels, by the key of a `SizeRequest`."""
        records = {path.name: self.size(path.name) for path in self.root.glob("sizes/*")}
        return {key: record["size"] for key, record in records.items() if record}

    def size(self, key: str) -> Record | None:
        """The record of a matched size: size, ratio of the costs met, what was matched to what."""
        return read_record(self.root / "sizes" / key)

    def looks(self, experiment: Experiment) -> list[int]:
        """The numbers of paired seeds at which the primary comparison was given a verdict."""
        record = read_record(self._looks_folder(experiment)) or {}
        return list(record.get("paired_seeds", []))

    def note_look(self, experiment: Experiment, paired_seeds: int) -> None:
        """Put on record that a verdict was given at so many seeds; once for each number."""
        looks = self.looks(experiment)
        if paired_seeds not in looks:
            record = {"status": "ok", "reason": "", "experiment": experiment.name}
            looks = [*looks, paired_seeds]
            write_record(self._looks_folder(experiment), record | {"paired_seeds": looks})

    def _looks_folder(self, experiment: Experiment) -> Path:
        """By what is compared, so that another name or further seeds do not make it new."""
        compared = {
            experiment.recipe(cell.trial)
            for cell in experiment.cells
            if cell.arm in (experiment.spec.primary or ())
        }
        text = json.dumps(sorted(compared))
        return self.root / "looks" / hashlib.sha256(text.encode()).hexdigest()[:16]

    def stamp(self, experiment: Experiment) -> str:
        """Changes when the experiment, one of its records or its timings does."""
        folders = [f"{self.root}/trials/{key}" for key in experiment.trials]
        rest = (
            self.timing_folder(experiment),
            self._looks_folder(experiment),
            self.search_folder(experiment.name),
        )
        times = [_modified(f"{folder}/record.json") for folder in (*folders, *rest)]
        text = json.dumps([experiment.spec.model_dump(), times], default=str)
        return hashlib.sha256(text.encode()).hexdigest()

    def timing(self, experiment: Experiment) -> Record | None:
        """The record of the experiment's timing lane, or None while it is not finished."""
        return read_record(self.timing_folder(experiment))

    def table(self, experiment: Experiment) -> pd.DataFrame:
        """One row for each trial of each arm in each context: fields, status, metrics.

        A trial without a record is a row with the status "missing". Where several cells of an arm
        collapse to one trial, as a plain arm's do along an axis of the resizer's options, each
        context has its row of it.
        """
        import pandas as pd

        timing = self.timing(experiment) or {}
        roles = {arm.name: arm.role for arm in experiment.spec.arm}
        records = self.trials(experiment.runs)
        rows = []
        unfinished: Record = {"status": "missing", "reason": "not run yet"}
        if not experiment.spec.train:
            unfinished = {
                "status": "not trained",
                "reason": "the experiment asks for the cost alone",
            }
        for cell in experiment.cells:
            record = records.get(cell.trial.key) or unfinished
            speed = timing.get("subjects", {}).get(cell.trial.speed_key, {})
            rows.append(
                {"arm": cell.arm, "role": roles[cell.arm], "context": _label(cell.axes)}
                | {"key": cell.trial.key, "status": record["status"], "reason": record["reason"]}
                | cell.trial.model_dump()
                | {name: float("nan") for name in METRICS}
                | {name: m["value"] for name, m in record.get("metrics", {}).items()}
                | {name: m["value"] for name, m in speed.get("metrics", {}).items()}
            )
        return pd.DataFrame(rows)

    def pictures(self, key: str) -> dict[str, Any] | None:
        """What `bench.lab.pictures` kept of the trial: (N, H, W, 3) arrays by name, or None."""
        import numpy as np

        path = self.trial_folder(key) / "pictures.npz"
        if not path.exists():
            return None
        with np.load(path) as kept:
            return dict(kept)

    def has_predictions(self, key: str) -> bool:
        """Whether `predictions` can be read."""
        return (self.trial_folder(key) / "predictions.parquet").exists()

    def predictions(self, key: str) -> pd.DataFrame:
        """A row for each validation image: image, label, predicted, probability (of the label)."""
        import pandas as pd

        return pd.read_parquet(self.trial_folder(key) / "predictions.parquet")


def context_label(context: Mapping[str, Any]) -> str:
    """The words for one combination of axis values.

    >>> context_label({"dataset": "imagewoof", "num_resblocks": 2})
    'dataset imagewoof, num_resblocks 2'
    """
    return ", ".join(f"{name} {value}" for name, value in context.items())


def _label(axes: Mapping[str, Any]) -> str:
    return context_label(context_of(axes))


def _modified(path: str) -> int | None:
    try:
        return os.stat(path).st_mtime_ns  # noqa: PTH116
    except FileNotFoundError:
        return None


def lane_key(trials: Iterable[Trial], timing: Timing) -> str:
    """16 hex digits that name one sitting: what is measured against what, and how."""
    subjects = sorted({trial.speed_key for trial in trials})
    text = json.dumps([LANE, subjects, timing.model_dump()], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def read_record(folder: Path | str) -> Record | None:
    """The record in `folder`, or None where there is none.

    Raises:
        InputError: if the file is there but is no record.
    """
    try:
        with open(f"{folder}/record.json", "rb") as file:  # noqa: PTH123
            record = json.loads(file.read())
    except FileNotFoundError:
        return None
    except (json.JSONDecodeError, UnicodeDecodeError):
        record = None
    if not isinstance(record, dict) or "status" not in record:
        raise InputError(f"{folder}/record.json is not a record; delete its folder and run again")
    return record


def write_record(folder: Path, record: Mapping[str, Any]) -> None:
    """Put `record` into `folder` under its final name only when it is complete and on the disk."""
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "record.json", json.dumps(record, indent=1) + "\n")


def write_whole(path: Path, text: str) -> None:
    """Write a file so that a reader, or a crash, sees all of it or nothing."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def check_owner(store: Store, file: Path, *, small: bool) -> None:
    """Raise InputError if the results of this name are those of another file that is still there.

    Two files of one name in two folders would else replace each other's report and search.
    """
    name = result_name(file, small=small)
    owner = Path((read_record(store.name_folder(name)) or {}).get("file", file))
    if owner != file and owner.is_file():
        raise InputError(
            f"{store.root / name} has the results of {owner}: give one of the two files another "
            "name, or set RESIZER_BENCH_RESULTS to another folder"
        )


def note_owner(store: Store, experiment: Experiment) -> None:
    """Put on record which file the results of an experiment's name are of."""
    record = {"status": "ok", "reason": "", "file": str(experiment.file)}
    if read_record(store.name_folder(experiment.name)) != record:
        write_record(store.name_folder(experiment.name), record)


def load_from(store: Store, name: str, *, small: bool) -> Experiment:
    """Read an experiment with the sizes that the store has matched and what its search found.

    Raises:
        InputError: as `load`; or if the search was over other ranges than the file has now.
    """
    file, spec = read(name, small=small)
    check_owner(store, file, small=small)
    told = store.search(result_name(file, small=small)) if spec.search else None
    if told and told.get("spaces") != ranges.written(spec):
        verb = f"resizer-bench search {name}" + (" --small" if small else "")
        raise InputError(f"{shown(file)} was tuned over other ranges than it has now: {verb}")
    best = store.best(result_name(file, small=small))
    return load(name, small=small, sizes=store.sizes(), best=best)
