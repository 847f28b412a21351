"""A data folder of the test's own, and a toy set as a folder and as an archive."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from bench.data.specs import DATASETS, DatasetSpec
from tests.datasets.toys import CLASSES, COUNTS, packed


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data folder of the test's own."""
    folder = tmp_path / "data"
    monkeypatch.setenv("RESIZER_BENCH_DATA", str(folder))
    return folder


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """The folder toy2-8 with the images that `COUNTS` tells, no two of one size."""
    rng, root = np.random.default_rng(0), tmp_path / "sources" / "toy2-8"
    for split, counts in COUNTS.items():
        for folder, count in counts.items():
            (root / split / folder).mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 256, (8 + i, 9 + 2 * i, 3), np.uint8)
                PIL.Image.fromarray(pixels).save(root / split / folder / f"{i}.JPEG", "JPEG")
    return root


@pytest.fixture
def archive(pictures: Path) -> Path:
    return packed(pictures)


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch, archive: Path) -> DatasetSpec:
    """An entry "toy-8" of `DATASETS` that `archive` fits."""
    digest = hashlib.md5(archive.read_bytes()).hexdigest()
    digests = ("sha256:" + "0" * 64, f"md5:{digest}")
    spec = DatasetSpec("toys", CLASSES, COUNTS, "toy2-8.tgz", digests)
    monkeypatch.setitem(DATASETS, "toy-8", spec)
    return spec
