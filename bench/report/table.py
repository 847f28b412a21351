"""The results table: a line for each arm in each context, and what went wrong."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import pandas as pd

from bench.analysis.evidence import Evidence, Row
from bench.analysis.statistics import Interval, t_interval
from bench.metrics import METRICS, Metric
from bench.report import words

SIZES = ("input_size", "output_size")
PHASES = {"train": "training step", "infer": "inference", "latency": "latency at batch 1"}


class Cell(NamedTuple):
    """What one cell shows, and what it is sorted by."""

    text: str
    sort: float | str

    @property
    def number(self) -> bool:
        return not isinstance(self.sort, str)


ENDED_WELL = ("ok", "not trained")
Column = Callable[[Row], Cell]


@dataclass(frozen=True)
class Sheet:
    """A table as it is displayed: its headings, and a line of cells for each row."""

    headings: list[str]
    lines: list[list[Cell]]

    @cached_property
    def numeric(self) -> list[bool]:
        """Which columns hold numbers alone."""
        return [all(line[i].number for line in self.lines) for i in range(len(self.headings))]

    @property
    def frame(self) -> pd.DataFrame:
        """Its texts."""
        texts = [[cell.text for cell in line] for line in self.lines]
        return pd.DataFrame(texts, columns=self.headings)


@dataclass(frozen=True)
class Problem:
    """Trials of one row that did not end well, for one reason."""

    arm: str
    place: str
    seeds: str
    status: str
    reason: str


def table(evidence: Evidence) -> Sheet:
    """The results table: accuracies, differences, verdicts, and what an image costs."""
    columns = _places(evidence)
    if evidence.experiment.spec.train:
        columns |= _accuracies(evidence)
    shown = {name: metric for name, metric in METRICS.items() if not metric.detail}
    return _sheet(evidence, columns | _times_to(evidence) | _speeds(evidence, shown))


def _times_to(evidence: Evidence) -> dict[str, Column]:
    """Training seconds, evaluation left out, until each target was first measured."""

    def column(target: float) -> Column:
        def show(row: Row) -> Cell:
            keys = row.seeds.loc[row.seeds["status"] == "ok", "key"]
            found = [time_to(evidence.records[key].get("curve", []), target) for key in keys]
            reached = [seconds for seconds in found if seconds is not None]
            if not reached:
                return Cell(words.NONE, math.nan)
            mean = sum(reached) / len(reached)
            return Cell(f"{words.number(mean)} ({len(reached)} of {len(found)})", mean)

        return show

    targets = evidence.experiment.spec.targets_pct
    return {f"training to {target:g} %, s": column(target) for target in targets}


def time_to(curve: Sequence[Mapping[str, float]], target_pct: float) -> float | None:
    """Training seconds at the first evaluation that reached the target; None if none did.

    >>> time_to([{"train_s": 5, "top1_pct": 40}, {"train_s": 10, "top1_pct": 61}], 60)
    10
    """
    reached = (row["train_s"] for row in curve if row.get("top1_pct", 0) >= target_pct)
    return next(reached, None)


def _places(evidence: Evidence) -> dict[str, Column]:
    table = {name: _axis(name) for name in evidence.axes if name not in SIZES}
    table |= {
        "arm": lambda row: Cell(row.arm.name, row.arm.name),
        "image, px": lambda row: Cell(row.trial.size, row.trial.input_size),
    }
    if any(row.trial.pretrained or row.trial.parents for row in evidence.rows):
        table["starts from"] = lambda row: _text(_start(row))
    return table


def _start(row: Row) -> str:
    """The weights that the row's trials start from."""
    named = dict.fromkeys(to for field, to in row.arm.arms.items() if field != "match")
    pretrained = ["ImageNet weights"] if row.trial.pretrained else []
    return words.join([*pretrained, *named]) or words.NONE


def _accuracies(evidence: Evidence) -> dict[str, Column]:
    table: dict[str, Column] = {"seeds": _seeds}
    if any(status(row) != "ok" for row in evidence.rows):
        table["status"] = lambda row: _text(status(row))
    table[words.TOP1] = lambda row: _interval(row.accuracy)
    if evidence.trials["clean_top1_pct"].notna().any():
        table[f"{METRICS['clean_top1_pct'].label}, %"] = _clean
    if evidence.compared:
        table[f"difference to {evidence.experiment.baseline}, points"] = _difference
    if any(row.verdict for row in evidence.rows):
        table["verdict"] = lambda row: _text(row.verdict.answer if row.verdict else words.NONE)
    return table


def _speeds(evidence: Evidence, metrics: Mapping[str, Metric]) -> dict[str, Column]:
    """A column for each metric; for what is measured, one for each setting that rows have."""
    settings = list(dict.fromkeys(row.trial.setting for row in evidence.rows))
    table: dict[str, Column] = {}
    for name, metric in metrics.items():
        if not any(name in row.speed for row in evidence.rows):
            continue
        if metric.counted or len(settings) == 1:
            table[f"{metric.label}, {metric.unit}"] = _speed(name)
            continue
        for setting in settings:
            under = words.setting(setting, settings)
            table[f"{metric.label} ({under}), {metric.unit}"] = _speed(name, setting)
    return table


def costs(evidence: Evidence) -> Sheet | None:
    """Everything that the timing lane measured; None before it measured anything."""
    ratios: dict[str, Column] = {
        f"{PHASES[phase]}, {words.TIMES} {evidence.experiment.baseline}": _time(phase)
        for phase in PHASES
        if any(phase in row.times for row in evidence.rows)
    }
    measured = ratios | _speeds(evidence, METRICS)
    return _sheet(evidence, _places(evidence) | measured) if measured else None


def _sheet(evidence: Evidence, columns: Mapping[str, Column]) -> Sheet:
    lines = [[show(row) for show in columns.values()] for row in evidence.rows]
    return Sheet(list(columns), lines)


def status(row: Row) -> str:
    """`ok`, or how many of the row's trials are in another state: `1 oom, 2 missing`."""
    lost = {state: n for state, n in row.statuses.items() if state not in ENDED_WELL}
    return ", ".join(f"{n} {state}" for state, n in lost.items()) or "ok"


def problems(evidence: Evidence) -> list[Problem]:
    """Every trial that is not there, with the reason, those of one row together."""
    return [
        Problem(
            arm=row.arm.name,
            place=words.place(row.context, evidence.axes),
            seeds=words.join(str(seed) for seed in part["seed"]),
            status=str(part["status"].iloc[0]),
            reason=str(part["reason"].iloc[0]),
        )
        for row in evidence.rows
        if status(row) != "ok"
        for _, part in _lost(row.seeds).groupby(["status", "reason"], sort=False)
    ]


def reasons(evidence: Evidence) -> Counter[tuple[str, str]]:
    """How many trials ended in each status for each reason."""
    lost = _lost(evidence.table).drop_duplicates("key")
    return Counter(zip(lost["status"].tolist(), lost["reason"].tolist(), strict=True))


def latex(evidence: Evidence) -> str:
    """The table for a paper, with booktabs."""
    shown = table(evidence).frame
    lines = [" & ".join(map(_latex, line)) + r" \\" for line in shown.itertuples(index=False)]
    head = " & ".join(map(_latex, shown.columns)) + r" \\"
    begin = rf"\begin{{tabular}}{{{'l' * len(shown.columns)}}}"
    body = [begin, r"\toprule", head, r"\midrule", *lines, r"\bottomrule", r"\end{tabular}", ""]
    return "\n".join(body)


LATEX: dict[str, str] = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}
LATEX |= {char: "\\" + char for char in "&%$#_{}"}
LATEX |= {words.MINUS: "$-$", "±": r"$\pm$", "→": r"$\to$", words.NONE: "--"}


def _latex(text: str) -> str:
    return "".join(LATEX.get(char, char) for char in text)


def _lost(table: pd.DataFrame) -> pd.DataFrame:
    return table[~table["status"].isin(ENDED_WELL)]


def _axis(name: str) -> Column:
    def show(row: Row) -> Cell:
        value = getattr(row.trial, name)
        if value is None:
            return Cell(words.NONE, math.nan)
        return Cell(str(value), value if isinstance(value, int | float) else str(value))

    return show


def _speed(name: str, setting: tuple[Any, ...] | None = None) -> Column:
    """The metric, of the rows with the setting alone, if one is given."""

    def show(row: Row) -> Cell:
        value = row.speed.get(name, math.nan)
        if setting not in (None, row.trial.setting):
            value = math.nan
        return Cell(words.number(value), value)

    return show


def _time(phase: str) -> Column:
    def show(row: Row) -> Cell:
        if phase not in row.times:
            return Cell(words.NONE, math.nan)
        ratio = row.times[phase]
        value, low, high = (words.number(v, 3) for v in (ratio.value, ratio.low, ratio.high))
        return Cell(f"{value} ({low} to {high})", ratio.value)

    return show


def _clean(row: Row) -> Cell:
    return _interval(t_interval(row.seeds["clean_top1_pct"].dropna().tolist()))


def _seeds(row: Row) -> Cell:
    return Cell(f"{row.accuracy.n} of {len(row.seeds)}", row.accuracy.n)


def _interval(interval: Interval) -> Cell:
    return Cell(words.mean(interval), interval.mean)


def _difference(row: Row) -> Cell:
    if row.difference is None:
        return Cell(words.NONE, math.nan)
    return Cell(words.mean(row.difference, signed=True), row.difference.mean)


def _text(text: str) -> Cell:
    return Cell(text, text)
