"""The first screen of many experiments: four short answers, and a line for each verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeGuard

from bench.datasets.specs import DATASETS
from bench.experiment import Trial
from bench.report import words
from bench.report.answer import MOST_BESIDE, prices
from bench.report.effects import average
from bench.report.evidence import AXIS_ORDER, Evidence, Row
from bench.report.why import NAMES, sides
from bench.report.words import TIMES
from bench.statistics import LEVEL, SETTLED, Answer, Interval, Verdict, paired_difference
from bench.store import context_label

HEADINGS = (
    "asked of", "on", "points (interval; 95 % unless said)", "answer", "training step",
    "a plain image that costs about as much to train", "report",
)  # fmt: skip


@dataclass(frozen=True)
class SameTime:
    """The plain pipeline at the size whose training time reaches the treatment's."""

    side: int  # of its images, pixels
    over_baseline: Interval  # points
    over_treatment: float  # points, the mean over the seeds that both have
    step: float | None  # a training step's time over the treatment's


@dataclass(frozen=True)
class Finding:
    """A verdict with what a reader of the first screen needs beside it."""

    experiment: str
    treatment: str
    baseline: str
    answer: Answer
    difference: Interval  # treatment minus baseline, points
    trials: list[str]  # the keys that it rests on
    generated: bool  # whether its images are
    tuned: bool  # whether its arms were tuned
    place: str  # data, size, backbone, and what else the experiment varies
    about: str  # what its images show, where that is known
    length: str
    step: float | None  # a training step's time over the baseline's
    step_differs: bool  # by more than the timing lane's noise
    controls: list[tuple[str, Interval]]  # over the baseline; those that say why
    same_time: SameTime | None


@dataclass(frozen=True)
class Glance:
    """What one experiment has for the first screen."""

    findings: list[Finding]
    price: str  # what the treatment costs, of an experiment that trains nothing
    average: Interval | None = None  # over contexts too many to tell one by one, points


NOTHING = Glance([], "")


class Told(NamedTuple):
    """A piece of a short answer, and the experiment that it is of, if it is of one."""

    text: str
    experiment: str = ""


class Short(NamedTuple):
    """A question and its short answer."""

    question: str
    told: list[Told]


def at(evidence: Evidence) -> Glance:
    """What the experiment has for the first screen."""
    asked = evidence.experiment
    counted = not asked.spec.train and not all(map(generated, asked.trials.values()))
    judged = [(row, row.verdict) for row in evidence.rows if row.verdict]
    found = [_finding(evidence, *one) for one in judged if one[1].answer != "too few seeds"]
    priced = _timed_alone(evidence) if counted else ""
    return Glance(found, priced, average(evidence) if len(found) > MOST_BESIDE else None)


def _timed_alone(evidence: Evidence) -> str:
    """What the treatment costs where nothing is trained, and where that was measured."""
    treated = [row.trial for row in evidence.compared if row.arm.role == "treatment"]
    sizes = words.join(dict.fromkeys(f"{trial.size} px" for trial in treated))
    backbones = words.count(len({trial.backbone for trial in treated}), "backbone")
    told = next(iter(prices(evidence)), "").rstrip(".")
    found = sides(evidence, "training time")
    larger = [
        f"{min(pixels):.0f} to {max(pixels):.0f} px in place of {size} px"
        for size in dict.fromkeys(one.size for one in found)
        if (pixels := [one.pixels for one in found if one.size == size])
    ]
    bought = f". That time pays for a plain image of {words.join(larger)}" if larger else ""
    return f"Before {backbones}, {sizes}, {told}{bought}" if told else ""


def _finding(evidence: Evidence, row: Row, given: Verdict) -> Finding:
    step = row.times.get("train")
    beside = [other for other in evidence.compared if other.context == row.context]
    keys = [one.seeds["key"] for one in (row, evidence.baseline_of(row))]
    return Finding(
        experiment=evidence.experiment.name,
        treatment=given.treatment,
        baseline=given.baseline,
        answer=given.answer,
        difference=given.difference,
        trials=sorted({str(key) for of in keys for key in of}),
        generated=generated(row.trial),
        tuned=evidence.search is not None,
        place=_place(evidence, row),
        about=_about(row.trial.dataset),
        length=words.length(row.trial),
        step=step.value if step else None,
        step_differs=bool(step and step.differs(evidence.floors.get("train", 1.0))),
        controls=[
            (NAMES[str(one.arm.control)](one), one.difference)
            for one in beside
            if one.arm.control in NAMES and one.trial.resizer != "none" and _several(one.difference)
        ],
        same_time=_same_time(evidence, row, beside),
    )


def _several(difference: Interval | None) -> TypeGuard[Interval]:
    return difference is not None and difference.n > 1


def generated(trial: Trial) -> bool:
    """Whether the trial's images are."""
    return trial.dataset in DATASETS and DATASETS[trial.dataset].generator is not None


def _about(dataset: str) -> str:
    title = DATASETS[dataset].title if dataset in DATASETS else ""
    return title.partition(": ")[2]


def _place(evidence: Evidence, row: Row) -> str:
    others = [name for name in evidence.axes if name not in AXIS_ORDER]
    told = [row.trial.size + " px", row.trial.backbone]
    told += [words.axis_value(name, row.context[name]) for name in others]
    return f"{row.trial.dataset}, {', '.join(told)}"


def _same_time(evidence: Evidence, row: Row, beside: Iterable[Row]) -> SameTime | None:
    table = evidence.by_context[context_label(row.context)]
    for other in beside:
        asked = (
            other.arm.fields.get("input_size") == "equal_time" and other.arm.match == row.arm.name
        )
        if asked and _several(other.difference):
            over = paired_difference(table, other.arm.name, row.arm.name)
            ours, its = row.times.get("train"), other.times.get("train")
            step = its.value / ours.value if ours and its else None
            return SameTime(other.trial.input_size, other.difference, over.mean, step)
    return None


def distinct(glances: Iterable[Glance]) -> list[Finding]:
    """Each comparison once, as the experiment has it that asked the fewest at a time."""
    found = [finding for glance in glances for finding in glance.findings]
    first: dict[tuple[str, ...], Finding] = {}
    for finding in sorted(found, key=lambda one: (one.difference.level, one.experiment)):
        first.setdefault(tuple(finding.trials), finding)
    return list(first.values())


def short(glances: Sequence[Glance], names: Sequence[str]) -> list[Short]:
    """Does it help, when, why, at what price; what is not measured is left out."""
    found = distinct(glances)
    real = [one for one in found if not one.generated]
    costs = [Told(g.price, n) for g, n in zip(glances, names, strict=True) if g.price]
    answers = [
        Short("Does it help?", [*_helps(real), *_averages(glances)]),
        Short("When?", _when(found)),
        Short("Why?", _why(real)),
        Short("At what price?", [*_price(real), *costs]),
    ]
    return [one for one in answers if one.told]


def _helps(real: Sequence[Finding]) -> list[Told]:
    if not real:
        return []
    counts = Counter(one.answer for one in real)
    told = words.join(f"{answer} in {n}" for answer, n in counts.most_common())
    return [
        Told(
            f"On real images, in {words.count(len(real), 'comparison')} with the plain "
            f"pipeline: {told}. {words.between([one.difference.mean for one in real])}."
        )
    ]


def _averages(glances: Sequence[Glance]) -> list[Told]:
    """The gain over all contexts of an experiment on real images that has many."""
    return [
        Told(
            f"Averaged over {len(one.findings)} contexts, {one.findings[0].treatment} less "
            f"{one.findings[0].baseline}: {words.mean(one.average, signed=True)} points",
            one.findings[0].experiment,
        )
        for one in glances
        if one.average and not any(finding.generated for finding in one.findings)
    ]


def _when(found: Sequence[Finding]) -> list[Told]:
    """The settled verdicts of arms as given, by answer; each place once."""
    told = []
    for answer in SETTLED:
        places = {
            one.place: f"{one.place}{' (' + one.about + ')' if one.about else ''}: "
            f"{words.points(one.difference.mean, signed=True)} points over {one.baseline}"
            for one in reversed(found)
            if one.answer == answer and not one.tuned
        }
        if places:
            listed = "; ".join(reversed(places.values()))
            told.append(Told(f"{answer.capitalize()} on {listed}."))
    return told


def _why(real: Sequence[Finding]) -> list[Told]:
    """What the controls that are not plain images of another size make of the difference."""
    return [
        Told(
            f"{one.place}: in points over {one.baseline}, each with its own 95 % interval: "
            f"{one.treatment} {words.mean(one.difference, signed=True)}; "
            + "; ".join(f"{name} {words.mean(it, signed=True)}" for name, it in one.controls),
            one.experiment,
        )
        for one in real
        if one.controls
    ]


def _price(real: Sequence[Finding]) -> list[Told]:
    """What the treatment's step costs, and what a larger plain image brings in that time."""
    told = []
    if steps := [one.step for one in real if one.step]:
        low, high = (words.number(end, 2) for end in (min(steps), max(steps)))
        shown = low if low == high else f"{low} to {high}"
        told.append(Told(f"A training step takes {shown} {TIMES} as long as the plain pipeline's."))
    over = [one.same_time.over_treatment for one in real if one.same_time]
    if over:
        more = sum(value > 0 for value in over)
        times = words.count(len(over), "comparison")
        told.append(
            Told(
                f"A larger plain image that costs about as much to train reaches more than the "
                f"learned resizer in {more} of {times}, by the means: {_range(over)} points."
            )
        )
    return told


def _range(values: Sequence[float]) -> str:
    low, high = (words.points(end, signed=True) for end in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"


def rows(glances: Sequence[Glance]) -> list[list[str]]:
    """A line for each distinct verdict on real images, under `HEADINGS`; the experiment last."""
    return [_cells(one) for one in distinct(glances) if not one.generated]


def _cells(one: Finding) -> list[str]:
    low, high = (words.points(v, signed=True) for v in (one.difference.low, one.difference.high))
    mean = words.points(one.difference.mean, signed=True)
    level = "" if one.difference.level == LEVEL else f"; {words.percent(one.difference.level)}"
    step = words.NONE
    if one.step:
        step = f"{words.number(one.step, 2)} {TIMES}" + (
            "" if one.step_differs else " (within noise)"
        )
    larger = words.NONE
    if one.same_time:
        gain = words.mean(one.same_time.over_baseline, signed=True)
        larger = f"{one.same_time.side} px: {gain}"
        if one.same_time.step:
            larger += f", {words.number(one.same_time.step, 2)} {TIMES} {one.treatment}'s step"
    return [
        f"{one.treatment} against {one.baseline}",
        ", ".join([one.place, one.length, words.count(one.difference.n, "seed")]),
        f"{mean} ({low} to {high}{level})",
        one.answer,
        step,
        larger,
        one.experiment,
    ]
