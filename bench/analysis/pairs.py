"""Two arms of one experiment side by side, from its table alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Predicted = Callable[[str], pd.DataFrame | None]
"""A trial's predictions by its key, as `Store.predictions` has them; None where there are none."""

Line = Mapping[Hashable, Any]
"""Of a table, by column: plain Python reads few lines ten times as fast as pandas does."""


class Regime(NamedTuple):
    """What must be equal where one difference's spread is to tell another's."""

    dataset: str
    backbone: str
    input_size: int  # of the treatment, pixels
    output_size: int
    length: str  # "3 epochs", "500 steps", "10 epochs from trained weights"


STARTS = ("resizer_from", "backbone_from", "pretrained")
NEEDED = ["context", "seed", "arm", "key", "status", "top1_pct"]
NEEDED += ["dataset", "backbone", "input_size", "output_size", "epochs", "steps", *STARTS]
"""Columns of a table that a pair is made of."""


@dataclass(frozen=True)
class Pair:
    """Two arms of one context, their trials side by side."""

    context: str
    regime: Regime  # of the first arm
    both: Mapping[int, tuple[Line, Line]]  # by each seed that both arms have in the file

    @cached_property
    def asked(self) -> frozenset[str]:
        """The keys of all trials, finished or not."""
        return frozenset(of["key"] for trials in self.both.values() for of in trials)

    @property
    def planned(self) -> int:
        """How many seeds both arms have in the file."""
        return len(self.both)

    @property
    def ended(self) -> int:
        """Seeds whose trials of both arms ended, well or not."""
        return sum("missing" not in _states(trials) for trials in self.both.values())

    @cached_property
    def trials(self) -> pd.DataFrame:
        """By seed, of those that both finished: ours, theirs in %, and either key."""
        found = [
            (seed, *(of["top1_pct"] for of in trials), *(of["key"] for of in trials))
            for seed, trials in sorted(self.both.items())
            if _states(trials) == {"ok"}
        ]
        numbers = {"seed": int, "ours": float, "theirs": float}
        kinds = {**numbers, "ours_key": object, "theirs_key": object}
        return pd.DataFrame(found, columns=list(kinds)).astype(kinds).dropna().set_index("seed")

    @cached_property
    def differences(self) -> pd.Series[float]:
        """The first arm minus the second, points by seed."""
        return self.trials["ours"] - self.trials["theirs"]


class Predictions(NamedTuple):
    """What the models of one arm said of the same validation images, seed by seed."""

    labels: NDArray[np.int64]  # (images,)
    predicted: NDArray[np.int64]  # (seeds, images)

    @property
    def hits(self) -> NDArray[np.bool_]:
        return np.asarray(self.predicted == self.labels)

    @property
    def one_class(self) -> bool:
        """Whether some model predicts one class for every image, and the images have several."""
        several = np.ptp(self.labels) > 0
        return bool(several and (np.ptp(self.predicted, axis=1) == 0).any())

    @property
    def at_chance(self) -> bool:
        """Whether the mean accuracy is not two standard errors above the best constant answer's."""
        images = len(self.labels)
        constant = float(np.unique(self.labels, return_counts=True)[1].max()) / images
        error = math.sqrt(constant * (1 - constant) / images)
        return float(self.hits.mean()) <= constant + 2 * error


def pairs(table: pd.DataFrame, arm: str, to: str) -> Iterator[Pair]:
    """`arm` and `to` in each context of `Store.table`, or of a part, with both on the same data."""
    if arm == to:
        return
    ours, theirs = (_by_seed(table, name) for name in (arm, to))
    for context, mine in ours.items():
        others = theirs.get(context, {})
        both = {seed: (one, others[seed]) for seed, one in mine.items() if seed in others}
        if both and all(one["dataset"] == other["dataset"] for one, other in both.values()):
            yield Pair(context, regime_of(next(iter(both.values()))[0]), both)


def _by_seed(table: pd.DataFrame, arm: str) -> dict[str, dict[int, Line]]:
    """An arm's lines by the label of their context, and by seed."""
    found: dict[str, dict[int, Line]] = {}
    lines = table.reindex(columns=NEEDED)[table["arm"] == arm]
    for line in lines.to_dict("records"):
        context = "" if pd.isna(line["context"]) else str(line["context"])
        found.setdefault(context, {})[line["seed"]] = line
    return found


def _states(trials: Iterable[Line]) -> set[str]:
    return {of["status"] for of in trials}


def regime_of(trial: Line) -> Regime:
    """Of a line of the table; without a resizer the backbone's size is the image's."""
    known = {name: value for name, value in trial.items() if not pd.isna(value)}
    size, steps, epochs = int(known["input_size"]), known.get("steps"), known.get("epochs", 0)
    length = f"{steps:.0f} steps" if steps else f"{epochs:.0f} epochs"
    if any(name in known for name in STARTS):
        length += " from trained weights"
    output = int(known.get("output_size", size))
    return Regime(known["dataset"], known["backbone"], size, output, length)


def of_treatment(table: pd.DataFrame, treatment: str) -> list[Pair]:
    """The treatment beside every other arm, in each context."""
    return distinct(p for arm in table["arm"].unique() for p in pairs(table, treatment, arm))


def distinct(found: Iterable[Pair]) -> list[Pair]:
    """Each pair of trials once, in the first context that has it."""
    first: dict[frozenset[str], Pair] = {}
    for pair in found:
        first.setdefault(pair.asked, pair)
    return list(first.values())


def predictions_of(pair: Pair, predicted: Predicted) -> tuple[Predictions, Predictions] | None:
    """Of both arms over the seeds that both finished; None unless all have some of one data set."""
    keys = [*pair.trials["ours_key"], *pair.trials["theirs_key"]]
    found = [one for key in keys if (one := predicted(key)) is not None]
    if not found or len(found) < len(keys):
        return None
    tables = [one.sort_values("image", ignore_index=True) for one in found]
    shown = tables[0][["image", "label"]]
    if not all(shown.equals(one[["image", "label"]]) for one in tables):
        return None
    labels, said = shown["label"].to_numpy(), np.array([one["predicted"] for one in tables])
    ours, theirs = np.split(said, 2)
    return Predictions(labels, ours), Predictions(labels, theirs)
