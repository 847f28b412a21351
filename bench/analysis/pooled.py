"""What other differences of a regime say of a variance: its prior.

    python -m bench.analysis.pooled

makes `pooled.csv`, beside this file, anew from the tables of the published experiments that lend. A
line is one difference of a treatment to another arm of the same context: its variance over seeds.
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import special

from bench.analysis.moderated import Variances, prior_among
from bench.analysis.pairs import Pair, Predicted, Predictions, Regime, of_treatment, pairs
from bench.analysis.statistics import Prior
from bench.paths import PUBLISHED

VERSION = 3  # raise it when the same published tables give other lines
LENDERS = (
    "ablate-backbones-small",
    "ablate-blocks-small",
    "ablate-epochs-small",
    "ablate-interpolation-small",
    "ablate-size-small",
    "answer-convnext",
    "answer-equal-price",
    "answer-warm-start",
    "check-verdicts-images",
    "controls-fine",
    "controls-nette-small",
    "controls-woof-small",
    "quick",
    "search-quick",
    "search-resizer-small",
    "seed-table-small",
    "transfer-small",
    "woof-first",
)
"""Named, so that no verdict moves because another experiment is published."""

FILE = Path(__file__).with_name("pooled.csv")


class Peers:
    """The differences of one treatment in an experiment, each of which tells of the others' spread.

    One in which a trial predicts a single class for every image tells nothing.
    """

    def __init__(self, table: pd.DataFrame, treatment: str, predicted: Predicted) -> None:
        @cache
        def one_class(key: str) -> bool:
            said = predicted(key)
            if said is None:
                return False
            labels, answers = said["label"].to_numpy(), said["predicted"].to_numpy()[None]
            return Predictions(labels, answers).one_class

        found = of_treatment(table, treatment)
        self.predicted = predicted
        self.keys = frozenset[str]().union(*(one.asked for one in found))
        self.lending = [
            one
            for one in found
            if not any(map(one_class, (*one.trials["ours_key"], *one.trials["theirs_key"])))
        ]

    def prior(self, pair: Pair) -> Prior:
        """What the others of its regime say of the variance of a difference, a peer or not."""
        alike = [one for one in self.lending if one.regime == pair.regime]
        near = (one.differences for one in alike if one.asked != pair.asked)
        return prior_among(pair.differences, near, lent(pair.regime, self.keys | pair.asked))


def lent(regime: Regime, own: Set[str] = frozenset()) -> list[Variances]:
    """The variances of a regime, by published experiment; none that rests on a trial of `own`."""
    found = []
    for lender, keys in _of(regime):
        apart = np.array([own.isdisjoint(of) for of in keys])
        if apart.any():
            found.append(Variances(lender.values[apart], lender.df[apart]))
    return found


def typical() -> float:
    """The standard deviation of a published paired difference, points: the median of all regimes.

    It leaves out what collapsed. A sample counts as the variance whose median sample it is.
    """
    variance, df = _kept()["variance"], _kept()["df"]
    return float(np.sqrt(np.median(variance * df / special.chdtri(df, 0.5))))


@cache
def _of(regime: Regime) -> list[tuple[Variances, list[frozenset[str]]]]:
    """The lines of a regime by experiment: variances, and the keys of the trials behind each."""
    table = _kept()
    same = np.all([table[name] == value for name, value in regime._asdict().items()], axis=0)
    return [
        (
            Variances(of["variance"].to_numpy(), of["df"].to_numpy(dtype=float)),
            [frozenset(keys.split()) for keys in of["keys"]],
        )
        for _, of in table[same].groupby("experiment")
    ]


@cache
def _kept() -> pd.DataFrame:
    return pd.read_csv(FILE, comment="#")


def text() -> str:
    """What `pooled.csv` holds."""
    origin = (
        f"# Version {VERSION}. Made by `python -m bench.analysis.pooled` from "
        "the tables of its LENDERS: variances over seeds, points squared, of a treatment's "
        "differences to other arms.\n"
    )
    return origin + collected().to_csv(index=False)


def collected() -> pd.DataFrame:
    """The lines of those that lend; each pair of trials once, at its first mention."""
    lines = [
        {"experiment": name} | line
        for name in LENDERS
        for _, context in pd.read_csv(PUBLISHED / name / "table.csv").groupby(
            "context", dropna=False, sort=False
        )
        for line in variances(context)
    ]
    return pd.DataFrame(lines).drop_duplicates("keys", ignore_index=True)


def variances(context: pd.DataFrame) -> Iterator[dict[str, object]]:
    """A line for each difference of a treatment in the table of one context, if it has spread."""
    for treatment in context.loc[context["role"] == "treatment", "arm"].unique():
        for arm in context["arm"].unique():
            for pair in pairs(context, treatment, arm):
                variance, n = pair.differences.var(ddof=1), len(pair.trials)
                if variance > 0:
                    keys = " ".join(sorted({*pair.trials["ours_key"], *pair.trials["theirs_key"]}))
                    found = {"variance": round(variance, 6), "df": n - 1, "keys": keys}
                    yield pair.regime._asdict() | found | {"treatment": treatment, "arm": arm}


if __name__ == "__main__":
    FILE.write_text(text(), "utf-8")
