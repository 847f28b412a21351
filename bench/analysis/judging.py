"""What may be concluded from paired seeds, or the reason why nothing may."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import pandas as pd
from numpy.typing import ArrayLike

from bench.analysis.crossed import Crossed, crossed
from bench.analysis.pairs import Predictions, distinct, pairs, predictions_of
from bench.analysis.pooled import Peers
from bench.analysis.statistics import (
    LEAST_SE,
    LEVEL,
    NO_PRIOR,
    Estimate,
    Interval,
    Prior,
    estimate,
)

LEAST_SEEDS = 3  # fewer paired ones get no verdict
ONE_BY_ONE = 2  # so many verdicts of an experiment are told each by itself, of more their average

Answer = Literal["better", "worse", "no difference", "not settled", "no verdict"]
SETTLED = ("better", "worse", "no difference")

Reason = Literal[
    "too few seeds",  # fewer than LEAST_SEEDS that both arms finished
    "before a look",  # which is still due
    "exploratory",  # seeds were added after the last look
    "one class",  # some model predicts one class for every image
    "at chance",  # neither arm is above what a constant answer reaches
    "no spread",  # every seed has the same difference
    "too few images",  # one of them is more than the margin
    "tuned unequally",
    "primary not settled",  # the secondary comparison waits for it
]
"""Why there is no verdict."""


Standing = Literal["before", "look", "exploratory"]  # before a declared look, at one, past all


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
        return cls(tuple(sorted(set(declared))) if declared else (planned,), verdicts)

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
        ['before', 'look', 'before', 'look', 'exploratory']
        """
        if n in self.seeds:
            return "look"
        return "before" if n < self.seeds[-1] else "exploratory"


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
        return self.difference.is_within(self.margin_pct) or self.answer == "no difference"


def verdicts(
    table: pd.DataFrame,
    primary: tuple[str, str],
    margin_pct: float,
    peers: Peers,
    *,
    looks: Sequence[int] = (),
    unequal: bool = False,
) -> dict[str, Verdict]:
    """The verdict of each distinct context, by the context's label.

    Args:
        table: of the whole experiment, as `Store.table` makes it.
        primary: treatment and baseline.
        peers: of the treatment in the table.
        looks: numbers of seeds at which a verdict is given; one, at the file's number, unless any.
        unequal: whether the two were tuned over different numbers of configurations.
    """
    asked = distinct(pairs(table, *primary))
    return {
        pair.context: judge(
            pair.differences,
            margin_pct,
            Looks.of(looks, pair.planned, len(asked)),
            prior=peers.prior(pair),
            predictions=predictions_of(pair, peers.predicted),
            ended=pair.ended,
            unequal=unequal,
        )
        for pair in asked
    }


def judge(
    differences: ArrayLike,
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
        differences: treatment minus baseline in accuracy, points, of each seed.
        prior: what other differences of the regime say of the variance (`prior_of`).
        predictions: of the treatment and the baseline, over the same seeds and images.
        ended: seeds whose trials of both arms ended, well or not, by which a look is told;
            those with a finite difference unless given.
    """
    by_seed = estimate(differences, prior)
    hits = [arm.hits for arm in predictions or ()]
    images = crossed(hits[0], hits[1], prior) if hits else None
    alone = replace(by_seed, errors=(images.error,)) if images else None
    used = replace(by_seed, errors=by_seed.errors + alone.errors) if alone else by_seed
    n, level = by_seed.n if ended is None else ended, looks.level
    against = _against(by_seed, margin_pct, looks.standing(n), predictions, unequal=unequal)
    reason = next(against, None)
    return Verdict(
        answer="no verdict" if reason else conclude(used, margin_pct, 1 - level),
        reason=reason,
        margin_pct=margin_pct,
        difference=used.interval(level),
        own=estimate(differences).interval(level),
        new_images=alone.interval(level) if alone else None,
        detectable=used.detectable(level),
        ended=n,
        looks=looks,
        prior=prior,
        images=len(predictions[0].labels) if predictions else None,
        crossed=images,
        over_images=used.half_width(level) > by_seed.half_width(level),
    )


def conclude(found: Estimate, margin_pct: float, error: float) -> Answer:
    """The answer that an estimate allows at an error rate."""
    difference = found.interval(1 - error)
    if difference.low > 0:
        return "better"
    if difference.high < 0:
        return "worse"
    return "no difference" if found.within(margin_pct, error) else "not settled"


def _against(
    by_seed: Estimate,
    margin_pct: float,
    standing: Standing,
    predictions: tuple[Predictions, Predictions] | None,
    *,
    unequal: bool,
) -> Iterator[Reason]:
    """What speaks against a verdict, the first reason first."""
    if unequal:
        yield "tuned unequally"
    if standing == "before":
        yield "before a look"
    if by_seed.n < LEAST_SEEDS:
        yield "too few seeds"
    if standing == "exploratory":
        yield "exploratory"
    if predictions:
        if 100 / max(1, len(predictions[0].labels)) > margin_pct:
            yield "too few images"
        if any(arm.one_class for arm in predictions):
            yield "one class"
        if all(arm.at_chance for arm in predictions):
            yield "at chance"
    if by_seed.sd < LEAST_SE:
        yield "no spread"
