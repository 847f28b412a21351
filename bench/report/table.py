"""The tables of a report: frames of texts, a line for each arm in each context.

One definition serves the page, the CSV file, the terminal and a paper.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import pandas as pd

from bench.analysis.evidence import Evidence, Row
from bench.analysis.statistics import t_interval
from bench.metrics import METRICS, Metric
from bench.records import CurveRow, loaded_from
from bench.report import words

SIZES = ("input_size", "output_size")
PHASES = {"train": "training step", "infer": "inference", "latency": "latency at batch 1"}
ENDED_WELL = ("ok", "not trained")

Columns = dict[str, Callable[[Row], str]]
"""What each column shows of a row, by its heading."""

TEX: dict[str, str | int | None] = {
    words.MINUS: "$-$",
    "±": r"$\pm$",
    "→": r"$\to$",
    words.TIMES: r"$\times$",
}


def results(evidence: Evidence) -> pd.DataFrame:
    """The results table: accuracies, differences, verdicts, and what an image costs."""
    columns = _places(evidence)
    if evidence.experiment.spec.train:
        columns |= _accuracies(evidence)
    shown = {name: metric for name, metric in METRICS.items() if not metric.detail}
    return _frame(evidence, columns | _times_to(evidence) | _speeds(evidence, shown))


def short(evidence: Evidence) -> pd.DataFrame:
    """Five columns for a paper: arm, image, accuracy, difference, price of a training step."""
    columns: Columns = {"arm": lambda row: row.arm.name, "image, px": lambda row: row.trial.size}
    columns[words.TOP1] = lambda row: words.mean(row.accuracy)
    columns[f"difference to {evidence.experiment.baseline}, points"] = _difference
    columns[f"training step, {words.TIMES}"] = lambda row: (
        words.number(row.times["train"].value) if "train" in row.times else words.NONE
    )
    return _frame(evidence, columns)


def costs(evidence: Evidence) -> pd.DataFrame:
    """Everything that the timing measured; empty before it measured anything."""
    ratios: Columns = {
        f"{PHASES[phase]}, {words.TIMES} {evidence.experiment.baseline}": _ratio(phase)
        for phase in PHASES
        if any(phase in row.times for row in evidence.rows)
    }
    measured = ratios | _speeds(evidence, METRICS)
    return _frame(evidence, _places(evidence) | measured) if measured else pd.DataFrame()


def problems(evidence: Evidence) -> pd.DataFrame:
    """Every trial that is not there, with the reason, those of one row together."""
    lines = [
        {
            "arm": row.arm.name,
            "context": words.place(row.context, evidence.axes) or words.NONE,
            "seed": words.join(map(str, part["seed"])),
            "status": str(part["status"].iloc[0]),
            "reason": str(part["reason"].iloc[0]),
        }
        for row in evidence.rows
        for _, part in _lost(row.seeds).groupby(["status", "reason"], sort=False)
    ]
    return pd.DataFrame(lines)


def reasons(evidence: Evidence) -> Counter[tuple[str, str]]:
    """How many trials ended in each status for each reason."""
    lost = _lost(evidence.table).drop_duplicates("key")
    return Counter(zip(lost["status"].tolist(), lost["reason"].tolist(), strict=True))


def latex(frame: pd.DataFrame, caption: str | None = None) -> str:
    """A table for a paper, with booktabs.

    Args:
        caption: as plain text; makes the table a float.
    """
    sides = "".join("r" if is_numeric(frame[name]) else "l" for name in frame)
    told = re.sub(r"([&%$#_{}])", r"\\\1", caption) if caption else None
    text = frame.to_latex(index=False, escape=True, column_format=sides, caption=told)
    return text.replace(words.NONE, "--").translate(str.maketrans(TEX))


def is_numeric(column: pd.Series[str]) -> bool:
    """Whether a column of texts holds numbers, each alone or before its unit or interval.

    >>> is_numeric(pd.Series(["+1.5 ± 0.2", "3 of 3"])), is_numeric(pd.Series(["1", "a 1"]))
    (True, False)
    """
    shown = column[column != words.NONE].astype(str)
    return len(shown) > 0 and bool(shown.str.fullmatch(NUMBER).all())


NUMBER = re.compile(rf"[+{words.MINUS}-]?\d[\d,]*(\.\d+)?(e-?\d+)?( .*)?")


def time_to(curve: Sequence[CurveRow], target_pct: float) -> float | None:
    """Training seconds at the first evaluation that reached the target; None if none did.

    >>> time_to([{"train_s": 5, "top1_pct": 40}, {"train_s": 10, "top1_pct": 61}], 60)
    10
    """
    reached = (row["train_s"] for row in curve if row.get("top1_pct", 0) >= target_pct)
    return next(reached, None)


def _frame(evidence: Evidence, columns: Columns) -> pd.DataFrame:
    return pd.DataFrame(
        [[show(row) for show in columns.values()] for row in evidence.rows], columns=list(columns)
    )


def _places(evidence: Evidence) -> Columns:
    """What tells a row from the others: its value of each axis, its arm, its sizes."""
    columns: Columns = {name: _axis(name) for name in evidence.axes if name not in SIZES}
    columns |= {"arm": lambda row: row.arm.name, "image, px": lambda row: row.trial.size}
    if any(row.trial.pretrained or row.trial.parents for row in evidence.rows):
        columns["starts from"] = lambda row: _start(evidence, row)
    return columns


def _axis(name: str) -> Callable[[Row], str]:
    def show(row: Row) -> str:
        value = getattr(row.trial, name)
        return words.NONE if value is None else str(value)

    return show


def _start(evidence: Evidence, row: Row) -> str:
    """The weights that the row's trials start from: of a checkpoint, what of it was loaded."""
    named = dict.fromkeys(to for field, to in row.arm.arms.items() if field != "match")
    records = [evidence.records[key] for key in row.seeds["key"] if key in evidence.records]
    loaded = dict.fromkeys(filter(None, map(loaded_from, records)))
    published = ["published weights"] if row.trial.pretrained is True else []
    return words.join([*published, *loaded, *named]) or words.NONE


def _accuracies(evidence: Evidence) -> Columns:
    columns: Columns = {"seeds": lambda row: f"{row.accuracy.n} of {len(row.seeds)}"}
    if any(_status(row) != "ok" for row in evidence.rows):
        columns["status"] = _status
    columns[words.TOP1] = lambda row: words.mean(row.accuracy)
    if evidence.trials["clean_top1_pct"].notna().any():
        columns[f"{METRICS['clean_top1_pct'].label}, %"] = _clean
    if evidence.compared:
        columns[f"difference to {evidence.experiment.baseline}, points"] = _difference
    if any(row.verdict for row in evidence.rows):
        columns["verdict"] = _verdict
    return columns


def _status(row: Row) -> str:
    """`ok`, or how many of the row's trials are in another state: `1 oom, 2 missing`."""
    lost = {state: n for state, n in row.statuses.items() if state not in ENDED_WELL}
    return ", ".join(f"{n} {state}" for state, n in lost.items()) or "ok"


def _clean(row: Row) -> str:
    return words.mean(t_interval(row.seeds["clean_top1_pct"].dropna().tolist()))


def _difference(row: Row) -> str:
    return words.mean(row.difference, signed=True) if row.difference else words.NONE


def _verdict(row: Row) -> str:
    if not row.verdict:
        return words.NONE
    return row.verdict.answer + (f": {row.verdict.reason}" if row.verdict.reason else "")


def _times_to(evidence: Evidence) -> Columns:
    """Training seconds, evaluation left out, until each target was first measured."""

    def column(target: float) -> Callable[[Row], str]:
        def show(row: Row) -> str:
            keys = row.seeds.loc[row.seeds["status"] == "ok", "key"]
            found = [time_to(evidence.records[key].get("curve", []), target) for key in keys]
            reached = [seconds for seconds in found if seconds is not None]
            if not reached:
                return words.NONE
            mean = words.number(sum(reached) / len(reached))
            return f"{mean} ({len(reached)} of {len(found)})"

        return show

    targets = evidence.experiment.spec.targets_pct
    return {f"training to {target:g} %, s": column(target) for target in targets}


def _speeds(evidence: Evidence, metrics: Mapping[str, Metric]) -> Columns:
    """A column for each metric; for what is measured, one for each setting that rows have."""
    settings = list(dict.fromkeys(row.trial.setting for row in evidence.rows))
    columns: Columns = {}
    for name, metric in metrics.items():
        if not any(name in row.speed for row in evidence.rows):
            continue
        if metric.counted or len(settings) == 1:
            columns[f"{metric.label}, {metric.unit}"] = _speed(name)
            continue
        for setting in settings:
            under = words.setting(setting, settings)
            columns[f"{metric.label} ({under}), {metric.unit}"] = _speed(name, setting)
    return columns


def _speed(name: str, setting: tuple[object, ...] | None = None) -> Callable[[Row], str]:
    """The metric, of the rows with the setting alone, if one is given."""

    def show(row: Row) -> str:
        alike = setting in (None, row.trial.setting)
        return words.number(row.speed.get(name, math.nan) if alike else math.nan)

    return show


def _ratio(phase: str) -> Callable[[Row], str]:
    """The row's time over the baseline's, with its interval."""

    def show(row: Row) -> str:
        if phase not in row.times:
            return words.NONE
        ratio = row.times[phase]
        value, low, high = (words.number(v, 3) for v in (ratio.value, ratio.low, ratio.high))
        return f"{value} ({low} to {high})"

    return show


def _lost(table: pd.DataFrame) -> pd.DataFrame:
    return table[~table["status"].isin(ENDED_WELL)]
