"""Intervals one below the other: differences, prices, and what many experiments found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.markers import CARETLEFT, CARETRIGHT

from bench.analysis.evidence import Evidence, Row
from bench.analysis.overview import Line, by_scale
from bench.analysis.prices import multiple
from bench.analysis.statistics import LEVEL, Interval, Ratio
from bench.errors import counted
from bench.report import words
from bench.report.figures import style
from bench.report.figures.style import ArmStyle, Drawing

MOST_LINES = 60  # of more rows, those of the primary comparison alone
MOST_IN_ALT = 12
MOST_PRICES = 40
LEGEND = {
    "over the plain pipeline": ArmStyle(style.TREATMENT, "D"),
    "over a plain image of the same training time": ArmStyle(style.COLOURS[1], "^"),
}
APART = 0.17  # of a line's height: how far its two markers are from its middle


def differences(evidence: Evidence) -> Drawing | None:
    """Differences to the baseline arm, points: a line for each row, under its context's name."""
    drawn = [(row, found) for row in evidence.compared if (found := row.difference) and found.n]
    if len(drawn) > MOST_LINES:
        drawn = [(row, found) for row, found in drawn if row.verdict][:MOST_LINES]
    if not drawn:
        return None
    margin, baseline = evidence.experiment.spec.margin_pct, evidence.experiment.baseline
    groups: dict[str, list[str]] = {}
    for row, _ in drawn:
        groups.setdefault(words.place(row.context, evidence.axes), []).append(row.arm.name)
    points = [-margin, margin, *(seed for row, _ in drawn for seed in evidence.gain(row))]
    known = [found for _, found in drawn if found.n > 1]
    span = style.reach(points, known, max(points) - min(points))
    figure = style.sheet(0.9 + 0.3 * (len(drawn) + len(groups) * bool(evidence.axes)))
    ax = figure.subplots()
    _ground(ax, margin, span)
    ax.set_xlabel(f"top-1 accuracy minus that of {baseline}, points")
    styles, alts = style.arm_styles(evidence.arms.values()), list[str]()
    for y, (row, found) in zip(style.name_lines(ax, groups), drawn, strict=True):
        look, seeds = styles[row.arm.name], evidence.gain(row).tolist()
        ax.plot(seeds, [y + 0.24] * len(seeds), "|", color=look.colour, ms=5, alpha=0.7)
        _interval(ax, y, found, look, width=3.0 if row.verdict else 1.8)
        shown, here = words.mean(found, signed=True), words.place(row.context, evidence.axes)
        ax.text(1.01, y, shown, transform=ax.get_yaxis_transform(), va="center", fontsize=10)
        alts.append(f"{row.arm.name}{f' on {here}' if here else ''} {shown} points")
    cut = any(one.low < span[0] or one.high > span[1] for one in known)
    caption = _caption(margin, drawn) + (" An arrow: the interval goes on." if cut else "")
    return style.drawing(figure, "differences", caption, "; ".join(alts[:MOST_IN_ALT]))


def _caption(margin: float, drawn: Sequence[tuple[Row, Interval]]) -> str:
    text = "A tick is one seed, the marker their mean; shaded: within "
    text += f"{counted(margin, 'point')} of zero."
    if any(found.n > 1 for _, found in drawn):
        text += f" Lines are {words.percent(LEVEL)} intervals over paired seeds, each by itself."
    if levels := {found.level for row, found in drawn if row.verdict and found.n > 1}:
        level = words.join(sorted(map(words.percent, levels)))
        text += f" Thick: the interval of the verdict, {level}."
    return text


def price(evidence: Evidence) -> Drawing | None:
    """What the treatment costs where nothing is trained, in each context: steps, multiply-adds."""
    treated = [row for row in evidence.compared if row.arm.role == "treatment"]
    rows = [row for row in treated if "train" in row.times][:MOST_PRICES]
    if evidence.experiment.spec.train or len(rows) < 2:
        return None
    baseline, styles = evidence.experiment.baseline, style.arm_styles(evidence.arms.values())
    places = [words.place(row.context, evidence.axes) or row.arm.name for row in rows]
    steps = [row.times["train"] for row in rows]
    counts = [multiple(evidence, row, "gmacs") or float("nan") for row in rows]
    shown = {"training step": steps, "multiply-adds per image": [Ratio(n, n, n, 1) for n in counts]}
    figure = style.sheet(0.8 + 0.25 * len(rows))
    panels = figure.subplots(1, 2, sharey=True)
    for ax, (title, ratios) in zip(panels, shown.items(), strict=True):
        for y, row, ratio in zip(style.name_lines(ax, {"": places}), rows, ratios, strict=True):
            _interval(ax, y, ratio, styles[row.arm.name])
        ax.axvline(1, color=style.INK, linewidth=1)
        ax.set_title(title)
        ends = [end for of in ratios for end in (of.value, of.low, of.high) if end == end]
        style.logarithmic(ax, [1.0, *ends])
    figure.supxlabel(f"multiples of {baseline}'s, {words.TIMES}", fontsize=11)
    told = [f"{place}: {words.ratio(step)}" for place, step in zip(places, steps, strict=True)]
    return style.drawing(
        figure,
        "price",
        f"A line is one context; intervals of 95 % over rounds. {baseline} is at 1.",
        "A training step: " + "; ".join(told),
    )


@mpl.rc_context(style.STYLE)
def overview(lines: Sequence[Line], name: str) -> Drawing | None:
    """The treatment's differences: to the plain pipeline, and to a plain image of its time."""
    scales = by_scale(lines)
    if not scales:
        return None
    usual = {
        name: Counter(str(line.first[name]) for line in lines).most_common(1)[0][0]
        for name in ("treatment", "backbone")
    }
    ordered = [line for group in scales.values() for line in group]
    groups = {
        f"{loaded} → {small} px": [_label(line, usual) for line in group]
        for (loaded, small), group in scales.items()
    }
    treated = [(line.difference, line.equal_time) for line in ordered]
    known = [one for both in treated for one in both if one]
    points = [-1.0, 1.0, *(one.mean for one in known)]
    figure = style.sheet(1.05 + 0.225 * (len(lines) + len(scales)))
    ax = figure.subplots()
    span = style.reach(points, known, 0.4 * (max(points) - min(points)))
    _ground(ax, 1.0, span)
    for y, both in zip(style.name_lines(ax, groups), treated, strict=True):
        for one, look, apart in zip(both, LEGEND.values(), (-APART, APART), strict=True):
            if one:
                _interval(ax, y + apart, one, look)
    means = any(line.several for line in ordered)
    levels = sorted({words.percent(ours.level) for ours, _ in treated if ours})
    at_equal = any(of for _, of in treated)
    caption = f"A row is one experiment, of {words.join(usual.values())} unless others are named. "
    caption += f"Intervals have {words.join(levels)}"
    caption += f", at equal time {words.percent(LEVEL)}" if at_equal else ""
    caption += "; those of means leave new images out" if means else ""
    caption += "; shaded: within a point."
    if at_equal:
        caption += " The image of equal time lies between two that were run, "
        caption += "or is the best no dearer."
    if any(one.low < span[0] or one.high > span[1] for one in known):
        caption += " An arrow: the interval goes on."
    figure.supxlabel("difference in top-1 accuracy, points", fontsize=11)
    style.legend(figure, LEGEND)
    alt = "; ".join(_in_short(line, usual) for line in ordered)
    return style.drawing(figure, name, caption, alt)


def _label(line: Line, usual: Mapping[str, str]) -> str:
    """What tells an experiment from others of its scale; its arm and backbone unless `usual`."""
    first, n = line.first, len(line.verdicts)
    trained = words.lengths(line.verdicts["length"].unique(), first["started_from"])
    parts = [words.join(line.verdicts["dataset"].unique()), trained]
    if line.several:
        each = line.verdicts["backbone"].nunique() == n
        parts.append(f"mean of {n} {'backbones' if each else 'variants'}")
    else:
        parts.append(counted(first["seeds"], "seed"))
        parts += [first[name] for name, of in usual.items() if first[name] != of]
    return ", ".join([*parts, *["tuned alike"] * bool(first["tuned"])])


def _in_short(line: Line, usual: Mapping[str, str]) -> str:
    found, more = line.difference, line.equal_time
    text = words.points(found.mean, signed=True) if found else words.NONE
    at_equal = f", at equal time {words.points(more.mean, signed=True)}" if more else ""
    return f"{_label(line, usual)}: {text}{at_equal}"


def _ground(ax: Axes, margin: float, span: tuple[float, float]) -> None:
    """Zero, and the margin around it."""
    ax.axvspan(-margin, margin, color=style.BAND, linewidth=0, zorder=0)
    ax.axvline(0, color=style.INK, linewidth=1, zorder=1)
    ax.set_xlim(span)


def _interval(ax: Axes, y: float, of: Interval | Ratio, look: ArmStyle, width: float = 2.2) -> None:
    """An interval and its mean; an arrow where it goes on beyond the panel."""
    mean = of.value if isinstance(of, Ratio) else of.mean
    ax.hlines(y, of.low, of.high, color=look.colour, linewidth=width)
    ax.plot([mean], [y], look.marker, color=look.colour, markersize=6.5)
    start, end = ax.get_xlim()
    for x, beyond, arrow in ((start, of.low < start, CARETLEFT), (end, of.high > end, CARETRIGHT)):
        if beyond:
            ax.plot([x], [y], linestyle="", marker=arrow, color=look.colour, ms=8, clip_on=False)
