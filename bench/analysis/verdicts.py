"""What one experiment has for the first screen of many: verdicts, and what stands beside them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeGuard

from bench.analysis.controls import beside, sides
from bench.analysis.effects import average
from bench.analysis.evidence import AXIS_ORDER, Evidence, Row
from bench.analysis.statistics import Answer, Interval, Verdict, paired_difference
from bench.data.specs import DATASETS
from bench.report import words
from bench.report.answer import MOST_BESIDE, length, prices, setting
from bench.spec.trial import Trial
from bench.store import context_label


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
    difference: Interval  # treatment minus control, points; simultaneous with the other controls'


@dataclass(frozen=True)
class Finding:
    """A verdict with what a reader of the first screen needs beside it."""

    experiment: str
    treatment: str
    baseline: str
    answer: Answer
    difference: Interval  # treatment minus baseline, points
    margin_pct: float  # differences smaller than this do not matter to the asker
    reached: Interval  # the baseline's accuracy, %
    trials: list[str]  # the keys that it rests on
    baseline_trials: list[str]  # those of them that are the baseline's
    generated: bool  # whether its images are
    tuned: bool  # whether its arms were tuned, each for itself
    recipe_for: str | None  # the arm alone for which the recipe of all was tuned
    place: str  # data, size, backbone, and what else the experiment varies
    about: str  # what its images show, where that is known
    length: str  # of training; empty where that is what the experiment varies
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
            place = [_place(evidence, row), *length(evidence, row)]
            yield (
                f"Tuned over {words.count(tried, 'configuration')} on held-out training images, "
                f"{row.arm.name} reaches {words.mean(row.accuracy)} % on "
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
    base = evidence.baseline_of(row)
    ours, theirs = (list(map(str, one.seeds["key"])) for one in (row, base))
    return Finding(
        experiment=evidence.experiment.name,
        treatment=given.treatment,
        baseline=given.baseline,
        answer=given.answer,
        difference=given.difference,
        margin_pct=given.margin_pct,
        reached=base.accuracy,
        trials=sorted({*ours, *theirs}),
        baseline_trials=sorted(theirs),
        generated=generated(row.trial),
        tuned=evidence.search is not None,
        recipe_for=evidence.experiment.spec.recipe_for,
        place=_place(evidence, row),
        about=_about(row.trial.dataset),
        length="".join(length(evidence, row)),
        step=step.value if step else None,
        step_differs=bool(step and step.differs(evidence.floors.get("train", 1.0))),
        controls=[
            Control(one.name, one.standing, one.difference)
            for one in beside(evidence, row)
            if one.row.trial.resizer != "none" and _several(one.difference)
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
    return ", ".join([row.trial.dataset, *setting(evidence, row)])


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
