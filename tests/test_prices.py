"""The treatment against the plain pipeline of its price."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench.analysis.crossed import error, squares
from bench.analysis.evidence import Evidence, Row, gather
from bench.analysis.prices import (
    EqualPrice,
    Offer,
    Pipeline,
    at_equal_price,
    multiple,
    on_front,
    paid,
)
from bench.analysis.statistics import NO_PRIOR, Price, estimate, relative
from bench.spec.files import load
from bench.spec.trial import Trial
from bench.store import Store
from tests.fakes import NARROW, experiment, fill, time_all


def pipeline(name: str, price: float | Price, accuracies: list[float]) -> Pipeline:
    paid = price if isinstance(price, Price) else Price(price)
    return Pipeline(name, 32, True, paid, pd.Series(accuracies))


def seeds(one: Pipeline, which: list[int]) -> Pipeline:
    return replace(one, accuracy=one.accuracy[which])


def measured(value: float, se: float) -> Price:
    """In five rounds, with just this standard error."""
    noise = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
    return Price(value, tuple(noise * se * math.sqrt(5 / noise.var(ddof=1))))


def equal(treatment: Pipeline, others: list[Pipeline]) -> EqualPrice | None:
    return at_equal_price([Offer(treatment, others)])


def front(treatment: Pipeline, others: list[Pipeline]) -> tuple[str, str]:
    return on_front([Offer(treatment, others)], lambda _: NO_PRIOR)


SMALL = pipeline("32 px", 1.0, [40.0, 41.0, 42.0])
LARGE = pipeline("64 px", 3.0, [50.0, 51.5, 52.0])


def test_the_plain_accuracy_is_interpolated_seed_by_seed() -> None:
    treatment = pipeline("learned", 1.5, [41.0, 43.0, 43.5])
    found = equal(treatment, [LARGE, SMALL])
    assert found
    wanted = [
        t - (0.75 * s + 0.25 * b)
        for t, s, b in zip((41, 43, 43.5), (40, 41, 42), (50, 51.5, 52), strict=True)
    ]
    assert found.sides == (32, 32)
    assert found.difference.interval() == estimate(wanted).interval()


def test_a_price_at_a_measured_size_needs_that_size_alone() -> None:
    found = equal(pipeline("learned", 3.0, [49.0, 50.0, 52.5]), [SMALL, LARGE])
    assert found
    assert found.difference.mean == pytest.approx((-1 - 1.5 + 0.5) / 3)


def test_nobody_pays_more_for_a_plain_image_that_is_no_better() -> None:
    ours = pipeline("learned", 2.5, [41.0, 43.0, 43.5])
    worse = pipeline("48 px", 2.0, [39.0, 40.0, 41.5])
    found = equal(ours, [SMALL, worse])
    assert found is None, "nothing dearer was measured"
    found = equal(ours, [SMALL, replace(worse, price=Price(3.0))])
    assert found
    assert found.difference.interval() == estimate([1.0, 2.0, 1.5]).interval()
    found = equal(ours, [SMALL, worse, LARGE])  # three quarters of the way from 32 to 64 px
    assert found
    shares = [0.25 * s + 0.75 * b for s, b in zip((40, 41, 42), (50, 51.5, 52), strict=True)]
    wanted = [t - plain for t, plain in zip((41, 43, 43.5), shares, strict=True)]
    assert found.difference.mean == pytest.approx(np.mean(wanted))


def test_beyond_what_was_measured_there_is_no_difference() -> None:
    for price in (0.5, 9.0):
        assert equal(pipeline("learned", price, [1.0, 2.0]), [SMALL, LARGE]) is None
    assert equal(pipeline("learned", 2.0, [1.0]), [SMALL, LARGE]) is None
    assert equal(pipeline("learned", 2.0, []), []) is None


def test_an_uncertain_price_widens_the_interval_by_the_slope_between_the_sizes() -> None:
    accuracies = [41.0, 43.0, 43.5]
    sure = equal(pipeline("learned", 2.0, accuracies), [SMALL, LARGE])
    unsure = equal(pipeline("learned", measured(2.0, se=0.1), accuracies), [SMALL, LARGE])
    assert sure
    assert unsure
    slope = np.mean([10.0, 10.5, 10.0]) / 2
    added = unsure.difference.errors[0].se ** 2 - sure.difference.errors[0].se ** 2
    assert math.sqrt(added) == pytest.approx(slope * 0.1)


def test_new_images_count_where_they_move_the_difference_by_more_than_new_seeds() -> None:
    stream = np.random.default_rng(0)
    images, seeds = 200, 4
    own = {"small": 0.3 * stream.random(images), "learned": 0.3 * stream.random(images)}
    own["large"] = 0.3 * stream.random(images) + 0.3
    shown = {
        f"{name} {seed}": pd.DataFrame(
            {"image": range(images), "label": 0, "predicted": stream.random(images) > chance}
        ).sample(frac=1, random_state=seed)
        for name, chance in own.items()
        for seed in range(seeds)
    }

    def scored(name: str, price: float) -> Pipeline:
        keys = {seed: f"{name} {seed}" for seed in range(seeds)}
        top1 = [100 * (shown[key]["predicted"] == 0).mean() for key in keys.values()]
        return replace(pipeline(name, price, top1), keys=keys)

    offers = [Offer(scored("learned", 1.5), [scored("small", 1.0), scored("large", 3.0)])]
    alone = at_equal_price(offers)
    found = at_equal_price(offers, NO_PRIOR, shown.get)
    assert alone
    assert found
    assert found.difference.mean == alone.difference.mean
    hits = {
        key: (one.sort_values("image")["predicted"] == 0).to_numpy(float)
        for key, one in shown.items()
    }
    by_image = 100 * np.array(
        [
            hits[f"learned {i}"] - 0.75 * hits[f"small {i}"] - 0.25 * hits[f"large {i}"]
            for i in range(seeds)
        ]
    )
    wanted = error(squares(by_image), by_image.shape, NO_PRIOR)
    assert by_image.mean() == pytest.approx(alone.difference.mean)
    assert found.difference.errors[0] == alone.difference.errors[0]
    assert found.difference.errors[1].se == pytest.approx(wanted.se)
    assert found.difference.errors[1].df == pytest.approx(wanted.df)
    shown["small 0"] = shown["small 0"][1:]  # scored on other images: over seeds alone
    assert at_equal_price(offers, NO_PRIOR, shown.get) == alone
    del shown["small 0"]
    assert at_equal_price(offers, NO_PRIOR, shown.get) == alone


def test_the_interval_covers_the_true_difference_at_the_true_price() -> None:
    stream = np.random.default_rng(0)
    covered = []
    for _ in range(2000):
        seeds = stream.normal(0, 0.8, (3, 4))
        rounds = stream.normal([[1.0], [2.0], [3.0]], 0.1 * math.sqrt(20), (3, 20))
        small, treatment, large = (
            pipeline(name, Price(of.mean(), tuple(of - of.mean())), (true + noise).tolist())
            for name, of, true, noise in zip(
                ("s", "t", "l"), rounds, (40.0, 45.0, 50.0), seeds, strict=True
            )
        )
        found = equal(treatment, [small, large])
        if found:
            interval = found.difference.interval()
            covered.append(interval.low <= 0 <= interval.high)
    assert len(covered) > 1900
    assert 0.94 < np.mean(covered) < 0.985


def test_recipes_that_are_timed_in_the_same_rounds_share_what_these_were_wrong_by() -> None:
    """Halves of the seeds, whose plain images cost the same: as one recipe of all the seeds."""
    treatment = pipeline("learned", 2.0, [45.0, 46.0, 46.5, 45.5])
    plain = [pipeline("s", measured(1.0, 0.1), [40.0] * 4), pipeline("l", 3.0, [50.0] * 4)]
    halves = [
        Offer(seeds(treatment, of), [seeds(one, of) for one in plain]) for of in ([0, 2], [1, 3])
    ]
    whole, apart = equal(treatment, plain), at_equal_price(halves)
    assert whole
    assert apart
    assert apart.difference.interval() == whole.difference.interval()


def test_the_interval_of_recipes_in_turn_covers_the_true_difference_too() -> None:
    """Both recipes' plain image was timed in the same rounds: what it is wrong by is in both."""
    stream, covered = np.random.default_rng(0), []
    for _ in range(1000):
        of = stream.normal(1.0, 0.1 * math.sqrt(20), 20)
        price = Price(of.mean(), tuple(of - of.mean()))
        ours, small, large = stream.normal([[45.0], [40.0], [50.0]], 0.3, (3, 8)).tolist()
        both = [pipeline("s", price, small), pipeline("l", 3.0, large)]
        offers = [
            Offer(seeds(pipeline("t", 2.0, ours), half), [seeds(one, half) for one in both])
            for half in ([0, 2, 4, 6], [1, 3, 5, 7])
        ]
        found = at_equal_price(offers)
        assert found
        interval = found.difference.interval()
        covered.append(interval.low <= 0 <= interval.high)
    assert 0.93 < np.mean(covered) < 0.97


def test_a_relative_price_is_paired_by_round_and_free_of_the_machines_drift() -> None:
    drift = np.array([1.0, 2.0, 4.0])
    exact = relative((3 * drift).tolist(), drift.tolist())
    assert exact.value == pytest.approx(3)
    assert exact.error.se == pytest.approx(0)
    found = relative((3 * drift * [0.99, 1.0, 1.01]).tolist(), drift.tolist())
    assert found.error.df == 2
    assert found.error.se == pytest.approx(3 * 0.01 / math.sqrt(3), rel=0.01)
    assert relative([2.0], [1.0]) is None


def test_dominated_is_said_only_where_the_intervals_say_so() -> None:
    treatment = pipeline("learned", measured(2.0, 0.01), [45.0, 46.0, 47.0])
    better = pipeline("plain 48", measured(1.9, 0.01), [48.0, 49.1, 50.0])
    unsure = pipeline("plain 40", measured(1.9, 0.01), [45.0, 48.0, 46.0])
    as_dear = pipeline("plain 50", measured(2.0, 0.01), [48.0, 49.1, 50.0])
    worse = pipeline("plain 32", measured(1.0, 0.01), [40.0, 41.1, 42.0])
    assert front(treatment, [worse, better]) == ("dominated", "plain 48")
    assert front(treatment, [worse, unsure]) == ("open", "")
    assert front(treatment, [worse, as_dear]) == ("open", "")
    assert front(treatment, [worse]) == ("on the front", "")
    counted = pipeline("same count", 2.0, [48.0, 49.1, 50.0])
    assert front(pipeline("learned", 2.0, [45.0, 46.0, 47.0]), [counted])[0] == "dominated"


def test_each_recipe_of_seeds_in_turn_is_compared_at_its_own_price() -> None:
    cheap = pipeline(
        "learned", 1.0, [41.0, 0.0, 43.0]
    )  # of seeds 0 and 2, at the small one's price
    dear = pipeline("learned", 3.0, [0.0, 51.0, 0.0])
    offers = [
        Offer(seeds(ours, which), [seeds(SMALL, which), seeds(LARGE, which)])
        for ours, which in ((cheap, [0, 2]), (dear, [1]))
    ]
    found = at_equal_price(offers)
    assert found
    assert found.difference.interval() == estimate([41 - 40, 43 - 42, 51 - 51.5]).interval()
    assert found.difference.n == 3
    better = pipeline("plain 48", 1.5, [60.0, 61.0, 62.0])
    mixed = [
        Offer(one.treatment, [seeds(better, list(one.treatment.accuracy.index))]) for one in offers
    ]
    told = lambda _: NO_PRIOR  # noqa: E731
    assert on_front(mixed, told) == ("open", "")  # dearer than one recipe, cheaper than the other
    assert on_front(mixed[1:] * 2, told) == ("open", ""), "without any spread nothing is sure"
    apart = replace(mixed[1].treatment, accuracy=mixed[1].treatment.accuracy + 1.0)
    both = [mixed[1], mixed[1]._replace(treatment=apart)]
    assert on_front(both, told) == ("dominated", "plain 48")


def test_a_plain_image_that_is_validated_otherwise_than_the_treatments_is_none_of_its_price(
    tmp_path: Path,
) -> None:
    """It costs what the right one does; images trained on antialiased are sampled in its test."""
    others = '[[arm]]\nname = "whole"\nresizer = "none"\n'
    others += (
        '[[arm]]\nname = "sampled"\nresizer = "none"\ninput_size = 32\neval_antialias = false\n'
    )
    asked, store = experiment(tmp_path, NARROW, rest=others), Store(tmp_path / "store")

    def answer(trial: Trial) -> float:
        if trial.eval_antialias is False:
            return 10.0 + trial.seed
        return {"learned": 55.0, "none": 40.0 + trial.input_size * 5 / 16}.get(trial.resizer, 0.0)

    fill(asked, store, answer)
    time_all(asked, store)
    ((row, _),) = (found := gather(asked, store)).judged
    at = {one.price: one.equal for one in paid(found, row)}
    assert at["training time"]
    assert at["training time"].difference.mean == pytest.approx(55 - (50 * 2 / 3 + 60 / 3))


def of_batches(folder: Path, batches: str) -> tuple[Evidence, Row]:
    """And its row of a learned resizer: its seeds have these batches in turn, the others 64."""
    folder.mkdir()
    experiment(folder, NARROW, seeds=4)
    text, learned = (file := folder / "toy.toml").read_text(), 'resizer = "learned"\n'
    batch = f"batch_size = {{ in_turn = {batches} }}\n"
    file.write_text(text.replace(learned, learned + batch))
    asked, store = load(str(file)), Store(folder / "store")
    fill(asked, store, lambda trial: 50.0 + trial.seed)
    time_all(asked, store)
    found = gather(asked, store)
    ((row, _),) = found.judged
    return found, row


def test_steps_of_other_batches_have_no_price_beside_one_another(tmp_path: Path) -> None:
    assert paid(*of_batches(tmp_path / "alike", "[64, 64]"))
    assert paid(*of_batches(tmp_path / "half", "[64, 32]")) == []


def test_a_speed_of_batches_in_turn_is_no_multiple_of_one_of_a_single_batch(tmp_path: Path) -> None:
    alike, half = (of_batches(tmp_path / name, name) for name in ("[64, 64]", "[64, 32]"))
    assert multiple(*alike, "train_images_per_s") == 0.5
    assert multiple(*half, "train_images_per_s") is None
    assert multiple(*half, "gmacs") == 1.5
