"""How often verdicts are wrong, and how often they find an effect: simulated experiments.

An experiment is drawn from a seed x image model: each image has a chance of being classified
rightly, and each arm of each seed a shift of its own. Its parameters are fitted to what is
published of woof-first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from bench.analysis.statistics import Hits, mcnemar, seeds_needed, t_interval, verdict
from bench.paths import PUBLISHED
from bench.spec.files import load
from bench.store import Store

EXPERIMENTS = 1000
SEEDS = 4
MARGIN_PCT = 1.0
SAMPLING = 3 * np.sqrt(0.05 * 0.95 / EXPERIMENTS)  # of a rate of 5 %


@dataclass(frozen=True)
class Model:
    """What the published records say about images and seeds."""

    chances: np.ndarray  # (images,) of being classified rightly
    seeds_sd: float  # of an arm's accuracy from seed to seed, shares


@pytest.fixture(scope="module")
def fitted() -> Model:
    experiment, store = load("woof-first"), Store(PUBLISHED / "woof-first")
    keys = [c.trial.key for c in experiment.cells if c.arm == "plain" and store.trial(c.trial.key)]
    tables = [store.predictions(key).sort_values("image") for key in keys]
    hits = np.array([(t["label"] == t["predicted"]).to_numpy() for t in tables])
    assert hits.shape == (3, 3929)
    images_own = hits.mean(axis=1).std(ddof=1)
    return Model((hits.sum(axis=0) + 0.5) / (len(hits) + 1.0), float(images_own))


def drawn(model: Model, stream: np.random.Generator, seeds: int, effect: float) -> list[Hits]:
    """(seeds, images) hits of two arms, the second one better by `effect`."""
    images = len(model.chances)
    pair = []
    for shift in (0.0, effect):
        drift = stream.normal(shift, model.seeds_sd, (seeds, 1))
        pair.append(stream.random((seeds, images)) < model.chances + drift)
    return pair


def by_verdict(pair: list[Hits]) -> bool:
    """What we do: pair by seed."""
    shares = {arm: own.mean(axis=1) for arm, own in zip(("plain", "learned"), pair, strict=True)}
    given = verdict(100 * pd.DataFrame(shares), "learned", "plain", MARGIN_PCT)
    return given.answer in ("better", "worse")


def by_image(pair: list[Hits]) -> bool:
    """What we do not: take images as what is sampled, and seeds as if they were more images."""
    plain, learned = pair
    return mcnemar(int((learned & ~plain).sum()), int((plain & ~learned).sum())) < 0.05


def rate(model: Model, says: Callable[[list[Hits]], bool], *, effect: float, seeds: int) -> float:
    stream = np.random.default_rng(20261123)
    return float(np.mean([says(drawn(model, stream, seeds, effect)) for _ in range(EXPERIMENTS)]))


def test_arms_that_do_not_differ_are_called_different_in_one_of_twenty_experiments(
    fitted: Model,
) -> None:
    assert rate(fitted, by_verdict, effect=0.0, seeds=SEEDS) == pytest.approx(0.05, abs=SAMPLING)


def test_the_same_simulation_finds_a_wrong_pairing_out(fitted: Model) -> None:
    wide = Model(fitted.chances, max(fitted.seeds_sd, 0.01))
    assert rate(wide, by_image, effect=0.0, seeds=SEEDS) > 0.05 + SAMPLING


def test_an_effect_of_two_points_is_found_as_often_as_the_planner_says(fitted: Model) -> None:
    stream = np.random.default_rng(1)
    differences = [
        100 * float(np.subtract(*(own.mean() for own in reversed(drawn(fitted, stream, 1, 0.0)))))
        for _ in range(400)
    ]
    planned = seeds_needed(2.0, t_interval(differences).sd)
    found = rate(fitted, by_verdict, effect=0.02, seeds=planned)
    before = rate(fitted, by_verdict, effect=0.02, seeds=planned - 1)
    assert before < 0.83
    assert found > 0.77
