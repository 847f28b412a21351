"""The variances that published experiments lend to others of the same regime.

    python -m bench.analysis.pooled

makes `pooled.csv`, beside this file, anew from the table of every published experiment. A line is
one difference of a treatment to another arm of the same context: its variance over seeds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from bench.analysis.moderated import Variances
from bench.paths import PUBLISHED

VERSION = 1
"""Raise it when the same published tables give other lines."""

FILE = Path(__file__).with_name("pooled.csv")
COLUMNS = ["top1_pct", "key"]


class Regime(NamedTuple):
    """What must be equal where one experiment's spread is to tell another's."""

    dataset: str
    backbone: str
    input_size: int  # of the treatment, pixels
    output_size: int
    length: str  # "3 epochs", "500 steps"


def length(epochs: float | None, steps: float | None) -> str:
    """How long a trial trains.

    >>> length(3.0, float("nan")), length(None, 500)
    ('3 epochs', '500 steps')
    """
    return f"{steps:.0f} steps" if steps and not np.isnan(steps) else f"{epochs or 0:.0f} epochs"


def lent(regime: Regime, own: Set[str] = frozenset()) -> list[Variances]:
    """The variances of each published experiment of a regime.

    Args:
        own: keys of the trials that are judged; a difference that rests on one of them is not lent.
    """
    table = _kept()
    same = np.all([table[name] == value for name, value in regime._asdict().items()], axis=0)
    apart = [not own & set(keys.split()) for keys in table["keys"]]
    groups = table[same & np.array(apart, dtype=bool)].groupby("experiment")
    return [
        Variances(of["variance"].to_numpy(), of["df"].to_numpy(dtype=float)) for _, of in groups
    ]


def regime_of(trial: Mapping[str, object]) -> Regime:
    """Of a row of the table; without a resizer the backbone's size is the image's."""
    size, output = (_number(trial[name]) for name in ("input_size", "output_size"))
    epochs, steps = (_number(trial[name]) for name in ("epochs", "steps"))
    of = str(trial["dataset"]), str(trial["backbone"])
    return Regime(*of, int(size), int(size if np.isnan(output) else output), length(epochs, steps))


def _number(value: object) -> float:
    return float("nan") if value is None else float(str(value))


def typical() -> float:
    """The standard deviation of a published paired difference, points: their median.

    Of real and of generated images, and of several regimes; the median leaves out what collapsed.
    """
    return float(np.sqrt(_kept()["variance"].median()))


@cache
def _kept() -> pd.DataFrame:
    return pd.read_csv(FILE, comment="#")


def variances(table: pd.DataFrame) -> Iterator[dict[str, object]]:
    """A line for each difference of a treatment in a table as `Store.table` makes it.

    Arms of other data than the treatment's are left out, and differences without any spread.
    """
    finished = table[table["status"] == "ok"]
    for _, context in finished.groupby("context", dropna=False, sort=False):
        arms = {arm: of.set_index("seed") for arm, of in context.groupby("arm", sort=False)}
        treated = context.loc[context["role"] == "treatment", "arm"].unique()
        for treatment in treated:
            for arm in (name for name in arms if name != treatment):
                if line := _line(arms[treatment], arms[arm]):
                    yield line | {"treatment": treatment, "arm": arm}


def _line(ours: pd.DataFrame, theirs: pd.DataFrame) -> dict[str, object] | None:
    both = ours[COLUMNS].merge(
        theirs[COLUMNS], left_index=True, right_index=True, suffixes=("", "_theirs")
    )
    variance = (both["top1_pct"] - both["top1_pct_theirs"]).var(ddof=1)
    first, other = ours.iloc[0], theirs.iloc[0]
    if len(both) < 2 or not variance > 0 or first["dataset"] != other["dataset"]:
        return None
    regime = regime_of({str(name): value for name, value in first.items()})
    keys = " ".join(sorted({*both["key"], *both["key_theirs"]}))
    return regime._asdict() | {"variance": round(variance, 6), "df": len(both) - 1, "keys": keys}


def collected(published: Path = PUBLISHED) -> pd.DataFrame:
    """The lines of every published experiment; each pair of trials once, at its first mention."""
    lines = [
        {"experiment": path.parent.name} | line
        for path in sorted(published.glob("*/table.csv"))
        for line in variances(pd.read_csv(path, keep_default_na=True))
    ]
    return pd.DataFrame(lines).drop_duplicates("keys", ignore_index=True)


def text(published: Path = PUBLISHED) -> str:
    """What `pooled.csv` holds."""
    origin = (
        f"# Version {VERSION}. Made by `python -m bench.analysis.pooled` from "
        "results/published/*/table.csv: variances over seeds, points squared, of a treatment's "
        "differences to other arms.\n"
    )
    return origin + collected(published).to_csv(index=False)


if __name__ == "__main__":
    FILE.write_text(text())
