"""The rows of an experiment: what one arm is, whatever recipes its seeds have."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.analysis.evidence import gather
from bench.spec.files import load
from bench.store import Store
from tests.fakes import NARROW, experiment, fill, time_all, top1


def test_an_arm_whose_seeds_have_recipes_in_turn_is_one_row_with_the_price_of_both(
    tmp_path: Path,
) -> None:
    file = experiment(tmp_path, NARROW, seeds=4).file
    learned = 'resizer = "learned"\n'
    file.write_text(
        file.read_text().replace(learned, learned + "num_kernels = { in_turn = [8, 32] }\n")
    )
    asked, store = load(str(file)), Store(tmp_path / "store")
    fill(asked, store, top1)
    time_all(asked, store)
    (row,) = [row for row in gather(asked, store).rows if row.arm.name == "learned"]
    assert row.accuracy.n == 4
    assert set(row.seeds["num_kernels"]) == {8, 32}
    assert row.times["train"].rounds == 2 * 3
    assert row.times["train"].value == pytest.approx(2.0)
    assert row.speed["train_images_per_s"] == 100.0
