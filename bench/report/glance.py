"""The first screen of many experiments: a few short answers, and a line for each verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeGuard

from bench.datasets.specs import DATASETS
from bench.experiment import Trial
from bench.report import words
from bench.report.answer import MOST_BESIDE, prices
from bench.report.effects import average
from bench.report.evidence import AXIS_ORDER, Evidence, Row
from bench.report.why import STANDINGS, beside, sides
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
class Control:
    """An arm that says why, and how the treatment compares with it."""

    name: str
    standing: str  # of the treatment: one of STANDINGS
    over_baseline: Interval  # points


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
    controls: list[Control]  # those that say why
    same_time: SameTime | None


@dataclass(frozen=True)
class Gathered:
    """The comparisons of an experiment that has too many to tell one by one."""

    gain: Interval  # averaged over them, points
    over: str  # how many values of which axes
    place: str  # data, sizes, backbones, and the values of what else it varies


@dataclass(frozen=True)
class Glance:
    """What one experiment has for the first screen."""

    findings: list[Finding]
    price: str  # what the treatment costs, of an experiment that trains nothing
    gathered: Gathered | None = None
    strength: str = ""  # what tuned baselines reach, of a search that has no treatment

    @property
    def generated(self) -> bool:
        """Whether images of its findings are."""
        return any(one.generated for one in self.findings)


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
    gathered = _gathered(evidence) if len(found) > MOST_BESIDE else None
    return Glance(found, priced, gathered, "; ".join(_strengths(evidence)))


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


def _strengths(evidence: Evidence) -> Iterator[str]:
    """What each tuned arm reaches on real images, where all of them are baselines."""
    if any(row.arm.role == "treatment" for row in evidence.rows):
        return
    for row in evidence.rows:
        if (tried := evidence.tried(row.arm.name)) and not generated(row.trial):
            place = [_place(evidence, row), words.length(row.trial)]
            yield (
                f"{row.arm.name}, tuned over {words.count(tried, 'configuration')} on held-out "
                f"training images, reaches {words.mean(row.accuracy)} % on "
                f"{', '.join([*place, words.count(row.accuracy.n, 'seed')])}"
            )


def _gathered(evidence: Evidence) -> Gathered | None:
    gain, judged = average(evidence), [row for row in evidence.rows if row.verdict]
    if gain is None:
        return None
    values = {
        axis: list(dict.fromkeys(str(row.context[axis]) for row in judged))
        for axis in evidence.axes
    }
    trials = [row.trial for row in judged]
    columns = ([t.dataset for t in trials], [t.size for t in trials], [t.backbone for t in trials])
    datasets, sizes, backbones = (words.join(dict.fromkeys(column)) for column in columns)
    others = [f"{axis} {words.join(of)}" for axis, of in values.items() if axis not in AXIS_ORDER]
    over = words.join(f"{words.count(len(of), 'value')} of {axis}" for axis, of in values.items())
    return Gathered(gain, over, ", ".join([datasets, f"{sizes} px", backbones, *others]))


def _finding(evidence: Evidence, row: Row, given: Verdict) -> Finding:
    step = row.times.get("train")
    nearby = [other for other in evidence.compared if other.context == row.context]
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
            Control(one.name, one.standing, one.row.difference)
            for one in beside(evidence, row)
            if one.row.trial.resizer != "none" and _several(one.row.difference)
        ],
        same_time=_same_time(evidence, row, nearby),
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


def _same_time(evidence: Evidence, row: Row, nearby: Iterable[Row]) -> SameTime | None:
    table = evidence.by_context[context_label(row.context)]
    for other in nearby:
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
    """Does it help, when, why, at what price, over what; what is not measured is left out."""
    found = distinct(glances)
    real = [one for one in found if not one.generated]
    named = list(zip(glances, names, strict=True))
    costs = [Told(glance.price, name) for glance, name in named if glance.price]
    strengths = [Told(glance.strength, name) for glance, name in named if glance.strength]
    answers = [
        Short("Does it help?", [*_helps(real), *_averages(glances)]),
        Short("When?", _when(found)),
        Short("Why?", _why(real)),
        Short("At what price?", [*_price(real), *costs]),
        Short("How good is the plain pipeline?", strengths),
    ]
    return [one for one in answers if one.told]


def _helps(real: Sequence[Finding]) -> list[Told]:
    if not real:
        return []
    return [
        Told(
            f"On real images, in {words.count(len(real), 'comparison')} with the plain "
            f"pipeline: {_answers(real)}. {words.between([one.difference.mean for one in real])}."
        )
    ]


def _answers(found: Sequence[Finding]) -> str:
    counts = Counter(one.answer for one in found)
    return words.join(f"{answer} in {n}" for answer, n in counts.most_common())


def _averages(glances: Sequence[Glance]) -> list[Told]:
    """The gain over all comparisons of an experiment on real images that has many."""
    return [
        Told(
            f"Averaged over {one.gathered.over}, {one.findings[0].treatment} less "
            f"{one.findings[0].baseline}: {words.mean(one.gathered.gain, signed=True)} points",
            one.findings[0].experiment,
        )
        for one in glances
        if one.gathered and not one.generated
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
            f"On {one.place}, {one.treatment} ({words.mean(one.difference, signed=True)} points "
            f"over {one.baseline}) is {_standings(one.controls)}",
            one.experiment,
        )
        for one in real
        if one.controls
    ]


def _standings(controls: Sequence[Control]) -> str:
    """Each control with its own points over the baseline, by how the treatment compares."""
    groups = {name: [one for one in controls if one.standing == name] for name in STANDINGS}
    return "; ".join(
        f"{standing} "
        + words.join(f"{one.name} ({words.mean(one.over_baseline, signed=True)})" for one in group)
        for standing, group in groups.items()
        if group
    )


def _price(real: Sequence[Finding]) -> list[Told]:
    """What the treatment's step costs, and what a larger plain image brings in that time."""
    told = []
    if steps := _steps(real):
        told.append(Told(f"A training step takes {steps} as long as the plain pipeline's."))
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


def _steps(found: Sequence[Finding]) -> str:
    """The range of training steps over the baseline's; empty where none was timed."""
    steps = [one.step for one in found if one.step]
    if not steps:
        return ""
    low, high = (words.number(end, 2) for end in (min(steps), max(steps)))
    return f"{low if low == high else f'{low} to {high}'} {TIMES}"


def _range(values: Sequence[float]) -> str:
    low, high = (words.points(end, signed=True) for end in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"


def rows(glances: Sequence[Glance]) -> list[list[str]]:
    """A line for each distinct verdict on real images, under `HEADINGS`; the experiment last.

    The verdicts of an experiment that has too many to tell one by one are one line.
    """
    alone = distinct(one for one in glances if not one.gathered)
    many = [one for one in glances if one.gathered and not one.generated]
    return [
        *(_cells(one) for one in alone if not one.generated),
        *(_together(one.findings, one.gathered) for one in many if one.gathered),
    ]


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
        ", ".join([one.place, *_lasting(one)]),
        f"{mean} ({low} to {high}{level})",
        one.answer,
        step,
        larger,
        one.experiment,
    ]


def _lasting(one: Finding) -> list[str]:
    return [one.length, words.count(one.difference.n, "seed")]


def _together(found: Sequence[Finding], of: Gathered) -> list[str]:
    """The line of many verdicts: their average, and from where to where each of them lies."""
    low, high = (words.points(v, signed=True) for v in (of.gain.low, of.gain.high))
    mean = words.points(of.gain.mean, signed=True)
    each = _range([one.difference.mean for one in found])
    equal = [one.same_time for one in found if one.same_time]
    larger = words.NONE
    if equal:
        sizes = words.join(dict.fromkeys(f"{one.side} px" for one in equal))
        larger = f"{sizes}: {_range([one.over_baseline.mean for one in equal])}"
    return [
        f"{found[0].treatment} against {found[0].baseline}, {len(found)} times",
        ", ".join([of.place, *_lasting(found[0])]),
        f"on average {mean} ({low} to {high}); each {each}",
        _answers(found),
        _steps(found) or words.NONE,
        larger,
        found[0].experiment,
    ]
