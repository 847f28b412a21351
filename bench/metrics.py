"""What is measured: every metric with its unit, and the states in which a trial may end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from typing_extensions import TypedDict

Status = Literal["ok", "failed", "oom", "timeout", "skipped", "pruned"]


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


LEAST_BUSY = 0.8  # a step in which the device works less of the time is bound by its launches


class Measured(TypedDict):
    """A measured value, as a record holds it."""

    value: float
    unit: str
    better: Literal["higher", "lower"]


@dataclass(frozen=True)
class Weight:
    """What the training and inference of a trial take in memory and arithmetic."""

    metrics: Mapping[str, float]  # by name; empty where they could not be measured
    memory_method: str | None  # None where the platform has no method
    reason: str = ""  # why some could not be measured
    reserved_mib: float | None = None  # what a GPU's allocator held in training, in use or not


def as_metrics(values: Mapping[str, float]) -> dict[str, Measured]:
    """Measured values with their units, as a record holds them."""
    return {
        name: {"value": value, "unit": METRICS[name].unit, "better": METRICS[name].better}
        for name, value in values.items()
    }
