"""What a search tried: in its order, by each field, and over two objectives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pandas as pd
from matplotlib.axes import Axes

from bench.analysis.evidence import Evidence
from bench.metrics import METRICS
from bench.records import SearchRecord
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

Scored = Mapping[str, pd.DataFrame]
"""By arm, a line for each configuration that has a score, in the order of the search."""


def tuning(evidence: Evidence) -> Iterator[Drawing]:
    """History and slices, and the front of two objectives."""
    record = evidence.search
    scored = {arm: _scored(record, arm) for arm in record["arms"]} if record else {}
    if record is None or all(rows.empty for rows in scored.values()):
        return
    styles = arm_styles(evidence.arms.values())
    styles = {arm: styles[arm] for arm in scored}
    yield _history(scored, styles)
    yield _slices(record, scored, styles)
    if len(record["settings"]["objectives"]) > 1:
        yield _front(record["settings"]["objectives"][1], scored, styles)


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


def _dots(ax: Axes, style: ArmStyle, xs: pd.Series[float], rows: pd.DataFrame) -> None:
    """A dot for each configuration, hollow where it was pruned."""
    for state, face in (("ok", style.colour), ("pruned", "none")):
        drawn = rows["state"] == state
        (dots,) = ax.plot(xs[drawn], rows["score"][drawn], style.marker, color=style.colour)
        dots.set(markersize=5, markerfacecolor=face)


def _history(scored: Scored, styles: Mapping[str, ArmStyle]) -> Drawing:
    figure, (ax,) = panels(1)
    for arm, style in styles.items():
        rows = scored[arm]
        numbers = pd.Series(range(1, len(rows) + 1), dtype=float)
        _dots(ax, style, numbers, rows)
        best = rows["score"].where(rows["state"] == "ok").cummax().ffill()
        ax.step(numbers, best, where="post", color=style.colour, lw=1.2)
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


def _slices(record: SearchRecord, scored: Scored, styles: Mapping[str, ArmStyle]) -> Drawing:
    fields = {name: of for space in ranges(record).values() for name, of in space.items()}
    figure, axes = panels(len(fields))
    for ax, (name, of) in zip(axes, fields.items(), strict=True):
        for arm, style in styles.items():
            if name in scored[arm]:
                rows = scored[arm].dropna(subset=[name])
                choice = of.kind == "choice"
                _dots(ax, style, rows[name].map(of.values.index) if choice else rows[name], rows)
        if of.kind == "choice":
            ax.set_xticks(range(len(of.values)), map(str, of.values))
            ax.set_xlim(-0.6, len(of.values) - 0.4)
        elif of.kind == "log":
            logarithmic(ax, pd.concat([one[name] for one in scored.values() if name in one]))
        ax.set(xlabel=words.axis_label(name), ylabel=HELD_OUT)
    legend(figure, styles)
    return drawing(
        figure,
        "tuning-slices",
        "What each value scored",
        "Every configuration in each of the fields that were chosen; the other fields vary along.",
        f"{HELD_OUT} of every configuration against each chosen field.",
    )


def _front(objective: str, scored: Scored, styles: Mapping[str, ArmStyle]) -> Drawing:
    second = METRICS[objective]
    figure, (ax,) = panels(1)
    for arm, style in styles.items():
        rows = scored[arm]
        _dots(ax, style, rows["second"], rows)
        front = rows[rows["front"]].sort_values(["second", "score"])
        ax.plot(front["second"], front["score"], "--", color=style.colour, lw=1)
    ax.set(xlabel=f"{second.label}, {second.unit}", ylabel=HELD_OUT)
    legend(figure, styles)
    return drawing(
        figure,
        "tuning-front",
        "The Pareto set of each arm",
        "A dot is one configuration; dashed: no other of its arm is better in both.",
        f"{HELD_OUT} against {second.label}, by arm; the dashed line joins the Pareto set.",
    )
