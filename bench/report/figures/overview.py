"""The figure of the front page: each experiment's difference, and what its price buys otherwise."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.markers import CARETLEFT, CARETRIGHT

from bench.analysis.overview import Line, by_scale
from bench.report import words
from bench.report.figures.style import BAND, COLOURS, INK, STYLE, TREATMENT, WIDTH, Drawing, drawing

LARGER = COLOURS[1]
LEGEND = (
    (TREATMENT, "D", "learned resizer"),
    (LARGER, "^", "larger plain image, about the same training time"),
)
APART = 0.17
"""Of a line's height: how far its two markers are from its middle."""


def overview(lines: Sequence[Line], name: str = "overview") -> Drawing | None:
    """Differences to the plain pipeline: the treatment's, and the plain image's of its price."""
    scales = by_scale(lines)
    if not scales:
        return None
    usual = Counter(str(line.first["backbone"]) for line in lines).most_common(1)[0][0]
    with mpl.rc_context(STYLE):
        height = 1.05 + 0.225 * (len(lines) + len(scales))
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        _draw(figure.subplots(), scales, usual)
        levels = sorted({words.percent(d.level) for line in lines if (d := line.difference)})
        figure.supxlabel(
            f"top-1 points over the plain pipeline, {words.join(levels)} intervals", fontsize=11
        )
        handles = [
            Line2D([], [], color=colour, marker=marker, lw=2.2, ms=7, label=text)
            for colour, marker, text in LEGEND
        ]
        figure.legend(handles=handles, loc="outside upper left", ncols=2)
        return drawing(
            figure,
            name,
            "The difference to the plain pipeline, and what the same training time buys",
            f"A row is one experiment, of {usual} unless another backbone is named. Shaded: within "
            "a point of the plain pipeline. An arrow: the interval goes on.",
            "; ".join(_told(line, usual) for line in lines),
        )


def _draw(ax: Axes, scales: dict[tuple[int, int], list[Line]], usual: str) -> None:
    ax.axvspan(-1, 1, color=BAND, linewidth=0, zorder=0)
    ax.axvline(0, color=INK, linewidth=1, zorder=1)
    every = [line for group in scales.values() for line in group]
    low, high = _span(every)
    ticks, y = {}, 0
    for (size, small), group in scales.items():
        ticks[y] = f"{words.size(size, small)} px"
        y += 1
        for line in group:
            ticks[y] = label(line, usual)
            found = line.difference
            if found:
                ends = found.mean, found.low, found.high
                _interval(ax, ends, y - APART, TREATMENT, "D", (low, high))
            if line.equal_time:
                _interval(ax, line.equal_time, y + APART, LARGER, "^", (low, high))
            y += 1
    ax.set_yticks(list(ticks), list(ticks.values()))
    for text in ax.get_yticklabels():
        text.set_fontweight("bold" if text.get_text().endswith(" px") else "normal")
    ax.set(xlim=(low, high), ylim=(y - 0.4, -0.6))
    ax.grid(visible=False, axis="y")
    ax.tick_params(axis="y", length=0)


def _interval(
    ax: Axes,
    ends: tuple[float, float, float],
    y: float,
    colour: str,
    marker: str,
    span: tuple[float, float],
) -> None:
    mean, low, high = ends
    ax.hlines(y, low, high, color=colour, linewidth=2.2)
    ax.plot([mean], [y], marker, color=colour, markersize=6.5)
    for end, beyond, arrow in zip(
        span, (low < span[0], high > span[1]), (CARETLEFT, CARETRIGHT), strict=True
    ):
        if beyond:
            ax.plot([end], [y], linestyle="", marker=arrow, color=colour, ms=8, clip_on=False)


def _span(lines: Sequence[Line]) -> tuple[float, float]:
    """Every mean and the margin, and intervals as far as they do not dwarf these."""
    found = [(d.mean, d.low, d.high) for line in lines if (d := line.difference)]
    found += [line.equal_time for line in lines if line.equal_time]
    means = [-1.0, 1.0, *(mean for mean, _, _ in found)]
    low, high = min(means), max(means)
    room = 0.4 * (high - low)
    low = min([low, *(max(one, low - room) for _, one, _ in found)])
    high = max([high, *(min(one, high + room) for _, _, one in found)])
    return low - 0.03 * (high - low), high + 0.03 * (high - low)


def label(line: Line, usual: str) -> str:
    """What tells an experiment from the others of its scale.

    Args:
        usual: the backbone that need not be named.
    """
    first, n = line.first, len(line.verdicts)
    stages = [words.lengths([length]) for length in (*first["started_from"], first["length"])]
    parts = [first["dataset"], " + ".join(stages)]
    if line.several:
        each = line.verdicts["backbone"].nunique() == n
        parts.append(f"mean of {n} {'backbones' if each else 'variants'}")
    else:
        parts.append(f"{first['seeds']} seeds")
        parts += [first["backbone"]] * (first["backbone"] != usual)
    return ", ".join([*parts, *["tuned alike"] * bool(first["tuned"])])


def _told(line: Line, usual: str) -> str:
    found, more = line.difference, line.equal_time
    text = words.points(found.mean, signed=True) if found else words.NONE
    larger = f", a larger plain image {words.points(more[0], signed=True)}" if more else ""
    return f"{label(line, usual)}: {text}{larger}"
