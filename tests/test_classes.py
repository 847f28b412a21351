"""Which classes gain: by hand, of made-up predictions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench.analysis.classes import classes
from bench.analysis.crossed import error, squares
from bench.analysis.evidence import gather
from bench.analysis.statistics import NO_PRIOR, estimate
from bench.store import Store
from tests.fakes import NARROW, experiment, page_text
from tests.test_hostile_reports import save

LABELS = np.array([0, 0, 1, 1])


def test_accuracies_by_class_and_what_is_taken_for_what_are_those_of_the_predictions(
    tmp_path: Path,
) -> None:
    """Plain says 0 of everything; learned is right, but in seed 2 of the last image."""
    asked, store = experiment(tmp_path, NARROW), Store(tmp_path / "store")
    for cell in asked.cells:
        said = LABELS.copy() if cell.arm == "learned" else np.zeros(4, dtype=np.int64)
        said[3] = 0 if cell.trial.seed == 2 else said[3]
        save(store, cell.trial, LABELS, said, "ok")
    evidence = gather(asked, store)
    ((row, _),) = evidence.judged
    found = classes(evidence, row)
    assert found
    shares = {"learned": [100.0, 250 / 3], "plain": [100.0, 0.0]}
    wanted = pd.DataFrame(shares, index=["disc", "ring"])
    pd.testing.assert_frame_equal(found.accuracy, wanted)
    assert [one.mean for one in found.difference] == pytest.approx([0.0, 250 / 3])
    assert found.difference[0].level == 0.975
    assert found.moved.loc["ring"].tolist() == pytest.approx([-250 / 3, 250 / 3])
    assert found.only == {"learned": ["2"], "plain": []}
    told = "Only learned is right in every seed, and the other arm in none: 1 validation image (2)"
    assert told in page_text(evidence)


def test_a_class_of_few_images_is_told_as_closely_as_new_images_allow(tmp_path: Path) -> None:
    """Each seed errs in one image more of the second class; the same images are right in all."""
    asked, store = experiment(tmp_path, NARROW), Store(tmp_path / "store")
    labels = np.repeat([0, 1], 30)
    for cell in asked.cells:
        said = labels.copy()
        said[30 : 45 + cell.trial.seed] = 0 if cell.arm == "plain" else 1
        save(store, cell.trial, labels, said, "ok")
    evidence = gather(asked, store)
    ((row, _),) = evidence.judged
    found = classes(evidence, row)
    assert found
    still, moved = found.difference
    assert still.low == still.high == 0
    errs = np.arange(30) < 15 + np.arange(3)[:, None]
    over_images = error(squares(100.0 * errs), errs.shape, NO_PRIOR)
    assert moved.half_width == pytest.approx(over_images.half_width(0.975))
    assert moved.half_width > estimate(100 * errs.mean(axis=1)).half_width(0.975)


def test_of_one_seed_or_without_predictions_nothing_is_said(tmp_path: Path) -> None:
    asked, store = experiment(tmp_path, NARROW), Store(tmp_path / "store")
    for cell in asked.cells:
        if cell.trial.seed == 0:
            save(store, cell.trial, LABELS, LABELS, "ok")
    evidence = gather(asked, store)
    assert classes(evidence, next(r for r in evidence.rows if r.arm.name == "learned")) is None
