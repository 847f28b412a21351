"""The one-trial program that a fresh process runs."""

from __future__ import annotations

import itertools
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from bench.data.batches import Loader
from bench.data.library import Dataset, open_dataset
from bench.errors import InputError
from bench.lab import device as devices
from bench.lab import environment, models, pictures, training
from bench.lab.training import DivergedError, Predictions
from bench.run.processes import Tell
from bench.spec.experiment import Trial
from bench.store import Record, Status, as_metrics, write_record


def run(tell: Tell, trial: Trial, folder: Path) -> None:
    """Train, validate and record one trial.

    Leaves predictions.parquet, weights.safetensors and, last, record.json in `folder`; a trial
    that fails leaves a record that says why, and the traceback in log.txt. An exception that
    `tell` raises (the runner wants no more) leaves no record.
    """
    devices.keep_freed_memory()
    device = devices.pick()
    precision = devices.settle_precision(trial.precision, device)
    record: Record = {
        "key": trial.key,
        "trial": trial.model_dump(),
        "started": environment.now(),
        "environment": environment.describe(device, precision),
    }
    folder.mkdir(parents=True, exist_ok=True)
    status: Status = "ok"
    reason = ""
    began = time.perf_counter()
    try:
        record |= _train(tell, trial, folder, device, precision)
    except Exception as error:
        status, reason = explain(error)
        (folder / "log.txt").write_text(traceback.format_exc())
    verdict = {"status": status, "reason": reason, "metrics": {}}
    wall_s = time.perf_counter() - began
    write_record(folder, verdict | record | {"finished": environment.now(), "wall_s": wall_s})


def _train(
    tell: Tell, trial: Trial, folder: Path, device: torch.device, precision: devices.Precision
) -> dict[str, Any]:
    devices.configure(deterministic=trial.deterministic)
    dataset = open_dataset(trial.dataset)
    if trial.holdout:
        dataset = dataset.held_out(trial.holdout)
    model = models.build(trial, len(dataset.classes), start=not trial.backbone_from)
    models.take_over(model, trial, folder.parent)
    place(model, trial, device)
    threads = devices.loader_threads(device)
    data = Loader(dataset.train, trial, threads), Loader(dataset.val, trial, threads)
    trained = training.train(model, trial, data, device, precision, tell)
    save_predictions(folder / "predictions.parquet", dataset, trained.predictions)
    spectrum = pictures.save(folder / "pictures.npz", model, data[1], device, precision)
    state = model.state_dict().items()
    save_file({name: t.contiguous() for name, t in state}, folder / "weights.safetensors")
    metrics = {
        "top1_pct": trained.predictions.top1_pct,
        "val_loss": trained.predictions.val_loss,
        "train_s": trained.train_s,
    }
    if trial.pretrained:
        metrics |= clean_top1(dataset, trained.predictions)
    return {
        "metrics": as_metrics(metrics),
        "steps": trained.steps,
        "curve": trained.curve,
        "spectrum": spectrum,
        "data": {
            "name": dataset.name,
            "fingerprint": dataset.fingerprint,
            "origin": dataset.origin,
            "classes": dataset.classes,
            "train_images": len(dataset.train),
            "val_images": len(dataset.val),
            "scored_on": f"held-out {dataset.val.split}" if trial.holdout else dataset.val.split,
        },
    }


def smoke(tell: Tell, trial: Trial, folder: Path) -> None:
    """Take three training steps at full size and record how long the last, warm one took."""
    devices.keep_freed_memory()
    device = devices.pick()
    precision = devices.settle_precision(trial.precision, device)
    record: Record = {"trial": trial.model_dump(), "metrics": {}}
    status: Status = "ok"
    reason = ""
    try:
        devices.configure(deterministic=trial.deterministic)
        classes = len(open_dataset(trial.dataset).classes)
        stepper = Stepper(trial, classes, device, precision)
        stepper.model.train()
        record["seconds_per_step"] = [stepper.timed(stepper.train_step) for _ in range(3)][-1]
        tell({"event": "smoked", "seconds_per_step": record["seconds_per_step"]})
    except Exception as error:
        status, reason = explain(error)
    write_record(folder, {"status": status, "reason": reason} | record)


class Stepper:
    """A classifier and one resident batch of noise: steps whose cost holds no data loading."""

    def __init__(
        self, trial: Trial, classes: int, device: torch.device, precision: devices.Precision
    ) -> None:
        self.device, self.precision, self.trial = device, precision, trial
        self.model: models.Classifier = place(
            models.build(trial, classes, start=False), trial, device
        )
        self.optimizer, _ = training.build_optimizer(self.model, trial, total=1000, per_epoch=100)
        self.scaler = devices.gradient_scaler(device, precision)
        side = trial.input_size
        layout = torch.channels_last if trial.channels_last else torch.contiguous_format
        images = torch.randint(256, (trial.batch_size, 3, side, side), dtype=torch.uint8)
        self.images = images.to(device).contiguous(memory_format=layout)
        self.labels = torch.randint(classes, (trial.batch_size,)).to(device)
        small = torch.randn(trial.batch_size, 3, *[trial.backbone_size] * 2).to(device)
        self.resized = small.contiguous(memory_format=layout)
        # The backbone's backward pass goes down to its input if there is something to train there.
        trains = any(p.requires_grad for p in self.model.resizer.parameters())
        self.resized.requires_grad_(trains)

    def train_step(self) -> None:
        """Forward, backward, optimiser, on the resident batch; the model is in training mode."""
        training.update(
            *(self.model, self.images, self.labels, self.trial),
            *(self.optimizer, self.scaler, self.precision),
        )

    def resizer_step(self) -> None:
        """Forward and backward through the resizer alone."""
        with devices.autocast(self.device, self.precision):
            out = self.model.resizer(self.model.normalised(self.images))
        self._backward(out.float().sum())

    def backbone_step(self) -> None:
        """Forward and backward through the backbone alone, on a resident batch of its size."""
        with devices.autocast(self.device, self.precision):
            loss = F.cross_entropy(self.model.backbone(self.resized), self.labels)
        self._backward(loss)

    def _backward(self, loss: torch.Tensor) -> None:
        if loss.requires_grad:
            loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.zero_grad(set_to_none=True)
        self.resized.grad = None

    def data_step(self, dataset: Dataset) -> Callable[[], None]:
        """What makes one batch of the dataset and puts it on the device, again and again."""
        loader = Loader(dataset.train, self.trial, devices.loader_threads(self.device))
        batches = itertools.chain.from_iterable(map(loader.train, itertools.count(1)))

        def step() -> None:
            devices.put(next(batches), self.device)

        return step

    def infer_step(self) -> None:
        """Classify the resident batch; the model is in evaluation mode."""
        self._infer(self.images)

    def infer_one(self) -> None:
        """Classify one image of it, likewise."""
        self._infer(self.images[:1])

    @torch.no_grad()
    def _infer(self, images: torch.Tensor) -> None:
        with devices.autocast(self.device, self.precision):
            self.model(images)

    def timed(self, step: Any) -> float:
        """Seconds that one call of `step` takes, the device waited for."""
        devices.synchronise(self.device)
        began = time.perf_counter()
        step()
        devices.synchronise(self.device)
        return time.perf_counter() - began


def place(model: models.Classifier, trial: Trial, device: torch.device) -> models.Classifier:
    """The model on the device, in the trial's memory layout."""
    layout = torch.channels_last if trial.channels_last else torch.contiguous_format
    return model.to(device=device, memory_format=layout)  # type: ignore[call-overload,no-any-return]


def explain(error: Exception) -> tuple[Status, str]:
    """The status and the reason of a row whose trial raised `error`."""
    first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
    if devices.is_out_of_memory(error):
        return "oom", first_line
    if isinstance(error, (InputError, DivergedError)):
        return "failed", first_line
    return "failed", f"{type(error).__name__}: {first_line}"


def save_predictions(path: Path, dataset: Dataset, predictions: Predictions) -> None:
    """One row for each validation image: image, label, predicted, probability."""
    columns = {
        "image": list(dataset.val.names),
        "label": dataset.val.labels.astype("int16"),
        "predicted": predictions.predicted.numpy().astype("int16"),
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
