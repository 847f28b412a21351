"""Experiments whose records are made up: what a report says of known numbers."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bench.metrics import as_metrics
from bench.records import Json, write_record
from bench.spec.experiment import Experiment
from bench.spec.files import load
from bench.spec.trial import Trial
from bench.store import Store

if TYPE_CHECKING:
    from bench.analysis.evidence import Evidence
    from bench.report.made import Report

WIDE = 'dataset = ["fine", "coarse"]\nnum_resblocks = [0, 1]'
NARROW = 'dataset = ["fine"]'
QUESTION = "Is <script>alert(1)</script> | escaped?"
TOML = """
question = "{question}"
{primary}
margin_pct = 1.0
[trial]
backbone = "resnet10t"
input_size = 64
output_size = 32
epochs = 2
[axes]
{axes}
seed = {seeds}
[[arm]]
name = "plain"
role = "baseline"
resizer = "none"
input_size = "output_size"
[[arm]]
name = "fixed"
resizer = "fixed"
[[arm]]
name = "learned"
role = "treatment"
resizer = "learned"
"""
ENVIRONMENT = {
    "device": "cpu",
    "device_name": "Toy",
    "driver": None,
    "precision": "fp32",
    "threads": 2,
    "cores": 2,
    "platform": "Linux x86_64",
    **dict.fromkeys(["python", "torch", "torchvision", "timm", "numpy", "pillow"], "1.0"),
    "git_revision": None,
    "git_dirty": None,
}
DATA = {
    "name": "fine",
    "fingerprint": "f" * 64,
    "origin": "generated",
    "classes": ["disc", "ring"],
    "train_images": 2000,
    "val_images": 500,
}
QUIET = {"share": None, "switches_per_s": None, "load": None, "disturbed": False}
REASON = "RuntimeError: <b>nan</b> | at step 3"


def top1(trial: Trial) -> float:
    """On `fine` learned is 50, 51, 52 points above plain; nothing differs on `coarse`."""
    if trial.dataset == "coarse":
        return 90.0 + 0.1 * trial.seed + (0.01 * trial.seed if trial.resizer == "learned" else 0)
    return 10.0 + (50.0 + trial.seed if trial.resizer == "learned" else 0)


def experiment(
    folder: Path,
    axes: str,
    seeds: int = 3,
    primary: bool = True,
    *,
    top: str = "",
    rest: str = "",
    but: Mapping[str, str] = {},
) -> Experiment:
    """Plain, fixed and learned, with lines at the top, and lines of learned's or other arms.

    Args:
        but: texts of the file, and what stands in the place of each.
    """
    named = 'primary = ["learned", "plain"]' if primary else ""
    text = TOML.format(question=QUESTION, primary=named, axes=axes, seeds=list(range(seeds)))
    for old, new in but.items():
        assert old in text
        text = text.replace(old, new)
    (file := folder / "toy.toml").write_text(top + text + rest)
    return load(str(file))


def result(trial: Trial, top1_pct: float = 50.0, **others: Any) -> Json:
    """The record of a trial that ended well."""
    return {
        "status": "ok",
        "reason": "",
        "key": trial.key,
        "trial": trial.model_dump(),
        "metrics": as_metrics({"top1_pct": top1_pct, "val_loss": 1.0, "train_s": 1.0}),
        "curve": [{"epoch": 1}, {"epoch": 2, "top1_pct": top1_pct}],
        "spectrum": {"frequency": [0.25, 0.5], "output": [2.0, 1.0], "plain": [2.0, 0.5]},
        "environment": ENVIRONMENT | {"novelty": "shown"},
        "data": DATA | {"name": trial.dataset},
        "steps": 20,
        "finished": "2026-01-02T03:04:05+00:00",
    } | others


def size_record(size: int) -> Json:
    """Of a size that meets the multiply-adds of an arm."""
    record: Json = {"status": "ok", "reason": "", "kind": "equal_gmacs", "arm": "arithmetic"}
    record |= {"size": size, "ratio": 1.0, "environment": ENVIRONMENT, "like": {}, "plain": {}}
    return record


def timed_arm(trial: Trial, metrics: dict[str, float], **others: Any) -> Json:
    """What a sitting has measured of an arm."""
    record: Json = {"trial": trial.model_dump(), "reason": "", "seconds": {}}
    return record | {"metrics": as_metrics(metrics)} | others


def fill(asked: Experiment, store: Store, answer: Callable[[Trial], float | str | None]) -> None:
    """Save a record for each trial: its accuracy, its status, or none at all."""
    for key, trial in asked.trials.items():
        value = answer(trial)
        if value is None:
            continue
        record = result(trial, value if isinstance(value, float) else math.nan)
        if isinstance(value, str):
            record |= {"status": value, "reason": REASON, "metrics": {}, "curve": []}
        write_record(store.trial_folder(key), record)
        sides = {"input": trial.input_size, "plain": 32, "output": 32}
        gradients = {n: np.linspace(0, 1, 3 * s * s).reshape(1, s, s, 3) for n, s in sides.items()}
        np.savez(store.trial_folder(key) / "pictures.npz", **gradients)


def shown(report: Report) -> pd.DataFrame:
    """The results table of a report."""
    return pd.read_csv(report.results, dtype=str, keep_default_na=False)


def page_text(evidence: Evidence) -> str:
    """The page of an experiment in Markdown, without its figures."""
    from bench.report import pages  # which takes longer to import than all that records need
    from bench.report.summary import summary

    folder = evidence.experiment.file.parent / "out"
    return pages.markdown(evidence, summary(evidence), {}, folder)


def read_page(path: Path) -> str:
    """A page with its text as it was before it was set: plain spaces, no entities."""
    return html.unescape(path.read_text()).replace("\N{NO-BREAK SPACE}", " ")


def _step_s(trial: Trial) -> float:
    if trial.resizer == "learned":
        return 2.0
    return (trial.input_size / 32) ** 2 if trial.resizer == "none" else 1.0


def time_all(asked: Experiment, store: Store) -> None:
    """Save a timing in which the learned resizer halves the training speed, as 45 px would."""
    subjects = {
        trial.speed_key: timed_arm(
            trial,
            {
                "train_images_per_s": 100.0 if trial.resizer == "learned" else 200.0,
                "gmacs": 0.03 if trial.resizer == "learned" else 0.02,
                "resizer_ms": 1.0 if trial.resizer == "learned" else 0.0,
                "backbone_ms": 3.0,
            },
            seconds={"train": [step * s for s in (1, 2, 3)]},
        )
        for trial in asked.trials.values()
        for step in [_step_s(trial)]
    }
    reference = next(c.trial for c in asked.cells if c.arm == "plain").speed_key
    lane = {
        "status": "ok",
        "reason": "",
        "subjects": subjects,
        "environment": ENVIRONMENT,
        "reference": reference,
        "again": {"train": [1.01, 1.98, 3.0]},
        "disturbances": [QUIET | {"disturbed": n == 3} for n in range(4)],
        "rounds_used": [0, 1, 2],
    }
    for folder in set(store.timing_folders(asked).values()):
        write_record(folder, lane)
