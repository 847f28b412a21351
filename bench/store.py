"""Records on disk, and the one table made of them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bench.errors import InputError
from bench.spec.experiment import LANE, Experiment, Timing, Trial, context_of

if TYPE_CHECKING:
    import pandas as pd

Status = Literal["ok", "failed", "oom", "timeout", "skipped", "pruned"]
Record = dict[str, Any]


@dataclass(frozen=True)
class Metric:
    """What a number is: its unit, which way is better, what to call it, who measures it."""

    unit: str
    better: Literal["higher", "lower"]
    label: str
    source: Literal["trial", "timing"]
    detail: bool = False  # shown beside the results table, not in it
    counted: bool = False  # not measured: the same under every setting


METRICS: dict[str, Metric] = {
    "top1_pct": Metric("%", "higher", "top-1 accuracy", "trial"),
    "clean_top1_pct": Metric("%", "higher", "top-1 on clean images", "trial"),
    "val_loss": Metric("nat", "lower", "validation loss", "trial"),
    "train_s": Metric("s", "lower", "training time", "trial"),
    "train_images_per_s": Metric("images/s", "higher", "training speed", "timing"),
    "infer_images_per_s": Metric("images/s", "higher", "inference speed", "timing"),
    "latency_p50_ms": Metric("ms", "lower", "latency at batch 1, median", "timing"),
    "latency_p95_ms": Metric("ms", "lower", "latency at batch 1, 95th percentile", "timing", True),
    "latency_p99_ms": Metric("ms", "lower", "latency at batch 1, 99th percentile", "timing", True),
    "data_ms": Metric("ms", "lower", "data, per image on one thread", "timing", True),
    "resizer_ms": Metric("ms", "lower", "resizer, per image in training", "timing", True),
    "backbone_ms": Metric("ms", "lower", "backbone, per image in training", "timing", True),
    "peak_memory_mib": Metric("MiB", "lower", "peak memory, training", "timing"),
    "infer_memory_mib": Metric("MiB", "lower", "peak memory, inference", "timing", True),
    "gmacs": Metric("GMAC", "lower", "multiply-adds per image", "timing", counted=True),
    "resizer_gmacs": Metric(
        "GMAC", "lower", "multiply-adds per image, resizer", "timing", detail=True, counted=True
    ),
    "params_m": Metric("M", "lower", "parameters", "timing", counted=True),
    "resizer_params_m": Metric(
        "M", "lower", "parameters, resizer", "timing", detail=True, counted=True
    ),
}


def as_metrics(values: Mapping[str, float]) -> dict[str, dict[str, Any]]:
    """Measured values with their units, as a record holds them."""
    return {
        name: {"value": value, "unit": METRICS[name].unit, "better": METRICS[name].better}
        for name, value in values.items()
    }


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
        """The settled sizes, pixels, by the key of a `SizeRequest`."""
        records = {path.name: self.size(path.name) for path in self.root.glob("sizes/*")}
        return {key: record["size"] for key, record in records.items() if record}

    def size(self, key: str) -> Record | None:
        """The record of a settled size: size, ratio of the costs met, what was matched to what."""
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
    with temporary.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
