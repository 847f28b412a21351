"""The README's first screen: the four short answers, and a line for each verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from bench.datasets.specs import DATASETS
from bench.experiment import Experiment
from bench.report import words
from bench.report.answer import prices
from bench.report.evidence import Evidence, Row
from bench.report.why import NAMES
from bench.report.words import TIMES
from bench.statistics import Verdict

HEADINGS = ("asked of", "on", "points (interval)", "answer", "training step", "report")
SETTLED = ("better", "worse", "no difference")
LARGER = ("time", "ceiling")
"""The standard controls that are plain images of a larger size: what the price buys otherwise."""


class Shown(NamedTuple):
    """A published experiment: what it measured, and the address of its report."""

    evidence: Evidence
    address: str

    @property
    def link(self) -> str:
        return f"[{self.evidence.experiment.name}]({self.address})"

    @property
    def judged(self) -> list[tuple[Row, Verdict]]:
        """The rows that have a verdict on some seeds."""
        rows = ((row, row.verdict) for row in self.evidence.rows)
        return [(row, given) for row, given in rows if given and given.difference.n]


def of_the_harness(experiment: Experiment) -> bool:
    """Whether it asks of generated images alone."""
    return all(_generated(trial.dataset) for trial in experiment.trials.values())


def _generated(dataset: str) -> bool:
    return dataset in DATASETS and DATASETS[dataset].generator is not None


def _title(dataset: str) -> str:
    return DATASETS[dataset].title if dataset in DATASETS else ""


def short(shown: Sequence[Shown]) -> list[str]:
    """Markdown lines: does it help, when, why, at what price; what is not measured is left out."""
    real = [one for one in shown if not of_the_harness(one.evidence.experiment)]
    answers = {
        "Does it help?": _helps(real),
        "When?": _when(shown),
        "Why?": _why(real),
        "At what price?": _price(real),
    }
    return [f"- **{question}** {' '.join(told)}" for question, told in answers.items() if told]


def _helps(real: Sequence[Shown]) -> list[str]:
    given = [verdict for one in real for _, verdict in one.judged]
    if not given:
        return []
    counts = Counter(verdict.answer for verdict in given)
    told = words.join(f"{answer} in {n}" for answer, n in counts.most_common())
    means = [
        words.points(verdict.difference.mean, signed=True)
        for verdict in sorted(given, key=lambda one: one.difference.mean)
    ]
    return [
        f"On real images, in {words.count(len(given), 'comparison')} with the plain "
        f"pipeline: {told}. The differences lie between {means[0]} and {means[-1]} points."
    ]


def _when(shown: Sequence[Shown]) -> list[str]:
    """The settled verdicts by answer; each place once, as the first experiment has it."""
    found: dict[str, dict[str, str]] = {answer: {} for answer in SETTLED}
    for one in shown:
        for row, given in one.judged:
            if given.answer in found and not one.evidence.search:
                place = f"{row.trial.dataset} ({words.size(row.trial)} px, {row.trial.backbone}"
                title = _title(row.trial.dataset).partition(": ")[2]
                text = f"{place}{'; ' + title if title else ''}): "
                text += f"{words.points(given.difference.mean, signed=True)} points"
                found[given.answer].setdefault(place, text)
    told = {answer: words.join(places.values(), "; ") for answer, places in found.items() if places}
    return [f"{answer.capitalize()} on {places}." for answer, places in told.items()]


def _why(real: Sequence[Shown]) -> list[str]:
    """What the controls that are not plain images of another size make of the difference."""
    return [
        f"{_place(row)}: in points over {one.evidence.experiment.baseline}, each with its own "
        f"95 % interval: {row.arm.name} {_over(row)}; {'; '.join(told)} ({one.link})."
        for one in real
        for row, _ in one.judged
        if (told := _controls(one.evidence, row))
    ]


def _controls(evidence: Evidence, treatment: Row) -> list[str]:
    return [
        f"{NAMES[row.arm.control](row)} {_over(row)}"
        for row in _beside(evidence, treatment)
        if row.arm.control in NAMES and not row.arm.match and row.arm.control not in LARGER
    ]


def _price(real: Sequence[Shown]) -> list[str]:
    """What the treatment's step costs, and what a larger plain image brings."""
    told = []
    for one in real:
        if not one.evidence.experiment.spec.train:
            told += [f"{' '.join(prices(one.evidence)[:1])} ({one.link})"]
        for row, _ in one.judged:
            larger = [
                f"{NAMES[other.arm.control](other)} {_over(other)}"
                for other in _beside(one.evidence, row)
                if other.arm.control in LARGER
            ]
            if larger and "train" in row.times:
                told.append(
                    f"{_place(row)}: a training step takes "
                    f"{words.number(row.times['train'].value, 2)} {TIMES} as long as "
                    f"{one.evidence.experiment.baseline}'s; in points over it, "
                    f"{row.arm.name} {_over(row)}; {'; '.join(larger)} ({one.link})."
                )
    return told


def _beside(evidence: Evidence, treatment: Row) -> list[Row]:
    return [row for row in evidence.compared if row.context == treatment.context]


def _over(row: Row) -> str:
    return words.mean(row.difference, signed=True) if row.difference else words.NONE


def _place(row: Row) -> str:
    return f"{row.trial.dataset} ({words.size(row.trial)} px, {row.trial.backbone})"


def table(shown: Sequence[Shown]) -> list[str]:
    """Markdown lines: a row for each verdict on real images."""
    rows = [
        [*_cells(one.evidence, row, given), one.link]
        for one in shown
        for row, given in one.judged
        if not of_the_harness(one.evidence.experiment)
    ]
    lines = [list(HEADINGS), ["---"] * len(HEADINGS), *rows]
    return [f"| {' | '.join(line)} |" for line in lines] if rows else []


def _cells(evidence: Evidence, row: Row, given: Verdict) -> list[str]:
    place = [row.trial.dataset, row.trial.backbone, f"{words.size(row.trial)} px"]
    place += [words.length(row.trial), words.count(given.difference.n, "seed")]
    low, high = (
        words.points(v, signed=True) for v in (given.difference.low, given.difference.high)
    )
    mean = words.points(given.difference.mean, signed=True)
    price = row.times.get("train")
    told = evidence.floors.get("train", 1.0)
    shown = f"{words.number(price.value, 2)} {TIMES}" if price else words.NONE
    if price and not price.differs(told):
        shown += " (within noise)"
    return [
        f"{given.treatment} against {given.baseline}",
        ", ".join(place),
        f"{mean} ({low} to {high})",
        given.answer,
        shown,
    ]
