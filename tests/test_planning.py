"""Plans and looks: what a design would find, and when it says so."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import TTestPower

from bench.analysis.estimate import Error, Estimate, estimate
from bench.analysis.looks import Looks
from bench.analysis.moderated import Prior
from bench.analysis.planning import detectable, power, seeds_needed


def test_power_agrees_with_statsmodels() -> None:
    for n, effect in ((3, 2.0), (6, 1.0), (20, 0.5)):
        wanted = TTestPower().power(effect / 1.1, n, 0.05, alternative="two-sided")
        assert power(effect, Error(1.1 / math.sqrt(n), n - 1)) == pytest.approx(wanted, abs=1e-3)


def test_the_detectable_effect_is_found_in_four_of_five_experiments() -> None:
    n, sd = 4, 1.1
    found = Estimate(0.0, n, sd, (Error(sd / math.sqrt(n), n - 1.0),))
    effect = detectable(found)
    assert effect
    drawn = np.random.default_rng(0).normal(effect, sd, (20_000, n))
    called = stats.ttest_1samp(drawn, 0, axis=1).pvalue < 0.05
    assert called.mean() == pytest.approx(0.8, abs=0.01)


def test_three_seeds_with_their_own_variance_find_three_and_a_half_points_moderated_two() -> None:
    own = detectable(Estimate(0.0, 3, 1.1, (Error(1.1 / math.sqrt(3), 2.0),)))
    moderated = detectable(Estimate(0.0, 3, 1.1, (Error(1.1 / math.sqrt(3), 6.0),)))
    assert own == pytest.approx(3.6, abs=0.1)
    assert moderated == pytest.approx(2.2, abs=0.1)


def test_without_spread_or_below_two_seeds_nothing_is_said_to_be_detectable() -> None:
    assert detectable(estimate([1.0])) is None
    assert detectable(estimate([1.0, 1.0, 1.0])) is None
    assert detectable(estimate([-90.0, 90.0])) == 100


@pytest.mark.parametrize(("effect", "prior_df"), [(2.0, 0.0), (1.0, 0.0), (1.0, 4.0), (1.5, 3.0)])
def test_planned_seeds_find_the_wanted_effect_and_one_fewer_do_not(
    effect: float, prior_df: float
) -> None:
    n = seeds_needed(effect, 1.1, prior_df)
    assert n
    assert power(effect, Error(1.1 / math.sqrt(n), prior_df + n - 1)) >= 0.8
    assert power(effect, Error(1.1 / math.sqrt(n - 1), prior_df + n - 2)) < 0.8


def test_plans_from_a_pilots_moderated_variance_find_the_effect_in_three_of_four_experiments() -> (
    None
):
    stream = np.random.default_rng(1)
    prior = Prior(np.array(4.0), np.array(1.1**2))
    found = []
    for pilot in stream.normal(0, 1.1, (400, 3)):
        variance, _ = prior.moderate(pilot.var(ddof=1), 2)
        n = seeds_needed(1.0, math.sqrt(float(variance)), 4.0)
        assert n
        found.append(power(1.0, Error(1.1 / math.sqrt(n), n + 3.0)))
    assert np.mean(found) > 0.75
    assert np.quantile(found, 0.1) > 0.5


def test_no_plan_beyond_a_thousand_seeds() -> None:
    assert seeds_needed(0.001, 1.1) is None


def test_an_experiment_without_declared_looks_has_one_at_its_files_number_of_seeds() -> None:
    assert Looks.of(None, planned=6) == Looks((6,))
    assert Looks.of(None, planned=6).level == pytest.approx(0.95)
    assert Looks.of([8, 4], planned=12, verdicts=2).level == pytest.approx(1 - 0.05 / 4)
    assert Looks.of([8, 4], planned=12).number(8) == 2
    assert Looks.of(None, planned=6).number(7) is None
