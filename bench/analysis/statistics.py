"""Means, paired differences, and what may be concluded from them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

LEVEL = 0.95
LEAST_SEEDS = 3
"""Fewer paired seeds than this get no verdict."""

Hits = NDArray[np.bool_]
Answer = Literal[
    "better", "worse", "no difference", "not settled", "too few seeds", "tuned unequally"
]
SETTLED = ("better", "worse", "no difference")


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
        return (self.high - self.low) / 2


@dataclass(frozen=True)
class Verdict:
    """What the primary comparison says in one context."""

    treatment: str
    baseline: str
    answer: Answer
    difference: Interval
    margin_pct: float
    more_seeds: tuple[int, int] | None  # about how many more would settle it


def t_interval(values: Sequence[float], level: float = LEVEL) -> Interval:
    """Mean and t interval over independent values (here: over seeds).

    >>> t_interval([1.0, 2.0, 3.0]).low.__round__(3)
    -0.484
    """
    array = np.asarray(values, dtype=float)
    n = len(array)
    mean = float(array.mean()) if n else math.nan
    if n < 2:
        return Interval(mean, math.nan, math.nan, n, level, math.nan)
    sd = float(array.std(ddof=1))
    half = float(stats.t.ppf((1 + level) / 2, n - 1)) * sd / math.sqrt(n)
    return Interval(mean, mean - half, mean + half, n, level, sd)


def by_seed(table: pd.DataFrame, column: str = "top1_pct") -> pd.DataFrame:
    """A column of the store's table, paired: (context, seed) x arm, of trials that ended well."""
    done = table.loc[table["status"] == "ok", ["context", "seed", "arm", column]]
    return done.pivot(index=["context", "seed"], columns="arm", values=column)


def differences(pairs: pd.DataFrame, arm: str, to: str) -> pd.Series[float]:
    """`arm` minus `to` by seed, where both ended well.

    Args:
        pairs: seeds x arms, one context of `by_seed`.
    """
    both = pairs.reindex(columns=[arm, to])
    return (both[arm] - both[to]).dropna()


def paired_difference(pairs: pd.DataFrame, arm: str, to: str, level: float = LEVEL) -> Interval:
    """t interval of `arm` minus `to` over the seeds that both finished. `pairs`: one context."""
    return t_interval(differences(pairs, arm, to).tolist(), level)


def verdict(
    pairs: pd.DataFrame, treatment: str, baseline: str, margin_pct: float, *, verdicts: int = 1
) -> Verdict:
    """Conclude from the paired seeds of one context of `by_seed`.

    "better" and "worse": the interval of the difference leaves out zero. "no difference": two
    one-sided tests place it within the margin. The error rate of 5 % is shared out over the
    `verdicts` that the experiment gives (Bonferroni).
    """
    error = (1 - LEVEL) / verdicts
    difference = paired_difference(pairs, treatment, baseline, level=1 - error)
    answer = conclude(difference, margin_pct)
    more = None
    if answer == "not settled":
        low, high = seeds_to_see(margin_pct, difference, error)
        more = (max(1, low - difference.n), max(1, high - difference.n))
    return Verdict(treatment, baseline, answer, difference, margin_pct, more)


def conclude(difference: Interval, margin: float) -> Answer:
    """The answer that an interval of a difference allows."""
    if difference.n < LEAST_SEEDS:
        return "too few seeds"
    if difference.low > 0:
        return "better"
    if difference.high < 0:
        return "worse"
    n = difference.n
    one_sided = float(stats.t.ppf(difference.level, n - 1)) * difference.sd / math.sqrt(n)
    if abs(difference.mean) + one_sided < margin:
        return "no difference"
    return "not settled"


def seeds_to_see(effect: float, difference: Interval, error: float) -> tuple[int, int]:
    """Paired seeds that would show a true difference of `effect` in four of five experiments.

    A range, since the spread itself was measured on few seeds: the two ends belong to the ends
    of its 80 % chi-squared interval.
    """
    df = difference.n - 1
    spreads = [difference.sd * math.sqrt(df / stats.chi2.ppf(p, df)) for p in (0.9, 0.1)]
    low, high = (seeds_needed(effect, spread, error) for spread in spreads)
    return low, high


def seeds_needed(effect: float, sd: float, error: float = 0.05, power: float = 0.8) -> int:
    """Smallest n at which a two-sided paired t test finds `effect` with the given power.

    >>> seeds_needed(1.0, 1.0)
    10
    """
    n = 2
    while n < 10_000:
        critical = stats.t.ppf(1 - error / 2, n - 1)
        if stats.nct.sf(critical, n - 1, effect / sd * math.sqrt(n)) >= power:
            return n
        n += 1 if n < 100 else n // 10
    return n


@dataclass(frozen=True)
class Crossed:
    """A difference between two arms over seeds and images, which are crossed, not nested."""

    interval: Interval  # covers new seeds and new images; n is the number of seeds
    seeds_sd: float  # spread of a seed's true difference, points
    images_sd: float  # spread of an image's true difference, points
    discordant: list[tuple[int, int]]  # for each seed, images that only ours, only theirs got right
    p_values: list[float]  # of McNemar's exact test, for each seed


def crossed(ours: Hits, theirs: Hits, level: float = LEVEL) -> Crossed:
    """Interval of the difference in accuracy that covers new seeds and new images, points.

    Both were scored on the same images by the same seeds. With the mean squares of the two-way
    layout without replication, the variance of the mean difference is
    (MS_seeds + MS_images - MS_rest) / (seeds x images), and its degrees of freedom are
    Satterthwaite's. The interval is never taken to be narrower than that of the seeds alone.

    Args:
        ours, theirs: (seeds, images) whether each image was classified rightly.
    """
    difference = 100.0 * (ours.astype(float) - theirs.astype(float))
    s, i = difference.shape
    mean = float(difference.mean())
    by_seed, by_image = difference.mean(axis=1), difference.mean(axis=0)
    seeds = i * float(by_seed.var(ddof=1))
    images = s * float(by_image.var(ddof=1))
    rest = difference - by_seed[:, None] - by_image + mean
    left = float((rest**2).sum()) / ((s - 1) * (i - 1))
    terms = [(seeds, s - 1), (images, i - 1), (-left, (s - 1) * (i - 1))]
    variance = max(0.0, sum(ms for ms, _ in terms))
    df = variance**2 / sum(ms**2 / of for ms, of in terms) if variance else s - 1
    half = max(
        float(stats.t.ppf((1 + level) / 2, of)) * math.sqrt(part / (s * i))
        for part, of in ((variance, df), (seeds, s - 1))
    )
    only = [(int((o & ~t).sum()), int((t & ~o).sum())) for o, t in zip(ours, theirs, strict=True)]
    return Crossed(
        interval=Interval(mean, mean - half, mean + half, s, level, float(by_seed.std(ddof=1))),
        seeds_sd=math.sqrt(max(0.0, (seeds - left) / i)),
        images_sd=math.sqrt(max(0.0, (images - left) / s)),
        discordant=only,
        p_values=[mcnemar(*pair) for pair in only],
    )


def mcnemar(ours_alone: int, theirs_alone: int) -> float:
    """Two-sided exact p that images on which two classifiers differ favour neither.

    >>> mcnemar(0, 0), round(mcnemar(1, 5), 4)
    (1.0, 0.2188)
    """
    n = ours_alone + theirs_alone
    return float(stats.binomtest(ours_alone, n).pvalue) if n else 1.0


@dataclass(frozen=True)
class Ratio:
    """How many times as long one arm takes as another, measured side by side."""

    value: float
    low: float
    high: float
    rounds: int

    def differs(self, floor: float) -> bool:
        """Whether it is told from 1: beyond the noise floor, with an interval that leaves 1 out."""
        return max(self.value, 1 / self.value) > floor and not self.low <= 1 <= self.high


def time_ratio(ours: Sequence[float], theirs: Sequence[float], level: float = LEVEL) -> Ratio:
    """Ratio of two arms' seconds, paired by round: a t interval over the logarithms.

    >>> time_ratio([2.0, 4.0, 6.0], [1.0, 2.0, 3.0]).value.__round__(3)
    2.0
    """
    logs = t_interval(np.log(np.asarray(ours) / np.asarray(theirs)).tolist(), level)
    value, low, high = (math.exp(v) for v in (logs.mean, logs.low, logs.high))
    return Ratio(value, low, high, logs.n)


def noise_floor(once: Sequence[float], again: Sequence[float]) -> float:
    """How far apart two measurements of one arm may be: 1.02 is 2 %. The end of their interval.

    >>> noise_floor([1.0, 1.0, 1.0], [1.01, 0.99, 1.0]).__round__(3)
    1.025
    """
    ratio = time_ratio(once, again)
    return max(ratio.high, 1 / ratio.low)
