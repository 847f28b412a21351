"""Results as texts, a line for each arm in each context: for page, CSV file, terminal, paper."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence

import pandas as pd

from bench.analysis.evidence import Evidence, Row, holds_for
from bench.analysis.judging import ONE_BY_ONE
from bench.analysis.prices import PRICES, equal_side, multiple
from bench.analysis.statistics import t_interval
from bench.metrics import METRICS
from bench.records import LoadedWeights, TrialRecord
from bench.report import words
from bench.report.words import MINUS, NONE, SIZES, TIMES

PHASES = {"train": "training step", "infer": "inference", "latency": "latency at batch 1"}
ENDED_WELL = ("ok", "not trained")
NUMBER = re.compile(rf"[+{MINUS}-]?\d[\d,]*(\.\d+)?(e-?\d+)?( .*)?")
TEX = str.maketrans({MINUS: "$-$", "±": r"$\pm$", "→": r"$\to$", TIMES: r"$\times$", NONE: "--"})
START, TRAINED = "starts from", "trained for"

Line = dict[str, str]  # what is shown of a row, by the column's heading


def results(evidence: Evidence) -> pd.DataFrame:
    """The results table: accuracies, differences, verdicts, and what an image costs."""
    trained, costs = evidence.experiment.spec.train, _costs(evidence, details=False)
    lines = [
        _place(evidence, row) | (_accuracy(evidence, row) if trained else {}) | cost
        for row, cost in zip(evidence.rows, costs, strict=True)
    ]
    return known(lines)


def short(evidence: Evidence) -> pd.DataFrame:
    """Five columns for a paper: arm, image, accuracy, difference, price of a training step."""
    difference = f"difference to {evidence.experiment.baseline}, points"
    lines = [
        {
            "arm": _named(evidence, row),
            "image, px": row.size,
            words.TOP1: words.mean(row.accuracy),
            difference: words.mean(row.difference, signed=True),
            f"training step, {TIMES}": (
                words.number(row.times["train"].value) if "train" in row.times else NONE
            ),
        }
        for row in evidence.rows
    ]
    return pd.DataFrame(lines)


def _named(evidence: Evidence, row: Row) -> str:
    """An arm with its values of the axes, where these tell rows apart."""
    axes = {name: getattr(row.trial, name) for name in evidence.axes if name not in SIZES}
    told = [words.axis_value(name, value) for name, value in axes.items() if value is not None]
    return f"{row.arm.name} ({', '.join(told)})" if told else row.arm.name


def price(evidence: Evidence) -> pd.DataFrame:
    """Costs as multiples of the baseline's; where nothing is trained, what else they pay for.

    Of every arm in few contexts, of the treatments in many.
    """
    rows, few = evidence.compared, len(evidence.experiment.contexts) <= ONE_BY_ONE
    rows = [row for row in rows if few or row.arm.role == "treatment"] or rows
    return _beside(evidence, rows, [_price(evidence, row) for row in rows])


def _price(evidence: Evidence, row: Row) -> Line:
    ratios = {label: row.times.get(phase) for phase, label in PHASES.items()}
    line = {label: words.ratio(ratio) if ratio else NONE for label, ratio in ratios.items()}
    for metric in ("peak_memory_mib", "gmacs"):
        found = multiple(evidence, row, metric)
        line[METRICS[metric].label] = f"{words.number(found, 2)} {TIMES}" if found else NONE
    for cost in () if evidence.experiment.spec.train else PRICES:
        side = equal_side(evidence, cost, row)
        line[f"plain image of equal {cost}, px"] = f"{side:.0f}" if side else NONE
    return line


def costs(evidence: Evidence) -> pd.DataFrame:
    """Everything that the timing measured; empty before it measured anything."""
    return _beside(evidence, evidence.rows, _costs(evidence, details=True))


def _beside(evidence: Evidence, rows: Iterable[Row], lines: Sequence[Line]) -> pd.DataFrame:
    """What there is to tell of the rows, each beside its place; empty where there is nothing.

    An axis along which nothing changes is left out, with the lines that it repeats.
    """
    told, places = known(lines), known([_place(evidence, row) for row in rows])
    if not len(told.columns):
        return pd.DataFrame()
    table, where = places.join(told), list(places)
    for axis in [name for name in evidence.axes if name in where]:
        fewer = table.drop(columns=axis).drop_duplicates(ignore_index=True)
        rest = [name for name in where if name != axis]
        if len(fewer) < len(table) and not fewer.duplicated(rest).any():
            table, where = fewer, rest
    return table


def known(lines: Sequence[Line]) -> pd.DataFrame:
    """The lines as a table without columns of no value, `ok` alone, or one start or length."""
    names = dict.fromkeys(name for line in lines for name in line)
    columns = {name: [line.get(name, NONE) for line in lines] for name in names}
    alike = {name for name, of in columns.items() if len(set(of)) == 1 < len(of)}
    empty = {name for name, of in columns.items() if {*of} <= {NONE, "ok"}}
    empty |= alike & {START, TRAINED}
    told = {name: of for name, of in columns.items() if name not in empty}
    return pd.DataFrame(told, index=range(len(lines)))


def problems(evidence: Evidence) -> pd.DataFrame:
    """Every trial that is not there, with the reason, those of an arm in one context together."""
    lost = _lost(evidence.trials).groupby(["arm", "context", "status", "reason"], sort=False)
    return lost["seed"].agg(lambda seeds: words.join(map(str, seeds))).reset_index()


def reasons(evidence: Evidence) -> pd.Series[int]:
    """How many trials ended in each status for each reason."""
    lost = _lost(evidence.table).drop_duplicates("key")
    return lost.groupby(["status", "reason"], sort=False).size()


def untimed(evidence: Evidence) -> dict[tuple[str, str], None]:
    """The arms that could not be timed, each with the reason."""
    arms = [(row.arm.name, evidence.timed_of(row.label, row.arm.name)) for row in evidence.rows]
    return dict.fromkeys(
        (arm, of["reason"]) for arm, timed in arms for of in timed if of and of["reason"]
    )


def _lost(table: pd.DataFrame) -> pd.DataFrame:
    return table[~table["status"].isin(ENDED_WELL)]


def latex(frame: pd.DataFrame, caption: str | None = None) -> str:
    """A table for a paper, with booktabs; a caption, as plain text, makes it a float."""
    sides = "".join("r" if is_numeric(frame[name]) else "l" for name in frame)
    told = re.sub(r"([&%$#_{}])", r"\\\1", caption) if caption else None
    text = frame.to_latex(index=False, escape=True, column_format=sides, caption=told)
    return text.translate(TEX)


def is_numeric(column: pd.Series[str]) -> bool:
    """Whether a column of texts holds numbers, each alone or before its unit or interval.

    >>> is_numeric(pd.Series(["+1.5 ± 0.2", "3 of 3"])), is_numeric(pd.Series(["1", "a 1"]))
    (True, False)
    """
    shown = [str(text) for text in column if text != NONE]
    return bool(shown) and all(map(NUMBER.fullmatch, shown))


def _place(evidence: Evidence, row: Row) -> Line:
    """What tells a row from the others: its value of each axis, its arm, its sizes."""
    axes = [name for name in evidence.axes if name not in SIZES]
    line = {name: words.plain(getattr(row.trial, name)) for name in axes}
    return line | {"arm": row.arm.name, "image, px": row.size, START: _start(evidence, row)}


def _trained(evidence: Evidence, row: Row) -> str:
    """How long, what it starts from before it; a dash where that is an axis."""
    if {"epochs", "steps"} & set(evidence.axes):
        return NONE
    found = holds_for(evidence, row)
    return words.lengths([found["length"]], found["started_from"]) or NONE


def _start(evidence: Evidence, row: Row) -> str:
    """The weights that the row's trials start from."""
    named = dict.fromkeys(to for field, to in row.arm.arms.items() if field != "match")
    records = [evidence.records[key] for key in row.seeds["key"] if key in evidence.records]
    loaded = dict.fromkeys(_file(of) for one in records if (of := one.get("weights")))
    published = ["published weights"] if row.trial.pretrained is True else []
    return words.join([*published, *loaded, *named]) or NONE


def checkpoints(records: Iterable[TrialRecord]) -> list[str]:
    """What of each checkpoint trials start from."""
    heads = {True: "its classifying layer too", False: "a new classifying layer"}
    told = [
        f"{_file(of)}: {of['loaded']} of {of['tensors']} tensors, {heads[of['head']]}"
        for one in records
        if (of := one.get("weights"))
    ]
    return list(dict.fromkeys(told))


def _file(weights: LoadedWeights) -> str:
    return f"{weights['file']} (sha256 {weights['sha256'][:12]})"


def _accuracy(evidence: Evidence, row: Row) -> Line:
    clean = t_interval(row.seeds["clean_top1_pct"].dropna())
    difference = f"difference to {evidence.experiment.baseline}, points"
    return {
        TRAINED: _trained(evidence, row),
        "seeds": f"{row.accuracy.n} of {len(row.seeds)}",
        "status": _status(row),
        words.TOP1: words.mean(row.accuracy),
        f"{METRICS['clean_top1_pct'].label}, %": words.mean(clean),
        difference: words.mean(row.difference, signed=True),
        "verdict": _verdict(row),
    }


def _status(row: Row) -> str:
    """`ok`, or how many of the row's trials are in another state: `1 oom, 2 missing`."""
    states = Counter(row.seeds["status"])
    lost = [f"{n} {state}" for state, n in states.items() if state not in ENDED_WELL]
    return ", ".join(lost) or "ok"


def _verdict(row: Row) -> str:
    if not row.verdict:
        return NONE
    return row.verdict.answer + (f": {row.verdict.reason}" if row.verdict.reason else "")


def _costs(evidence: Evidence, *, details: bool) -> list[Line]:
    """What each row costs; what is measured has a column for each setting that rows have."""
    timed = {name: of for name, of in METRICS.items() if of.source == "timing"}
    metrics = {name: of for name, of in timed.items() if details or not of.detail}
    settings = list(dict.fromkeys(row.setting for row in evidence.rows))
    under = {one: words.setting(one, settings) for one in settings}
    lines: list[Line] = []
    for row in evidence.rows:
        line = {}
        for name, metric in metrics.items():
            value, mine = words.number(row.speed.get(name, math.nan)), under[row.setting]
            for setting in [""] if metric.counted else under.values():
                told = f"{metric.label} ({setting})" if setting else metric.label
                line[f"{told}, {metric.unit}"] = value if setting in ("", mine) else NONE
        lines.append(line)
    return lines
