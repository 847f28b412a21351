"""The moderated variance against its definition, and what its rules cost, by simulation."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import special, stats

from bench.analysis.moderated import (
    MOST_DF,
    MOST_LENT_DF,
    Variances,
    bartlett,
    prior_among,
    prior_df,
    prior_of,
    priors,
    trigamma_inverse,
    variances_of,
)
from bench.analysis.simulation import RUNS, Design, called, drawn, p_values
from bench.analysis.statistics import NO_PRIOR, Prior, estimate, simultaneous

NOTHING = variances_of([])
FALSE = 0.055 + 2 * math.sqrt(0.05 * 0.95 / RUNS)
"""At most 5.5 % of verdicts are false, as far as so many runs can tell."""


def test_trigamma_is_inverted_over_many_orders_of_magnitude() -> None:
    values = np.logspace(-5, 5, 41)
    assert special.polygamma(1, trigamma_inverse(values)) == pytest.approx(values, rel=1e-6)


def test_bartletts_test_agrees_with_scipys_experiment_by_experiment() -> None:
    samples = np.random.default_rng(0).normal(0, [[1.0], [2.0], [1.5], [1.0]], (5, 4, 6))
    found = bartlett(Variances(samples.var(axis=-1, ddof=1), np.full(4, 5.0)))
    assert found == pytest.approx([stats.bartlett(*one).pvalue for one in samples])


def test_the_spread_of_true_variances_is_recovered_from_many_samples() -> None:
    stream = np.random.default_rng(1)
    true = 6.0 / stream.chisquare(6.0, 20_000)
    sampled = true * stream.chisquare(3, 20_000) / 3
    assert prior_df(Variances(sampled, np.full(20_000, 3.0))) == pytest.approx(6.0, rel=0.1)
    alike = stream.chisquare(3, 20_000) / 3
    assert prior_df(Variances(alike, np.full(20_000, 3.0))) > 50


def test_the_moderated_variance_is_the_mean_weighted_by_degrees_of_freedom() -> None:
    found = estimate([1.0, 2.0, 3.0], Prior(np.array(4.0), np.array(2.5)))
    assert found.errors[0].df == 6
    assert found.errors[0].se == pytest.approx(math.sqrt((4 * 2.5 + 2 * 1.0) / 6 / 3))
    plain = stats.ttest_1samp([1.0, 2.0, 3.0], 0).confidence_interval(0.9)
    own = estimate([1.0, 2.0, 3.0]).interval(0.9)
    assert (own.low, own.high) == pytest.approx((plain.low, plain.high))


def test_a_prior_is_left_aside_where_the_variances_are_not_alike() -> None:
    others = Variances(np.array([1.0, 1.2, 0.9, 300.0]), np.full(4, 4.0))
    assert prior_of(1.0, 4, others).df == 0
    assert prior_of(1.0, 4, Variances(others.values[:3], others.df[:3])).df > 0


def test_classes_that_lend_to_one_another_are_told_more_closely_and_hold_together_still() -> None:
    """Experiments of ten classes and three seeds, with spreads 40 % apart."""
    experiments, stream = 200, np.random.default_rng(3)
    scale = np.exp(stream.normal(0, 0.4, (experiments, 10, 1)))
    samples = stream.standard_normal((experiments, 10, 3)) * scale
    intervals = [simultaneous(list(map(estimate, one, priors(one)))) for one in samples]
    missed = sum(any(not of.low <= 0 <= of.high for of in one) for one in intervals)
    assert missed / experiments < 0.05 + 2 * math.sqrt(0.05 * 0.95 / experiments)
    plain = [simultaneous([estimate(of) for of in one]) for one in samples]
    ours, own = (
        np.median([of.half_width for one in family for of in one]) for family in (intervals, plain)
    )
    assert ours < own / 2


def test_a_difference_without_spread_has_no_prior_and_lends_nothing() -> None:
    still, moved = [0.0, 0.0, 0.0], [1.0, 2.0, 4.0]
    assert prior_among(still, [moved]) is NO_PRIOR
    found = [float(one.df) for one in priors([still, moved])]
    assert found == [0.0, 0.0]


def test_an_arm_without_spread_or_with_lost_runs_lends_no_variance() -> None:
    nan = math.nan
    found = variances_of([[1.0, 2.0, 4.0], [0.0, 0.0, 0.0], [nan, 1.0, nan], [nan, 1.0, 2.0]])
    assert found.df.tolist() == [2, 1]


def test_lent_variances_weigh_less_than_the_experiments_own_and_go_where_they_disagree() -> None:
    near = Variances(np.full(9, 1.0), np.full(9, 2.0))
    assert prior_of(1.0, 2, NOTHING).df == 0
    assert prior_of(1.0, 2, NOTHING, [near] * 5).df == MOST_LENT_DF
    assert prior_of(1.0, 2, near, [near]).df <= MOST_DF
    assert prior_of(1.0, 2, NOTHING, [replace(near, values=near.values / 30)]).df == 0
    far = prior_of(1.0, 2, near, [replace(near, values=near.values * 30)])
    assert (far.df, far.variance) == (prior_of(1.0, 2, near).df, 1.0)


LOOKS = [*((n,) for n in range(3, 11)), (4, 8), (3, 6, 10)]


@pytest.mark.parametrize("looks", LOOKS, ids=str)
def test_at_most_six_percent_of_verdicts_are_false_and_of_most_designs_less(
    looks: tuple[int, ...],
) -> None:
    """Of three arms the prior is one other difference, which shares the treatment's runs."""
    assert called(Design(arms=3, looks=looks), 2 * RUNS) < 0.06
    assert called(Design(looks=looks)) < FALSE
    assert called(Design(arms=4, looks=looks)) < FALSE
    assert called(Design(arms=2, looks=looks, lent=(1.0, 1.0))) < FALSE


@pytest.mark.parametrize("looks", [(3,), (6,), (4, 8), (3, 6, 10)], ids=str)
def test_nor_are_more_false_with_heavy_tails_or_spreads_that_differ(looks: tuple[int, ...]) -> None:
    assert called(Design(looks=looks, tails=5.0)) < FALSE
    assert called(Design(looks=looks, uneven=0.4)) < FALSE


@pytest.mark.parametrize("arms", [2, 3, 10])
@pytest.mark.parametrize("lent", [(1 / 1.5,), (1 / 1.5,) * 3], ids=["one", "three"])
def test_experiments_of_less_spread_push_false_verdicts_to_seven_percent_at_most(
    arms: int, lent: tuple[float, ...]
) -> None:
    for looks in ((3,), (6,)):
        assert called(Design(arms=arms, looks=looks, lent=lent)) < 0.07


def test_a_treatment_of_more_spread_than_the_others_keeps_below_seven_percent_too() -> None:
    assert called(Design(noisy=1.5)) < 0.07
    assert called(Design(arms=4, noisy=1.5)) < 0.07


def test_without_caps_lent_variances_would_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.analysis.moderated.MOST_DF", 8.0)
    monkeypatch.setattr("bench.analysis.moderated.MOST_LENT_DF", 8.0)
    assert called(Design(arms=2, lent=(1 / 1.5,))) > 0.08


def test_three_seeds_find_two_points_in_two_of_three_experiments_not_in_two_of_five() -> None:
    ten, two = Design(effect=2.0), Design(arms=2, effect=2.0)
    own = called(replace(ten, moderated=False))
    assert own == pytest.approx(0.41, abs=0.02)
    within = called(ten)
    assert within >= 0.68
    assert called(replace(ten, lent=(1.0,))) > within
    assert called(replace(two, lent=(1.0,))) > 0.58


def family_error(design: Design, runs: int) -> float:
    """The share of experiments in which some difference of a family is called, none being true."""
    differences = drawn(design, np.random.default_rng(design.stream), runs)
    n = differences.shape[1]
    called_any = np.zeros(runs, dtype=bool)
    for first in range(n):
        order = [first, *(i for i in range(n) if i != first)]
        called_any |= p_values(design, differences[:, order]) < 0.05 / n
    return float(called_any.mean())


def test_a_family_of_nine_controls_errs_in_five_of_a_hundred_experiments() -> None:
    assert family_error(Design(), 5_000) < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 5_000)
    own = family_error(Design(moderated=False), 5_000)
    assert own < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 5_000)


def test_a_familys_intervals_share_its_error() -> None:
    one = estimate([0.5, 1.0, 1.5])
    assert simultaneous([one])[0].level == pytest.approx(0.95)
    assert [i.level for i in simultaneous([one] * 5)] == pytest.approx([0.99] * 5)
    assert simultaneous([]) == []
    assert estimate([1.0], NO_PRIOR).errors == ()
