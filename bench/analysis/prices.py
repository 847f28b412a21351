"""What the treatment costs, and what the plain pipeline reaches at the same price."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from bench.analysis.crossed import estimated
from bench.analysis.evidence import Evidence, Row
from bench.analysis.pairs import Predicted
from bench.analysis.statistics import (
    NO_PRIOR,
    Estimate,
    Floats,
    Price,
    Prior,
    error_of,
    relative,
    simultaneous,
    together,
)
from bench.metrics import METRICS
from bench.spec.trial import Trial


@dataclass(frozen=True)
class Pipeline:
    """An arm with its price and its accuracies."""

    name: str
    side: int  # of its image, pixels
    plain: bool  # without a resizer, and validated on images that are loaded as the treatment's
    price: Price
    accuracy: pd.Series[float]  # %, by seed
    keys: Mapping[int, str] = field(default_factory=dict)  # of its trials, by seed


class Offer(NamedTuple):
    """What the seeds of one recipe have: the treatment, and what it is compared with."""

    treatment: Pipeline
    others: list[Pipeline]


@dataclass(frozen=True)
class EqualPrice:
    """Treatment minus the plain image that its price buys."""

    difference: Estimate
    sides: tuple[int, ...]  # of the plain images that it lies between, pixels


def at_equal_price(
    offers: Sequence[Offer], prior: Prior = NO_PRIOR, predicted: Predicted = lambda _: None
) -> EqualPrice | None:
    """The difference, seed by seed, to the plain image that the treatment's price buys.

    None beyond the sizes that were measured, and below two seeds that all three have.

    Args:
        offers: one, or one for each recipe that the treatment's seeds take in turn: each has its
            price.
        predicted: with it the interval covers new images, too, where that makes it wider.

    What the price may be wrong by enters by the delta method: it moves the place between the two
    sizes, and so the plain accuracy by the slope between them. So the interval keeps one stated
    level; taking the ends of the price's interval as given would stack one interval on another.
    All prices are of the same rounds, in which the recipes' errors are added up round by round.
    """
    differences: list[pd.Series[float]] = []
    by_image: list[pd.Series[float] | None] = []
    moved, sides = list[Floats](), list[int]()
    for treatment, others in offers:
        bracket = bracketed(treatment.price, others)
        if bracket is None:
            return None
        small, large, share = bought(treatment.price, others, bracket[1])
        plain = (1 - share) * small.accuracy + share * large.accuracy
        differences.append((treatment.accuracy - plain).dropna())
        parts = [(treatment, 1.0), (small, share - 1), (large, -share)]
        by_image += (_by_image(parts, seed, predicted) for seed in differences[-1].index)
        moved.append(len(differences[-1]) * _moved(treatment, small, large, share))
        sides += [small.side, large.side]
    found = _estimated(differences, by_image, prior)
    if not found.errors:
        return None
    of_price = error_of(sum(moved) / found.n)
    total = (together(one, of_price) if of_price.se else one for one in found.errors)
    return EqualPrice(replace(found, errors=tuple(total)), tuple(sides))


def _estimated(
    differences: Iterable[pd.Series[float]],
    by_image: Sequence[pd.Series[float] | None],
    prior: Prior,
) -> Estimate:
    """Over new seeds; over new images, too, where all seeds were scored on the same ones."""
    known, points = [one for one in by_image if one is not None], None
    if known and len(known) == len(by_image):
        whole = pd.concat(known, axis="columns").T
        points = None if whole.isna().any(axis=None) else whole.to_numpy()
    return estimated(pd.concat(differences), points, prior)


def _by_image(
    parts: Iterable[tuple[Pipeline, float]], seed: int, predicted: Predicted
) -> pd.Series[float] | None:
    """The weighted sum of a seed's accuracies, points by image; None without predictions."""
    total: pd.Series[float] | None = None
    for pipeline, weight in parts:
        said = predicted(pipeline.keys.get(seed, ""))
        if said is None:
            return None
        hits = (said["predicted"] == said["label"]).set_axis(
            pd.MultiIndex.from_frame(said[["image", "label"]])
        )
        total = 100 * weight * hits if total is None else total + 100 * weight * hits
    return total


Bracket = tuple[Pipeline, Pipeline, float]
"""A cheaper and a dearer plain size, and the share of the way from the one to the other."""


def bracketed(price: Price, others: Iterable[Pipeline]) -> Bracket | None:
    """The nearest plain sizes on both sides of a price, and the share of the way between them.

    At the price of the largest one, it is on both sides; beyond what was measured, there is None.
    """
    ordered = sorted((one for one in others if one.plain), key=lambda one: one.price.value)
    for small, large in pairwise([*ordered, *ordered[-1:]]):
        if small.price.value <= price.value <= large.price.value:
            step = large.price.value - small.price.value
            return small, large, (price.value - small.price.value) / step if step > 0 else 0.0
    return None


def bought(price: Price, others: Iterable[Pipeline], large: Pipeline) -> Bracket:
    """The best plain size that is no dearer, and the way from there to `large`, if that is better.

    Nobody pays more for less: where accuracy falls with the size, the smaller image stands alone.
    """
    no_dearer = [one for one in others if one.plain and one.price.value <= price.value]
    small = max(no_dearer, key=lambda one: float(one.accuracy.mean()))
    step = large.price.value - small.price.value
    if step <= 0 or large.accuracy.mean() <= small.accuracy.mean():
        return small, small, 0.0
    return small, large, (price.value - small.price.value) / step


def _moved(treatment: Pipeline, small: Pipeline, large: Pipeline, share: float) -> Floats:
    """What the three prices move the interpolated accuracy by in each round, points."""
    step = large.price.value - small.price.value
    slope = float((large.accuracy - small.accuracy).mean()) / step if step > 0 else 0.0
    plain = (1 - share) * small.price.deviations + share * large.price.deviations
    return np.asarray(slope * (treatment.price.deviations - plain))


Front = Literal["dominated", "on the front", "open"]


def on_front(
    offers: Sequence[Offer], prior: Callable[[str], Prior], predicted: Predicted = lambda _: None
) -> tuple[Front, str]:
    """Whether some other arm is no dearer and more accurate, as far as the intervals say so.

    The intervals of accuracy are simultaneous over the other arms (Bonferroni). "dominated": by
    an arm that is surely no dearer and surely more accurate; it is named. "on the front": each
    other arm is surely dearer or surely less accurate. "open": neither is known. With
    several recipes an arm is dearer, or no dearer, where it is so for each of them. Without any
    spread no accuracy is surely higher.

    Args:
        offers, predicted: as `at_equal_price`.
        prior: of the treatment minus the arm of that name.
    """
    arms = dict.fromkeys(arm.name for offer in offers for arm in offer.others)
    gains, dearer, cheaper = list[Estimate](), list[bool](), list[bool]()
    for name in arms:
        both = [(of, ours) for ours, others in offers for of in others if of.name == name]
        lost = [(ours.accuracy - of.accuracy).dropna() for of, ours in both]
        by_image = [
            _by_image([(ours, 1.0), (of, -1.0)], seed, predicted)
            for one, (of, ours) in zip(lost, both, strict=True)
            for seed in one.index
        ]
        gains.append(_estimated(lost, by_image, prior(name)))
        apart = [of.price.value - ours.price.value for of, ours in both]
        halves = [together(of.price.error, ours.price.error).half_width() for of, ours in both]
        pairs = list(zip(apart, halves, strict=True))
        dearer.append(all(one > half for one, half in pairs))
        cheaper.append(all(one < -half or one == half == 0 for one, half in pairs))  # equal counts
    found = list(zip(arms, simultaneous(gains), dearer, cheaper, strict=True))
    for name, lost_to, _, no_dearer in found:
        if lost_to.low < lost_to.high < 0 and no_dearer:
            return "dominated", name
    beaten = all(
        lost_to.high > lost_to.low > 0 or costs_more for _, lost_to, costs_more, _ in found
    )
    return ("on the front" if beaten else "open"), ""


def _time(evidence: Evidence, label: str, trial: Trial, its: Trial) -> Price | None:
    """Of a training step, as a multiple of the treatment's, paired by round of its sitting."""
    return relative(
        *(evidence.seconds(label, of.speed_key).get("train", []) for of in (trial, its))
    )


def _arithmetic(evidence: Evidence, label: str, trial: Trial, _its: Trial) -> Price | None:
    timed = evidence.timed(label, trial.speed_key)
    counted = timed["metrics"].get("gmacs") if timed else None
    return Price(counted["value"]) if counted and counted["value"] > 0 else None


PRICES: dict[str, Callable[[Evidence, str, Trial, Trial], Price | None]] = {
    "training time": _time,
    "multiply-adds": _arithmetic,
}
"""What an image costs, the less the better: in a context, of a trial beside the treatment's."""


@dataclass(frozen=True)
class Paid:
    """What a price of the treatment buys elsewhere."""

    price: str  # one of PRICES
    equal: EqualPrice | None  # None beyond the sizes that were measured
    front: Front
    dominating: str  # the arm that is no dearer and more accurate, if one surely is


def paid(evidence: Evidence, treatment: Row) -> list[Paid]:
    """Each price of the treatment against the other arms of its context."""
    prior = treatment.verdict.prior if treatment.verdict else NO_PRIOR

    @cache
    def prior_beside(name: str) -> Prior:
        pair = evidence.pair(treatment, name)
        return evidence.peers.prior(pair) if pair else prior

    found = []
    for price in PRICES:
        if offers := _offers(evidence, price, treatment):
            equal = at_equal_price(offers, prior, evidence.predicted)
            found.append(Paid(price, equal, *on_front(offers, prior_beside, evidence.predicted)))
    return found


def _offers(evidence: Evidence, price: str, treatment: Row) -> list[Offer]:
    """The treatment, and the others of its data, settings and length of training, priced.

    One for each recipe that seeds take in turn; none where the treatment has no price in one, or
    nothing is to compare with.
    """
    beside = (row for row in evidence.beside(treatment) if row.terms == treatment.terms)
    rows = [row for row in (treatment, *beside) if same_settings(row, treatment)]
    whole = [row.trials for row in rows if row.trials.keys() >= treatment.trials.keys()]
    recipes = defaultdict[tuple[str, ...], list[int]](list)
    for seed in treatment.trials:
        recipes[tuple(trials[seed].speed_key for trials in whole)].append(seed)
    offers = []
    for seeds in recipes.values():
        ours, *others = (_priced(evidence, price, row, treatment, seeds) for row in rows)
        found = [one for one in others if one]
        if not (ours and found):
            return []
        offers.append(Offer(ours, found))
    return offers


def same_settings(ours: Row, theirs: Row) -> bool:
    """Whether a step is the same work seed by seed: recipes may have batches of their own."""
    shared = ours.trials.keys() & theirs.trials.keys()
    return all(ours.trials[seed].setting == theirs.trials[seed].setting for seed in shared)


def _priced(
    evidence: Evidence, price: str, row: Row, treatment: Row, seeds: Sequence[int]
) -> Pipeline | None:
    """Some seeds of a row, beside the treatment's; None unless all have one price."""
    trials = [row.trials[seed] for seed in seeds if seed in row.trials]
    if len({one.speed_key for one in trials}) != 1:
        return None
    trial, its = trials[0], treatment.trials[seeds[0]]
    cost = PRICES[price](evidence, treatment.label, trial, its)
    plain = trial.resizer == "none" and _validated(trial) == _validated(its)
    accuracy = row.top1[row.top1.index.isin(seeds)]
    keys = {seed: of.key for seed, of in row.trials.items()}
    return Pipeline(row.arm.name, trial.input_size, plain, cost, accuracy, keys) if cost else None


def _validated(trial: Trial) -> tuple[object, ...]:
    """How a trial's validation images are loaded otherwise than its training's."""
    resized = round(trial.evaluated_size / trial.input_size, 1)
    return trial.eval_resample, trial.eval_antialias, resized


def equal_side(evidence: Evidence, price: str, treatment: Row) -> float | None:
    """How large a plain image the treatment's price, one of PRICES, pays for, pixels.

    Between two sizes that were measured it is taken to grow with the area; None beyond them.
    """
    offers = _offers(evidence, price, treatment)
    found = bracketed(offers[0].treatment.price, offers[0].others) if offers else None
    if found is None:
        return None
    small, large, share = found
    return math.sqrt((1 - share) * small.side**2 + share * large.side**2)


def multiple(evidence: Evidence, row: Row, metric: str) -> float | None:
    """The row's metric over its baseline's, where both were measured in one setting."""
    base = evidence.baseline_of(row)
    over = base.speed.get(metric, math.nan)
    alike = METRICS[metric].counted or same_settings(row, base)
    return row.speed[metric] / over if metric in row.speed and over > 0 and alike else None
