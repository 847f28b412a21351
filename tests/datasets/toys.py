"""What the tests of datasets share: a toy set, and what must be left where a call is refused."""

from __future__ import annotations

import re
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.errors import InputError

CLASSES = {"n01": "cat", "n02": "dog"}
COUNTS = {"train": {"n01": 3, "n02": 2}, "val": {"n01": 1, "n02": 2}}


def packed(folder: Path) -> Path:
    path = folder.with_name(f"{folder.name}.tgz")
    with tarfile.open(path, "w:gz") as tar:
        tar.add(folder, folder.name)
    return path


def visible(data: Path) -> list[str]:
    """What is in the data folder, lock files apart."""
    return sorted(p.name for p in data.glob("*") if p.suffix != ".lock") if data.exists() else []


def refused(data: Path, message: str, call: Callable[[], object]) -> None:
    """Assert that the call fails with exactly this text and leaves nothing half-made."""
    before = visible(data)
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        call()
    assert visible(data) == before
