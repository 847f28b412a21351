"""Toy data and toy experiments: everything small enough for a test, nothing from the network."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench.data import incoming
from bench.data.library import Dataset, open_dataset
from bench.spec.experiment import Experiment
from bench.spec.files import load
from bench.spec.trial import Trial
from bench.store import Store

os.environ["OMP_NUM_THREADS"] = "1"
"""Before torch is imported, here and in each process that a test starts: one for each worker."""

TOY = """
question = "Does it run?"
primary = ["learned", "plain"]
margin_pct = 2.0
{top}
[trial]
dataset = "toy"
backbone = "{backbone}"
input_size = 32
output_size = 16
epochs = 2
batch_size = 8
deterministic = true
{trial}
[axes]
seed = [0, 1]
{axes}
[[arm]]
name = "plain"
role = "baseline"
resizer = "none"
input_size = "output_size"

[[arm]]
name = "learned"
role = "treatment"
resizer = "learned"
num_kernels = 4

[timing]
rounds = 1
seconds = 0.001
{rest}
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests that need a GPU where there is none."""
    if any("cuda" in item.keywords for item in items):
        import torch

        if not torch.cuda.is_available():
            skip = pytest.mark.skip(reason="needs a GPU with CUDA")
            for item in items:
                if "cuda" in item.keywords:
                    item.add_marker(skip)


WriteExperiment = Callable[..., Experiment]


def toy_toml(*, backbone: str = "test_resnet", **added: str) -> str:
    """The toy experiment, with lines added to its tables: top, trial, axes, rest."""
    parts = {part: added.get(part, "") for part in ("top", "trial", "axes", "rest")}
    return TOY.format(backbone=backbone, **parts)


def toy_trial(**changes: Any) -> Trial:
    fields = {"dataset": "toy", "backbone": "test_resnet", "input_size": 16, "epochs": 1}
    return Trial(**{**fields, "batch_size": 8} | changes)


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with the dataset "toy": 2 classes, 20 train and 12 val images of odd sizes."""
    folder = tmp_path_factory.mktemp("data")
    images = tmp_path_factory.mktemp("images")
    stream = np.random.default_rng(0)
    for split, count in (("train", 10), ("val", 6)):
        for label, name in enumerate(("dark", "light")):
            (images / split / name).mkdir(parents=True)
            for i in range(count):
                noise = stream.integers(0, 120, (40 + i, 57 - i, 3)) + 120 * label
                path = images / split / name / f"{split}{i}.png"
                Image.fromarray(noise.astype(np.uint8)).save(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RESIZER_BENCH_DATA", str(folder))
        incoming.import_local(images, name="toy")
    return folder


@pytest.fixture
def toy(data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """The toy data, opened."""
    monkeypatch.setenv("RESIZER_BENCH_DATA", str(data_folder))
    return open_dataset("toy")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data_folder: Path) -> Store:
    """An empty store, which the command line uses too, beside the toy data."""
    monkeypatch.setenv("RESIZER_BENCH_DATA", str(data_folder))
    monkeypatch.setenv("RESIZER_BENCH_RESULTS", str(tmp_path / "results"))
    return Store(tmp_path / "results")


@pytest.fixture
def write_experiment(tmp_path: Path) -> WriteExperiment:
    """Write the toy experiment, with lines added to its tables, and load it."""

    def write(
        *,
        small: bool = False,
        name: str = "toy",
        sizes: Mapping[str, int] | None = None,
        **added: str,
    ) -> Experiment:
        path = tmp_path / f"{name}.toml"
        path.write_text(toy_toml(**added))
        return load(str(path), small=small, sizes=sizes)

    return write
