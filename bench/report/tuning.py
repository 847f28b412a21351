"""What a search found and what it cost: the tables and figures of a tuned experiment's page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.analysis.evidence import Evidence
from bench.metrics import METRICS
from bench.records import Record
from bench.report import words
from bench.report.figures.style import WIDTH, Drawing, Look, drawing, legend, looks, panels
from bench.spec.ranges import Range, parsed

Table = list[list[str]]
"""Lines of texts, the headings first."""

HELD_OUT = "held-out top-1, %"


@dataclass(frozen=True)
class Tuning:
    """The tables of the page's section on the search."""

    described: list[tuple[str, str]]
    best: Table
    ledger: Table
    importances: Table


def tuning(evidence: Evidence) -> Tuning | None:
    """The tables, once the search has scored something."""
    record = evidence.search
    if record is None:
        return None
    return Tuning(_described(record), _best(evidence, record), _ledger(record), _weights(record))


def _described(record: Record) -> list[tuple[str, str]]:
    """How it was searched, each thing with its name."""
    settings = record["settings"]
    spaces = [
        (f"{arm} chooses", "; ".join(f"{name}: {of}" for name, of in ranges.items()))
        for arm, ranges in _ranges(record).items()
    ]
    sampler, pruner, own = (
        ", ".join(f"{name} {value}" for name, value in of.items())
        for of in (record["sampler"], record["pruner"], settings["trial"])
    )
    return [
        *spaces,
        (
            "Scored on",
            f"{words.percent(settings['holdout'])} of the training images, held out and not "
            f"trained on; seed {settings['seed']}" + (f"; {own}" if own else ""),
        ),
        ("Objectives", words.join(settings["objectives"])),
        ("Sampler", sampler),
        ("Pruner", pruner),
        ("Optuna", record["optuna"]),
    ]


def _best(evidence: Evidence, record: Record) -> Table:
    """Each retrained arm: what was chosen, its score in the search and after retraining."""
    lines = [["arm", "chosen", "held-out, %", "validation, %", "seeds"]]
    retrained = {row.arm.name: row.accuracy for row in evidence.rows}
    for arm, told in record["arms"].items():
        by_number = {one["number"]: one for one in told["configurations"]}
        for place, number in enumerate(told["best"]):
            name = arm if not place else f"{arm} #{place + 1}"
            accuracy = retrained.get(name)
            shown = words.mean(accuracy) if accuracy else words.NONE
            seeds = str(accuracy.n) if accuracy else words.NONE
            found = by_number[number]
            lines.append([name, _values(found), words.points(found["values"][0]), shown, seeds])
    return lines


def _values(configuration: dict[str, Any]) -> str:
    return ", ".join(f"{name} {_value(v)}" for name, v in configuration["chosen"].items())


def _value(value: Any) -> str:
    return words.number(value) if isinstance(value, float) else str(value)


def _ledger(record: Record) -> Table:
    """What tuning each arm took; a trial that two configurations share counts once."""
    lines = [["arm", "configurations", "scored", "pruned", "failed", "epochs", "time, min"]]
    for arm, told in record["arms"].items():
        rows = told["configurations"]
        states = Counter(one["state"] for one in rows)
        trials = {one["key"]: one for one in rows if one["key"]}.values()
        cost = [sum(one[name] for one in trials) for name in ("epochs", "seconds")]
        counts = [len(rows), states["ok"], states["pruned"], states["failed"], cost[0]]
        lines.append([arm, *map(str, counts), words.number(cost[1] / 60)])
    return lines


def _weights(record: Record) -> Table:
    """The importance of each field, by arm; no lines where there is none."""
    arms = {arm: told["importances"] for arm, told in record["arms"].items()}
    names = list(dict.fromkeys(name for of in arms.values() for name in of))
    lines = [
        [name, *(words.percent(of[name]) if name in of else words.NONE for of in arms.values())]
        for name in names
    ]
    return [["field", *arms], *lines] if lines else []


def figures(evidence: Evidence) -> Iterator[Drawing]:
    """History and slices, and the front of two objectives."""
    record = evidence.search
    if record is None or not any(_scored(record, arm) for arm in record["arms"]):
        return
    table = looks(evidence.arms.values())
    yield _history(record, table)
    yield _slices(record, table)
    if len(record["settings"]["objectives"]) > 1:
        yield _front(record, table)


def _scored(record: Record, arm: str) -> list[dict[str, Any]]:
    """The arm's configurations that have a score, pruned ones with their last."""
    return [one for one in record["arms"][arm]["configurations"] if one["values"]]


def _dots(ax: Axes, look: Look, xs: Sequence[Any], rows: Sequence[dict[str, Any]]) -> None:
    """A dot for each configuration, hollow where it was pruned."""
    for state, face in (("ok", look.colour), ("pruned", "none")):
        at = [i for i, row in enumerate(rows) if row["state"] == state]
        ys = [rows[i]["values"][0] for i in at]
        ax.scatter(
            [xs[i] for i in at], ys, s=26, marker=look.marker, facecolor=face, edgecolor=look.colour
        )


def _history(record: Record, table: dict[str, Look]) -> Drawing:
    figure = Figure(figsize=(WIDTH, 3.2), layout="constrained")
    ax = figure.subplots()
    for arm in record["arms"]:
        rows = _scored(record, arm)
        xs = list(range(1, len(rows) + 1))
        _dots(ax, table[arm], xs, rows)
        best: list[float] = []
        for row in rows:
            best.append(max([row["values"][0] if row["state"] == "ok" else 0.0, *best[-1:]]))
        first = next((i for i, value in enumerate(best) if value), len(best))
        ax.step(xs[first:], best[first:], where="post", color=table[arm].colour, lw=1.2)
    ax.set(xlabel="configuration", ylabel=HELD_OUT)
    legend(figure, {arm: table[arm] for arm in record["arms"]})
    return drawing(
        figure,
        "tuning-history",
        "What the search tried, in order",
        "A dot is one configuration, hollow where it was pruned (its last score); the line is the "
        "best so far.",
        f"{HELD_OUT} of each configuration in the order of the search, by arm.",
    )


def _slices(record: Record, table: dict[str, Look]) -> Drawing:
    fields = {name: of for ranges in _ranges(record).values() for name, of in ranges.items()}
    figure, axes = panels(len(fields))
    for ax, (name, of) in zip(axes, fields.items(), strict=True):
        for arm in record["arms"]:
            rows = [row for row in _scored(record, arm) if name in row["chosen"]]
            _dots(ax, table[arm], [_place(of, row["chosen"][name]) for row in rows], rows)
        if of.kind == "choice":
            ax.set_xticks(range(len(of.values)), map(str, of.values))
            ax.set_xlim(-0.6, len(of.values) - 0.4)
        elif of.kind == "log":
            ax.set_xscale("log")
        ax.set(xlabel=words.axis_label(name), ylabel=HELD_OUT)
    legend(figure, {arm: table[arm] for arm in record["arms"]})
    return drawing(
        figure,
        "tuning-slices",
        "What each value scored",
        "Every configuration in each of the fields that were chosen; the other fields vary along.",
        f"{HELD_OUT} of every configuration against each chosen field.",
    )


def _ranges(record: Record) -> dict[str, dict[str, Range]]:
    """What each arm chose from, by field."""
    return {
        arm: {name: found for name, written in ranges.items() if (found := parsed(written))}
        for arm, ranges in record["spaces"].items()
    }


def _place(of: Range, value: Any) -> Any:
    """Where a value stands on the axis: a choice by its place."""
    return of.values.index(value) if of.kind == "choice" else value


def _front(record: Record, table: dict[str, Look]) -> Drawing:
    second = METRICS[record["settings"]["objectives"][1]]
    figure = Figure(figsize=(WIDTH, 3.4), layout="constrained")
    ax = figure.subplots()
    for arm, told in record["arms"].items():
        rows = _scored(record, arm)
        _dots(ax, table[arm], [row["values"][1] for row in rows], rows)
        front = sorted(row["values"][::-1] for row in rows if row["number"] in told["front"])
        ax.plot([x for x, _ in front], [y for _, y in front], "--", color=table[arm].colour, lw=1)
    ax.set(xlabel=f"{second.label}, {second.unit}", ylabel=HELD_OUT)
    legend(figure, {arm: table[arm] for arm in record["arms"]})
    return drawing(
        figure,
        "tuning-front",
        "The Pareto set of each arm",
        "A dot is one configuration; dashed: no other of its arm is better in both.",
        f"{HELD_OUT} against {second.label}, by arm; the dashed line joins the Pareto set.",
    )
