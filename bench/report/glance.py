"""An experiment in one line of the README's table: who was compared, the answer, the price."""

from __future__ import annotations

from bench.experiment import Experiment
from bench.report import words
from bench.report.evidence import Evidence, Row, gather
from bench.report.words import TIMES
from bench.statistics import Verdict
from bench.store import Store

HEADINGS = ("asked of", "on", "points (interval)", "answer", "training step", "report")


def table(experiments: list[tuple[Experiment, Store, str]]) -> list[str]:
    """Markdown lines: a row for each verdict. The last of each triple is the report's address."""
    rows = [
        [*cells, f"[{experiment.name}]({address})"]
        for experiment, store, address in experiments
        for cells in _verdicts(gather(experiment, store))
    ]
    lines = [list(HEADINGS), ["---"] * len(HEADINGS), *rows]
    return [f"| {' | '.join(line)} |" for line in lines] if rows else []


def _verdicts(evidence: Evidence) -> list[list[str]]:
    judged = [(row, row.verdict) for row in evidence.rows if row.verdict]
    return [_cells(evidence, row, given) for row, given in judged if given.difference.n]


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
