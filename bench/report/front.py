"""The first screen of many experiments: a few short answers, and a line for each verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from bench.analysis.controls import STANDINGS
from bench.analysis.statistics import LEVEL, SETTLED
from bench.analysis.verdicts import Control, Finding, Gathered, Glance
from bench.report import words
from bench.report.words import TIMES

HEADINGS = (
    "asked of", "on", "baseline reaches, %", "points (interval; 95 % unless said)",
    "answer (margin 1 point unless said)", "training step",
    "a plain image that costs about as much to train", "report",
)  # fmt: skip
CAPTION = (
    "Every comparison on real images; the many of one experiment are one line. Experiments share "
    "some of them."
)


class Told(NamedTuple):
    """A piece of a short answer, and the experiment that it is of, if it is of one."""

    text: str
    experiment: str = ""


class Short(NamedTuple):
    """A question and its short answer."""

    question: str
    told: list[Told]


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
    """How the comparisons came out, and how much of it the recipe may have decided."""
    if not real:
        return []
    gained = any(one.answer == "better" for one in real)
    told = [
        f"{'On' if gained else 'No gain was found on'} real images, in "
        f"{words.count(len(real), 'comparison')} of {_names(real, 'treatment')} with "
        f"{_names(real, 'baseline')}: {_answers(real)}. "
        f"{words.between([one.difference.mean for one in real])}."
    ]
    bases = {tuple(one.baseline_trials) for one in real}
    if len(bases) < len(real):
        told += [f"They share {words.count(len(bases), 'set')} of baseline runs."]
    for arm in dict.fromkeys(one.recipe_for for one in real if one.recipe_for):
        n = sum(one.recipe_for == arm for one in real)
        told += [f"In {n} of them all arms train by a recipe that was tuned for {arm} alone."]
    alike = [
        Told(
            f"With {one.treatment} and {one.baseline} tuned alike: "
            f"{words.mean(one.difference, signed=True)} points",
            one.experiment,
        )
        for one in real
        if one.tuned
    ]
    return [Told(" ".join(told)), *alike]


def _names(found: Sequence[Finding], which: Literal["treatment", "baseline"]) -> str:
    return words.join(dict.fromkeys(str(getattr(one, which)) for one in found), last="or")


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
    """The settled verdicts of arms that were not tuned, by answer."""
    return [
        Told(
            f"{answer.capitalize()} on {', '.join([one.place, *_lasting(one)])}"
            f"{' (' + one.about + ')' if one.about else ''}: {one.treatment} less {one.baseline} "
            f"{words.points(one.difference.mean, signed=True)} points",
            one.experiment,
        )
        for answer in SETTLED
        for one in found
        if one.answer == answer and not one.tuned
    ]


def _why(real: Sequence[Finding]) -> list[Told]:
    """What the controls that are not plain images of another size make of the difference."""
    return [
        Told(
            f"On {one.place}, {one.treatment} ({words.mean(one.difference, signed=True)} points "
            f"over {one.baseline}) is {_standings(one.treatment, one.controls)}",
            one.experiment,
        )
        for one in real
        if one.controls
    ]


def _standings(treatment: str, controls: Sequence[Control]) -> str:
    """How the treatment compares with each control, and by how many points."""
    groups = {name: [one for one in controls if one.standing == name] for name in STANDINGS}
    told = "; ".join(
        f"{standing} "
        + words.join(f"{one.name} ({words.mean(one.difference, signed=True)})" for one in group)
        for standing, group in groups.items()
        if group
    )
    over = controls[0].difference
    how = f"{words.percent(over.level)} intervals, {words.count(over.n, 'seed')}"
    return f"{told} ({treatment} less each: {how})"


def _price(real: Sequence[Finding]) -> list[Told]:
    """What the treatment's step costs, and what a larger plain image brings in that time."""
    told = []
    if steps := _steps(real):
        told.append(Told(f"A training step takes {steps} as long as the plain pipeline's."))
    matched = [one for one in real if one.same_time]
    over = [one.same_time.over_treatment for one in matched if one.same_time]
    if over:
        more = sum(value > 0 for value in over)
        times = words.count(len(over), "comparison")
        told.append(
            Told(
                f"A larger plain image that costs about as much to train reaches more than "
                f"{_names(matched, 'treatment')} in {more} of {times}, by the means: "
                f"{_range(over)} points."
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


def _range(values: Sequence[float], *, signed: bool = True) -> str:
    low, high = (words.points(end, signed=signed) for end in (min(values), max(values)))
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
        words.points(one.reached.mean),
        f"{mean} ({low} to {high}{level})",
        one.answer if one.margin_pct == 1 else f"{one.answer} (margin {one.margin_pct:g})",
        step,
        larger,
        one.experiment,
    ]


def _lasting(one: Finding) -> list[str]:
    return [*([one.length] if one.length else []), words.count(one.difference.n, "seed")]


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
        _range([one.reached.mean for one in found], signed=False),
        f"on average {mean} ({low} to {high}); each {each}",
        _answers(found),
        _steps(found) or words.NONE,
        larger,
        found[0].experiment,
    ]
