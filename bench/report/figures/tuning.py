"""What a search tried: in its order, by each field, and over two objectives."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes

from bench.analysis import drawn
from bench.analysis.evidence import Evidence
from bench.metrics import METRICS, Metric
from bench.report import words
from bench.report.figures import style
from bench.report.figures.style import ArmStyle, Drawing
from bench.report.tuning import ranges
from bench.spec.ranges import Range, Scalar

HELD_OUT = "held-out top-1, %"

Scored = Mapping[str, pd.DataFrame]
"""By arm, a line for each configuration that has a score, in the order of the search."""
Styles = Mapping[str, ArmStyle]


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
    fields: dict[str, list[Range]] = {}
    for space in spaces.values():
        for name, of in space.items():
            fields.setdefault(name, []).append(of)
    figure, axes = style.panels(len(fields), styles)
    for ax, (name, of_arms) in zip(axes, fields.items(), strict=True):
        kinds, chosen = {of.kind for of in of_arms}, _choices(of_arms)
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


def _choices(of_arms: Sequence[Range]) -> list[Scalar]:
    """Every value that some arm chooses from; numbers in their order."""
    values = dict.fromkeys(value for of in of_arms for value in of.values)
    return sorted(values, key=lambda value: math.inf if isinstance(value, str) else value)


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
