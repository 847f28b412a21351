"""A mean with its errors, from which intervals at any level, tests and plans are made."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from bench.analysis.moderated import NO_PRIOR, Floats, Prior
from bench.analysis.statistics import LEVEL, Interval

LARGEST = 100.0
"""No two accuracies are further apart, points: intervals end there."""


@dataclass(frozen=True)
class Error:
    """A standard error, points, and the degrees of freedom that it rests on."""

    se: float
    df: float

    def half_width(self, level: float = LEVEL) -> float:
        """Of the two-sided t interval, points."""
        return float(stats.t.ppf((1 + level) / 2, self.df)) * self.se


@dataclass(frozen=True)
class Estimate:
    """A mean difference in accuracy, points, of `n` seeds, and what it may be wrong by.

    Where there are several errors (over seeds; over seeds and images), the one that makes the
    wider interval counts.
    """

    mean: float
    n: int
    sd: float  # of a seed's difference, points
    errors: tuple[Error, ...]  # empty below two seeds

    def half_width(self, level: float = LEVEL) -> float:
        """Points; nan below two seeds."""
        return max((error.half_width(level) for error in self.errors), default=math.nan)

    def interval(self, level: float = LEVEL) -> Interval:
        """Two-sided, points, within what accuracies allow."""
        half = self.half_width(level)
        low, high = (clip(self.mean + sign * half) for sign in (-1, 1))
        return Interval(self.mean, low, high, self.n, level, self.sd)

    def within(self, margin: float, error: float) -> bool:
        """Whether two one-sided tests place it within ± margin, points."""
        return abs(self.mean) + self.half_width(1 - 2 * error) < margin


def clip(points: float) -> float:
    return min(LARGEST, max(-LARGEST, points))


def estimate(differences: Sequence[float], prior: Prior = NO_PRIOR) -> Estimate:
    """The mean of one difference by seed, its variance moderated by a prior.

    >>> estimate([1.0, 2.0, 3.0]).interval().low.__round__(3)
    -0.484
    """
    values = finite(differences)
    n = len(values)
    if n < 2:
        return Estimate(float(values.mean()) if n else math.nan, n, math.nan, ())
    own = float(values.var(ddof=1))
    variance, df = prior.moderate(own, n - 1)
    error = Error(math.sqrt(float(variance) / n), float(df))
    return Estimate(float(values.mean()), n, math.sqrt(own), (error,))


def finite(values: Sequence[float]) -> Floats:
    array: Floats = np.asarray(values, dtype=float)
    return array[np.isfinite(array)]


def simultaneous(family: Sequence[Estimate], error: float = 1 - LEVEL) -> list[Interval]:
    """Intervals that all hold at once with probability 1 - error: Bonferroni over the family.

    A family are the controls of one context, the axis effects of one experiment, or its averages.
    Dunnett's would be 3 % narrower for nine controls; it needs equal variances.
    """
    level = 1 - error / max(1, len(family))
    return [one.interval(level) for one in family]
