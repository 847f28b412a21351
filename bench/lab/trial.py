"""The one-trial program that a fresh process runs."""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from bench.data.library import Dataset, open_dataset
from bench.errors import RAISED, InputError, MachineError, machine_trouble, message
from bench.events import Listener
from bench.lab import device as devices
from bench.lab import environment, models, pictures, training, weights
from bench.lab.resampling import loader
from bench.lab.snapshots import Snapshots
from bench.lab.stepper import Stepper
from bench.lab.training import Predictions, explain
from bench.machine import Share, cores, synced
from bench.metrics import as_metrics
from bench.paths import WEIGHTS, snapshot_file
from bench.records import DataFacts, TrialRecord, write_record, write_whole
from bench.spec.trial import Trial

SMOKE_STEPS = 3
FILES = ("predictions.parquet", "pictures.npz", WEIGHTS)
"""What a trial leaves beside its record, all of it on the disk before that."""


def run(tell: Listener, trial: Trial, folder: Path, results: Path) -> None:
    """Train, validate and record one trial.

    Leaves predictions.parquet, weights.safetensors and, last, record.json in `folder`. Where `tell`
    raises StoppedError there is no record, but a snapshot, from which the next run goes on.

    Args:
        results: has the trials that this one starts from, and its snapshot.
    """
    with recorded(trial, folder) as (record, device):
        if Trial(**trial.model_dump()).key != trial.key:
            changed = f"the code of {trial.resizer!r} or its checkpoint"
            raise InputError(f"{changed} changed during the run")
        trials = results / "trials"
        dataset = open_dataset(trial.dataset, holdout=trial.holdout)
        model = models.build(trial, len(dataset.classes), start=not trial.backbone_from)
        models.take_over(model, trial, trials)
        models.placed(model, trial, device)
        data = loader(dataset.train, trial, device), loader(dataset.val, trial.evaluated, device)
        facts = {"data": dataset.manifest.fingerprint, "loader": data[0].name}
        where = {**record["environment"], **facts}
        snapshots = Snapshots(snapshot_file(results, trial.key), where, tell)
        if snapshots.resumptions:
            record |= {"resumptions": snapshots.resumptions, "wall_s": snapshots.earlier_s}
        trained = training.train(model, data, snapshots, tell)
        save_predictions(folder / "predictions.parquet", dataset, trained.predictions)
        spectrum = pictures.save(folder / "pictures.npz", model, data[1])
        weights.save(model, folder / WEIGHTS)
        for name in FILES:
            synced(folder / name)
        of = trained.predictions
        metrics = {"top1_pct": of.top1_pct, "val_loss": of.val_loss, "train_s": trained.train_s}
        if models.knows_imagenet(trial, trials):
            metrics |= clean_top1(dataset, trained.predictions)
        record |= {
            "metrics": as_metrics(metrics),
            "steps": trained.steps,
            "curve": trained.curve,
            "spectrum": spectrum,
            "data": _facts(dataset, trial),
        }
        if data[0].name != "pillow":
            record["loader"] = data[0].name
        if trained.capture:
            record["capture"] = trained.capture
        if model.loaded:
            record["weights"] = model.loaded


@contextmanager
def recorded(trial: Trial, folder: Path) -> Iterator[tuple[TrialRecord, torch.device]]:
    """A trial's record, written at the end; of one that fails it says why, and log.txt where.

    Raises:
        MachineError: if the machine fails; there is no record then.
    """
    devices.keep_freed_memory()
    devices.take(Share(cores()))
    device = devices.pick()
    record: TrialRecord = {
        "status": "ok",
        "reason": "",
        "metrics": {},
        "key": trial.key,
        "trial": trial.model_dump(),
        "started": environment.now(),
        "environment": environment.describe(device, trial.precision),
    }
    folder.mkdir(parents=True, exist_ok=True)
    began, record["wall_s"] = time.perf_counter(), 0.0
    try:
        devices.configure(deterministic=trial.deterministic)
        yield record, device
    except RAISED as error:
        if trouble := machine_trouble(error):
            raise MachineError(f"{trouble}: {message(error)}".splitlines()[0]) from error
        record["status"] = "oom" if devices.is_out_of_memory(error) else "failed"
        record["reason"] = explain(error)
        write_whole(folder / "log.txt", traceback.format_exc())
    record["finished"] = environment.now()
    record["wall_s"] += time.perf_counter() - began
    write_record(folder, record)


def _facts(dataset: Dataset, trial: Trial) -> DataFacts:
    return {
        "name": dataset.name,
        "fingerprint": dataset.manifest.fingerprint,
        "origin": dataset.manifest.origin,
        "classes": list(dataset.classes),
        "train_images": len(dataset.train),
        "val_images": len(dataset.val),
        "pixels": dataset.manifest.pixels,
        "doubt": dataset.doubt,
        "scored_on": f"held-out {dataset.val.split}" if trial.holdout else dataset.val.split,
    }


def smoke(trial: Trial, folder: Path) -> None:
    """Take a few training steps at full size and record how long the last, warm one took."""
    with recorded(trial, folder) as (record, _):
        stepper = Stepper(trial, len(open_dataset(trial.dataset).classes))
        stepper.model.train()
        seconds = [stepper.timed(stepper.train_step) for _ in range(SMOKE_STEPS)]
        stepper.model.eval()
        stepper.infer_step()
        weights.rehearse(stepper.model, "the model")
        record["seconds_per_step"] = seconds[-1]


def save_predictions(path: Path, dataset: Dataset, predictions: Predictions) -> None:
    """One row for each validation image: image, label, predicted, probability."""
    whole = np.promote_types("int16", np.min_scalar_type(-len(dataset.classes)))
    columns = {
        "image": list(dataset.val.names),
        "label": dataset.val.labels.astype(whole),
        "predicted": predictions.predicted.numpy().astype(whole),
        "probability": predictions.probability.float().numpy(),
    }
    pq.write_table(pa.table(columns), path, compression="zstd")


def clean_top1(dataset: Dataset, predictions: Predictions) -> dict[str, float]:
    """Top-1 accuracy on the images that are not in ImageNet's training set; empty without any.

    Most validation images of Imagenette and Imagewoof are: a pretrained backbone has seen them.
    """
    clean = ["ILSVRC2012_val_" in name for name in dataset.val.names]
    hits = predictions.predicted.numpy() == dataset.val.labels
    return {"clean_top1_pct": 100 * float(hits[clean].mean())} if any(clean) else {}
