"""Intervals and verdicts against SciPy's own tests, and by simulation."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.formula.api import ols
from statsmodels.stats import contingency_tables
from statsmodels.stats.anova import anova_lm

from bench.analysis.statistics import (
    Hits,
    Interval,
    by_seed,
    conclude,
    crossed,
    differences,
    mcnemar,
    noise_floor,
    paired_difference,
    seeds_needed,
    t_interval,
    time_ratio,
    verdict,
)


def pairs(plain: list[float], learned: list[float]) -> pd.DataFrame:
    """Seeds x arms."""
    return pd.DataFrame({"plain": plain, "learned": learned})


def test_the_interval_agrees_with_scipys_one_sample_test() -> None:
    values = np.random.default_rng(0).normal(3, 2, 7)
    wanted = stats.ttest_1samp(values, 0).confidence_interval(0.9)
    got = t_interval(list(values), 0.9)
    assert (got.low, got.high) == pytest.approx((wanted.low, wanted.high))


def test_one_value_has_a_mean_but_no_interval() -> None:
    got = t_interval([5.0])
    assert got.mean == 5
    assert math.isnan(got.low)


def test_the_difference_is_paired_by_seed_and_agrees_with_scipys_paired_test() -> None:
    plain, learned = [50.0, 60.0, 70.0, 40.0], [52.0, 61.5, 73.0, 42.0]
    got = paired_difference(pairs(plain, learned), "learned", "plain")
    wanted = stats.ttest_rel(learned, plain).confidence_interval(0.95)
    assert (got.low, got.high) == pytest.approx((wanted.low, wanted.high))


def test_a_seed_that_one_arm_did_not_finish_is_left_out_of_the_pairs() -> None:
    rows = [("plain", seed, 50.0 + seed) for seed in (0, 1, 2)]
    rows += [("learned", seed, 51.0 + seed) for seed in (2, 1, 0)]
    table = pd.DataFrame(rows, columns=["arm", "seed", "top1_pct"])
    table = table.assign(context="c", status="ok")
    table.loc[(table["arm"] == "learned") & (table["seed"] == 2), "status"] = "failed"
    paired = by_seed(table).loc["c"]
    assert differences(paired, "learned", "plain").to_dict() == {0: 1.0, 1: 1.0}
    assert paired_difference(paired, "learned", "plain").n == 2
    assert paired_difference(paired, "learned", "not run").n == 0


@pytest.mark.parametrize(
    ("learned", "answer"),
    [
        ([55.0, 65.2, 74.9], "better"),
        ([45.0, 55.2, 64.9], "worse"),
        ([50.1, 59.9, 70.02], "no difference"),
        ([53.0, 58.0, 71.0], "not settled"),
    ],
)
def test_each_verdict_is_given_where_it_is_due(learned: list[float], answer: str) -> None:
    given = verdict(pairs([50, 60, 70], learned), "learned", "plain", margin_pct=1.0)
    assert given.answer == answer
    assert (given.more_seeds is not None) == (answer == "not settled")


def test_fewer_than_three_seeds_get_no_verdict() -> None:
    assert verdict(pairs([50, 60], [80, 90]), "learned", "plain", 1.0).answer == "too few seeds"


def test_several_verdicts_share_out_the_error_rate() -> None:
    alone, shared = (
        verdict(pairs([50, 60, 70], [52, 61, 73]), "learned", "plain", 1.0, verdicts=n)
        for n in (1, 4)
    )
    assert alone.difference.level == pytest.approx(0.95)
    assert shared.difference.level == pytest.approx(1 - 0.05 / 4)
    assert shared.difference.half_width > alone.difference.half_width


def test_no_difference_is_two_one_sided_tests_at_the_same_error_rate() -> None:
    values = np.array([0.4, -0.2, 0.3, 0.1, -0.1])
    lower = stats.ttest_1samp(values, -0.5, alternative="greater").pvalue
    upper = stats.ttest_1samp(values, 0.5, alternative="less").pvalue
    assert max(lower, upper) < 0.05
    assert conclude(t_interval(list(values)), 0.5) == "no difference"
    margin = abs(values.mean()) + stats.t.ppf(0.95, 4) * stats.sem(values)
    assert conclude(t_interval(list(values)), margin * 0.999) == "not settled"


def test_equal_arms_are_called_better_or_worse_in_five_of_a_hundred_experiments() -> None:
    stream = np.random.default_rng(1)
    seed_effects = stream.normal(0, 5, (2000, 6))  # shared by both arms of a seed
    plain, learned = (seed_effects + stream.normal(0, 0.5, (2000, 6)) for _ in range(2))
    paired = [conclude(t_interval(list(d)), 0.01) for d in learned - plain]
    wrong = sum(answer in ("better", "worse") for answer in paired) / len(paired)
    assert abs(wrong - 0.05) < 3 * math.sqrt(0.05 * 0.95 / 2000)


def test_the_seeds_needed_do_find_the_effect_in_four_of_five() -> None:
    n = seeds_needed(1.0, 0.8)
    differences = np.random.default_rng(2).normal(1.0, 0.8, (4000, n))
    found = (stats.ttest_1samp(differences, 0, axis=1).pvalue < 0.05).mean()
    assert 0.78 <= found < 0.9


def test_identical_runs_are_no_difference() -> None:
    same = Interval(mean=0.0, low=0.0, high=0.0, n=3, level=0.95, sd=0.0)
    assert conclude(same, 1.0) == "no difference"


def simulated(
    stream: np.random.Generator, *, seeds: int, images: int, seeds_sd: float, images_sd: float
) -> tuple[Hits, Hits]:
    """Hits of two arms whose true difference is zero, with a seed's and an image's own effects."""
    base = stream.uniform(0.3, 0.9, images)
    tilt = stream.normal(0, images_sd / 100, images) / 2
    drift = stream.normal(0, seeds_sd / 100, (seeds, 1)) / 2
    draws = stream.random((2, seeds, images))
    return draws[0] < base + tilt + drift, draws[1] < base - tilt - drift


def test_the_crossed_interval_covers_new_images_and_its_parts_are_found() -> None:
    stream = np.random.default_rng(0)
    shape = {"seeds": 5, "images": 800, "seeds_sd": 1.0, "images_sd": 20.0}
    drawn = [simulated(stream, **shape) for _ in range(300)]  # type: ignore[arg-type]
    found = [crossed(*pair) for pair in drawn]
    covered = np.mean([one.interval.low <= 0 <= one.interval.high for one in found])
    assert 0.92 <= covered <= 0.99
    assert np.mean([one.images_sd for one in found]) == pytest.approx(20, rel=0.2)
    narrow = [t_interval(list(100 * (a.mean(axis=1) - b.mean(axis=1)))) for a, b in drawn]
    wide = np.array([one.interval.half_width for one in found])
    own = np.array([one.half_width for one in narrow])
    assert (wide >= own - 1e-9).all()
    assert (wide > 1.05 * own).mean() > 0.1


def test_the_crossed_variance_agrees_with_that_of_an_analysis_by_least_squares() -> None:
    ours, theirs = simulated(
        np.random.default_rng(1), seeds=4, images=60, seeds_sd=8.0, images_sd=40.0
    )
    one = crossed(ours, theirs)
    long = pd.DataFrame(100.0 * (ours.astype(float) - theirs)).stack().reset_index()
    long.columns = ["seed", "image", "points"]  # type: ignore[assignment]
    table = anova_lm(ols("points ~ C(seed) + C(image)", long).fit())
    squares = table["mean_sq"]
    variance = squares["C(seed)"] + squares["C(image)"] - squares["Residual"]
    half = (one.interval.high - one.interval.low) / 2
    df = variance**2 / sum(table["mean_sq"] ** 2 / table["df"])
    both = stats.t.ppf(0.975, df) * math.sqrt(variance / long.shape[0])
    by_seed = t_interval(long.groupby("seed")["points"].mean().tolist()).half_width
    assert half == pytest.approx(max(both, by_seed))
    spread = (squares["C(seed)"] - squares["Residual"]) / 60
    assert one.seeds_sd == pytest.approx(math.sqrt(max(0.0, spread)))


def test_mcnemar_agrees_with_statsmodels() -> None:
    for ours, theirs in ((1, 5), (10, 3), (40, 41), (0, 7)):
        wanted = contingency_tables.mcnemar([[9, ours], [theirs, 4]], exact=True).pvalue
        assert mcnemar(ours, theirs) == pytest.approx(min(1.0, wanted))


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
