"""What a design would have found, and how many seeds find a wanted difference."""

from __future__ import annotations

import math

from scipy import optimize, stats

from bench.analysis.estimate import LARGEST, Error, Estimate
from bench.analysis.statistics import LEVEL

POWER = 0.8
"""Found in four of five experiments."""

SURE = 1e4
"""So many standard errors are found by any test."""

LEAST_SE = 1e-9
"""Less is rounding of what has no spread, points."""

MOST_SEEDS = 1_000
"""Beyond these a plan is no plan."""


def power(effect: float, error: Error, level: float = LEVEL) -> float:
    """How often a two-sided t test finds a true `effect`, points (noncentral t).

    >>> round(power(1.0, Error(1.0 / 10**0.5, 9.0)), 2)
    0.8
    """
    if abs(effect) >= SURE * error.se:
        return float(effect != 0)
    critical = stats.t.ppf((1 + level) / 2, error.df)
    return float(stats.nct.sf(critical, error.df, abs(effect) / error.se))


def detectable(found: Estimate, level: float = LEVEL) -> float | None:
    """The true difference, points, that the design finds in four of five experiments.

    None below two seeds and without spread; never more than accuracies can differ.
    """
    errors = [error for error in found.errors if error.se > LEAST_SE]
    return max((_detectable(error, level) for error in errors), default=None)


def _detectable(error: Error, level: float) -> float:
    most = LARGEST
    if power(most, error, level) < POWER:
        return most
    return float(optimize.brentq(lambda it: power(it, error, level) - POWER, 0.0, most))


def seeds_needed(
    effect: float, sd: float, prior_df: float = 0.0, level: float = LEVEL
) -> int | None:
    """The fewest paired seeds that find a true `effect`; None beyond `MOST_SEEDS`.

    Args:
        effect: points.
        sd: of a seed's difference, points, moderated where there is a prior.
        prior_df: degrees of freedom of the prior.

    >>> seeds_needed(1.0, 1.0), seeds_needed(2.0, 1.1), seeds_needed(2.0, 1.1, prior_df=4)
    (10, 5, 4)
    """
    for n in range(2, MOST_SEEDS + 1):
        if power(effect, Error(sd / math.sqrt(n), prior_df + n - 1), level) >= POWER:
            return n
    return None
