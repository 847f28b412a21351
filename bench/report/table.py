"""The tables of results: frames of texts, a line for each arm in each context.

One definition serves the page, the CSV file, the terminal and a paper.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import pandas as pd

from bench.analysis.evidence import Evidence, Row
from bench.analysis.judging import ONE_BY_ONE
from bench.analysis.prices import PRICES, equal_side, multiple
from bench.analysis.statistics import t_interval
from bench.metrics import METRICS, Metric
from bench.records import TrialRecord
from bench.report import words
from bench.report.words import NONE, TIMES

SIZES = ("input_size", "output_size")
PHASES = {"train": "training step", "infer": "inference", "latency": "latency at batch 1"}
ENDED_WELL = ("ok", "not trained")
NUMBER = re.compile(rf"[+{words.MINUS}-]?\d[\d,]*(\.\d+)?(e-?\d+)?( .*)?")

Columns = dict[str, Callable[[Row], str]]
"""What each column shows of a row, by its heading."""

TEX: dict[str, str | int | None] = {
    words.MINUS: "$-$",
    "±": r"$\pm$",
    "→": r"$\to$",
    TIMES: r"$\times$",
}


def results(evidence: Evidence) -> pd.DataFrame:
    """The results table: accuracies, differences, verdicts, and what an image costs."""
    columns = _places(evidence)
    if evidence.experiment.spec.train:
        columns |= _accuracies(evidence)
    shown = {name: metric for name, metric in METRICS.items() if not metric.detail}
    return _frame(evidence.rows, columns | _speeds(evidence, shown))


def short(evidence: Evidence) -> pd.DataFrame:
    """Five columns for a paper: arm, image, accuracy, difference, price of a training step."""
    columns: Columns = {
        "arm": lambda row: row.arm.name,
        "image, px": lambda row: row.size,
        words.TOP1: lambda row: words.mean(row.accuracy),
        f"difference to {evidence.experiment.baseline}, points": _difference,
        f"training step, {TIMES}": lambda row: (
            words.number(row.times["train"].value) if "train" in row.times else NONE
        ),
    }
    return _frame(evidence.rows, columns)


def price(evidence: Evidence) -> pd.DataFrame:
    """Costs as multiples of the baseline's; where nothing is trained, what else they pay for.

    Of every arm in few contexts, of the treatments in many.
    """
    rows, few = evidence.compared, len(evidence.experiment.contexts) <= ONE_BY_ONE
    rows = [row for row in rows if few or row.arm.role == "treatment"] or rows
    columns: Columns = {
        label: partial(_ratio, phase)
        for phase, label in PHASES.items()
        if any(phase in row.times for row in rows)
    }
    for metric in ("peak_memory_mib", "gmacs"):
        if any(multiple(evidence, row, metric) for row in rows):
            columns[METRICS[metric].label] = partial(_multiple, evidence, metric)
    for cost in PRICES if columns and not evidence.experiment.spec.train else ():
        columns[f"plain image of equal {cost}, px"] = partial(_side, evidence, cost)
    return _frame(rows, _places(evidence) | columns) if columns else pd.DataFrame()


def costs(evidence: Evidence) -> pd.DataFrame:
    """Everything that the timing measured; empty before it measured anything."""
    measured = _speeds(evidence, METRICS)
    return _frame(evidence.rows, _places(evidence) | measured) if measured else pd.DataFrame()


def problems(evidence: Evidence) -> pd.DataFrame:
    """Every trial that is not there, with the reason, those of an arm in one context together."""
    lost = _lost(evidence.trials).groupby(["arm", "context", "status", "reason"], sort=False)
    return lost["seed"].agg(lambda seeds: words.join(map(str, seeds))).reset_index()


def reasons(evidence: Evidence) -> pd.Series[int]:
    """How many trials ended in each status for each reason."""
    lost = _lost(evidence.table).drop_duplicates("key")
    return lost.groupby(["status", "reason"], sort=False).size()


def _lost(table: pd.DataFrame) -> pd.DataFrame:
    return table[~table["status"].isin(ENDED_WELL)]


def latex(frame: pd.DataFrame, caption: str | None = None) -> str:
    """A table for a paper, with booktabs.

    Args:
        caption: as plain text; makes the table a float.
    """
    sides = "".join("r" if is_numeric(frame[name]) else "l" for name in frame)
    told = re.sub(r"([&%$#_{}])", r"\\\1", caption) if caption else None
    text = frame.to_latex(index=False, escape=True, column_format=sides, caption=told)
    return text.replace(NONE, "--").translate(str.maketrans(TEX))


def is_numeric(column: pd.Series[str]) -> bool:
    """Whether a column of texts holds numbers, each alone or before its unit or interval.

    >>> is_numeric(pd.Series(["+1.5 ± 0.2", "3 of 3"])), is_numeric(pd.Series(["1", "a 1"]))
    (True, False)
    """
    shown = column[column != NONE].astype(str)
    return len(shown) > 0 and bool(shown.str.fullmatch(NUMBER).all())


def _frame(rows: Sequence[Row], columns: Columns) -> pd.DataFrame:
    lines = [[show(row) for show in columns.values()] for row in rows]
    return pd.DataFrame(lines, columns=list(columns))


def _places(evidence: Evidence) -> Columns:
    """What tells a row from the others: its value of each axis, its arm, its sizes."""
    columns: Columns = {n: partial(_field, n) for n in evidence.axes if n not in SIZES}
    columns |= {"arm": lambda row: row.arm.name, "image, px": lambda row: row.size}
    if any(row.trial.pretrained or row.trial.parents for row in evidence.rows):
        columns["starts from"] = partial(_start, evidence)
    return columns


def _field(name: str, row: Row) -> str:
    return words.plain(getattr(row.trial, name))


def _start(evidence: Evidence, row: Row) -> str:
    """The weights that the row's trials start from: of a checkpoint, what of it was loaded."""
    named = dict.fromkeys(to for field, to in row.arm.arms.items() if field != "match")
    records = [evidence.records[key] for key in row.seeds["key"] if key in evidence.records]
    loaded = dict.fromkeys(filter(None, map(loaded_from, records)))
    published = ["published weights"] if row.trial.pretrained is True else []
    return words.join([*published, *loaded, *named]) or NONE


def loaded_from(record: TrialRecord) -> str:
    """What the backbone started from, in words; "" where it started from no checkpoint."""
    if (weights := record.get("weights")) is None:
        return ""
    head = "its classifying layer too" if weights["head"] else "a new classifying layer"
    return (
        f"{weights['file']} (sha256 {weights['sha256'][:12]}): {weights['loaded']} of "
        f"{weights['tensors']} tensors, {head}"
    )


def _accuracies(evidence: Evidence) -> Columns:
    columns: Columns = {"seeds": lambda row: f"{row.accuracy.n} of {len(row.seeds)}"}
    if any(_status(row) != "ok" for row in evidence.rows):
        columns["status"] = _status
    columns[words.TOP1] = lambda row: words.mean(row.accuracy)
    if evidence.trials["clean_top1_pct"].notna().any():
        columns[f"{METRICS['clean_top1_pct'].label}, %"] = lambda row: words.mean(
            t_interval(row.seeds["clean_top1_pct"].dropna().tolist())
        )
    if evidence.compared:
        columns[f"difference to {evidence.experiment.baseline}, points"] = _difference
    if any(row.verdict for row in evidence.rows):
        columns["verdict"] = _verdict
    return columns


def _status(row: Row) -> str:
    """`ok`, or how many of the row's trials are in another state: `1 oom, 2 missing`."""
    lost = {state: n for state, n in row.statuses.items() if state not in ENDED_WELL}
    return ", ".join(f"{n} {state}" for state, n in lost.items()) or "ok"


def _difference(row: Row) -> str:
    return words.mean(row.difference, signed=True)


def _verdict(row: Row) -> str:
    if not row.verdict:
        return NONE
    return row.verdict.answer + (f": {row.verdict.reason}" if row.verdict.reason else "")


def _speeds(evidence: Evidence, metrics: Mapping[str, Metric]) -> Columns:
    """A column for each metric; for what is measured, one for each setting that rows have."""
    settings = list(dict.fromkeys(row.trial.setting for row in evidence.rows))
    columns: Columns = {}
    for name, metric in metrics.items():
        if not any(name in row.speed for row in evidence.rows):
            continue
        if metric.counted or len(settings) == 1:
            columns[f"{metric.label}, {metric.unit}"] = partial(_speed, name, None)
            continue
        for setting in settings:
            under = words.setting(setting, settings)
            columns[f"{metric.label} ({under}), {metric.unit}"] = partial(_speed, name, setting)
    return columns


def _speed(name: str, setting: tuple[object, ...] | None, row: Row) -> str:
    """The metric, of the rows with the setting alone, if one is given."""
    alike = setting in (None, row.trial.setting)
    return words.number(row.speed.get(name, math.nan) if alike else math.nan)


def _ratio(phase: str, row: Row) -> str:
    """The row's time over the baseline's, with its interval."""
    return words.ratios([row.times[phase]]) if phase in row.times else NONE


def _multiple(evidence: Evidence, metric: str, row: Row) -> str:
    found = multiple(evidence, row, metric)
    return f"{words.number(found, 2)} {TIMES}" if found else NONE


def _side(evidence: Evidence, cost: str, row: Row) -> str:
    side = equal_side(evidence, cost, row)
    return f"{side:.0f}" if side else NONE
