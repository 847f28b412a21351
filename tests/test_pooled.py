"""The variances that published experiments lend."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
import pandas as pd
import pytest

from bench.analysis import pooled
from bench.analysis.moderated import bartlett
from bench.analysis.pairs import Regime, regime_of
from bench.paths import PUBLISHED

WOOF = Regime("imagewoof-160", "resnet10t", 64, 32, "3 epochs")


def test_the_table_is_what_its_command_makes_of_the_published_results() -> None:
    assert pooled.FILE.read_text() == pooled.text(), "stale: run python -m bench.analysis.pooled"


def test_a_line_is_the_variance_over_seeds_of_a_published_difference() -> None:
    table = pd.read_csv(PUBLISHED / "controls-woof-small" / "table.csv")
    scores = table.pivot_table(index="seed", columns="arm", values="top1_pct")
    wanted = (scores["learned"] - scores["capacity"]).var()
    lines = pooled.collected()
    line = lines[(lines["experiment"] == "controls-woof-small") & (lines["arm"] == "capacity")]
    assert np.isclose(line["variance"].item(), wanted, atol=1e-6)
    assert (lines["variance"] > 0).all()
    assert lines["keys"].is_unique


def test_a_new_publication_lends_nothing_and_so_moves_no_verdict() -> None:
    lending = set(pooled.collected()["experiment"])
    published = {path.parent.name for path in PUBLISHED.glob("*/table.csv")}
    assert "front-ends" in published - lending
    assert lending == set(pooled.LENDERS)


def test_only_the_same_regime_lends_and_never_an_experiments_own_trials() -> None:
    found = pooled.lent(WOOF)
    assert len(found) > 1
    assert all(float(bartlett(one)) > 0.001 for one in found)
    assert pooled.lent(WOOF._replace(length="300 epochs")) == []
    table = pd.read_csv(pooled.FILE, comment="#")
    own = frozenset(key for keys in table["keys"] for key in keys.split())
    assert pooled.lent(WOOF, own) == []


def test_arms_that_start_from_trained_weights_and_those_that_do_not_lend_each_other_nothing() -> (
    None
):
    """The former spread a third as much after ten epochs: lent, 9 % of nothing would be called."""
    ten = WOOF._replace(length="10 epochs")
    assert pooled.lent(ten) == []
    (warm,) = pooled.lent(ten._replace(length="10 epochs from trained weights"))
    assert warm.pooled < 0.3 * pooled.typical() ** 2
    line: dict[Hashable, object] = {**WOOF._asdict(), "epochs": 10, "steps": None}
    assert regime_of(line) == ten
    for start in ("resizer_from", "backbone_from", "pretrained"):
        assert regime_of(line | {start: "given"}).length == "10 epochs from trained weights"


def test_the_typical_spread_is_the_true_one_however_few_seeds_it_is_known_from(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stream = np.random.default_rng(0)
    for df in (2, 7):
        known = pd.DataFrame({"variance": stream.chisquare(df, 20_000) / df, "df": df})
        monkeypatch.setattr(pooled, "_kept", lambda known=known: known)
        assert pooled.typical() == pytest.approx(1.0, rel=0.02)
