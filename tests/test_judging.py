"""Verdicts from seeds and images: when there is none, and how often they are wrong."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from statsmodels.formula.api import ols
from statsmodels.stats import contingency_tables
from statsmodels.stats.anova import anova_lm

from bench.analysis.crossed import Hits, crossed, estimated, mcnemar
from bench.analysis.judging import Looks, Verdict, judge
from bench.analysis.moderated import Variances, prior_of
from bench.analysis.pairs import Predictions
from bench.analysis.statistics import NO_PRIOR, Prior, estimate
from bench.paths import PUBLISHED
from bench.store import Store

THREE = Looks((3,))


def by_seed(*differences: float) -> list[float]:
    return list(differences)


def says(hits: Hits, classes: int = 10) -> Predictions:
    """Predictions that are right where `hits` are."""
    labels = np.arange(hits.shape[1]) % classes
    return Predictions(labels, np.where(hits, labels, (labels + 1) % classes))


def both(ours: Hits, theirs: Hits) -> tuple[list[float], tuple[Predictions, Predictions]]:
    points = 100 * (ours.mean(axis=1) - theirs.mean(axis=1))
    return by_seed(*points), (says(ours), says(theirs))


@pytest.mark.parametrize(
    ("differences", "answer"),
    [
        ((5.0, 5.2, 4.9), "better"),
        ((-5.0, -4.8, -5.1), "worse"),
        ((0.1, -0.1, 0.02), "no difference"),
        ((3.0, -2.0, 1.0), "not settled"),
    ],
)
def test_each_answer_is_given_where_it_is_due(differences: tuple[float, ...], answer: str) -> None:
    given = judge(by_seed(*differences), 1.0, THREE)
    assert (given.answer, given.reason, given.ended) == (answer, None, 3)
    assert given.difference == given.own


def test_a_prior_settles_what_three_seeds_alone_do_not_and_the_plain_interval_stays_beside() -> (
    None
):
    differences = by_seed(1.0, 3.0, 2.6)
    prior = Prior(np.array(4.0), np.array(1.1**2))
    alone, moderated = judge(differences, 1.0, THREE), judge(differences, 1.0, THREE, prior=prior)
    assert (alone.answer, moderated.answer) == ("not settled", "better")
    assert moderated.own == alone.difference
    assert alone.detectable
    assert moderated.detectable
    assert moderated.detectable < alone.detectable


def test_a_verdict_is_given_at_declared_looks_alone() -> None:
    looks, sure = Looks((4, 8)), [5.0, 5.2, 4.9, 5.1, 5.0, 5.1, 4.9, 5.2, 5.0]
    given = [judge(by_seed(*sure[:n]), 1.0, looks) for n in (3, 4, 5, 8, 9)]
    assert [one.reason for one in given] == [
        "before a look", None, "before a look", None, "exploratory",
    ]  # fmt: skip
    assert {one.difference.level for one in given} == {0.975}


def test_a_seed_that_failed_does_not_keep_a_look_from_being_reached() -> None:
    assert judge(by_seed(5.0, 5.2, 4.9), 1.0, Looks((4,)), ended=4).answer == "better"
    assert judge(by_seed(5.0, 5.2), 1.0, THREE, ended=3).reason == "too few seeds"
    assert judge(by_seed(5.0, 5.2, math.nan), 1.0, THREE, ended=3).reason == "too few seeds"


def test_there_is_no_verdict_from_models_that_learnt_nothing() -> None:
    stream = np.random.default_rng(0)
    right = stream.random((3, 1000)) < 0.6
    labels = np.arange(1000) % 10
    stuck = Predictions(labels, np.full((3, 1000), 3))
    assert stuck.one_class
    found = judge(by_seed(0.0, 0.0, 0.0), 1.0, THREE, predictions=(stuck, stuck))
    assert (found.answer, found.reason) == ("no verdict", "one class")
    guesses = Predictions(labels, stream.integers(0, 10, (3, 1000)))
    assert guesses.at_chance
    assert not says(right).at_chance
    points = by_seed(*100 * (guesses.hits.mean(axis=1) - 0.1))
    assert judge(points, 1.0, THREE, predictions=(guesses, guesses)).reason == "at chance"
    assert judge(points, 1.0, THREE, predictions=(guesses, says(right))).reason is None


def test_there_is_no_verdict_without_spread_nor_from_images_too_few_for_the_margin() -> None:
    assert judge(by_seed(0.0, 0.0, 0.0), 1.0, THREE).reason == "no spread"
    assert judge(by_seed(0.1, 0.1, 0.1), 1.0, THREE).reason == "no spread"
    ours = np.random.default_rng(1).random((3, 16)) < 0.9
    differences, predictions = both(ours, ~ours)
    assert judge(differences, 1.0, THREE, predictions=predictions).reason == "too few images"
    assert judge(differences, 7.0, THREE, predictions=predictions).reason != "too few images"


def test_arms_tuned_unequally_get_no_verdict() -> None:
    assert judge(by_seed(5.0, 5.1, 4.9), 1.0, THREE, unequal=True).reason == "tuned unequally"


def test_the_wider_of_the_intervals_over_seeds_and_over_images_is_the_one_that_is_used() -> None:
    stream = np.random.default_rng(2)
    base = (stream.random(400) < 0.6) ^ (stream.random((4, 400)) < 0.01)
    tilt = stream.random(400) < 0.15  # the same images turn, whatever the seed
    differences, predictions = both(base ^ tilt, base)
    found = judge(differences, 1.0, Looks((4,)), predictions=predictions)
    assert found.over_images
    assert found.difference.half_width > found.own.half_width
    noise = stream.random((4, 400)) < 0.5
    differences, predictions = both(noise, stream.random((4, 400)) < 0.5)
    found = judge(differences, 1.0, Looks((4,)), predictions=predictions)
    assert found.difference.half_width >= found.own.half_width


def test_the_crossed_variance_agrees_with_that_of_an_analysis_by_least_squares() -> None:
    stream = np.random.default_rng(3)
    tilt = stream.normal(0, 0.3, 60)
    ours, theirs = (stream.random((4, 60)) < 0.5 + sign * tilt for sign in (1, -1))
    one = crossed(ours, theirs)
    assert one
    long = pd.DataFrame(100.0 * (ours.astype(float) - theirs)).stack().reset_index()
    long.columns = ["seed", "image", "points"]
    table = anova_lm(ols("points ~ C(seed) + C(image)", long).fit())
    squares = table["mean_sq"]
    left = squares.min()
    variance = squares["C(seed)"] + squares["C(image)"] - left
    assert one.error.se == pytest.approx(math.sqrt(variance / len(long)))
    spread = squares["C(seed)"] ** 2 / 3 + squares["C(image)"] ** 2 / 59 + left**2 / 177
    assert one.error.df == pytest.approx(max(3, variance**2 / spread))


def test_images_widen_an_estimate_and_stand_in_for_no_seed_that_tells_nothing() -> None:
    """One image, one seed, and seeds without spread leave what seeds alone say."""
    by_image = np.random.default_rng(0).normal(2.0, 30.0, (3, 50))
    by_seed = by_image.mean(axis=1)
    alone = estimate(by_seed)
    assert estimated(by_seed, by_image).errors[:1] == alone.errors
    assert estimated(by_seed, by_image).half_width() >= alone.half_width()
    for told in (None, by_image[:, :1]):
        assert estimated(by_seed, told) == alone
    assert estimated(by_seed[:1], by_image[:1]).errors == ()
    still = estimated([2.0, 2.0, 2.0], by_image - by_seed[:, None] + 2.0)
    assert still.interval().low == still.interval().high


def test_mcnemar_agrees_with_statsmodels() -> None:
    for ours, theirs in ((1, 5), (10, 3), (40, 41), (0, 7)):
        wanted = contingency_tables.mcnemar([[9, ours], [theirs, 4]], exact=True).pvalue
        assert mcnemar(ours, theirs) == pytest.approx(min(1.0, wanted))


def hostile(stream: np.random.Generator) -> Verdict:
    """A verdict over an experiment that nobody would wish for."""
    seeds, images = int(stream.integers(1, 7)), int(stream.choice([1, 2, 3, 16, 100, 401]))
    classes = int(stream.choice([1, 2, 10]))
    labels = stream.integers(0, classes, images)
    arms = [_arm(stream, labels, seeds, classes) for _ in range(2)]
    if stream.random() < 0.2:
        arms[1] = arms[0].copy()
    ours, theirs = (Predictions(labels, arm) for arm in arms)
    points = 100.0 * (ours.hits.mean(axis=1) - theirs.hits.mean(axis=1))
    if stream.random() < 0.3:
        points[stream.integers(seeds)] = stream.choice([math.nan, math.inf])
    looks = Looks((int(stream.integers(1, 5)), 5), verdicts=int(stream.choice([1, 24])))
    priors = [NO_PRIOR, Prior(np.array(1.5), np.array(1e-6)), Prior(np.array(4.0), np.array(900.0))]
    return judge(
        by_seed(*points),
        float(stream.choice([0.1, 1.0, 5.0])),
        looks,
        prior=priors[stream.integers(3)],
        predictions=(ours, theirs) if stream.random() < 0.8 else None,
    )


def _arm(stream: np.random.Generator, labels: np.ndarray, seeds: int, classes: int) -> np.ndarray:
    """Predictions of seeds: stuck, perfect, alike, by chance, or one image apart."""
    shape = (seeds, len(labels))
    kind = stream.integers(6)
    if kind == 0:
        return np.zeros(shape, dtype=int)
    if kind == 1:
        return np.tile(labels, (seeds, 1))
    if kind == 2:
        return np.tile(stream.integers(0, classes, len(labels)), (seeds, 1))
    if kind == 3:
        return np.tile((labels + 1) % classes, (seeds, 1))
    found = stream.integers(0, classes, shape)
    if kind == 4:
        found[:] = labels
        found[0, 0] = (labels[0] + 1) % classes
    return found


def test_every_interval_of_a_hostile_table_is_finite_and_sane() -> None:
    stream = np.random.default_rng(20261126)
    found = [hostile(stream) for _ in range(1500)]
    for one in found:
        assert (one.answer == "no verdict") == (one.reason is not None)
        assert one.detectable is None or 0 < one.detectable <= 100
        for interval in filter(None, (one.difference, one.own, one.new_images)):
            if interval.n >= 2:
                assert -100 <= interval.low <= interval.mean <= interval.high <= 100
        if one.crossed:
            assert math.isfinite(one.crossed.error.se)
            assert one.crossed.error.df >= 1
        if one.reason is None:
            assert one.difference.n >= 3
            assert one.difference.half_width > 0
    assert len({one.reason for one in found}) == 8  # every reason but tuning, and none
    assert {one.answer for one in found} >= {"better", "worse", "not settled", "no verdict"}


@dataclass(frozen=True)
class Model:
    """What a published experiment says about images and seeds, as chances."""

    chances: np.ndarray  # (images,) of being classified rightly by the mean of both arms
    tilts: np.ndarray  # (images,) half of what the arms differ by, its mean taken off
    seeds_sd: float  # of an arm's accuracy from seed to seed


PUBLISHED_PAIRS = {
    "woof-first": ("plain", "learned"),
    "controls-woof-small": ("plain", "learned"),
    "controls-nette-small": ("plain", "capacity"),
    "ablate-blocks-small": ("plain", "learned"),
    "controls-fine": ("plain", "learned"),
}
"""Five experiments, and two arms of each, that the models are fitted to."""


def fitted(name: str) -> Model:
    """From the published predictions of the first context."""
    table = pd.read_csv(PUBLISHED / name / "table.csv")
    _, table = next(iter(table.groupby("context", dropna=False, sort=False)))
    arms = [_hits(name, table[table["arm"] == arm]["key"]) for arm in PUBLISHED_PAIRS[name]]
    shares = [(hits.sum(axis=0) + 0.5) / (len(hits) + 1.0) for hits in arms]
    within = np.sqrt(np.mean([hits.mean(axis=1).var(ddof=1) for hits in arms]))
    tilts = (shares[0] - shares[1]) / 2
    return Model((shares[0] + shares[1]) / 2, tilts - tilts.mean(), float(within))


def _hits(name: str, keys: pd.Series[str]) -> Hits:
    tables = [Store(PUBLISHED / name).predictions(key).sort_values("image") for key in keys]
    return np.array([(of["label"] == of["predicted"]).to_numpy() for of in tables])


def drawn(model: Model, stream: np.random.Generator, seeds: int, effect: float) -> list[Hits]:
    """(seeds, images) hits of two arms on new images; the first is better by `effect` points."""
    images = stream.integers(0, len(model.chances), len(model.chances))
    turned = stream.choice([-1, 1], len(images)) * model.tilts[images]
    pair = []
    for sign in (1, -1):
        drift = stream.normal(sign * effect / 200, model.seeds_sd, (seeds, 1))
        chances = model.chances[images] + sign * turned + drift
        pair.append(stream.random((seeds, len(images))) < chances)
    return pair


def called(model: Model, runs: int, seeds: int, effect: float) -> tuple[float, float]:
    """How often the treatment is called better or worse, and by the plain t interval over seeds."""
    stream = np.random.default_rng(20261123)
    answers, own = [], []
    for _ in range(runs):
        differences, predictions = both(*drawn(model, stream, seeds, effect))
        found = judge(differences, 1.0, Looks((seeds,)), predictions=predictions)
        answers.append(found.answer in ("better", "worse"))
        own.append(not found.own.low <= 0 <= found.own.high)
    return float(np.mean(answers)), float(np.mean(own))


@pytest.mark.parametrize("name", PUBLISHED_PAIRS)
def test_on_new_seeds_and_new_images_at_most_one_of_twenty_verdicts_is_false(name: str) -> None:
    model, runs = fitted(name), 300
    wrong, _ = called(model, runs, seeds=4, effect=0.0)
    assert wrong < 0.05 + 3 * math.sqrt(0.05 * 0.95 / runs)


def test_where_images_differ_in_what_they_favour_seeds_alone_err_more_often() -> None:
    model = fitted("woof-first")
    steady = Model(model.chances, 2 * model.tilts, 0.002)
    wrong, by_seeds = called(steady, 300, seeds=6, effect=0.0)
    assert wrong < 0.09
    assert by_seeds > wrong + 0.03


def test_other_differences_of_an_experiment_are_a_prior_of_its_verdict() -> None:
    others = Variances(np.full(8, 1.21), np.full(8, 2.0))
    differences = [1.2, 2.5, 3.1]
    own = estimate(differences)
    prior = prior_of(own.sd**2, 2, others)
    assert judge(by_seed(*differences), 1.0, THREE, prior=prior).answer == "better"
    assert judge(by_seed(*differences), 1.0, THREE).answer == "not settled"
