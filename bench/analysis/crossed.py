"""A difference in accuracy over seeds and images, which are crossed, not nested."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from bench.analysis.statistics import NO_PRIOR, Error, Floats, Prior

Hits = NDArray[np.bool_]


@dataclass(frozen=True)
class Squares:
    """Mean squares of the two-way layout without replication, points squared."""

    mean: float
    seeds: float
    images: float
    rest: float
    shape: tuple[int, int]  # seeds, images

    @property
    def left(self) -> float:
        """`rest`, no larger than either of the others: components of variance are not negative."""
        return min(self.rest, self.seeds, self.images)


@dataclass(frozen=True)
class Crossed:
    """What the hits of two arms say, image by image."""

    error: Error  # of the mean difference, for new seeds and new images
    seeds_sd: float  # spread of a seed's true difference, points
    images_sd: float  # spread of an image's true difference, points
    discordant: list[tuple[int, int]]  # for each seed, images that only ours, only theirs got right
    p_values: list[float]  # of McNemar's exact test, for each seed


def crossed(ours: Hits, theirs: Hits, prior: Prior = NO_PRIOR) -> Crossed | None:
    """The error that covers new seeds and new images; None below two seeds or two images.

    Both were scored on the same images by the same seeds. The variance of the mean difference is
    (MS_seeds + MS_images - MS_rest) / (seeds x images). MS_rest counts no more than the smaller of
    the others, so that the variance is never below what seeds alone, or images alone, say, and
    its degrees of freedom, which are Satterthwaite's, never below the fewer of theirs.

    Args:
        ours, theirs: (seeds, images) whether each image was classified rightly.
        prior: of the variance of a seed's difference, points squared.
    """
    found = squares(100.0 * (ours.astype(float) - theirs.astype(float)))
    if found is None:
        return None
    s, i = found.shape
    only = [(int((o & ~t).sum()), int((t & ~o).sum())) for o, t in zip(ours, theirs, strict=True)]
    return Crossed(
        error=_error(found, prior),
        seeds_sd=math.sqrt((found.seeds - found.left) / i),
        images_sd=math.sqrt((found.images - found.left) / s),
        discordant=only,
        p_values=[mcnemar(*pair) for pair in only],
    )


def squares(difference: Floats) -> Squares | None:
    """The mean squares of (seeds, images) differences; None below two of either."""
    s, i = difference.shape
    if min(s, i) < 2:
        return None
    mean = float(difference.mean())
    by_seed, by_image = difference.mean(axis=1), difference.mean(axis=0)
    rest = difference - by_seed[:, None] - by_image + mean
    seeds, images = i * float(by_seed.var(ddof=1)), s * float(by_image.var(ddof=1))
    return Squares(mean, seeds, images, float((rest**2).sum()) / ((s - 1) * (i - 1)), (s, i))


def _error(found: Squares, prior: Prior) -> Error:
    s, i = found.shape
    moderated, of_seeds = prior.moderate(found.seeds / i, s - 1)
    seeds, seeds_df = i * float(moderated), float(of_seeds)
    left = min(found.left, seeds)
    variance = seeds + found.images - left
    terms = [(seeds, seeds_df), (found.images, i - 1), (left, (s - 1) * (i - 1))]
    spread = sum(ms**2 / df for ms, df in terms)
    fewest = float(min(seeds_df, i - 1))
    df = max(fewest, variance**2 / spread) if spread else fewest
    return Error(math.sqrt(variance / (s * i)), df)


def mcnemar(ours_alone: int, theirs_alone: int) -> float:
    """Two-sided exact p that images on which two classifiers differ favour neither.

    >>> mcnemar(0, 0), round(mcnemar(1, 5), 4)
    (1.0, 0.2188)
    """
    n = ours_alone + theirs_alone
    return min(1.0, 2 * float(special.bdtr(min(ours_alone, n - ours_alone), n, 0.5)))
