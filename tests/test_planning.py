"""Plans: what a design finds, told before it is run, and when it says so."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.power import TTestPower

from bench.analysis import planning, pooled
from bench.analysis.crossed import crossed
from bench.analysis.judging import Looks
from bench.analysis.moderated import Variances
from bench.analysis.pairs import pairs, predictions_of
from bench.analysis.simulation import DIFFERENCE_SD, called
from bench.analysis.simulation import Design as Simulated
from bench.analysis.statistics import Error, Estimate, Prior, estimate
from bench.cli.console import counted
from bench.cli.planning import finds
from bench.paths import PUBLISHED
from bench.store import Store


def test_power_agrees_with_statsmodels() -> None:
    for n, effect in ((3, 2.0), (6, 1.0), (20, 0.5)):
        wanted = TTestPower().power(effect / 1.1, n, 0.05, alternative="two-sided")
        assert Error(1.1 / math.sqrt(n), n - 1).power(effect) == pytest.approx(wanted, abs=1e-3)


def test_the_detectable_effect_is_found_in_four_of_five_experiments() -> None:
    n, sd = 4, 1.1
    found = Estimate(0.0, n, sd, (Error(sd / math.sqrt(n), n - 1.0),))
    effect = found.detectable()
    assert effect
    drawn = np.random.default_rng(0).normal(effect, sd, (20_000, n))
    called = stats.ttest_1samp(drawn, 0, axis=1).pvalue < 0.05
    assert called.mean() == pytest.approx(0.8, abs=0.01)


def test_three_seeds_with_their_own_variance_find_three_and_a_half_points_moderated_two() -> None:
    own, moderated = (Error(1.1 / math.sqrt(3), df).detectable() for df in (2.0, 6.0))
    assert own == pytest.approx(3.6, abs=0.1)
    assert moderated == pytest.approx(2.2, abs=0.1)


def test_without_spread_or_below_two_seeds_nothing_is_said_to_be_detectable() -> None:
    assert estimate([1.0]).detectable() is None
    assert estimate([1.0, 1.0, 1.0]).detectable() is None
    assert estimate([-90.0, 90.0]).detectable() == 100


def test_plans_from_a_pilots_moderated_variance_find_the_effect_in_three_of_four_experiments() -> (
    None
):
    stream, looks = np.random.default_rng(1), Looks((3,))
    prior, true = Prior(np.array(4.0), np.array(1.1**2)), planning.Design(1.1, (), 8, looks)
    found = []
    for pilot in stream.normal(0, 1.1, (150, 3)):
        variance, _ = prior.moderate(pilot.var(ddof=1), 2)
        n = planning.Design(math.sqrt(float(variance)), (), 8, looks).seeds_for(1.0)
        assert n
        found.append(true.estimate(n).errors[0].power(1.0))
    assert np.mean(found) > 0.75
    assert np.quantile(found, 0.1) > 0.5


def test_an_experiment_without_declared_looks_has_one_at_its_files_number_of_seeds() -> None:
    assert Looks.of(None, planned=6) == Looks((6,))
    assert Looks.of(None, planned=6).level == pytest.approx(0.95)
    assert Looks.of([8, 4], planned=12, verdicts=2).level == pytest.approx(1 - 0.05 / 4)
    assert Looks.of([8, 4], planned=12).standing(8) == "look"
    assert Looks.of(None, planned=6).standing(7) == "exploratory"


def test_the_forecast_of_a_design_is_met_by_simulated_experiments_of_that_design() -> None:
    looks = Looks((3,))
    for arms in (2, 10):
        design = planning.Design(DIFFERENCE_SD, (), arms - 2, looks)
        found = called(Simulated(arms=arms, effect=design.finds(3)))
        assert found == pytest.approx(0.8, abs=0.06)


def test_seeds_for_an_effect_find_it_and_one_fewer_do_not() -> None:
    lenders = (Variances(np.full(9, 1.0), np.full(9, 2.0)),)
    for design in (
        planning.Design(1.1, (), 0, Looks((3,))),
        planning.Design(1.1, lenders, 3, Looks((4, 8))),
    ):
        n = design.seeds_for(1.0)
        assert n
        assert design.finds(n) <= 1.0 < design.finds(n - 1)
    assert design.seeds_for(50.0) == 3
    assert design.seeds_for(0.001) is None
    assert design.estimate(4).detectable(0.975) == design.finds(4)


def test_more_arms_and_published_experiments_of_the_regime_find_smaller_differences() -> None:
    lenders = (Variances(np.full(9, 1.0), np.full(9, 2.0)),)
    found = [
        planning.Design(1.1, lent, others, Looks((3,))).finds(3)
        for lent, others in (((), 0), (lenders, 0), ((), 8))
    ]
    assert found == sorted(found, reverse=True)
    assert found[0] > 3.5
    assert found[2] < 2.5


def test_a_plan_of_too_few_seeds_for_a_verdict_says_so() -> None:
    whole = pd.read_csv(PUBLISHED / "controls-woof-small" / "table.csv")
    for seeds in (1, 2):
        few = whole[whole["seed"] < seeds]
        ((found, _),) = planning.designs(few, ("learned", "plain"))
        assert finds(found, 1.0) == f"{counted(seeds, 'seed')}: a verdict needs 3."


def test_a_table_without_any_finished_trial_has_a_design() -> None:
    whole = pd.read_csv(PUBLISHED / "controls-woof-small" / "table.csv")
    waiting = whole.assign(status="missing", top1_pct=float("nan"))
    ((found, _),) = planning.designs(waiting, ("learned", "plain"))
    assert found.lenders
    assert found.others == 9
    assert 0.5 < found.sd < 2
    ((apart, _),) = planning.designs(waiting.assign(dataset="other"), ("learned", "plain"))
    assert (apart.lenders, apart.sd) == ((), pooled.typical())


def test_fewer_validation_images_find_less_and_more_seeds_do_not_make_up_for_them() -> None:
    known = [planning.Design(1.1, (), 2, Looks((8,)), images) for images in (None, 10_000, 1_000)]
    found = [one.finds(8) for one in known]
    assert found == sorted(found)
    assert found[-1] > 1.05 * found[0]
    few = known[-1]
    assert few.finds(1_000) > 0.5 > 5 * known[0].finds(1_000)
    assert few.seeds_for(0.5) is None


def test_a_plan_counts_new_images_as_the_verdicts_of_published_experiments_do() -> None:
    for name in ("answer-equal-price", "answer-convnext", "answer-scale"):
        store = Store(PUBLISHED / name)
        (pair,) = pairs(pd.read_csv(PUBLISHED / name / "table.csv"), "learned", "plain")
        both = predictions_of(pair, store.predictions)
        assert both
        ours, theirs = both
        found = crossed(ours.hits, theirs.hits)
        assert found
        design = planning.Design(pair.differences.std(), (), 0, Looks((8,)), len(ours.labels))
        _, over_images = design.estimate(8).errors
        assert over_images.se == pytest.approx(found.error.se, rel=0.2)


def test_where_nothing_is_published_of_a_data_set_fewer_images_spread_a_seeds_difference_more() -> (
    None
):
    table = pd.read_csv(PUBLISHED / "controls-woof-small" / "table.csv").assign(dataset="mine")
    ((many, _),), ((some, _),), ((few, _),) = (
        planning.designs(table, ("learned", "plain"), images=lambda _, n=n: n)
        for n in (None, 500, 50)
    )
    assert many.sd == pytest.approx(pooled.typical())
    assert 1.5 * many.sd < some.sd < few.sd
    said = "50 validation images cannot resolve 1 point: there is no verdict."
    assert finds(few, 1.0) == said
    assert finds(few, 2.0) != said


def test_contexts_that_differ_in_nothing_that_a_design_rests_on_share_one() -> None:
    table = pd.read_csv(PUBLISHED / "controls-woof-small" / "table.csv")
    again = table.assign(context="again", key=table["key"] + "'")
    found = planning.designs(pd.concat([table, again]), ("learned", "plain"))
    assert [sorted(contexts) for _, contexts in found] == [["", "again"]]
