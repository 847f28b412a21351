"""What rows cost: accuracy against price, and where the time of a training step goes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.markers import CARETDOWN, CARETUP

from bench.analysis.drawn import front, plain_lines
from bench.analysis.evidence import Evidence, Row
from bench.metrics import METRICS
from bench.report import words
from bench.report.figures import style
from bench.report.figures.style import INK, Drawing

PRICES = ("train_images_per_s", "gmacs")
MOST_LINES = 32  # of more rows, the controls are left out; if more are left, there is no figure


def cost(evidence: Evidence) -> Drawing | None:
    """Accuracy against training speed and against multiply-adds."""
    rows = [row for row in evidence.rows if row.accuracy.n and row.speed]
    names = [name for name in PRICES if any(name in row.speed for row in rows)]
    if not names or len(rows) < 2:
        return None
    (shared, _), *others = Counter(row.setting for row in rows).most_common()
    datasets = list(dict.fromkeys(row.trial.dataset for row in rows))
    figure = style.sheet(0.6 + 2.7 * len(datasets))
    grid = figure.subplots(len(datasets), len(names), squeeze=False)
    for line, dataset in zip(grid, datasets, strict=True):
        for ax, name in zip(line, names, strict=True):
            mine = [row for row in rows if row.trial.dataset == dataset and name in row.speed]
            if not METRICS[name].counted:
                mine = [row for row in mine if row.setting == shared]
            _scatter(ax, evidence, mine, name)
            ax.set_xlabel(f"{METRICS[name].label}, {METRICS[name].unit}")
        line[0].set(ylabel=words.TOP1, title=dataset)
    style.legend(figure, style.arm_styles(evidence.arms.values()))
    captions = ["Mean over seeds with its 95 % interval; an arrow: it goes on."]
    captions += ["Dashed: by the means, no other point is both cheaper and more accurate."]
    if others:
        captions += [f"Speeds with {words.setting(shared, [shared, *dict(others)])} alone."]
    if any(plain_lines(rows)):
        captions += ["Solid: one backbone without a resizer, by image size."]
    return style.drawing(
        figure,
        "cost",
        " ".join(captions),
        f"{words.TOP1} against {words.join(METRICS[name].label for name in names)}; "
        "the numbers are in the results table.",
    )


def _scatter(ax: Axes, evidence: Evidence, rows: Sequence[Row], name: str) -> None:
    for sizes in plain_lines(rows):
        ax.plot([r.speed[name] for r in sizes], [r.accuracy.mean for r in sizes], color=INK, lw=0.8)
    best = front(rows, name)
    ax.plot([p[0] for p in best], [p[1] for p in best], "--", color=INK, lw=0.8, alpha=0.6)
    for arm, (colour, marker) in style.arm_styles(evidence.arms.values()).items():
        mine = [row for row in rows if row.arm.name == arm]
        xs, shown = [row.speed[name] for row in mine], [row.accuracy for row in mine]
        means, halves = [i.mean for i in shown], [i.half_width for i in shown]
        ax.errorbar(xs, means, halves, fmt=marker, color=colour, markersize=7, elinewidth=1.2)
    if rows:
        _limit(ax, rows, name)
        prices = [row.speed[name] for row in rows]
        if min(prices) > 0 and max(prices) > 5 * min(prices):
            style.logarithmic(ax, prices)


def _limit(ax: Axes, rows: Sequence[Row], name: str) -> None:
    """Show the means with room; intervals of two seeds may leave the panel, with an arrow."""
    means = [row.accuracy.mean for row in rows]
    known = [(row.speed[name], row.accuracy) for row in rows if row.accuracy.n > 1]
    room = max(1.0, max(means) - min(means))
    ax.set_ylim(style.reach(means, [of for _, of in known], room))
    style.at_most_all(ax)
    low, high = ax.get_ylim()
    below = [x for x, one in known if one.low < low]
    above = [x for x, one in known if one.high > high]
    for xs, y, arrow in ((below, low, CARETUP), (above, high, CARETDOWN)):
        ax.plot(xs, [y] * len(xs), linestyle="", marker=arrow, color=INK, markersize=6)


def components(evidence: Evidence) -> Drawing | None:
    """Milliseconds per image of backbone and resizer, forward and backward, a bar for each row."""
    if not evidence.experiment.spec.train:
        return None  # `price` has what is asked for there
    rows = [row for row in evidence.rows if "backbone_ms" in row.speed]
    if len(rows) > MOST_LINES:
        rows = [row for row in rows if row.arm.role != "control"]
    if len(rows) > MOST_LINES or not any(row.speed["resizer_ms"] for row in rows):
        return None
    names = [_name(evidence, row) for row in rows]
    figure = style.sheet(1.1 + 0.27 * len(rows))
    _bars(figure.subplots(), evidence, rows, names)
    figure.legend(loc="outside upper left", ncols=3)
    resizers = [(name, _share(row)) for name, row in zip(names, rows, strict=True)]
    return style.drawing(
        figure,
        "components",
        "Forward and backward of the backbone and of the resizer, each timed by itself; the data "
        "are made beside them.",
        "; ".join(f"{name}: the resizer takes {share}" for name, share in resizers if share),
    )


def _bars(ax: Axes, evidence: Evidence, rows: Sequence[Row], names: Sequence[str]) -> None:
    styles, lines = style.arm_styles(evidence.arms.values()), style.name_lines(ax, {"": names})
    backbones, resizers = ([r.speed[f"{n}_ms"] for r in rows] for n in ("backbone", "resizer"))
    colours = [styles[row.arm.name].colour for row in rows]
    ax.barh(lines, backbones, 0.62, color=style.BASELINE, alpha=0.6, label="backbone")
    ax.barh(0, 0, color=style.TREATMENT, label="resizer (in its arm's colour), and its share")
    bars = ax.barh(lines, resizers, 0.62, left=backbones, color=colours)
    ax.bar_label(bars, [_share(row) for row in rows], padding=5, fontsize=9)
    data = [row.speed.get("data_ms", float("nan")) for row in rows]
    ax.plot(data, lines, "|", color=INK, markersize=9, label="data, on one thread")
    ax.use_sticky_edges = False
    ax.margins(x=0.12)
    ax.set_xlim(left=0)
    ax.set_xlabel("time per image in training, ms")


def _name(evidence: Evidence, row: Row) -> str:
    used = [axis for axis in evidence.axes if getattr(row.trial, axis, None) is not None]
    others = [axis for axis in used if not axis.endswith("_size")]
    named = [words.axis_value(axis, row.context[axis]) for axis in others]
    return ", ".join([*named, row.arm.name, f"{row.size} px"])


def _share(row: Row) -> str:
    """Of the resizer in the time of both; "" without a resizer."""
    resizer, backbone = row.speed["resizer_ms"], row.speed["backbone_ms"]
    return words.percent(round(resizer / (resizer + backbone), 2)) if resizer else ""
