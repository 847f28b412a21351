"""Means with their errors, the intervals made of them, and what a design would find."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

Floats: TypeAlias = NDArray[np.float64]

LEVEL = 0.95  # of intervals
LARGEST = 100.0  # no two accuracies are further apart, points: intervals end there
POWER = 0.8  # what is found in four of five experiments is detectable
LEAST_SE = 1e-9  # less is rounding of what has no spread, points
SURE = 1e4  # so many standard errors are found by any test


@dataclass(frozen=True)
class Interval:
    """A mean with its two-sided t interval; the bounds are nan below two values."""

    mean: float
    low: float
    high: float
    n: int
    level: float
    sd: float

    @property
    def half_width(self) -> float:
        """Of the longer side: the other one may end at what accuracies allow."""
        return max(self.high - self.mean, self.mean - self.low)

    def is_within(self, margin: float) -> bool:
        """Whether all of it lies closer to zero than the margin."""
        return max(abs(self.low), abs(self.high)) < margin


@dataclass(frozen=True)
class Error:
    """A standard error, points, and the degrees of freedom that it rests on."""

    se: float
    df: float

    def half_width(self, level: float = LEVEL) -> float:
        """Of the two-sided t interval, points."""
        return float(special.stdtrit(self.df, (1 + level) / 2)) * self.se if self.se else 0.0

    def power(self, effect: float, level: float = LEVEL) -> float:
        """How often a two-sided t test finds a true `effect`, points (noncentral t).

        >>> round(Error(1.0 / 10**0.5, 9.0).power(1.0), 2)
        0.8
        """
        if abs(effect) >= SURE * self.se:
            return float(effect != 0)
        critical = special.stdtrit(self.df, (1 + level) / 2)
        return 1 - float(special.nctdtr(self.df, abs(effect) / self.se, critical))

    def detectable(self, level: float = LEVEL) -> float:
        """The least true difference, points, that is found with `POWER`."""
        if self.power(LARGEST, level) < POWER:
            return LARGEST
        critical = special.stdtrit(self.df, (1 + level) / 2)
        return float(special.nctdtrinc(self.df, 1 - POWER, critical)) * self.se


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

    def detectable(self, level: float = LEVEL) -> float | None:
        """What its design finds in four of five experiments; None without spread."""
        found = (error.detectable(level) for error in self.errors if error.se > LEAST_SE)
        return max(found, default=None)


@dataclass(frozen=True)
class Prior:
    """What other differences say of a variance."""

    df: Floats  # degrees of freedom; 0 where they say nothing
    variance: Floats  # points squared; of no meaning where `df` is 0

    def moderate(self, variance: ArrayLike, df: float) -> tuple[Floats, Floats]:
        """The moderated variance, points squared, and its degrees of freedom.

        >>> Prior(np.array(4.0), np.array(1.0)).moderate(4.0, 2)
        (array(2.), array(6.))
        """
        total = self.df + df
        lent = np.where(self.df > 0, self.df * self.variance, 0.0)
        return np.asarray((lent + df * np.asarray(variance)) / total), np.asarray(total)


NO_PRIOR = Prior(np.array(0.0), np.array(1.0))


def clip(points: float) -> float:
    return float(np.clip(points, -LARGEST, LARGEST))


def estimate(values: ArrayLike, prior: Prior = NO_PRIOR) -> Estimate:
    """The mean of one difference by seed, its variance moderated by a prior.

    >>> estimate([1.0, 2.0, 3.0]).interval().low.__round__(3)
    -0.484
    """
    array = np.asarray(values, dtype=float)
    array = array[np.isfinite(array)]
    n = len(array)
    mean = float(array.mean()) if n else math.nan
    if n < 2:
        return Estimate(mean, n, math.nan, ())
    own = float(array.var(ddof=1))
    variance, df = prior.moderate(own, n - 1)
    return Estimate(mean, n, math.sqrt(own), (Error(math.sqrt(float(variance) / n), float(df)),))


def t_interval(values: ArrayLike, level: float = LEVEL) -> Interval:
    """Mean and plain t interval over independent values (here: over seeds, or rounds)."""
    return estimate(values).interval(level)


def simultaneous(family: Sequence[Estimate]) -> list[Interval]:
    """Intervals that all hold at once at `LEVEL`: Bonferroni over the family.

    A family are the controls of one context, or the axis effects of one experiment. Dunnett's
    would be 3 % narrower for nine controls; it needs equal variances.
    """
    level = 1 - (1 - LEVEL) / max(1, len(family))
    return [one.interval(level) for one in family]


def together(*errors: Error) -> Error:
    """Independent errors added; degrees of freedom are Satterthwaite's.

    >>> together(Error(3.0, 4.0), Error(4.0, float("inf"))).se
    5.0
    """
    variances = [error.se**2 for error in errors]
    spread = sum(v**2 / error.df for v, error in zip(variances, errors, strict=True))
    total = sum(variances)
    return Error(math.sqrt(total), total**2 / spread if spread else math.inf)


@dataclass(frozen=True)
class Ratio:
    """A ratio with its interval: of times that were measured side by side, of gains, …"""

    value: float
    low: float
    high: float
    n: int  # of what it is the mean of: rounds, seeds, comparisons

    def differs(self, floor: float) -> bool:
        """Whether it is told from 1: beyond the noise floor, with an interval that leaves 1 out."""
        return max(self.value, 1 / self.value) > floor and not self.low <= 1 <= self.high


def time_ratio(ours: ArrayLike, theirs: ArrayLike) -> Ratio:
    """Ratio of two arms' seconds, paired by round: a t interval over the logarithms.

    >>> time_ratio([2.0, 4.0, 6.0], [1.0, 2.0, 3.0]).value.__round__(3)
    2.0
    """
    return geometric_mean(estimate(np.log(np.asarray(ours) / np.asarray(theirs))))


def geometric_mean(logarithm: Estimate) -> Ratio:
    """Of ratios, from the mean of their logarithms."""
    found = logarithm.interval()
    value, low, high = (math.exp(v) for v in (found.mean, found.low, found.high))
    return Ratio(value, low, high, found.n)


@dataclass(frozen=True)
class Price:
    """What an image costs, in any unit, all of one comparison in the same one."""

    value: float
    rounds: tuple[float, ...] = ()  # how far each round's is from it; none of a counted price

    @property
    def deviations(self) -> Floats:
        """Of each round; 0 of a price that is counted."""
        return np.asarray(self.rounds or 0.0)

    @property
    def error(self) -> Error:
        return error_of(self.deviations)


def error_of(deviations: ArrayLike) -> Error:
    """Of the mean of rounds, from how far each is from it; none of what is counted.

    >>> error_of([-1.0, 0.0, 1.0]), error_of(0.0).se
    (Error(se=0.5773502691896258, df=2.0), 0.0)
    """
    rounds = np.atleast_1d(deviations)
    n = len(rounds)
    if n < 2:
        return Error(0.0, math.inf)
    return Error(float(rounds.std(ddof=1)) / math.sqrt(n), n - 1.0)


def relative(seconds: Sequence[float], reference: Sequence[float]) -> Price | None:
    """A time as multiples of a reference's, paired by round of the timing.

    A drift of the machine is in both and leaves the ratio. The reference itself has the price 1,
    without an error; so the treatment is best taken as the reference. None below two rounds of
    both, of which no error is known.

    >>> relative([2.0, 4.0, 6.0], [1.0, 2.0, 3.0]).value.__round__(6)
    2.0
    """
    if not len(seconds) == len(reference) > 1:
        return None
    logs = np.log(np.asarray(seconds, dtype=float) / np.asarray(reference, dtype=float))
    value = math.exp(float(logs.mean()))
    return Price(value, tuple((value * (logs - logs.mean())).tolist()))


def noise_floor(once: ArrayLike, again: ArrayLike) -> float:
    """How far apart two measurements of one arm may be: 1.02 is 2 %. The end of their interval.

    >>> noise_floor([1.0, 1.0, 1.0], [1.01, 0.99, 1.0]).__round__(3)
    1.025
    """
    ratio = time_ratio(once, again)
    return max(ratio.high, 1 / ratio.low)
