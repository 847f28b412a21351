"""The figure that answers: paired differences to the baseline arm, with their intervals."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.markers import CARETLEFT, CARETRIGHT

from bench.analysis.evidence import Evidence, Row
from bench.analysis.statistics import LEVEL, Interval
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
"""With more rows than these, those of the primary comparison alone are drawn."""

MOST_IN_ALT = 12
PLATE = {"facecolor": PAPER, "edgecolor": "none", "pad": 1.5}

Drawn = Sequence[tuple[Row, Interval]]
Span = tuple[float, float]


def differences(evidence: Evidence) -> Drawing | None:
    """Differences to the baseline arm, points: a line for each row, under its context's name."""
    rows = [(row, row.difference) for row in evidence.compared if row.difference]
    rows = [(row, found) for row, found in rows if found.n]
    if len(rows) > MOST_LINES:
        rows = [(row, found) for row, found in rows if row.verdict][:MOST_LINES]
    if not rows:
        return None
    places = {row.label for row, _ in rows} if evidence.axes else ()
    figure = Figure(figsize=(WIDTH, 0.9 + 0.3 * (len(rows) + len(places))), layout="constrained")
    span = _span(evidence, rows)
    _draw(figure.subplots(), evidence, rows, span)
    return drawing(
        figure,
        "differences",
        f"Differences to {evidence.experiment.baseline}",
        _caption(evidence, rows, span),
        "; ".join(_told(evidence, *one) for one in rows[:MOST_IN_ALT]),
    )


def _told(evidence: Evidence, row: Row, found: Interval) -> str:
    here = words.place(row.context, evidence.axes)
    shown = words.mean(found, signed=True)
    return f"{row.arm.name}{f' on {here}' if here else ''} {shown} points"


def _draw(ax: Axes, evidence: Evidence, rows: Drawn, span: Span) -> None:
    margin, baseline = evidence.experiment.spec.margin_pct, evidence.experiment.baseline
    ax.axvspan(-margin, margin, color=BAND, linewidth=0, zorder=0)
    ax.axvline(0, color=INK, linewidth=1, zorder=1)
    y, ticks, place, styles = 0, {}, "", arm_styles(evidence.arms.values())
    beside = ax.get_yaxis_transform()
    for row, found in rows:
        here = words.place(row.context, evidence.axes)
        if here != place:
            ax.text(0.006, y, here, transform=beside, va="center", weight="bold", bbox=PLATE)
            y, place = y + 1, here
        _draw_row(ax, styles[row.arm.name], row, found, evidence.gain(row).tolist(), y, span)
        shown = words.mean(found, signed=True)
        ax.text(1.01, y, shown, transform=beside, va="center", fontsize=10)
        ticks[y] = row.arm.name
        y += 1
    ax.set_yticks(list(ticks), list(ticks.values()))
    ax.set(xlim=span, ylim=(y - 0.4, -0.6))
    ax.set_xlabel(f"top-1 accuracy minus that of {baseline}, points")
    ax.grid(visible=False, axis="y")
    ax.tick_params(axis="y", length=0)


def _draw_row(
    ax: Axes, style: ArmStyle, row: Row, found: Interval, seeds: list[float], y: float, span: Span
) -> None:
    width = 3.0 if row.verdict else 1.8
    ax.plot(seeds, [y + 0.24] * len(seeds), "|", color=style.colour, ms=5, alpha=0.7)
    ax.hlines(y, found.low, found.high, color=style.colour, linewidth=width)
    for end, beyond, arrow in zip(span, _beyond(found, span), (CARETLEFT, CARETRIGHT), strict=True):
        if beyond:
            ax.plot([end], [y], linestyle="", marker=arrow, color=style.colour, markersize=8)
    ax.plot([found.mean], [y], style.marker, color=style.colour, markersize=7)


def _span(evidence: Evidence, rows: Drawn) -> Span:
    """Zero, the margin and every seed; intervals as far as they do not dwarf these."""
    margin = evidence.experiment.spec.margin_pct
    points = [-margin, margin, *(seed for row, _ in rows for seed in evidence.gain(row))]
    low, high = min(points), max(points)
    room, found = high - low, [one for _, one in rows if one.n > 1]
    low = min([low, *(max(one.low, low - room) for one in found)])
    high = max([high, *(min(one.high, high + room) for one in found)])
    return low - 0.04 * (high - low), high + 0.04 * (high - low)


def _beyond(found: Interval, span: Span) -> tuple[bool, bool]:
    """Whether the interval goes on beyond the figure, at its low and its high end."""
    return found.low < span[0], found.high > span[1]


def _caption(evidence: Evidence, rows: Drawn, span: Span) -> str:
    margin = words.count_points(evidence.experiment.spec.margin_pct)
    text = f"A tick is one seed, the marker their mean; shaded: within {margin} of zero."
    if any(found.n > 1 for _, found in rows):
        text += f" Lines are {words.percent(LEVEL)} intervals over paired seeds, each by itself."
    if levels := {found.level for row, found in rows if row.verdict and found.n > 1}:
        level = words.join(sorted(map(words.percent, levels)))
        text += f" Thick: the interval of the verdict, {level}."
    cut = any(any(_beyond(found, span)) for _, found in rows)
    return f"{text} An arrow: the interval goes on." if cut else text
