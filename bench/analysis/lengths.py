"""How long an arm trains until it reaches an accuracy, from trainings of several lengths.

Seconds are the images of a training over the speed that the timing measured, never the time that
a trial took beside others. Between two lengths, accuracy is taken to grow with the logarithm of
the time.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from bench.analysis.evidence import Evidence, Row
from bench.analysis.statistics import (
    Floats,
    Price,
    Ratio,
    error_of,
    estimate,
    geometric_mean,
    relative,
    together,
)
from bench.spec.trial import LENGTHS, Fields


@dataclass(frozen=True)
class Line:
    """An arm's trainings of several lengths in one context."""

    rows: Sequence[Row]  # the shortest first
    images: pd.DataFrame  # trained on, one once an epoch: seeds that every length has x lengths
    top1: pd.DataFrame  # %, likewise
    speeds: pd.Series[float]  # of training, images/s, by seed: they may take recipes in turn

    @property
    def arm(self) -> str:
        return self.rows[0].arm.name

    @property
    def context(self) -> Fields:
        """Without the length."""
        return _elsewhere(self.rows[0])

    @property
    def seconds(self) -> list[float]:
        """What each length takes at the measured speed, the mean of the seeds'."""
        return self.images.div(self.speeds.reindex(self.images.index), axis="index").mean().tolist()


@dataclass(frozen=True)
class Reached:
    """When an arm's seeds reach a target.

    There are no seconds unless every seed reaches it between two lengths: a mean of the others
    alone would be of the slow ones, or of the fast.
    """

    line: Line
    target_pct: float
    seeds: int
    sooner: int  # how many are there after the shortest training already
    never: int  # how many are not after the longest
    seconds: Ratio | None  # geometric mean over seeds, at the measured speed
    ratio: Ratio | None  # over the baseline's, where that has seconds too


def lines(evidence: Evidence) -> list[Line]:
    """Every arm of which seeds were trained for several lengths, context by context."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in evidence.rows:
        if "train_images_per_s" in row.speed and row.accuracy.n:
            found.setdefault((str(_elsewhere(row)), row.arm.name), []).append(row)
    made = [_line(evidence, rows) for rows in found.values() if len(rows) > 1]
    return [line for line in made if len(line.top1)]


def _line(evidence: Evidence, rows: Sequence[Row]) -> Line:
    ordered = sorted(rows, key=lambda row: row.trial.length)
    first = ordered[0]
    timed = evidence.timed_of(first.label, first.arm.name)
    metrics = [one["metrics"]["train_images_per_s"]["value"] for one in timed if one]
    speeds = pd.Series(metrics, list(first.trials), dtype=float)
    images = pd.concat([_images(evidence, row) for row in ordered], axis=1, join="inner")
    top1 = pd.concat([row.top1 for row in ordered], axis=1, join="inner")
    return Line(ordered, images, top1, speeds)


def _elsewhere(row: Row) -> Fields:
    return {name: value for name, value in row.context.items() if name not in LENGTHS}


def _images(evidence: Evidence, row: Row) -> pd.Series[int]:
    """What each of the row's trials that ended well has trained on, by seed."""
    records, seeds = evidence.records, row.top1.index
    images = [records[row.trials[s].key]["steps"] * row.trials[s].batch_size for s in seeds]
    return pd.Series(images, seeds)


def reached(evidence: Evidence) -> list[Reached]:
    """Every target of the experiment for every line, the lines of one target together."""
    there = lines(evidence)
    return [
        _reached(evidence, line, _base_of(evidence, line, there), target)
        for target in evidence.experiment.spec.targets_pct
        for line in there
    ]


def together_with(evidence: Evidence, line: Line, lines: Sequence[Line]) -> list[Line]:
    """Those that answer the context of one of them, that one among them."""
    first = line.rows[0]
    answering = [first, *evidence.beside(first)]
    return [one for one in lines if any(row is of for row in answering for of in one.rows)]


def _base_of(evidence: Evidence, line: Line, lines: Sequence[Line]) -> Line | None:
    """The baseline arm's line that answers the context of another arm's."""
    found = together_with(evidence, line, lines) if line.rows[0].difference else []
    return next((one for one in found if one.arm == evidence.experiment.baseline), None)


def _reached(evidence: Evidence, line: Line, base: Line | None, target: float) -> Reached:
    when = _when(line, target)
    seconds = estimate(when - np.log(line.speeds.reindex(when.index)))
    return Reached(
        line,
        target,
        seeds=len(line.top1),
        sooner=int((line.top1.iloc[:, 0] >= target).sum()),
        never=int((line.top1.max(axis="columns") < target).sum()),
        seconds=geometric_mean(seconds) if seconds.n else None,
        ratio=_over(evidence, line, base, target) if base else None,
    )


def _when(line: Line, target: float) -> pd.Series[float]:
    """The logarithm of the images at which each seed reaches it; empty unless all tell."""
    both = zip(line.images.to_numpy(), line.top1.to_numpy(), strict=True)
    when = pd.Series([_crossing(*of, target) for of in both], line.top1.index, dtype=float)
    return when if when.notna().all() else when[:0]


def _steps(line: Line, target: float) -> pd.Series[float]:
    """The same in steps, whose batches differ where arms, or recipes, have their own."""
    when = _when(line, target)
    return when - np.log([line.rows[0].trials[seed].batch_size for seed in when.index])


def _crossing(images: Floats, top1: Floats, target: float) -> float:
    """The logarithm of the images at which a seed reaches a target; nan unless between two."""
    there = np.flatnonzero(top1 >= target)
    if not len(there) or there[0] == 0:
        return math.nan
    around = slice(there[0] - 1, there[0] + 1)
    return float(np.interp(target, top1[around], np.log(images[around])))


def _over(evidence: Evidence, line: Line, baseline: Line, target: float) -> Ratio | None:
    """Paired by seed in steps, and by round of the timing in the time of one."""
    steps = (_steps(line, target) - _steps(baseline, target)).dropna()
    label, found = line.rows[0].label, dict[int, Price]()
    for seed in steps.index:
        keys = [one.rows[0].trials[seed].speed_key for one in (line, baseline)]
        step = relative(*(evidence.seconds(label, key).get("train", []) for key in keys))
        if step is None:
            return None
        found[seed] = step
    times = steps + pd.Series({seed: math.log(step.value) for seed, step in found.items()})
    whole, recipes = estimate(times), Counter(found.values())
    logs = sum(n / len(times) * of.deviations / of.value for of, n in recipes.items())
    errors = tuple(together(error, error_of(logs)) for error in whole.errors)
    return geometric_mean(replace(whole, errors=errors)) if whole.n else None
