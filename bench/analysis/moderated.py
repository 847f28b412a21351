"""The variance of a paired difference, estimated by empirical Bayes: the moderated t test.

Three seeds leave two degrees of freedom, and an interval of ± 2.5 standard deviations. Other
differences of the same regime have about the same variance; what they say of it is a *prior*, a
variance with degrees of freedom of its own, and the moderated variance is the mean of the two,
weighted by their degrees of freedom. The t test then has those of both.

Source: Smyth, "Linear models and empirical Bayes methods …", 2004, as limma's `fitFDist` does it
since 2017. Differs: the judged difference is left out of its own prior; the prior has no more
degrees of freedom than the differences behind it allow, since they share the treatment's runs; it
is capped, and left aside where the variances are not alike (`bench.analysis.simulation` has what
the caps cost and save).

Every function takes arrays whose last axis are differences, so that 20,000 experiments are
simulated at once with the code that judges one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from bench.analysis.statistics import NO_PRIOR, Floats, Prior

MOST_DF = 4.0  # degrees of freedom of a prior, whatever is behind it
MOST_LENT_DF = 1.5  # where nothing but other experiments is behind it, whose spread may be another
SHARED = 0.25  # correlation of variances of two differences that share the treatment's runs: 0.5²
HOMOGENEITY = 0.05  # level of Bartlett's test; where it refutes equal variances, there is no prior
AGREEMENT = 0.10  # level of the F test that leaves lent variances aside for the experiment's own


@dataclass(frozen=True)
class Variances:
    """Sample variances of the differences of one experiment."""

    values: Floats  # (..., differences), points squared
    df: Floats  # (differences,) degrees of freedom of each

    @property
    def count(self) -> int:
        return len(self.df)

    @property
    def pooled(self) -> Floats:
        """Their mean, weighted by degrees of freedom."""
        return np.asarray(self.values @ self.df / self.df.sum(), dtype=float)

    @property
    def effective_df(self) -> float:
        """Degrees of freedom of `pooled`: fewer than the sum, as they share the treatment's runs.

        >>> Variances(np.ones(1), np.full(1, 2.0)).effective_df
        2.0
        """
        return float(self.df.sum() / (1 + SHARED * (self.count - 1)))


def variances_of(differences: Iterable[ArrayLike]) -> Variances:
    """Those of several differences, each by seed; what has no spread or is not finite is left out.

    >>> variances_of([[1.0, 2.0, 3.0], [5.0, 5.0, 5.0], [1.0]]).values
    array([1.])
    """
    samples = [np.asarray(one, dtype=float) for one in differences]
    samples = [one[np.isfinite(one)] for one in samples]
    found = [(one.var(ddof=1), len(one) - 1) for one in samples if len(one) > 1 and np.ptp(one) > 0]
    return Variances(*np.array(found, dtype=float).reshape(-1, 2).T)


def prior_of(
    judged: ArrayLike, df: float, others: Variances, lent: Sequence[Variances] = ()
) -> Prior:
    """The prior of one difference's variance.

    Args:
        judged, df: (...) its own variance, points squared, and degrees of freedom. It is tested
            with the others for homogeneity, and has no other part in its prior.
        others: of the experiment's other differences of the treatment in the same regime.
        lent: of other experiments of the same regime, one `Variances` each.
    """
    tested = Variances(np.asarray(judged, dtype=float)[..., None], np.array([df], dtype=float))
    own, behind = _join([tested, others]), others.effective_df * (1 - SHARED)
    alone = _prior(own, behind, others)
    lent = [one for one in lent if one.count]
    if not lent:
        return alone
    elsewhere = sum(one.effective_df for one in lent)
    most = min(MOST_DF, MOST_LENT_DF + behind / 2)
    together = _prior(_join([own, *lent]), behind + elsewhere, _join([others, *lent]), most)
    alike = _agreement(own, _join(lent), elsewhere) >= AGREEMENT
    return Prior(
        np.where(alike, together.df, alone.df), np.where(alike, together.variance, alone.variance)
    )


def prior_among(
    judged: ArrayLike, others: Iterable[ArrayLike], lent: Sequence[Variances] = ()
) -> Prior:
    """The same, of the differences themselves, by seed; none for one that has no spread."""
    own = variances_of([judged])
    if not own.count:
        return NO_PRIOR
    return prior_of(float(own.values[0]), float(own.df[0]), variances_of(others), lent)


def priors(differences: Iterable[ArrayLike]) -> list[Prior]:
    """Of the variance of each difference by seed: the others are its prior.

    >>> from bench.analysis.statistics import estimate
    >>> one, other = priors([[1.0, 2.0, 4.0], [0.0, 1.0, 3.0]])
    >>> estimate([1.0, 2.0, 4.0], one).half_width() < estimate([1.0, 2.0, 4.0]).half_width()
    True
    """
    samples = list(differences)
    return [
        prior_among(one, samples[:place] + samples[place + 1 :])
        for place, one in enumerate(samples)
    ]


def _prior(tested: Variances, behind: float, source: Variances, most: float = MOST_DF) -> Prior:
    """The prior of `source`, whose pooled variance has `behind` degrees of freedom."""
    if not source.count:
        shape = tested.pooled.shape
        return Prior(np.zeros(shape), np.ones(shape))
    known = 1 / (1 / prior_df(source) + 1 / behind)
    df = np.where(bartlett(tested) < HOMOGENEITY, 0.0, np.minimum(known, most))
    return Prior(df, source.pooled)


def prior_df(variances: Variances) -> Floats:
    """Degrees of freedom of the distribution that the true variances come from; inf if all alike.

    From the spread of the logarithms beyond what sampling explains (Smyth 2004, section 6.2).
    """
    half = variances.df / 2
    logs = np.log(variances.values) - special.digamma(half) + np.log(half)
    if variances.count < 2:
        return np.full(logs.shape[:-1], np.inf)
    beyond = logs.var(axis=-1, ddof=1) - special.polygamma(1, half).mean()
    found, spread = np.full(beyond.shape, np.inf), beyond > 0
    found[spread] = 2 * trigamma_inverse(np.maximum(beyond[spread], 1e-6))
    return found


def trigamma_inverse(values: ArrayLike) -> Floats:
    """Solve trigamma(y) = x for y > 0 by Newton's method on 1 / trigamma, which is convex.

    Source: Smyth 2004, appendix.

    >>> special.polygamma(1, trigamma_inverse([0.01, 1.0, 50.0])).round(6)
    array([1.e-02, 1.e+00, 5.e+01])
    """
    x = np.asarray(values, dtype=float)
    y = np.asarray(0.5 + 1 / x)
    moving = np.ones(x.shape, dtype=bool)
    for _ in range(10):
        # two steps at a time: at the end rounding lets some go to and fro between two neighbours
        after = _step(_step(before := y[moving], x[moving]), x[moving])
        y[moving] = after
        moving[moving] = after != before
    return y


def _step(y: Floats, x: Floats) -> Floats:
    """One of Newton's; the derivatives of digamma are zeta functions."""
    trigamma, tetragamma = special.zeta(2, y), -2 * special.zeta(3, y)
    return np.asarray(y + trigamma * (1 - trigamma / x) / tetragamma, dtype=float)


def bartlett(variances: Variances) -> Floats:
    """p of Bartlett's test that the true variances are equal; 1 for a single one."""
    df, count, total = variances.df, variances.count, variances.df.sum()
    if count < 2:
        return np.ones(variances.values.shape[:-1])
    logs = total * np.log(variances.pooled) - np.log(variances.values) @ df
    scale = 1 + ((1 / df).sum() - 1 / total) / (3 * (count - 1))
    return np.asarray(special.chdtrc(count - 1, logs / scale), dtype=float)


def _agreement(own: Variances, lent: Variances, lent_df: float) -> Floats:
    """p of the two-sided F test of the pooled variances."""
    ratio = special.fdtrc(own.effective_df, lent_df, own.pooled / lent.pooled)
    return np.asarray(2 * np.minimum(ratio, 1 - ratio), dtype=float)


def _join(several: Sequence[Variances]) -> Variances:
    """Those of several, one at least of which has some."""
    shape = np.broadcast_shapes(*(one.values.shape[:-1] for one in several if one.count))
    values = [np.broadcast_to(one.values, (*shape, one.count)) for one in several if one.count]
    return Variances(np.concatenate(values, axis=-1), np.concatenate([one.df for one in several]))
