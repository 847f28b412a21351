"""What a search tried: in its order, by each field, and over two objectives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from bench.analysis.evidence import Evidence
from bench.metrics import METRICS
from bench.records import Record
from bench.report import words
from bench.report.figures.style import (
    ArmStyle,
    Drawing,
    arm_styles,
    drawing,
    legend,
    logarithmic,
    panels,
)
from bench.report.tuning import ranges

HELD_OUT = "held-out top-1, %"


def tuning(evidence: Evidence) -> Iterator[Drawing]:
    """History and slices, and the front of two objectives."""
    record = evidence.search
    if record is None or not any(_scored(record, arm) for arm in record["arms"]):
        return
    styles = arm_styles(evidence.arms.values())
    styles = {arm: styles[arm] for arm in record["arms"]}
    yield _history(record, styles)
    yield _slices(record, styles)
    if len(record["settings"]["objectives"]) > 1:
        yield _front(record, styles)


def _scored(record: Record, arm: str) -> list[dict[str, Any]]:
    """The arm's configurations that have a score, pruned ones with their last."""
    return [one for one in record["arms"][arm]["configurations"] if one["values"]]


def _dots(ax: Axes, style: ArmStyle, xs: Sequence[Any], rows: Sequence[dict[str, Any]]) -> None:
    """A dot for each configuration, hollow where it was pruned."""
    for state, face in (("ok", style.colour), ("pruned", "none")):
        drawn = [(x, row) for x, row in zip(xs, rows, strict=True) if row["state"] == state]
        scores = [row["values"][0] for _, row in drawn]
        (dots,) = ax.plot([x for x, _ in drawn], scores, style.marker, color=style.colour)
        dots.set(markersize=5, markerfacecolor=face)


def _history(record: Record, styles: Mapping[str, ArmStyle]) -> Drawing:
    figure, (ax,) = panels(1)
    for arm, style in styles.items():
        rows = _scored(record, arm)
        numbers = range(1, len(rows) + 1)
        _dots(ax, style, numbers, rows)
        scores = [row["values"][0] if row["state"] == "ok" else np.nan for row in rows]
        ax.step(numbers, np.fmax.accumulate(scores), where="post", color=style.colour, lw=1.2)
    ax.set(xlabel="configuration", ylabel=HELD_OUT)
    legend(figure, styles)
    return drawing(
        figure,
        "tuning-history",
        "What the search tried, in order",
        "A dot is one configuration, hollow where it was pruned (its last score); the line is the "
        "best so far.",
        f"{HELD_OUT} of each configuration in the order of the search, by arm.",
    )


def _slices(record: Record, styles: Mapping[str, ArmStyle]) -> Drawing:
    fields = {name: of for space in ranges(record).values() for name, of in space.items()}
    figure, axes = panels(len(fields))
    for ax, (name, of) in zip(axes, fields.items(), strict=True):
        chosen = []
        for arm, style in styles.items():
            rows = [row for row in _scored(record, arm) if name in row["chosen"]]
            values = [row["chosen"][name] for row in rows]
            choice = of.kind == "choice"
            _dots(ax, style, [of.values.index(v) if choice else v for v in values], rows)
            chosen += rows
        if of.kind == "choice":
            ax.set_xticks(range(len(of.values)), map(str, of.values))
            ax.set_xlim(-0.6, len(of.values) - 0.4)
        elif of.kind == "log":
            logarithmic(ax, [row["chosen"][name] for row in chosen])
        ax.set(xlabel=words.axis_label(name), ylabel=HELD_OUT)
    legend(figure, styles)
    return drawing(
        figure,
        "tuning-slices",
        "What each value scored",
        "Every configuration in each of the fields that were chosen; the other fields vary along.",
        f"{HELD_OUT} of every configuration against each chosen field.",
    )


def _front(record: Record, styles: Mapping[str, ArmStyle]) -> Drawing:
    second = METRICS[record["settings"]["objectives"][1]]
    figure, (ax,) = panels(1)
    for arm, style in styles.items():
        rows, best = _scored(record, arm), record["arms"][arm]["front"]
        _dots(ax, style, [row["values"][1] for row in rows], rows)
        front = sorted(row["values"][::-1] for row in rows if row["number"] in best)
        ax.plot([x for x, _ in front], [y for _, y in front], "--", color=style.colour, lw=1)
    ax.set(xlabel=f"{second.label}, {second.unit}", ylabel=HELD_OUT)
    legend(figure, styles)
    return drawing(
        figure,
        "tuning-front",
        "The Pareto set of each arm",
        "A dot is one configuration; dashed: no other of its arm is better in both.",
        f"{HELD_OUT} against {second.label}, by arm; the dashed line joins the Pareto set.",
    )
