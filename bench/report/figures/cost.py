"""Accuracy against its price, for each row of the results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.markers import CARETDOWN, CARETUP

from bench.analysis.drawn import front, plain_lines
from bench.analysis.evidence import Evidence, Row
from bench.analysis.statistics import Interval
from bench.metrics import METRICS
from bench.report import words
from bench.report.figures.style import (
    INK,
    WIDTH,
    Drawing,
    arm_styles,
    at_most_all,
    drawing,
    legend,
    logarithmic,
)

PRICES = ("train_images_per_s", "gmacs")


def cost(evidence: Evidence) -> Drawing | None:
    """Accuracy against training speed and against multiply-adds."""
    rows = [row for row in evidence.rows if row.accuracy.n and row.speed]
    names = [name for name in PRICES if any(name in row.speed for row in rows)]
    if not names or len(rows) < 2:
        return None
    captions = ["Mean over seeds with its 95 % interval; an arrow: it goes on."]
    captions += ["Dashed: by the means, no other point is both cheaper and more accurate."]
    (shared, _), *others = Counter(row.trial.setting for row in rows).most_common()
    if others:
        captions += [f"Speeds with {words.setting(shared, [shared, *dict(others)])} alone."]
    if any(plain_lines(rows)):
        captions += ["Solid: one backbone without a resizer, by image size."]
    datasets = list(dict.fromkeys(row.trial.dataset for row in rows))
    figure = Figure(figsize=(WIDTH, 0.6 + 2.7 * len(datasets)), layout="constrained")
    grid = figure.subplots(len(datasets), len(names), squeeze=False)
    for line, dataset in zip(grid, datasets, strict=True):
        for ax, name in zip(line, names, strict=True):
            mine = [row for row in rows if row.trial.dataset == dataset and name in row.speed]
            if not METRICS[name].counted:
                mine = [row for row in mine if row.trial.setting == shared]
            _panel(ax, evidence, mine, name)
            ax.set_xlabel(f"{METRICS[name].label}, {METRICS[name].unit}")
        line[0].set_ylabel(words.TOP1)
        line[0].set_title(dataset)
    legend(figure, arm_styles(evidence.arms.values()))
    return drawing(
        figure,
        "cost",
        "Accuracy against its price",
        " ".join(captions),
        f"{words.TOP1} against {words.join(METRICS[name].label for name in names)}; "
        "the numbers are in the results table.",
    )


def _panel(ax: Axes, evidence: Evidence, rows: Sequence[Row], name: str) -> None:
    for sizes in plain_lines(rows):
        ax.plot([r.speed[name] for r in sizes], [r.accuracy.mean for r in sizes], color=INK, lw=0.8)
    best = front(rows, name)
    ax.plot([p[0] for p in best], [p[1] for p in best], "--", color=INK, lw=0.8, alpha=0.6)
    for arm, (colour, marker) in arm_styles(evidence.arms.values()).items():
        mine = [row for row in rows if row.arm.name == arm]
        xs, shown = [row.speed[name] for row in mine], [row.accuracy for row in mine]
        means, halves = [i.mean for i in shown], [i.half_width for i in shown]
        ax.errorbar(xs, means, halves, fmt=marker, color=colour, markersize=7, elinewidth=1.2)
    if rows:
        _limit(ax, [row.accuracy for row in rows])
        _arrows(ax, [(row.speed[name], row.accuracy) for row in rows if row.accuracy.n > 1])
        prices = [row.speed[name] for row in rows]
        if min(prices) > 0 and max(prices) > 5 * min(prices):
            logarithmic(ax, prices)


def _limit(ax: Axes, shown: Sequence[Interval]) -> None:
    """Show the means with room; intervals of two seeds may leave the panel."""
    means = [interval.mean for interval in shown]
    room = max(1.0, max(means) - min(means))
    low = max(min(means) - room, min([*means, *(i.low for i in shown if i.n > 1)]))
    high = min(max(means) + room, max([*means, *(i.high for i in shown if i.n > 1)]))
    ax.set_ylim(low - 0.07 * (high - low) - 0.1, high + 0.07 * (high - low) + 0.1)
    at_most_all(ax)


def _arrows(ax: Axes, shown: Sequence[tuple[float, Interval]]) -> None:
    """Mark the intervals that go on beyond the panel."""
    low, high = ax.get_ylim()
    ends = [(x, low, CARETUP) for x, one in shown if one.low < low]
    ends += [(x, high, CARETDOWN) for x, one in shown if one.high > high]
    for x, y, arrow in ends:
        ax.plot([x], [y], linestyle="", marker=arrow, color=INK, markersize=6)
