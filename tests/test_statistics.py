"""Intervals against SciPy's own tests, and ratios of times by simulation."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bench.analysis.evidence import Evidence
from bench.analysis.statistics import noise_floor, t_interval, time_ratio
from bench.paths import PUBLISHED
from bench.spec.files import load
from bench.store import Store


def difference(rows: list[tuple[str, int, float, str]], arm: str) -> pd.Series[float]:
    """An arm minus plain, of (arm, seed, accuracy, status)."""
    table = pd.DataFrame(rows, columns=["arm", "seed", "top1_pct", "status"])
    table = table.assign(context="c", key="", dataset="d", backbone="b", input_size=32)
    return Evidence(load("quick"), table, {}, {}, Store(PUBLISHED)).difference("c", arm, "plain")


def test_the_interval_agrees_with_scipys_one_sample_test() -> None:
    values = np.random.default_rng(0).normal(3, 2, 7)
    wanted = stats.ttest_1samp(values, 0).confidence_interval(0.9)
    got = t_interval(list(values), 0.9)
    assert (got.low, got.high) == pytest.approx((wanted.low, wanted.high))


def test_one_value_has_a_mean_but_no_interval() -> None:
    got = t_interval([5.0])
    assert got.mean == 5
    assert math.isnan(got.low)
    assert math.isnan(got.high)


def test_the_difference_is_paired_by_seed_and_agrees_with_scipys_paired_test() -> None:
    plain, learned = [50.0, 60.0, 70.0, 40.0], [52.0, 61.5, 73.0, 42.0]
    rows = [("plain", seed, of, "ok") for seed, of in enumerate(plain)]
    rows += [("learned", seed, of, "ok") for seed, of in enumerate(learned)]
    got = t_interval(difference(rows, "learned"))
    wanted = stats.ttest_rel(learned, plain).confidence_interval(0.95)
    assert (got.low, got.high) == pytest.approx((wanted.low, wanted.high))


def test_a_seed_that_one_arm_did_not_finish_is_left_out_of_the_pairs() -> None:
    rows = [("plain", seed, 50.0 + seed, "ok") for seed in (0, 1, 2)]
    states = {2: "failed", 1: "ok", 0: "ok"}
    rows += [("learned", seed, 51.0 + seed, state) for seed, state in states.items()]
    assert difference(rows, "learned").to_dict() == {0: 1.0, 1: 1.0}
    assert difference(rows, "not run").empty


def test_a_ratio_of_times_is_paired_by_round_and_found_with_its_interval() -> None:
    stream = np.random.default_rng(0)
    covered = 0
    for _ in range(300):
        drift = np.exp(stream.normal(0, 0.3, 6))  # of the machine, from round to round
        ours, theirs = (drift * np.exp(stream.normal(0, 0.01, 6)) for _ in range(2))
        ratio = time_ratio((1.1 * ours).tolist(), theirs.tolist())
        covered += ratio.low <= 1.1 <= ratio.high
        assert ratio.differs(floor=1.02)
        assert not ratio.differs(floor=1.5)
    assert 0.91 <= covered / 300 <= 0.99


def test_two_measurements_of_one_arm_are_seldom_called_different() -> None:
    stream = np.random.default_rng(1)
    called = 0
    for _ in range(400):
        a, b, again = np.exp(stream.normal(0, 0.02, (3, 5)))
        called += time_ratio(a.tolist(), b.tolist()).differs(
            noise_floor(b.tolist(), again.tolist())
        )
    assert called / 400 < 0.05


def test_half_of_an_interval_that_ends_at_100_is_its_longer_half() -> None:
    found = t_interval([60.0, 70.0, 95.0])
    assert found.high == 100
    assert found.half_width == pytest.approx(found.mean - found.low)
    assert found.half_width > (found.high - found.low) / 2
