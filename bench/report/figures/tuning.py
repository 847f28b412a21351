"""What a search tried: in its order, by each field, and over two objectives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pandas as pd
from matplotlib.axes import Axes

from bench.analysis.evidence import Evidence
from bench.metrics import METRICS
from bench.records import SearchRecord
from bench.report import words
from bench.report.figures import style
from bench.report.figures.style import ArmStyle, Drawing
from bench.report.tuning import ranges

HELD_OUT = "held-out top-1, %"

Scored = Mapping[str, tuple[ArmStyle, pd.DataFrame]]
"""By arm, a line for each configuration that has a score, in the order of the search."""


def tuning(evidence: Evidence) -> Iterator[Drawing]:
    """History and slices, and the front of two objectives."""
    record, styles = evidence.search, style.arm_styles(evidence.arms.values())
    scored = {arm: (styles[arm], _scored(record, arm)) for arm in record["arms"]} if record else {}
    if record is None or all(rows.empty for _, rows in scored.values()):
        return
    yield _history(scored)
    yield _slices(record, scored)
    if len(record["settings"]["objectives"]) > 1:
        yield _front(record["settings"]["objectives"][1], scored)


def _scored(record: SearchRecord, arm: str) -> pd.DataFrame:
    """State, scores and chosen fields of the arm's configurations; pruned ones have their last."""
    tuned = record["arms"][arm]
    return pd.DataFrame(
        {"state": one["state"], "score": one["values"][0], "second": one["values"][-1]}
        | {"front": one["number"] in tuned["front"]}
        | one["chosen"]
        for one in tuned["configurations"]
        if one["values"]
    )


def _dots(ax: Axes, look: ArmStyle, xs: pd.Series[float], rows: pd.DataFrame) -> None:
    """A dot for each configuration, hollow where it was pruned."""
    for state, face in (("ok", look.colour), ("pruned", "none")):
        drawn = rows["state"] == state
        (dots,) = ax.plot(xs[drawn], rows["score"][drawn], look.marker, color=look.colour)
        dots.set(markersize=5, markerfacecolor=face)


def _history(scored: Scored) -> Drawing:
    figure, (ax,) = style.panels(1)
    for look, rows in scored.values():
        numbers = pd.Series(range(1, len(rows) + 1), dtype=float)
        _dots(ax, look, numbers, rows)
        best = rows["score"].where(rows["state"] == "ok").cummax().ffill()
        ax.step(numbers, best, where="post", color=look.colour, lw=1.2)
    ax.set(xlabel="configuration", ylabel=HELD_OUT)
    style.legend(figure, {arm: look for arm, (look, _) in scored.items()})
    return style.drawing(
        figure,
        "tuning-history",
        "What the search tried, in order",
        "A dot is one configuration, hollow where it was pruned (its last score); the line is the "
        "best so far.",
        f"{HELD_OUT} of each configuration in the order of the search, by arm.",
    )


def _slices(record: SearchRecord, scored: Scored) -> Drawing:
    fields = {name: of for space in ranges(record).values() for name, of in space.items()}
    figure, axes = style.panels(len(fields))
    for ax, (name, of) in zip(axes, fields.items(), strict=True):
        tried = [
            (look, rows.dropna(subset=[name])) for look, rows in scored.values() if name in rows
        ]
        for look, rows in tried:
            choice = of.kind == "choice"
            _dots(ax, look, rows[name].map(of.values.index) if choice else rows[name], rows)
        if of.kind == "choice":
            ax.set_xticks(range(len(of.values)), map(str, of.values))
            ax.set_xlim(-0.6, len(of.values) - 0.4)
        elif of.kind == "log":
            style.logarithmic(ax, pd.concat([rows[name] for _, rows in tried]))
        ax.set(xlabel=words.axis_label(name), ylabel=HELD_OUT)
    style.legend(figure, {arm: look for arm, (look, _) in scored.items()})
    return style.drawing(
        figure,
        "tuning-slices",
        "What each value scored",
        "Every configuration in each of the fields that were chosen; the other fields vary along.",
        f"{HELD_OUT} of every configuration against each chosen field.",
    )


def _front(objective: str, scored: Scored) -> Drawing:
    second = METRICS[objective]
    figure, (ax,) = style.panels(1)
    for look, rows in scored.values():
        _dots(ax, look, rows["second"], rows)
        front = rows[rows["front"]].sort_values(["second", "score"])
        ax.plot(front["second"], front["score"], "--", color=look.colour, lw=1)
    ax.set(xlabel=f"{second.label}, {second.unit}", ylabel=HELD_OUT)
    style.legend(figure, {arm: look for arm, (look, _) in scored.items()})
    return style.drawing(
        figure,
        "tuning-front",
        "The Pareto set of each arm",
        "A dot is one configuration; dashed: no other of its arm is better in both.",
        f"{HELD_OUT} against {second.label}, by arm; the dashed line joins the Pareto set.",
    )
