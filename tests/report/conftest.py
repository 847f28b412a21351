"""A report of four contexts with everything in it."""

from __future__ import annotations

import pytest

from bench.report.front import write_index
from bench.report.made import Report
from bench.report.pages import make
from bench.spec.experiment import Experiment
from bench.store import Store
from tests.fakes import (
    WIDE,
    experiment,
    fill,
    time_all,
    top1,
)


@pytest.fixture(scope="package")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Report, Experiment, Store]:
    folder = tmp_path_factory.mktemp("whole")
    asked, store = experiment(folder, WIDE), Store(folder / "store")
    fill(asked, store, top1)
    time_all(asked, store)
    report = make(asked, store, folder / "out")
    write_index(folder)
    return report, asked, store
