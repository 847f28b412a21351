"""A difference in accuracy over seeds and images, which are crossed, not nested."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from bench.analysis.statistics import LEAST_SE, NO_PRIOR, Error, Estimate, Floats, Prior, estimate

Hits = NDArray[np.bool_]


class Squares(NamedTuple):
    """Mean squares of (seeds, images) differences, points squared."""

    seeds: float
    images: float
    rest: float


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

    Both were scored on the same images by the same seeds.

    Args:
        ours, theirs: (seeds, images) whether each image was classified rightly.
        prior: of the variance of a seed's difference, points squared.
    """
    difference = points(ours, theirs)
    s, i = difference.shape
    if min(s, i) < 2:
        return None
    found = squares(difference)
    only = [(int((o & ~t).sum()), int((t & ~o).sum())) for o, t in zip(ours, theirs, strict=True)]
    return Crossed(
        error=error(found, (s, i), prior),
        seeds_sd=math.sqrt((found.seeds - found.rest) / i),
        images_sd=math.sqrt((found.images - found.rest) / s),
        discordant=only,
        p_values=[mcnemar(*pair) for pair in only],
    )


def points(ours: Hits, theirs: Hits) -> Floats:
    """What each image adds to the difference in accuracy of each seed."""
    return np.asarray(100.0 * (ours.astype(float) - theirs.astype(float)))


def estimated(by_seed: ArrayLike, by_image: Floats | None, prior: Prior = NO_PRIOR) -> Estimate:
    """The mean of one difference for new seeds; and for new images, where that makes it wider.

    Seeds without any spread tell nothing of new ones, and images do not stand in for them.

    Args:
        by_seed: points, of each seed.
        by_image: (seeds, images) points whose means over images they are; None where not known.
        prior: as in `crossed`.
    """
    found = estimate(by_seed, prior)
    if by_image is None or min(by_image.shape) < 2 or found.sd < LEAST_SE:
        return found
    over_images = error(squares(by_image), by_image.shape, prior)
    return replace(found, errors=(*found.errors, over_images))


def squares(difference: Floats) -> Squares:
    """Of (seeds, images) differences, points: two of each at least."""
    s, i = difference.shape
    by_seed, by_image = difference.mean(axis=1), difference.mean(axis=0)
    seeds, images = i * float(by_seed.var(ddof=1)), s * float(by_image.var(ddof=1))
    residual = difference - by_seed[:, None] - by_image + difference.mean()
    rest = float((residual**2).sum()) / ((s - 1) * (i - 1))
    return Squares(seeds, images, min(rest, seeds, images))


def error(found: Squares, shape: tuple[int, int], prior: Prior) -> Error:
    """Of the mean of (seeds, images) differences, for new seeds and new images.

    Its variance is (MS_seeds + MS_images - MS_rest) / (seeds x images). MS_rest counts no more than
    the smaller of the others, so that the variance is never below what seeds alone, or images
    alone, say, and its degrees of freedom, which are Satterthwaite's, never below the fewer of
    theirs.
    """
    s, i = shape
    images = found.images
    moderated, moderated_df = prior.moderate(found.seeds / i, s - 1)
    seeds, seeds_df = i * float(moderated), float(moderated_df)
    rest = min(found.rest, seeds)
    variance = seeds + images - rest
    terms = [(seeds, seeds_df), (images, i - 1), (rest, (s - 1) * (i - 1))]
    spread = sum(square**2 / df for square, df in terms)
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
