"""What an experiment will find, told before it is run."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bench.analysis import forecast, pooled
from bench.analysis.looks import Looks
from bench.analysis.moderated import Variances
from bench.analysis.planning import detectable
from bench.analysis.simulation import DIFFERENCE_SD, called
from bench.analysis.simulation import Design as Simulated
from bench.paths import PUBLISHED


def test_the_forecast_of_a_design_is_met_by_simulated_experiments_of_that_design() -> None:
    looks = Looks((3,))
    for arms in (2, 10):
        design = forecast.Design(DIFFERENCE_SD, (), arms - 2, looks)
        found = called(Simulated(arms=arms, effect=design.finds(3)))
        assert found == pytest.approx(0.8, abs=0.06)


def test_seeds_for_an_effect_find_it_and_one_fewer_do_not() -> None:
    lenders = (Variances(np.full(9, 1.0), np.full(9, 2.0)),)
    for design in (
        forecast.Design(1.1, (), 0, Looks((3,))),
        forecast.Design(1.1, lenders, 3, Looks((4, 8))),
    ):
        n = design.seeds_for(1.0)
        assert n
        assert design.finds(n) <= 1.0 < design.finds(n - 1)
    assert design.seeds_for(50.0) == 2
    assert design.seeds_for(0.001) is None
    assert detectable(design.estimate(4), 0.975) == design.finds(4)


def test_more_arms_and_published_experiments_of_the_regime_find_smaller_differences() -> None:
    lenders = (Variances(np.full(9, 1.0), np.full(9, 2.0)),)
    found = [
        forecast.Design(1.1, lent, others, Looks((3,))).finds(3)
        for lent, others in (((), 0), (lenders, 0), ((), 8))
    ]
    assert found == sorted(found, reverse=True)
    assert found[0] > 3.5
    assert found[2] < 2.5


def test_a_table_without_any_finished_trial_has_a_design() -> None:
    whole = pd.read_csv(PUBLISHED / "controls-woof-small" / "table.csv")
    waiting = whole.assign(status="missing", top1_pct=float("nan"))
    (found,) = forecast.designs(waiting, ("learned", "plain")).values()
    assert found.lenders
    assert found.others == 8
    assert 0.5 < found.sd < 2
    (apart,) = forecast.designs(waiting.assign(dataset="other"), ("learned", "plain")).values()
    assert (apart.lenders, apart.sd) == ((), pooled.typical())
