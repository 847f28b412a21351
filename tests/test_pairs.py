"""The verdicts of an experiment from its table, and of those that are published."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench.analysis import judging
from bench.analysis.judging import Verdict
from bench.analysis.moderated import MOST_DF
from bench.analysis.pairs import Predicted
from bench.analysis.pooled import Peers
from bench.errors import InputError
from bench.paths import PUBLISHED
from bench.spec.files import load
from bench.store import Store
from tests.conftest import WriteExperiment, toy_toml

PRIMARY = ("learned", "plain")
REGIME = {"dataset": "toy", "backbone": "b", "input_size": 64, "output_size": 32, "epochs": 3}


def row(arm: str, seed: int, value: float, context: str = "", **more: object) -> dict[str, object]:
    fields = {"arm": arm, "seed": seed, "context": context, "status": "ok", "steps": None}
    named = {"key": f"{arm}-{seed}-{context}", "top1_pct": value}
    return fields | REGIME | named | more


def verdicts(
    table: pd.DataFrame,
    primary: tuple[str, str],
    margin_pct: float,
    predicted: Predicted = lambda _: None,
    looks: tuple[int, ...] = (),
) -> dict[str, Verdict]:
    peers = Peers(table, primary[0], predicted)
    return judging.verdicts(table, primary, margin_pct, peers, looks=looks)


def table(stream: np.random.Generator, arms: int, seeds: int = 3) -> pd.DataFrame:
    names = ["learned", "plain", *(f"control {i}" for i in range(arms - 2))]
    return pd.DataFrame(
        [row(arm, seed, 50 + stream.normal()) for arm in names for seed in range(seeds)]
    )


def predicted(name: str) -> Predicted:
    store = Store(PUBLISHED / name)
    return lambda key: store.predictions(key) if store.has_predictions(key) else None


def test_the_other_arms_of_the_same_regime_are_the_prior_and_those_of_another_are_not() -> None:
    whole = table(np.random.default_rng(0), arms=10)
    (found,) = verdicts(whole, PRIMARY, 1.0).values()
    assert 0 < found.prior.df <= MOST_DF
    assert found.difference != found.own
    elsewhere = whole.assign(context="a")
    moved = elsewhere.assign(context="b", epochs=9, key=elsewhere["key"] + "b")
    alone = elsewhere[elsewhere["arm"].isin(PRIMARY)]
    (one, _) = verdicts(pd.concat([alone, moved]), PRIMARY, 1.0).values()
    assert one.prior.df == 0
    assert one.difference == one.own


def test_contexts_share_the_error_and_those_with_the_same_trials_are_one() -> None:
    first = table(np.random.default_rng(1), arms=2).assign(context="a")
    again = first.assign(context="b")
    other = first.assign(context="c", key=first["key"] + "c")
    found = verdicts(pd.concat([first, again, other]), PRIMARY, 1.0)
    assert list(found) == ["a", "c"]
    assert found["a"].difference.level == pytest.approx(0.975)


def test_the_one_look_is_at_the_files_number_of_seeds_whether_or_not_all_of_them_ended_well() -> (
    None
):
    whole = table(np.random.default_rng(2), arms=2, seeds=4)
    late = (whole["seed"] == 3) & (whole["arm"] == "learned")
    waiting = whole.assign(status=np.where(late, "missing", "ok"))
    lost = whole.assign(status=np.where(late, "failed", "ok"))
    reasons = [
        next(iter(verdicts(of, PRIMARY, 1.0).values())).reason for of in (whole, waiting, lost)
    ]
    assert reasons == [None, "before a look", None]
    (early,) = verdicts(waiting, PRIMARY, 1.0, looks=(3, 4)).values()
    assert (early.ended, early.reason, early.difference.level) == (3, None, 0.975)


def test_an_experiment_without_any_finished_pair_has_numbers_of_nothing_and_a_reason() -> None:
    nothing = table(np.random.default_rng(3), arms=2).assign(status="missing", top1_pct=math.nan)
    (found,) = verdicts(nothing, PRIMARY, 1.0).values()
    assert (found.answer, found.reason, found.detectable) == (
        "no verdict", "before a look", None,
    )  # fmt: skip


def test_an_arm_that_collapsed_lends_no_variance() -> None:
    whole = table(np.random.default_rng(4), arms=3)
    labels = np.arange(100) % 10
    fine = pd.DataFrame({"image": range(100), "label": labels, "predicted": labels})
    stuck = fine.assign(predicted=0)
    (found,) = verdicts(
        whole, PRIMARY, 1.0, predicted=lambda key: stuck if "control" in key else fine
    ).values()
    assert found.prior.df == 0


@pytest.mark.parametrize("name", ["controls-woof-small", "ablate-epochs-small", "woof-first"])
def test_published_verdicts_are_drawn_with_their_images_and_with_a_prior_of_their_regime(
    name: str,
) -> None:
    whole = pd.read_csv(PUBLISHED / name / "table.csv")
    found = verdicts(whole, PRIMARY, 1.0, predicted=predicted(name))
    for one in found.values():
        assert one.crossed
        assert one.reason is None
        assert one.detectable
        assert -100 < one.difference.low < one.difference.high < 100


def test_looks_are_declared_in_the_file_and_reach_no_further_than_its_seeds(
    write_experiment: WriteExperiment,
) -> None:
    assert write_experiment().spec.looks == ()
    with pytest.raises(InputError, match=r"looks = \[3\]: rising numbers of seeds, none beyond"):
        write_experiment(top="looks = [3]")
    with pytest.raises(InputError, match="greater than or equal to 3"):
        write_experiment(top="looks = [2]")


def test_looks_reach_no_further_than_the_seeds_of_the_arms_that_are_compared(
    tmp_path: Path,
) -> None:
    text = toy_toml(top="looks = [3, 4]").replace("[0, 1]", "[0, 1, 2, 3]")
    (tmp_path / "toy.toml").write_text(text)
    assert load(str(tmp_path / "toy.toml")).spec.looks == (3, 4)
    (tmp_path / "toy.toml").write_text(text.replace("num_kernels = 4", "seeds = 3"))
    with pytest.raises(InputError, match="none beyond the 3 that the arms to be compared have"):
        load(str(tmp_path / "toy.toml"))
