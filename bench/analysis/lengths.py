"""How long an arm trains until it reaches an accuracy, from trainings of several lengths.

Seconds are the images of a training over the speed that the timing measured, never the time that
a trial took beside others. Between two lengths, accuracy is taken to grow with the logarithm of
the time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from bench.analysis.equal_price import relative
from bench.analysis.evidence import Evidence, Row
from bench.analysis.statistics import Error, Estimate, Ratio, estimate, together
from bench.spec.files import LENGTHS
from bench.spec.trial import Fields

Lengths = dict[int, list[tuple[float, float]]]
"""By seed: images that were seen and accuracy, %, the shortest training first."""


@dataclass(frozen=True)
class Line:
    """An arm's trainings of several lengths in one context."""

    rows: tuple[Row, ...]  # the shortest first

    @property
    def arm(self) -> str:
        return self.rows[0].arm.name

    @property
    def context(self) -> Fields:
        """Without the length."""
        return _elsewhere(self.rows[0])

    @property
    def speed(self) -> float:
        """Of training, images/s."""
        return self.rows[0].speed["train_images_per_s"]


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
    """Every arm that was trained for several lengths, context by context."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in evidence.rows:
        if "train_images_per_s" in row.speed and row.accuracy.n:
            found.setdefault((str(_elsewhere(row)), row.arm.name), []).append(row)
    ordered = [
        Line(tuple(sorted(rows, key=lambda row: row.trial.length))) for rows in found.values()
    ]
    return [line for line in ordered if len(line.rows) > 1]


def reached(evidence: Evidence) -> list[Reached]:
    """Every target of the experiment for every line, the lines of one target together."""
    there = lines(evidence)
    return [
        _reached(evidence, line, there, target)
        for target in evidence.experiment.spec.targets_pct
        for line in there
    ]


def seconds(line: Line, evidence: Evidence) -> list[float]:
    """What each length of a line takes at the measured speed."""
    return [_images(evidence, row) / line.speed for row in line.rows]


def _images(evidence: Evidence, row: Row) -> float:
    return next(seen for seen, _ in _of(evidence, row).values())


def _elsewhere(row: Row) -> Fields:
    return {name: value for name, value in row.context.items() if name not in LENGTHS}


def _of(evidence: Evidence, row: Row) -> dict[int, tuple[float, float]]:
    """Images that were seen and accuracy, by seed that ended well."""
    done = row.seeds[row.seeds["status"] == "ok"]
    return {
        int(seed): (float(evidence.records[key]["steps"] * row.trial.batch_size), top1)
        for seed, key, top1 in zip(done["seed"], done["key"], done["top1_pct"], strict=True)
    }


def _reached(evidence: Evidence, line: Line, lines: Sequence[Line], target: float) -> Reached:
    seeds, when = _by_seed(evidence, line), _when(evidence, line, target)
    seconds = estimate([images - math.log(line.speed) for images in when.values()])
    return Reached(
        line,
        target,
        seeds=len(seeds),
        sooner=sum(points[0][1] >= target for points in seeds.values()),
        never=sum(max(top1 for _, top1 in points) < target for points in seeds.values()),
        seconds=_exponential(seconds),
        ratio=_over(evidence, line, lines, target),
    )


def _by_seed(evidence: Evidence, line: Line) -> Lengths:
    """Of the seeds that every length has."""
    rows = [_of(evidence, row) for row in line.rows]
    return {seed: [of[seed] for of in rows] for seed in rows[0] if all(seed in of for of in rows)}


def _when(evidence: Evidence, line: Line, target: float) -> dict[int, float]:
    """The logarithm of the images at which each seed reaches it; empty unless all tell."""
    seeds = _by_seed(evidence, line)
    found = {seed: _crossing(points, target) for seed, points in seeds.items()}
    told = {seed: images for seed, images in found.items() if images is not None}
    return told if len(told) == len(seeds) else {}


def _crossing(points: Sequence[tuple[float, float]], target: float) -> float | None:
    """The logarithm of the images at which the accuracy first reaches a target, if between two."""
    for (before, low), (after, high) in pairwise(points):
        if low >= target:
            return None
        if high >= target:
            share = (target - low) / (high - low)
            return (1 - share) * math.log(before) + share * math.log(after)
    return None


def _over(evidence: Evidence, line: Line, lines: Sequence[Line], target: float) -> Ratio | None:
    """Paired by seed in images, and by round of the timing in the time of one."""
    row = line.rows[0]
    base = evidence.baseline_of(row) if row.difference is not None else None
    baseline = next((one for one in lines if any(base is of for of in one.rows)), None)
    if base is None or baseline is None:
        return None
    ours, theirs = (_when(evidence, one, target) for one in (line, baseline))
    images = estimate([ours[seed] - theirs[seed] for seed in ours if seed in theirs])
    steps = [evidence.seconds(row.label, "train", one.trial) for one in (row, base)]
    if not images.n or not all(steps) or len(steps[0]) != len(steps[1]):
        return None
    step = relative(*steps)
    timed = Error(step.se / step.value, step.df)
    errors = tuple(together(error, timed) for error in images.errors)
    whole = Estimate(images.mean + math.log(step.value), images.n, images.sd, errors)
    return _exponential(whole)


def _exponential(logarithm: Estimate) -> Ratio | None:
    """Of a mean of logarithms with its interval; None of no seed."""
    if not logarithm.n:
        return None
    found = logarithm.interval()
    return Ratio(math.exp(found.mean), math.exp(found.low), math.exp(found.high), logarithm.n)
