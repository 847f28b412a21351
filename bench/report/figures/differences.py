"""The figure that answers: paired differences to the baseline arm, with their intervals."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.markers import CARETLEFT, CARETRIGHT

from bench.analysis.evidence import Evidence, Row
from bench.analysis.statistics import LEVEL
from bench.report import words
from bench.report.figures.style import (
    BAND,
    INK,
    PAPER,
    WIDTH,
    ArmStyle,
    Drawing,
    arm_styles,
    drawing,
)

MOST_LINES = 60
"""With more rows than these: what each value of an axis goes with, a dot for each row."""

MOST_IN_ALT = 12
PLATE = {"facecolor": PAPER, "edgecolor": "none", "pad": 1.5}


@dataclass(frozen=True)
class Line:
    """One line of the figure: an arm's differences in one place, points."""

    title: str | None  # stands above it
    arm: str
    dots: list[float]
    mean: float
    low: float  # nan where there is no interval
    high: float
    thick: bool
    shown: str
    alt: str


def differences(evidence: Evidence) -> Drawing | None:
    """Differences to the baseline arm: a line for each row, or for each value of an axis."""
    rows = [row for row in evidence.compared if row.difference and row.difference.n]
    if not rows:
        return None
    lines = list(_by_row(evidence, rows) if len(rows) <= MOST_LINES else _by_value(evidence, rows))
    titles = sum(line.title is not None for line in lines)
    figure = Figure(figsize=(WIDTH, 0.9 + 0.3 * (len(lines) + titles)), layout="constrained")
    span = _span(evidence, lines)
    _draw(figure.subplots(), evidence, lines, span)
    return drawing(
        figure,
        "differences",
        f"Differences to {evidence.experiment.baseline}",
        _caption(evidence, rows) + _cut(lines, span),
        "; ".join(line.alt for line in lines[:MOST_IN_ALT]),
    )


def _by_row(evidence: Evidence, rows: Sequence[Row]) -> Iterator[Line]:
    """A line for each row, under the name of its context."""
    place = None
    for row in rows:
        here = words.place(row.context, evidence.axes)
        assert row.difference
        shown = words.mean(row.difference, signed=True)
        seeds = evidence.gain(row).tolist()
        yield Line(
            title=here if here != place and evidence.axes else None,
            arm=row.arm.name,
            dots=seeds,
            mean=row.difference.mean,
            low=row.difference.low,
            high=row.difference.high,
            thick=row.verdict is not None,
            shown=shown,
            alt=f"{row.arm.name}{f' on {here}' if here else ''} {shown} points",
        )
        place = here


def _by_value(evidence: Evidence, rows: Sequence[Row]) -> Iterator[Line]:
    """A line for each arm at each value of each axis that it uses: a dot is a row."""
    for axis in evidence.axes:
        for value in evidence.experiment.spec.axes[axis]:
            title: str | None = words.axis_value(axis, value)
            for arm in evidence.arms:
                found = [row for row in rows if _at(row, arm, axis, value)]
                dots = [row.difference.mean for row in found if row.difference]
                if dots:
                    mean = sum(dots) / len(dots)
                    shown = words.points(mean, signed=True)
                    alt = f"{arm} at {words.axis_value(axis, value)} {shown} points"
                    yield Line(title, arm, dots, mean, math.nan, math.nan, False, shown, alt)
                    title = None


def _at(row: Row, arm: str, axis: str, value: Any) -> bool:
    """Whether the row is of this arm, uses the axis, and is at this value."""
    return row.arm.name == arm and getattr(row.trial, axis) == value


def _draw(ax: Axes, evidence: Evidence, lines: Sequence[Line], span: tuple[float, float]) -> None:
    margin, baseline = evidence.experiment.spec.margin_pct, evidence.experiment.baseline
    ax.axvspan(-margin, margin, color=BAND, linewidth=0, zorder=0)
    ax.axvline(0, color=INK, linewidth=1, zorder=1)
    y, ticks, styles = 0, {}, arm_styles(evidence.arms.values())
    beside = ax.get_yaxis_transform()
    for line in lines:
        if line.title is not None:
            ax.text(0.006, y, line.title, transform=beside, va="center", weight="bold", bbox=PLATE)
            y += 1
        _draw_line(ax, styles[line.arm], line, y, span)
        ax.text(1.01, y, line.shown, transform=beside, va="center", fontsize=10)
        ticks[y] = line.arm
        y += 1
    ax.set_yticks(list(ticks), list(ticks.values()))
    ax.set(xlim=span, ylim=(y - 0.4, -0.6))
    ax.set_xlabel(f"top-1 accuracy minus that of {baseline}, points")
    ax.grid(visible=False, axis="y")
    ax.tick_params(axis="y", length=0)


def _draw_line(ax: Axes, style: ArmStyle, line: Line, y: float, span: tuple[float, float]) -> None:
    ax.plot(line.dots, [y + 0.24] * len(line.dots), "|", color=style.colour, ms=5, alpha=0.7)
    ax.hlines(y, line.low, line.high, color=style.colour, linewidth=3.0 if line.thick else 1.8)
    for end, beyond, arrow in zip(span, _beyond(line, span), (CARETLEFT, CARETRIGHT), strict=True):
        if beyond:
            ax.plot([end], [y], linestyle="", marker=arrow, color=style.colour, markersize=8)
    ax.plot([line.mean], [y], style.marker, color=style.colour, markersize=7)


def _span(evidence: Evidence, lines: Sequence[Line]) -> tuple[float, float]:
    """Zero, the margin and every dot; intervals as far as they do not dwarf these."""
    margin = evidence.experiment.spec.margin_pct
    points = [-margin, margin, *(dot for line in lines for dot in line.dots)]
    low, high = min(points), max(points)
    room = high - low
    found = [line for line in lines if not math.isnan(line.low)]
    low = min([low, *(max(line.low, low - room) for line in found)])
    high = max([high, *(min(line.high, high + room) for line in found)])
    return low - 0.04 * (high - low), high + 0.04 * (high - low)


def _beyond(line: Line, span: tuple[float, float]) -> tuple[bool, bool]:
    """Whether the line's interval goes on beyond the figure, at its low and its high end."""
    return line.low < span[0], line.high > span[1]


def _cut(lines: Sequence[Line], span: tuple[float, float]) -> str:
    cut = any(any(_beyond(line, span)) for line in lines)
    return " An arrow: the interval goes on." if cut else ""


def _caption(evidence: Evidence, rows: Sequence[Row]) -> str:
    margin = words.count_points(evidence.experiment.spec.margin_pct)
    if len(rows) > MOST_LINES:
        return (
            "A tick is one row of the table, the marker their mean: what goes with each value, not "
            f"an estimate; shaded: within {margin} of zero."
        )
    text = f"A tick is one seed, the marker their mean; shaded: within {margin} of zero."
    if any(row.difference.n > 1 for row in rows if row.difference):
        text += f" Lines are {words.percent(LEVEL)} intervals over paired seeds, each by itself."
    levels = {v.difference.level for row in rows if (v := row.verdict) and v.difference.n > 1}
    if levels:
        level = words.join(sorted(map(words.percent, levels)))
        text += f" Thick: the interval of the verdict, {level}."
    return text
