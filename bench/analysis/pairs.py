"""Two arms of one experiment side by side, from its table alone, and the verdicts upon them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from bench.analysis.judging import Looks, Predictions, Verdict, judge, one_class
from bench.analysis.moderated import Variances, prior_of, variances_of
from bench.analysis.pooled import Regime, lent, regime_of
from bench.analysis.statistics import NO_PRIOR, Prior

Predicted = Callable[[str], pd.DataFrame | None]
"""A trial's predictions by its key, as `Store.predictions` has them; None where there are none."""


REGIME = ["dataset", "backbone", "input_size", "output_size", "epochs", "steps"]
NEEDED = ["context", "seed", "arm", "key", "status", "top1_pct", *REGIME]
"""Columns of a table that a pair is made of."""


def no_predictions(_key: str) -> None:
    """Of a store that keeps none."""


@dataclass(frozen=True)
class Pair:
    """Two arms of one context, their trials side by side.

    Args:
        regime: of the first arm.
        trials: by seed, of those that both finished: `ours`, `theirs` in %, and the `key` of each.
        asked: the keys of all, finished or not.
        ended: seeds whose trials of both arms ended, well or not.
        planned: seeds that both arms have in the file.
    """

    context: str
    arms: tuple[str, str]
    regime: Regime
    trials: pd.DataFrame
    asked: frozenset[str]
    ended: int
    planned: int

    @cached_property
    def differences(self) -> dict[int, float]:
        """The first arm minus the second, points by seed."""
        found = self.trials["ours"] - self.trials["theirs"]
        return {int(str(seed)): float(value) for seed, value in found.items()}


def verdicts(
    table: pd.DataFrame,
    primary: tuple[str, str],
    margin_pct: float,
    *,
    looks: Sequence[int] = (),
    predicted: Predicted = no_predictions,
    unequal: bool = False,
    published: bool = True,
) -> dict[str, Verdict]:
    """The verdict of each distinct context, by the context's label.

    Args:
        table: of the whole experiment, as `Store.table` makes it.
        primary: treatment and baseline.
        looks: numbers of seeds at which a verdict is given; one, at the file's number, unless any.
        unequal: whether the two were tuned over different numbers of configurations.
        published: whether published experiments of the same regime lend their variances.
    """
    asked = distinct(pairs(table, primary[0], primary[1]))
    others = of_treatment(table, primary[0])
    found = {}
    for pair in asked:
        prior = prior_for(pair, others, predicted, published=published)
        found[pair.context] = judge(
            pair.differences,
            margin_pct,
            Looks.of(looks, pair.planned, len(asked)),
            prior=prior,
            predictions=predictions_of(pair, predicted),
            ended=pair.ended,
            unequal=unequal,
        )
    return found


def pairs(table: pd.DataFrame, arm: str, to: str) -> Iterator[Pair]:
    """`arm` and `to` in each context that has both, on the same data."""
    if arm == to:
        return
    named = table.reindex(columns=NEEDED).set_index(["context", "seed"])
    ours, theirs = (named[named["arm"] == name] for name in (arm, to))
    both = ours.join(theirs.add_suffix("_theirs"), how="inner")
    states = both[["status", "status_theirs"]]
    both["ended"], both["ok"] = (states != "missing").all(axis=1), (states == "ok").all(axis=1)
    for context, rows in both.groupby("context", dropna=False, sort=False):
        if (rows["dataset"] == rows["dataset_theirs"]).all():
            yield _pair(
                "" if pd.isna(context) else str(context), (arm, to), rows.droplevel("context")
            )


def _pair(context: str, arms: tuple[str, str], both: pd.DataFrame) -> Pair:
    names = {"top1_pct": "ours", "top1_pct_theirs": "theirs"}
    names |= {"key": "ours_key", "key_theirs": "theirs_key"}
    return Pair(
        context,
        arms,
        regime_of({str(name): value for name, value in both.iloc[0].items()}),
        both.loc[both["ok"], list(names)].rename(columns=names).dropna(),
        frozenset({*both["key"], *both["key_theirs"]}),
        ended=int(both["ended"].sum()),
        planned=len(both),
    )


def of_treatment(table: pd.DataFrame, treatment: str) -> list[Pair]:
    """The treatment beside every other arm, in each context."""
    return distinct(p for arm in table["arm"].unique() for p in pairs(table, treatment, arm))


def distinct(found: Iterable[Pair]) -> list[Pair]:
    """Each pair of trials once, in the first context that has it."""
    first: dict[frozenset[str], Pair] = {}
    for pair in found:
        first.setdefault(pair.asked, pair)
    return list(first.values())


def prior_for(
    pair: Pair, others: Sequence[Pair], predicted: Predicted, *, published: bool = True
) -> Prior:
    """What the other differences of the regime say of the variance of this one."""
    own = variances_of([list(pair.differences.values())])
    if not own.count:
        return NO_PRIOR
    near = [
        list(one.differences.values())
        for one in others
        if one.regime == pair.regime and one.asked != pair.asked and not _collapsed(one, predicted)
    ]
    used = frozenset[str]().union(pair.asked, *(one.asked for one in others))
    elsewhere: Sequence[Variances] = lent(pair.regime, used) if published else ()
    return prior_of(float(own.values[0]), float(own.df[0]), variances_of(near), elsewhere)


def _collapsed(pair: Pair, predicted: Predicted) -> bool:
    """Whether a trial of either arm predicts one class for every image."""
    found = (predicted(key) for key in (*pair.trials["ours_key"], *pair.trials["theirs_key"]))
    return any(one_class(_stacked([one])) for one in found if one is not None)


def predictions_of(pair: Pair, predicted: Predicted) -> tuple[Predictions, Predictions] | None:
    """Of both arms over the seeds that both finished; None unless all of them have some."""
    arms = [[predicted(key) for key in pair.trials[f"{side}_key"]] for side in ("ours", "theirs")]
    found = [[one for one in arm if one is not None] for arm in arms]
    if len(pair.trials) == 0 or [len(arm) for arm in found] != [len(pair.trials)] * 2:
        return None
    ours, theirs = (_stacked(arm) for arm in found)
    return (ours, theirs) if np.array_equal(ours.labels, theirs.labels) else None


def _stacked(tables: Sequence[pd.DataFrame]) -> Predictions:
    ordered = [table.sort_values("image") for table in tables]
    return Predictions(
        ordered[0]["label"].to_numpy(), np.array([of["predicted"].to_numpy() for of in ordered])
    )
