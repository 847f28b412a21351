"""The answer in words: what the primary comparison says, for what it holds, and its price."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.analysis.controls import alternatives, equal_sides, explanation
from bench.analysis.effects import average, effects
from bench.analysis.evidence import AXIS_ORDER, Evidence, Row
from bench.analysis.statistics import LEAST_SEEDS, SETTLED, Interval, Ratio, Verdict
from bench.metrics import METRICS
from bench.report import words
from bench.report.environment import devices

MOST_SENTENCES = 8
"""So many verdicts or ranges are told at the most; each is in the table."""

MOST_SIZES = 9
"""A scope names so many sizes, and counts the others."""

MOST_BESIDE = 2
"""Up to so many verdicts are told one by one, with the controls of their context."""

TIMES = {
    "train": "a training step takes {} as long",
    "infer": "inference {}",
    "latency": "one image at a time {}",
}
"""The phases of the timing lane that an answer tells, and how."""
PRICES = ("peak_memory_mib", "gmacs")


@dataclass(frozen=True)
class ControlLine:
    """What one control says of the treatment: a line of the page's table."""

    control: str  # what the control is, in a few words
    difference: str  # treatment - control with its interval: "−1.3 points [−11.4, +8.8]"
    says: str  # what it says, at most ten words


@dataclass(frozen=True)
class Answer:
    """One verdict of a page in words, or what is told where there is none."""

    badge: str  # the verdict as a word: "better", "not settled", "no verdict", "cost", …
    sentence: str  # one, free of Markdown: "learned − plain = −1.5 points [−4.6, +1.6], 3 seeds"
    place: str  # dataset, sizes, backbone, epochs: for what it holds
    controls: list[ControlLine]
    price: list[str]  # short sentences: a training step's time, what the same price buys
    details: list[str]  # everything else that is worth saying, folded on the page


def answers(evidence: Evidence) -> list[Answer]:
    """At most two verdicts one by one; of more, one answer over all of them."""
    first, *rest = sentences(evidence) or ["Nothing is measured yet."]
    return [Answer("no verdict", first, "", [], prices(evidence), rest)]


def sentences(evidence: Evidence) -> list[str]:
    """The answer: a sentence for each verdict, or the range of what was measured.

    With what the standard controls say, what the same price buys, and what each axis does. More
    than `MOST_BESIDE` verdicts are counted; the settled ones follow.
    """
    judged = [(row, row.verdict) for row in evidence.rows if row.verdict]
    if not evidence.experiment.spec.train:
        priced = prices(evidence)
        told = [*priced[:-1], *equal_sides(evidence), *priced[-1:]]
        return told or ["Nothing is timed yet."]
    if not judged:
        return _ranges(evidence)
    several = len(judged) > MOST_BESIDE
    lines = _together(evidence, [given for _, given in judged]) if several else []
    settled = [(row, given) for row, given in judged if given.answer in SETTLED]
    for row, given in settled[:MOST_SENTENCES] if several else judged:
        reasons = [] if several else explanation(evidence, row)
        beside = [] if reasons or several else _beside(evidence, row)
        found = _finding(evidence, row, given)
        lines.append(" ".join([f"On {_place(evidence, row)}, {found}.", *beside]))
        if not several:
            lines += [*reasons, *alternatives(evidence, row)]
    lines += [] if several else effects(evidence)
    if evidence.looks > 1:
        lines.append(
            f"Verdicts were given at {evidence.looks} numbers of seeds, and share one error of 5 %."
        )
    return lines


def _together(evidence: Evidence, given: Sequence[Verdict]) -> list[str]:
    """What many verdicts say as a whole."""
    counted = [_counts(given), *effects(evidence)]
    if (mean := average(evidence)) is None:
        return counted
    told = f"The gain of {given[0].treatment} over {given[0].baseline}, averaged over the contexts "
    told += f"and paired by seed: {words.mean(mean, signed=True)} points (95 % interval)."
    return [told, *counted]


def in_words(evidence: Evidence) -> str:
    """How far it is if unfinished, a sentence a verdict, and the scope; a line each."""
    unfinished = evidence.finished < len(evidence.experiment.runs)
    begin = [f"Not finished: {progress(evidence)}"] if unfinished else []
    return "\n".join([*begin, *sentences(evidence), scope(evidence)])


def scope(evidence: Evidence) -> str:
    """For what the answer holds: data, sizes, backbone, training, seeds, device.

    Of the finished trials; of all, while none is.
    """
    asked, spec = evidence.experiment.trials, evidence.experiment.spec
    done = [asked[key] for key, record in evidence.records.items() if record["status"] == "ok"]
    trials = done or list(asked.values())
    sizes = list(dict.fromkeys(f"{trial.size} px" for trial in trials))
    if len(sizes) > MOST_SIZES:
        sizes[MOST_SIZES - 1 :] = [words.count(len(sizes) - MOST_SIZES + 1, "other size")]
    trained = [words.lengths(trials), words.count(len({trial.seed for trial in trials}), "seed")]
    parts = [
        words.join(_data(evidence)),
        words.join(dict.fromkeys(trial.backbone for trial in trials)),
        words.join(sizes),
        *(trained if spec.train else []),
        *_tuned(evidence),
        *([f"recipe tuned for {spec.recipe_for}"] if spec.recipe_for else []),
        *devices(evidence),
    ]
    return f"Scope: {'; '.join(parts)}."


def _tuned(evidence: Evidence) -> list[str]:
    """How the arms were tuned, if they were."""
    told = [
        f"{arm} over {words.count(evidence.tried(arm), 'configuration')}"
        for arm in (evidence.search or {"arms": {}})["arms"]
    ]
    return [f"tuned on held-out training images: {words.join(told)}"] if told else []


def progress(evidence: Evidence) -> str:
    """How much of the experiment there is."""
    if not evidence.experiment.spec.train:
        return "Cost alone: nothing is trained."
    total = len(evidence.experiment.runs)
    lost = len(evidence.records) - evidence.finished
    failed = f", {lost:,} failed" if lost else ""
    return f"{evidence.finished:,} of {words.count(total, 'trial')} finished{failed}."


def prices(evidence: Evidence) -> list[str]:
    """What an arm costs as multiples of the baseline arm: the treatment, or else every arm."""
    spec, baseline = evidence.experiment.spec, evidence.experiment.baseline
    arms = spec.primary[:1] if spec.primary else [a for a in evidence.arms if a != baseline]
    told = [(arm, _price(evidence, arm)) for arm in arms[:MOST_SENTENCES]]
    lines = [f"{arm} against {baseline}: {price}." for arm, price in told if price]
    return [*lines, _noise(evidence)] if lines and evidence.floors else lines


def _data(evidence: Evidence) -> list[str]:
    found = {r["trial"]["dataset"]: r["data"] for r in evidence.records.values() if r.get("data")}
    names = dict.fromkeys(trial.dataset for trial in evidence.experiment.trials.values())
    return [
        f"{name} ({found[name]['train_images']:,} training and {found[name]['val_images']:,} "
        "validation images)"
        if name in found
        else name
        for name in names
    ]


def setting(evidence: Evidence, row: Row) -> list[str]:
    """Sizes, backbone, and the row's value of what else the experiment varies."""
    others = [name for name in evidence.axes if name not in AXIS_ORDER]
    told = [words.axis_value(name, row.context[name]) for name in others]
    return [f"{row.trial.size} px", row.trial.backbone, *told]


def length(evidence: Evidence, row: Row) -> list[str]:
    """How long the row's trials train, after those that they start from; [] where it is an axis."""
    if {"epochs", "steps"} & set(evidence.axes):
        return []
    known = evidence.experiment.trials
    parents = [known[key] for key in row.trial.parents if key in known]
    return [words.lengths([*parents, row.trial])]


def _place(evidence: Evidence, row: Row) -> str:
    told = [*setting(evidence, row), *length(evidence, row)]
    if row.difference and row.difference.n:
        told += [words.count(row.difference.n, "seed")]
    return f"{row.trial.dataset} ({', '.join(told)})"


def _finding(evidence: Evidence, row: Row, given: Verdict) -> str:
    """What follows the scope: the answer with its numbers."""
    pair = f"{given.treatment} and {given.baseline}"
    margin = words.count_points(given.margin_pct)
    if given.answer == "tuned unequally":
        ours, theirs = (evidence.tried(arm) for arm in (given.treatment, given.baseline))
        return (
            f"there is no verdict between {pair}: {given.treatment} was tuned over "
            f"{words.count(ours, 'configuration')}, {given.baseline} over {theirs}"
        )
    if given.answer == "too few seeds":
        return _too_few(given)
    bounds = words.bounds(given.difference) + _new_images(row)
    shown = f"{_signed(given.difference)} ({bounds})"
    if given.answer == "no difference":
        return f"there is no difference larger than {margin} between {pair}: {shown}"
    if given.answer == "not settled":
        return f"the difference between {pair} is not settled: {shown}; {_more(given)}"
    by = f"{words.points(abs(given.difference.mean))} points ({bounds})"
    small = max(abs(given.difference.low), abs(given.difference.high)) < given.margin_pct
    aside = f", which is less than the {margin} that matter here" if small else ""
    return f"{given.treatment} is {given.answer} than {given.baseline} by {by}{aside}"


def _new_images(row: Row) -> str:
    """The interval that covers new images, too."""
    if row.crossed is None or row.verdict is None:
        return ""
    wide, narrow = row.crossed.interval, row.verdict.difference
    low, high = (words.points(end, signed=True) for end in (wide.low, wide.high))
    same = (low, high) == tuple(words.points(v, signed=True) for v in (narrow.low, narrow.high))
    return "; no wider for new images, too" if same else f"; {low} to {high} for new images, too"


def _beside(evidence: Evidence, treatment: Row) -> list[str]:
    """The controls of the same context, without a verdict."""
    told = [
        f"{row.arm.name} {words.mean(row.difference, signed=True)}"
        for row in evidence.compared
        if row.context == treatment.context and not row.verdict
        if row.difference and row.difference.n
    ]
    baseline = evidence.experiment.baseline
    return [f"For comparison, in points over {baseline}: {'; '.join(told)}."] if told else []


def _too_few(given: Verdict) -> str:
    told = f"fewer than {LEAST_SEEDS} seeds of {given.treatment} and {given.baseline}: no verdict"
    if not given.difference.n:
        return told
    return f"{told}; the difference so far is {_signed(given.difference)}"


def _signed(difference: Interval) -> str:
    return f"{words.points(difference.mean, signed=True)} points"


def _more(given: Verdict) -> str:
    low, high = given.more_seeds or (0, 0)
    if high >= 1000:
        return f"more than {low:,} more seeds would settle it"
    return f"about {low}{f' to {high}' if high > low else ''} more seeds would settle it"


def _counts(given: Sequence[Verdict]) -> str:
    counted = Counter(one.answer for one in given)
    told = words.join(f"{answer} in {n}" for answer, n in counted.most_common())
    first, level = given[0], words.percent(given[0].difference.level)
    means = [one.difference.mean for one in given if one.difference.n]
    return (
        f"{first.treatment} against {first.baseline}, in {len(given)} contexts: {told} "
        f"(margin {words.count_points(first.margin_pct)}, {level} intervals)."
        + (f" {words.between(means)}." if means else "")
    )


def _ranges(evidence: Evidence) -> list[str]:
    several = len(evidence.arms) > 1
    lines = ["No comparison is named as the primary one: intervals, and no verdict."] * several
    for arm in evidence.arms:
        rows = [row for row in evidence.rows if row.arm.name == arm]
        if arm == evidence.experiment.baseline:
            lines += _range(f"{arm} reaches", rows, lambda row: row.accuracy, " %")
        else:
            told = f"{arm} minus {evidence.experiment.baseline} is"
            lines += _range(told, rows, lambda row: row.difference, " points")
    return lines[: MOST_SENTENCES + 1]


def _range(
    told: str, rows: Sequence[Row], of: Callable[[Row], Interval | None], unit: str
) -> list[str]:
    found = sorted((v for row in rows if (v := of(row)) and v.n), key=lambda v: v.mean)
    signed = unit == " points"
    shown = [words.mean(value, signed=signed) + unit for value in found]
    if not shown:
        return []
    if len(shown) == 1:
        return [f"{told} {shown[0]}."]
    return [f"{told} {shown[0]} at the least and {shown[-1]} at the most, of {len(shown)} rows."]


def _price(evidence: Evidence, arm: str) -> str:
    rows = [row for row in evidence.compared if row.arm.name == arm]
    times = ((phase, [r.times[phase] for r in rows if phase in r.times]) for phase in TIMES)
    told = [
        TIMES[p].format(_slower(found, evidence.floors.get(p, 1.0))) for p, found in times if found
    ]
    ratios = ((name, _ratios(evidence, arm, name)) for name in PRICES)
    return "; ".join([*told, *(f"{_times(r)} {METRICS[n].label}" for n, r in ratios if r)])


def _slower(found: Sequence[Ratio], floor: float) -> str:
    """One ratio with its interval, or the least and the most of several."""
    shown = _times([ratio.value for ratio in found])
    if len(found) > 1:
        return shown
    low, high = (words.number(end, 3) for end in (found[0].low, found[0].high))
    same = "" if found[0].differs(floor) else ", no difference beyond the noise floor"
    return f"{shown} ({low} to {high}{same})"


def _noise(evidence: Evidence) -> str:
    """The noise floor of the lane, and whether it was disturbed."""
    lane = evidence.timing or {}
    floor = evidence.floors.get("train", max(evidence.floors.values()))
    rounds = list(lane.get("disturbances") or [])
    lost = sum(one["disturbed"] for one in rounds)
    used = len(lane.get("rounds_used") or rounds)
    told = (
        f"Ratios are of {used} interleaved rounds with their 95 % intervals; by such an interval "
    )
    told += "two measurements of one arm's training step may be "
    told += f"{words.number(100 * (floor - 1), 2)} % apart"
    if lost and used == len(rounds):
        return f"{told}. Other load disturbed {lost} of the {len(rounds)} rounds."
    left_out = f"; {words.count(lost, 'disturbed round')} left out" if lost else ""
    return f"{told}{left_out}."


def _times(ratios: Sequence[float]) -> str:
    low, high = (words.number(end, 2) for end in (min(ratios), max(ratios)))
    return low + ("" if low == high else f" to {high}") + f" {words.TIMES}"


def _ratios(evidence: Evidence, arm: str, name: str) -> list[float]:
    """One for each row of the arm, over the baseline's row of the same context."""
    ratios = []
    for row in (row for row in evidence.compared if row.arm.name == arm):
        base = evidence.baseline_of(row)
        over = base.speed.get(name, math.nan)
        alike = METRICS[name].counted or row.trial.setting == base.trial.setting
        if name in row.speed and over > 0 and alike:
            ratios.append(row.speed[name] / over)
    return ratios
