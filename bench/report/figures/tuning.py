"""What a search tried: in its order, by each field, and over two objectives."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import pandas as pd
from matplotlib.axes import Axes

from bench.analysis import drawn
from bench.analysis.evidence import Evidence
from bench.metrics import METRICS, Metric
from bench.records import SearchRecord
from bench.report import words
from bench.report.figures import style
from bench.report.figures.style import ArmStyle, Drawing, Styles
from bench.spec.ranges import Range, parsed

HELD_OUT = "held-out top-1, %"

Scored = Mapping[str, pd.DataFrame]  # by arm, a line for each scored configuration, in order


def tuning(evidence: Evidence) -> Iterator[Drawing]:
    """History and slices, and the front of two objectives."""
    record, styles = evidence.search, style.arm_styles(evidence.arms.values())
    scored = {arm: drawn.scored(record, arm) for arm in record["arms"]} if record else {}
    if record is None or all(rows.empty for rows in scored.values()):
        return
    styles = {arm: styles[arm] for arm in scored}
    yield _history(scored, styles)
    yield _slices(ranges(record), scored, styles)
    if len(record["settings"]["objectives"]) > 1:
        yield _front(METRICS[record["settings"]["objectives"][1]], scored, styles)


def ranges(record: SearchRecord) -> dict[str, dict[str, Range]]:
    """What each arm chose from, by field."""
    return {
        arm: {name: found for name, written in space.items() if (found := parsed(written))}
        for arm, space in record["spaces"].items()
    }


def _dots(ax: Axes, look: ArmStyle, xs: pd.Series[float], rows: pd.DataFrame) -> None:
    """A dot for each configuration, hollow where it was pruned."""
    for state, face in (("ok", look.colour), ("pruned", "none")):
        ended = rows["state"] == state
        (dots,) = ax.plot(xs[ended], rows["score"][ended], look.marker, color=look.colour)
        dots.set(markersize=5, markerfacecolor=face)


def _history(scored: Scored, styles: Styles) -> Drawing:
    figure, (ax,) = style.panels(1, styles)
    for arm, look in styles.items():
        rows = scored[arm]
        numbers = pd.Series(range(1, len(rows) + 1), dtype=float)
        _dots(ax, look, numbers, rows)
        best = rows["score"].where(rows["state"] == "ok").cummax().ffill()
        ax.step(numbers, best, where="post", color=look.colour, lw=1.2)
    ax.set(xlabel="configuration", ylabel=HELD_OUT)
    return style.drawing(
        figure,
        "tuning-history",
        "A dot is one configuration, hollow where it was pruned (its last score); the line is the "
        "best so far.",
        f"{HELD_OUT} of each configuration in the order of the search, by arm.",
    )


def _slices(spaces: Mapping[str, dict[str, Range]], scored: Scored, styles: Styles) -> Drawing:
    names = dict.fromkeys(name for space in spaces.values() for name in space)
    figure, axes = style.panels(len(names), styles)
    for ax, name in zip(axes, names, strict=True):
        of_arms = [space[name] for space in spaces.values() if name in space]
        kinds = {of.kind for of in of_arms}
        values = dict.fromkeys(value for of in of_arms for value in of.values)  # numbers in order
        chosen = sorted(values, key=lambda value: math.inf if isinstance(value, str) else value)
        tried = {arm: rows.dropna(subset=[name]) for arm, rows in scored.items() if name in rows}
        for arm, rows in tried.items():
            places = rows[name].map(chosen.index) if kinds == {"choice"} else rows[name]
            _dots(ax, styles[arm], places, rows)
        if kinds == {"choice"}:
            ax.set_xticks(range(len(chosen)), map(str, chosen))
            ax.set_xlim(-0.6, len(chosen) - 0.4)
        elif "log" in kinds:
            style.logarithmic(ax, pd.concat([rows[name] for rows in tried.values()]))
        ax.set(xlabel=words.axis_label(name), ylabel=HELD_OUT)
    return style.drawing(
        figure,
        "tuning-slices",
        "Every configuration in each of the fields that were chosen; the other fields vary along.",
        f"{HELD_OUT} of every configuration against each chosen field.",
    )


def _front(second: Metric, scored: Scored, styles: Styles) -> Drawing:
    figure, (ax,) = style.panels(1, styles)
    for arm, look in styles.items():
        rows = scored[arm]
        _dots(ax, look, rows["second"], rows)
        front = rows[rows["front"]].sort_values(["second", "score"])
        ax.plot(front["second"], front["score"], "--", color=look.colour, lw=1)
    ax.set(xlabel=f"{second.label}, {second.unit}", ylabel=HELD_OUT)
    return style.drawing(
        figure,
        "tuning-front",
        "A dot is one configuration; dashed: no other of its arm is better in both.",
        f"{HELD_OUT} against {second.label}, by arm; the dashed line joins the Pareto set.",
    )
