"""A toy search, opened."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bench.run.search import Search, open_search
from bench.store import Store
from tests.search.toys import written


@pytest.fixture
def toy_search(tmp_path: Path, store: Store) -> Callable[..., Search]:
    assert not store.root.exists()

    def opened(**parts: str) -> Search:
        return open_search(str(written(tmp_path, **parts)))

    return opened
