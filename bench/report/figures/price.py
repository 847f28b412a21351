"""What the treatment costs where nothing is trained: multiples of the baseline's, by context."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.analysis.evidence import Evidence, Row
from bench.analysis.prices import multiples
from bench.report import words
from bench.report.figures.style import INK, WIDTH, Drawing, arm_styles, drawing, logarithmic

MOST_LINES = 40


def price(evidence: Evidence) -> Drawing | None:
    """A training step's time and the multiply-adds, a dot for each context."""
    treated = [row for row in evidence.compared if row.arm.role == "treatment"]
    rows = [row for row in treated if "train" in row.times][:MOST_LINES]
    if evidence.experiment.spec.train or len(rows) < 2:
        return None
    figure = Figure(figsize=(WIDTH, 0.8 + 0.25 * len(rows)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    steps = [(r.value, r.low, r.high) for r in (row.times["train"] for row in rows)]
    counted = [(multiples(evidence, [row], "gmacs") or [float("nan")])[0] for row in rows]
    _panel(left, evidence, rows, steps, "training step")
    _panel(right, evidence, rows, [(of, of, of) for of in counted], "multiply-adds per image")
    baseline = evidence.experiment.baseline
    figure.supxlabel(f"multiples of {baseline}'s, {words.TIMES}", fontsize=11)
    places = [words.place(row.context, evidence.axes) for row in rows]
    ratios = [words.ratios([row.times["train"]]) for row in rows]
    told = [f"{place}: {ratio}" for place, ratio in zip(places, ratios, strict=True)]
    return drawing(
        figure,
        "price",
        f"What {words.join(dict.fromkeys(row.arm.name for row in rows))} costs",
        f"A line is one context; intervals of 95 % over rounds. {baseline} is at 1.",
        "A training step: " + "; ".join(told),
    )


def _panel(
    ax: Axes,
    evidence: Evidence,
    rows: list[Row],
    shown: list[tuple[float, float, float]],
    title: str,
) -> None:
    styles = arm_styles(evidence.arms.values())
    for y, (row, (value, low, high)) in enumerate(zip(rows, shown, strict=True)):
        colour, marker = styles[row.arm.name]
        ax.hlines(y, low, high, color=colour, linewidth=2)
        ax.plot([value], [y], marker, color=colour, markersize=6)
    ax.set_title(title)
    ax.axvline(1, color=INK, linewidth=1)
    ends = [end for line in shown for end in line if end == end]
    logarithmic(ax, [*(ends or [1.0]), 1.0])
    names = [words.place(row.context, evidence.axes) or row.arm.name for row in rows]
    ax.set_yticks(range(len(rows)), names)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.grid(visible=False, axis="y")
    ax.tick_params(axis="y", length=0)
