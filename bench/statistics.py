"""Means, paired differences, and what may be concluded from them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from scipy import stats

LEVEL = 0.95
LEAST_SEEDS = 3
"""Fewer paired seeds than this get no verdict."""

Answer = Literal["better", "worse", "no difference", "not settled", "too few seeds"]


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

    context: str
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


def paired_difference(
    table: pd.DataFrame, arm: str, to: str, metric: str = "top1_pct", level: float = LEVEL
) -> Interval:
    """t interval of `arm` minus `to` over the seeds that both finished. `table`: one context."""
    done = table[table["status"] == "ok"].set_index("seed")[["arm", metric]]
    ours, theirs = (done.loc[done["arm"] == name, metric] for name in (arm, to))
    return t_interval((ours - theirs).dropna().tolist(), level)


def verdict(
    table: pd.DataFrame, treatment: str, baseline: str, margin_pct: float, *, verdicts: int = 1
) -> Verdict:
    """Conclude from the paired seeds of one context.

    "better" and "worse": the interval of the difference leaves out zero. "no difference": two
    one-sided tests place it within the margin. The error rate of 5 % is shared out over the
    `verdicts` that the experiment gives (Bonferroni).
    """
    error = (1 - LEVEL) / verdicts
    difference = paired_difference(table, treatment, baseline, level=1 - error)
    answer = conclude(difference, margin_pct)
    more = None
    if answer == "not settled":
        low, high = seeds_to_see(margin_pct, difference, error)
        more = (max(1, low - difference.n), max(1, high - difference.n))
    context = str(table["context"].iloc[0]) if len(table) else ""
    return Verdict(context, treatment, baseline, answer, difference, margin_pct, more)


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
