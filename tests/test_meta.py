"""Summaries over experiments, by simulation and against statsmodels."""

from __future__ import annotations

import math

import numpy as np
import pytest
from statsmodels.stats.meta_analysis import combine_effects

from bench.analysis.meta import (
    Comparison,
    distinct,
    paule_mandel,
    random_effects,
    share_of_headroom,
    summary,
)


def comparison(differences: list[float], *runs: str) -> Comparison:
    return Comparison(dict(enumerate(differences)), frozenset(runs))


def test_tau_and_the_mean_agree_with_statsmodels() -> None:
    stream = np.random.default_rng(0)
    y, v = stream.normal(-0.8, 1.0, 11), stream.uniform(0.2, 0.6, 11)
    wanted = combine_effects(y, v, method_re="iterated")
    found = random_effects(y.tolist(), v.tolist())
    assert found
    assert found.tau**2 == pytest.approx(wanted.tau2, rel=1e-3)
    assert found.mean.mean == pytest.approx(wanted.mean_effect_re, rel=1e-3)
    hartung_knapp = wanted.conf_int(use_t=True)[3]
    assert (found.mean.low, found.mean.high) == pytest.approx(hartung_knapp, rel=1e-3)


@pytest.mark.parametrize("tau", [0.0, 0.7])
def test_mean_and_prediction_intervals_cover_what_they_are_of(tau: float) -> None:
    stream = np.random.default_rng(1)
    mean, predicted = [], []
    for _ in range(600):
        true = stream.normal(-0.8, tau, 11)
        variance = np.full(11, 1.1**2 / 3)
        found = random_effects(stream.normal(true, np.sqrt(variance)).tolist(), variance.tolist())
        assert found
        assert found.prediction
        mean.append(found.mean.low <= -0.8 <= found.mean.high)
        predicted.append(found.prediction[0] <= stream.normal(-0.8, tau) <= found.prediction[1])
    assert 0.92 < np.mean(mean) < 0.995
    assert np.mean(predicted) > 0.9  # 93 % and more in 1,500 runs


def test_no_heterogeneity_is_found_where_there_is_less_than_sampling_makes() -> None:
    assert paule_mandel([1.0, 1.0, 1.1], [1.0, 1.0, 1.0]) == 0
    found = random_effects([1.0, 1.0, 1.1], [1.0, 1.0, 1.0])
    assert found
    assert found.mean.half_width == pytest.approx(4.303 / math.sqrt(3), rel=1e-3)
    assert random_effects([1.0], [1.0]) is None
    two = random_effects([1.0, 2.0], [1.0, 1.0])
    assert two
    assert two.prediction is None


def test_comparisons_that_share_a_base_run_are_one() -> None:
    found = distinct(
        [
            comparison([1.0, 2.0], "x", "y"),
            comparison([5.0], "z"),
            comparison([3.0, 4.0], "y"),
            comparison([2.0, 6.0], "z", "w"),
        ]
    )
    assert [list(one.differences.values()) for one in found] == [[2.0, 3.0], [3.5]]
    assert [one.base_runs for one in found] == [{"x", "y"}, {"z", "w"}]
    apart = Comparison({7: 1.0}, frozenset({"x"}))
    assert len(distinct([comparison([1.0, 2.0], "x"), apart])[0].differences) == 2


def test_a_summary_is_of_distinct_comparisons_with_moderated_variances() -> None:
    stream = np.random.default_rng(2)
    several = [comparison(stream.normal(1, 1.1, 3).tolist(), str(i)) for i in range(10)]
    found = summary([*several, comparison([5.0, 5.0, 5.1], "0")])
    assert found
    assert found.mean.n == 10
    assert found.mean.half_width < 1.5
    assert summary([]) is None
    assert summary([comparison([1.0, 1.0, 1.0], "x")]) is None


def test_fiellers_interval_covers_the_share_of_headroom() -> None:
    stream = np.random.default_rng(3)
    covered = []
    for _ in range(2000):
        plain, learned, full = stream.normal([50, 52, 58], 0.8, (4, 3)).T
        found = share_of_headroom((learned - plain).tolist(), (full - plain).tolist())
        assert found
        covered.append(found.low <= 0.25 <= found.high)
    assert np.mean(covered) == pytest.approx(0.95, abs=0.015)


@pytest.mark.parametrize(
    ("gains", "headrooms"),
    [
        ([1.0], [2.0]),
        ([1.0, math.nan], [2.0, 3.0]),
        ([1.0, 2.0], [-1.0, -2.0]),
        ([1.0, 2.0, 3.0], [-3.0, 0.5, 4.0]),
    ],
    ids=["of one pair", "of one finite pair", "without headroom", "of uncertain headroom"],
)
def test_there_is_no_share_without_a_sane_interval(
    gains: list[float], headrooms: list[float]
) -> None:
    assert share_of_headroom(gains, headrooms) is None
