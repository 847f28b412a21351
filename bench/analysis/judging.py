"""What may be concluded from paired seeds, or the reason why nothing may."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.analysis.crossed import Crossed, crossed
from bench.analysis.statistics import LEVEL, NO_PRIOR, Estimate, Interval, Prior, estimate

LEAST_SEEDS = 3
"""Fewer paired seeds than this get no verdict."""

Answer = Literal["better", "worse", "no difference", "not settled", "no verdict"]
ONE_BY_ONE = 2
"""Up to so many verdicts of an experiment are told each by itself, of more their average."""

SETTLED = ("better", "worse", "no difference")

Reason = Literal[
    "too few seeds",  # fewer than LEAST_SEEDS that both arms finished
    "before the first look",
    "exploratory",  # seeds were added after a look, to a number that was not declared
    "one class",  # some model predicts one class for every image
    "at chance",  # neither arm is above what a constant answer reaches
    "no spread",  # every seed has the same difference
    "too few images",  # one of them is more than the margin
    "tuned unequally",
    "primary not settled",  # the secondary comparison waits for it
]
"""Why there is no verdict."""


Standing = Literal["before", "look", "exploratory"]
"""Before the first look; at a declared one; at a number of seeds that was not declared."""


@dataclass(frozen=True)
class Looks:
    """The declared numbers of paired seeds, rising, and how many verdicts each look gives.

    Every look has the same share of the error of 5 % (Bonferroni): 4.3 to 4.6 % in all.
    """

    seeds: tuple[int, ...]
    verdicts: int = 1  # contexts that are judged at each

    @classmethod
    def of(cls, declared: Sequence[int] | None, planned: int, verdicts: int = 1) -> Looks:
        """As declared, or else one look, at the number of seeds that the file asks for."""
        return cls(tuple(sorted(set(declared))) if declared else (planned,), max(1, verdicts))

    @property
    def level(self) -> float:
        """Of every interval that a verdict is drawn from.

        >>> Looks((4, 8)).level, round(Looks((4, 8), verdicts=5).level, 6)
        (0.975, 0.995)
        """
        return 1 - (1 - LEVEL) / (len(self.seeds) * self.verdicts)

    def standing(self, n: int) -> Standing:
        """What may be said at `n` seeds.

        >>> [Looks((4, 8)).standing(n) for n in (3, 4, 5, 8, 9)]
        ['before', 'look', 'exploratory', 'look', 'exploratory']
        """
        if n < self.seeds[0]:
            return "before"
        return "look" if n in self.seeds else "exploratory"


class Predictions(NamedTuple):
    """What the models of one arm said of the same validation images, seed by seed."""

    labels: NDArray[np.int64]  # (images,)
    predicted: NDArray[np.int64]  # (seeds, images)

    @property
    def hits(self) -> NDArray[np.bool_]:
        return np.asarray(self.predicted == self.labels)


@dataclass(frozen=True)
class Verdict:
    """What a comparison says, points; `difference` is the interval that the answer is drawn from.

    At a number of seeds without a verdict the numbers are there, as far as they are known.
    """

    answer: Answer
    reason: Reason | None  # exactly where the answer is "no verdict"
    margin_pct: float
    difference: Interval  # moderated, and over new images where that is the wider one
    own: Interval  # the plain t interval over the seeds, at the same level
    new_images: Interval | None  # over seeds and images; None without predictions
    detectable: float | None  # what this design finds in four of five experiments
    ended: int  # seeds whose trials of both arms ended, well or not
    looks: Looks
    prior: Prior  # of the variance; df 0 where it was left aside
    images: int | None  # on which both were scored; None without predictions
    crossed: Crossed | None  # None without predictions
    over_images: bool  # whether the interval over new images is the wider one

    @property
    def is_small(self) -> bool:
        """Whether the difference, whatever its sign, is within the margin."""
        sure = max(abs(self.difference.low), abs(self.difference.high)) < self.margin_pct
        return sure or self.answer == "no difference"


def judge(
    differences: Mapping[int, float],
    margin_pct: float,
    looks: Looks,
    *,
    prior: Prior = NO_PRIOR,
    predictions: tuple[Predictions, Predictions] | None = None,
    ended: int | None = None,
    unequal: bool = False,
) -> Verdict:
    """Conclude from one context's paired seeds.

    "better" and "worse": the interval leaves out zero. "no difference": two one-sided tests place
    it within the margin. Each at the error that `looks` shares out.

    Args:
        differences: treatment minus baseline in accuracy, points, by seed.
        prior: what other differences of the regime say of the variance (`prior_of`).
        predictions: of the treatment and the baseline, over the same seeds and images.
        ended: seeds whose trials of both arms ended, well or not, by which a look is told;
            those with a finite difference unless given.
        unequal: whether the two arms were tuned over different numbers of configurations.
    """
    known = [value for value in differences.values() if math.isfinite(value)]
    by_seed, images = estimate(known, prior), None
    if predictions and len(known) > 1:
        images = crossed(predictions[0].hits, predictions[1].hits, prior)
    used = _with_images(by_seed, images)
    n = len(known) if ended is None else ended
    reason = why_not(known, margin_pct, looks.standing(n), predictions, unequal=unequal)
    level = looks.level
    return Verdict(
        answer="no verdict" if reason else conclude(used, margin_pct, 1 - level),
        reason=reason,
        margin_pct=margin_pct,
        difference=used.interval(level),
        own=estimate(known).interval(level),
        new_images=_alone(by_seed, images).interval(level) if images else None,
        detectable=used.detectable(level),
        ended=n,
        looks=looks,
        prior=prior,
        images=len(predictions[0].labels) if predictions else None,
        crossed=images,
        over_images=used.half_width(level) > by_seed.half_width(level),
    )


def _with_images(by_seed: Estimate, images: Crossed | None) -> Estimate:
    if images is None:
        return by_seed
    return Estimate(by_seed.mean, by_seed.n, by_seed.sd, (*by_seed.errors, images.error))


def _alone(by_seed: Estimate, images: Crossed) -> Estimate:
    return Estimate(by_seed.mean, by_seed.n, by_seed.sd, (images.error,))


def conclude(found: Estimate, margin_pct: float, error: float) -> Answer:
    """The answer that an estimate allows at an error rate."""
    difference = found.interval(1 - error)
    if difference.low > 0:
        return "better"
    if difference.high < 0:
        return "worse"
    return "no difference" if found.within(margin_pct, error) else "not settled"


def why_not(
    differences: Sequence[float],
    margin_pct: float,
    standing: str,
    predictions: tuple[Predictions, Predictions] | None = None,
    *,
    unequal: bool = False,
) -> Reason | None:
    """The first reason against a verdict, or None."""
    of_images = _why_not_of(predictions, margin_pct) if predictions else None
    reasons: dict[Reason, bool] = {
        "tuned unequally": unequal,
        "before the first look": standing == "before",
        "too few seeds": len(differences) < LEAST_SEEDS,
        "exploratory": standing == "exploratory",
    }
    first = next((reason for reason, holds in reasons.items() if holds), None)
    return first or of_images or ("no spread" if np.ptp(differences) < 1e-9 else None)


def _why_not_of(both: tuple[Predictions, Predictions], margin_pct: float) -> Reason | None:
    if 100 / max(1, len(both[0].labels)) > margin_pct:
        return "too few images"
    if any(one_class(arm) for arm in both):
        return "one class"
    return "at chance" if all(at_chance(arm) for arm in both) else None


def one_class(arm: Predictions) -> bool:
    """Whether some model predicts one class for every image, and the images have several."""
    several = np.ptp(arm.labels) > 0
    return bool(several and (np.ptp(arm.predicted, axis=1) == 0).any())


def at_chance(arm: Predictions) -> bool:
    """Whether the arm's mean accuracy is not above that of the best constant answer.

    Above: by two standard errors of an accuracy on so many images.
    """
    images = len(arm.labels)
    constant = float(np.unique(arm.labels, return_counts=True)[1].max()) / images
    error = math.sqrt(constant * (1 - constant) / images)
    return float(arm.hits.mean()) <= constant + 2 * error
