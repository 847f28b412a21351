"""How figures look: arms, axes, and the same SVG each time, for a page and for a file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from io import StringIO
from itertools import cycle
from pathlib import Path
from textwrap import fill, wrap
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.textpath import text_to_path
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter
from numpy.typing import ArrayLike

from bench.analysis.statistics import Interval
from bench.spec.experiment import Arm

# Okabe and Ito's, the light ones darkened: each stands out from white and from near-black alike.
COLOURS = ("#0072b2", "#009e73", "#b8860b", "#c06a9c", "#3c8fb8", "#8a6fc0", "#7a8f2a", "#a0634b")
BASELINE, TREATMENT = "#7d848c", "#d55e00"
MARKERS = ("s", "^", "v", "P", "X", "<", ">", "p", "h")

# Of a file; a page has its own in their place, and a dark page others.
INK, FAINT, BAND, PAPER = "#1f2328", "#d4d8dd", "#e9ecef", "#ffffff"
PAGE = {INK: "currentColor", FAINT: "var(--line)", BAND: "var(--band)", PAPER: "var(--paper)"}
DARK = {INK: "#e4e7eb", FAINT: "#3a4048", BAND: "#262b31", PAPER: "#0d1117"}

WIDTH = 7.0  # inches, of every figure
POINTS = 72  # an inch
MARK = 4.8  # of a legend, in font sizes: a marker with its room, and that between columns
LINE = 0.2  # inches, of a legend

MOST_LETTERS = 26  # of the names beneath a panel: so many in all fit under one of two in a line
LETTERS_BESIDE = 24  # of a line of a name beside or beneath a panel, which is left its room
LETTERS_ABOVE = 68  # of a line of names above panels
FEW_TIMES = 5  # apart, one or two labels at 1, 2 and 5 of each decade would be all
MANY_TIMES = 30  # apart, labels at 1, 2 and 5 of each decade would run into one another

FONTS = "system-ui, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif"

STYLE: dict[Any, Any] = {
    "text.parse_math": False,  # a name of the user's may have a dollar
    "font.family": "DejaVu Sans",  # wider than the fonts above: what fits in it fits in them
    "font.size": 11,
    "axes.titlesize": 11,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "legend.fontsize": 10,
    **dict.fromkeys(
        ["text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"], INK
    ),
    "axes.titlelocation": "left",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
}
PLATE = {"facecolor": PAPER, "edgecolor": "none", "pad": 1.5}


class ArmStyle(NamedTuple):
    """How an arm is drawn."""

    colour: str
    marker: str


Styles = Mapping[str, ArmStyle]


def arm_styles(arms: Iterable[Arm]) -> dict[str, ArmStyle]:
    """A style for each arm by name; there are more markers than colours, so that pairs last."""
    roles = {"baseline": ArmStyle(BASELINE, "o"), "treatment": ArmStyle(TREATMENT, "D")}
    others = map(ArmStyle, cycle(COLOURS), cycle(MARKERS))
    return {arm.name: roles.pop(arm.role) if arm.role in roles else next(others) for arm in arms}


def legend(figure: Figure, styles: Styles) -> None:
    """Name the arms above the panels, in as many lines as they need."""
    handles = [
        Line2D([], [], color=colour, marker=marker, linestyle="", markersize=7, label=name)
        for name, (colour, marker) in styles.items()
    ]
    columns = _columns(list(styles))
    figure.legend(handles=handles, loc="outside upper left", ncols=columns)
    figure.set_figheight(figure.get_figheight() + LINE * (-(-len(styles) // columns) - 1))


def _columns(names: Sequence[str]) -> int:
    """The most columns, filled one after another, in which a legend is as wide as its figure."""
    size = STYLE["legend.fontsize"]
    font, measured = FontProperties(size=size), text_to_path.get_text_width_height_descent
    widths = np.array([measured(name, font, False)[0] for name in names])
    for columns in range(len(names), 1, -1):
        widest = [float(part.max()) + MARK * size for part in np.array_split(widths, columns)]
        if sum(widest) <= WIDTH * POINTS - size:
            return columns
    return 1


def sheet(height: float) -> Figure:
    """An empty figure, so many inches high."""
    return Figure(figsize=(WIDTH, height), layout="constrained")


def panels(n: int, arms: Styles, columns: int = 2) -> tuple[Figure, list[Axes]]:
    """A figure of `n` panels, at most `columns` in a line; the arms, if any, are named above."""
    columns = min(n, columns)
    lines = -(-n // columns)
    figure = sheet(0.6 + 2.6 * lines)
    axes = list(figure.subplots(lines, columns, squeeze=False).flat)
    for ax in axes[n:]:
        ax.set_axis_off()
    if arms:
        legend(figure, arms)
    return figure, axes[:n]


def name_panel(ax: Axes, name: str) -> None:
    """Name a panel above it, in as many lines as its width takes."""
    grid = ax.get_gridspec()
    assert grid
    ax.set_title("\n".join(wrap(name, LETTERS_ABOVE // grid.ncols)))


def in_lines(name: str) -> str:
    """A name as it stands beside or beneath a panel."""
    return fill(name, LETTERS_BESIDE)


def name_columns(ax: Axes, places: ArrayLike, names: Sequence[str]) -> None:
    """Name the places along a panel's lower edge, aslant where the names would not fit."""
    ax.set_xticks(places, map(in_lines, names))
    grid = ax.get_gridspec()
    assert grid
    if sum(map(len, names)) > MOST_LETTERS * 2 / grid.ncols:
        ax.tick_params("x", rotation=15)
        for label in ax.get_xticklabels():
            label.set(horizontalalignment="right", rotation_mode="anchor")


def name_lines(ax: Axes, groups: Mapping[str, Sequence[str]]) -> list[int]:
    """Name the lines of a panel from its top, each group under its name. Returns: their places."""
    y, ticks = 0, dict[int, str]()
    for group, names in groups.items():
        if group:
            beside = ax.get_yaxis_transform()
            ax.text(0.006, y, group, transform=beside, va="center", weight="bold", bbox=PLATE)
            y += 1
        ticks |= dict(enumerate(names, start=y))
        y += len(names)
    ax.set_yticks(list(ticks), list(ticks.values()))
    ax.set_ylim(y - 0.4, -0.6)
    ax.grid(visible=False, axis="y")
    ax.tick_params(axis="y", length=0)
    return list(ticks)


def reach(points: Sequence[float], found: Iterable[Interval], room: float) -> tuple[float, float]:
    """The ends of an axis: of all points, and of intervals up to `room` beyond these."""
    low, high = min(points), max(points)
    ends = [(max(one.low, low - room), min(one.high, high + room)) for one in found]
    low, high = min([low, *(start for start, _ in ends)]), max([high, *(end for _, end in ends)])
    edge = 0.04 * (high - low) or 1.0
    return low - edge, high + edge


def at_most_all(ax: Axes) -> None:
    """End an axis of accuracies at 100 %."""
    if ax.get_ylim()[1] > 100:
        ax.set_ylim(top=100.5)


def logarithmic(ax: Axes, values: Sequence[float]) -> None:
    """A logarithmic axis of x: labels enough to read it by, and none runs into another."""
    low, high = min(values), max(values)
    ax.set_xscale("log")
    if high < FEW_TIMES * low:
        ax.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    else:
        subs = (1, 2, 5) if high < MANY_TIMES * low else (1, 3)
        ax.xaxis.set_major_locator(LogLocator(subs=subs))
    if high == low:
        ax.set_xlim(low / 2, 2 * high)
    ax.xaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())


@dataclass(frozen=True)
class Drawing:
    """One figure of the report."""

    name: str  # the file's stem
    caption: str
    alt: str  # what it shows, for who cannot see it
    source: str  # SVG in the colours of a file, without its background
    figure: Figure = field(repr=False, compare=False)

    @property
    def inline(self) -> str:
        """For a page, in its colours."""
        return _coloured(self.source, PAGE)

    @property
    def file(self) -> str:
        """For a file of its own, readable on any background."""
        paper = f'<rect width="100%" height="100%" fill="{PAPER}"/>'
        head = '<svg xmlns="http://www.w3.org/2000/svg" '
        return re.sub(r"<svg ([^>]*)>", rf"{head}\1>{paper}", self.source, count=1)

    @property
    def dark(self) -> str:
        """Such a file for a dark page."""
        return _coloured(self.file, DARK)

    def write_pdf(self, path: Path) -> None:
        """For a paper."""
        with mpl.rc_context(STYLE):
            metadata = {"CreationDate": None}
            self.figure.savefig(path, format="pdf", transparent=True, metadata=metadata)


def drawing(figure: Figure, name: str, caption: str, alt: str) -> Drawing:
    """Render `figure`."""
    out = StringIO()
    metadata = {"Date": None, "Creator": None, "Format": None, "Type": None}
    with mpl.rc_context(STYLE | {"svg.hashsalt": name}):
        figure.savefig(out, format="svg", transparent=True, metadata=metadata)
    return Drawing(name, caption, alt, _cleaned(out.getvalue(), name, alt), figure)


def _cleaned(text: str, name: str, alt: str) -> str:
    """One <svg> element with a label, ids of its own, and fonts that are there."""
    text = text[text.index("<svg ") :]
    text = re.sub(r' xmlns(:\w+)?="[^"]*"', "", text).replace("xlink:href", "href")
    text = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", text)
    text = text.replace("'DejaVu Sans'", FONTS.replace("'", "&apos;"))
    return text.replace("<svg ", f'<svg role="img" aria-label="{escape(alt)}" ', 1)


def _coloured(text: str, colours: Mapping[str, str]) -> str:
    for drawn, shown in colours.items():
        text = text.replace(drawn, shown)
    return text
