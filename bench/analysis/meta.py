"""A summary over experiments: random effects over distinct comparisons, and shares of headroom."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import special

from bench.analysis.moderated import prior_df, variances_of
from bench.analysis.statistics import (
    LEVEL,
    NO_PRIOR,
    Floats,
    Interval,
    Prior,
    Ratio,
    clip,
    estimate,
)


@dataclass(frozen=True)
class Comparison:
    """A treatment against a baseline in one context of one experiment."""

    differences: Mapping[int, float]  # treatment minus baseline, points, by seed
    base_runs: frozenset[str]  # keys of the baseline's trials, and of those that any starts from

    @property
    def mean(self) -> float:
        return float(np.mean(list(self.differences.values())))


def distinct(comparisons: Iterable[Comparison]) -> list[Comparison]:
    """Those that share a base run made one: the mean of their differences, seed by seed.

    Over the seeds that all of them have; where there is none, the one with the most seeds stands.
    """
    groups: list[list[Comparison]] = []
    for one in comparisons:
        near = [g for g in groups if any(one.base_runs & of.base_runs for of in g)]
        groups = [g for g in groups if g not in near] + [[*(of for g in near for of in g), one]]
    return [_merged(group) for group in groups]


def _merged(group: Sequence[Comparison]) -> Comparison:
    mean = pd.DataFrame([one.differences for one in group]).dropna(axis="columns").mean()
    if mean.empty:
        return max(group, key=lambda one: len(one.differences))
    runs = frozenset[str]().union(*(one.base_runs for one in group))
    return Comparison(dict(mean), runs)


@dataclass(frozen=True)
class Summary:
    """Random effects over distinct comparisons, points."""

    mean: Interval  # n: comparisons; sd: tau
    tau: float  # spread of the true differences
    prediction: tuple[float, float] | None  # where a new comparison's true difference lies


def random_effects(means: Sequence[float], variances: Sequence[float]) -> Summary | None:
    """The mean over comparisons whose true differences differ, too; None below two.

    tau is Paule and Mandel's, which assumes no distribution and is the least biased where there
    are few comparisons; the interval is Hartung and Knapp's (t with k - 1 degrees of freedom),
    never narrower than without their factor.

    Args:
        means: differences, points.
        variances: of these means, points squared; above zero.
    """
    y, v = np.asarray(means, dtype=float), np.asarray(variances, dtype=float)
    k = len(y)
    if k < 2:
        return None
    tau2 = paule_mandel(y, v)
    weights = 1 / (v + tau2)
    mean = float(weights @ y / weights.sum())
    factor = max(1.0, float(weights @ (y - mean) ** 2) / (k - 1))
    se = math.sqrt(factor / weights.sum())
    half = float(special.stdtrit(k - 1, (1 + LEVEL) / 2)) * se
    interval = Interval(mean, clip(mean - half), clip(mean + half), k, LEVEL, math.sqrt(tau2))
    return Summary(interval, math.sqrt(tau2), _prediction(y, v))


def _prediction(y: Floats, v: Floats) -> tuple[float, float] | None:
    """The middle 95 % of what a new comparison's true difference may be; None below three.

    Over the distribution of tau that the exact one of the generalised Q gives, since its estimate
    is 0 in many samples whose tau is not (Nagashima, Noma and Furukawa 2019). Simulated, it covers
    93 to 99 %.
    """
    if len(y) < 3:
        return None
    from scipy import optimize  # half a second, which most pages do without

    tau2 = _tau2_quantiles(y, v)
    weights = 1 / (v + tau2[:, None])
    total = weights.sum(axis=1)
    at, spread = weights @ y / total, np.sqrt(tau2 + 1 / total)
    far = float(np.abs(at).max() + 10 * spread.max())

    def beyond(x: float, p: float) -> float:
        return float(special.ndtr((x - at) / spread).mean()) - p

    low, high = (
        clip(float(optimize.brentq(beyond, -far, far, args=(p,))))
        for p in ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
    )
    return low, high


def _tau2_quantiles(y: Floats, v: Floats, count: int = 201) -> Floats:
    """Evenly spaced quantiles of tau squared, given that its Q has k - 1 degrees of freedom."""
    scale = float(np.ptp(y)) ** 2 + float(v.mean())
    tau2 = np.concatenate([[0.0], np.geomspace(1e-6, 1e4, 400) * scale])
    weights = 1 / (v + tau2[:, None])
    means = weights @ y / weights.sum(axis=1)
    q = (weights * (y - means[:, None]) ** 2).sum(axis=1)
    wanted = special.chdtri(len(y) - 1, 1 - (np.arange(count) + 0.5) / count)
    return np.asarray(np.interp(wanted, q[::-1], tau2[::-1]), dtype=float)


def paule_mandel(means: ArrayLike, variances: ArrayLike) -> float:
    """tau squared at which Cochran's Q is what is expected of it; 0 where it is below already.

    >>> round(paule_mandel([-1.0, 0.0, 1.0], [0.5, 0.5, 0.5]), 3)
    0.5
    """
    y, v = np.asarray(means, dtype=float), np.asarray(variances, dtype=float)

    def excess(tau2: float) -> float:
        weights = 1 / (v + tau2)
        return float(weights @ (y - np.average(y, weights=weights)) ** 2) - (len(y) - 1)

    if excess(0.0) <= 0:
        return 0.0
    from scipy import optimize

    most = float(np.ptp(y)) ** 2 * len(y)
    return float(optimize.brentq(excess, 0.0, most))


def summary(comparisons: Iterable[Comparison]) -> Summary | None:
    """Random effects over the distinct ones of several comparisons, their variances moderated.

    A variance on two degrees of freedom would make a weight of chance: all of them together are
    the prior of each.
    """
    found = [list(one.differences.values()) for one in distinct(comparisons)]
    variances, prior = variances_of(found), NO_PRIOR
    if variances.count > 1:
        prior = Prior(np.minimum(prior_df(variances), variances.df.sum()), variances.pooled)
    moderated = [estimate(one, prior) for one in found]
    known = [one for one in moderated if one.errors and one.errors[0].se]
    return random_effects([one.mean for one in known], [one.errors[0].se ** 2 for one in known])


def share_of_headroom(gains: Sequence[float], headrooms: Sequence[float]) -> Ratio | None:
    """How much of what all the pixels bring the treatment brings: 1 is all of it.

    The ratio of two means of pairs, with Fieller's interval. Pairs are seeds of one comparison, or
    distinct comparisons with their means. The interval is finite exactly where the headroom
    differs from zero at the same level; elsewhere there is no ratio, nor of fewer than two pairs.

    Args:
        gains: treatment minus plain, points.
        headrooms: full size minus plain, points, of the same seeds or comparisons.

    >>> share_of_headroom([1.0, 2.0, 1.5], [4.0, 4.2, 3.9]).value.__round__(3)
    0.372
    """
    pairs = np.array([gains, headrooms], dtype=float)
    pairs = pairs[:, np.isfinite(pairs).all(axis=0)]
    n = pairs.shape[1]
    if n < 2:
        return None
    gain, headroom = pairs.mean(axis=1)
    t = float(special.stdtrit(n - 1, (1 + LEVEL) / 2))
    # it ends where t² (variance of gain - ratio · headroom) reaches (gain - ratio · headroom)²
    of_mean = t**2 * np.cov(pairs) / n
    a = headroom**2 - of_mean[1, 1]
    b = gain * headroom - of_mean[0, 1]
    c = gain**2 - of_mean[0, 0]
    if headroom <= 0 or a <= 1e-9 * headroom**2:
        return None
    root = math.sqrt(max(0.0, b**2 - a * c))
    value, low, high = (float(end) for end in (gain / headroom, (b - root) / a, (b + root) / a))
    return Ratio(value, low, high, n)
