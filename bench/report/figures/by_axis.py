"""Accuracy by each value of an axis, with every seed visible."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from bench.analysis.drawn import at_axis
from bench.analysis.evidence import Evidence
from bench.report import words
from bench.report.figures.style import (
    ArmStyle,
    Drawing,
    arm_styles,
    at_most_all,
    drawing,
    legend,
    panels,
)

MOST_LETTERS = 26
"""More than these in one panel's tick labels, and the labels are set at a slant."""


def by_axis(evidence: Evidence, axis: str) -> Drawing | None:
    """Accuracy of every trial by its value of `axis`, a panel for each dataset."""
    done = at_axis(evidence, axis)
    if done.empty:
        return None
    datasets = [None] if axis == "dataset" else list(dict.fromkeys(done["dataset"]))
    styles = arm_styles(evidence.arms.values())
    figure, axes = panels(len(datasets))
    for ax, dataset in zip(axes, datasets, strict=True):
        _panel(ax, styles, done[done["dataset"] == dataset] if dataset else done, axis)
        ax.set(title=dataset or "", ylabel=words.TOP1, xlabel=words.axis_label(axis))
    legend(figure, styles)
    return drawing(
        figure,
        f"by-{axis.replace('_', '-')}",
        f"Accuracy by {axis}",
        "A dot is one trial; a marker is the mean of its arm and value.",
        f"{words.TOP1} of every trial by {axis}, an arm a colour; the numbers are in table.csv.",
    )


def _panel(ax: Axes, styles: Mapping[str, ArmStyle], done: pd.DataFrame, axis: str) -> None:
    values = _ordered(done[axis])
    labels = [words.NONE if value is None else str(value) for value in values]
    arms = [name for name in styles if name in set(done["arm"])]
    shown = {
        "data": done.assign(label=[labels[values.index(value)] for value in done[axis]]),
        "x": "label",
        "y": "top1_pct",
        "hue": "arm",
        "order": labels,
        "hue_order": arms,
        "palette": [styles[name].colour for name in arms],
        "legend": False,
        "ax": ax,
    }
    sns.stripplot(**shown, dodge=True, jitter=False, size=4, alpha=0.6)
    between = 0.8 * (1 - 1 / len(arms))  # the strips', from the first arm's to the last's
    sns.pointplot(
        **shown, dodge=between or False, errorbar=None, markersize=6, linewidth=1,
        markers=[styles[name].marker for name in arms],
        linestyle="-" if _numbers(values) else "none",
    )  # fmt: skip
    at_most_all(ax)
    if sum(map(len, labels)) > MOST_LETTERS:
        for label in ax.get_xticklabels():
            label.set(rotation=15, horizontalalignment="right", rotation_mode="anchor")


def _numbers(values: list[object]) -> bool:
    return all(isinstance(value, int | float | None) for value in values)


def _ordered(column: pd.Series[str]) -> list[object]:
    """The distinct values: none first, then numbers by size or names as they come."""
    values = list(dict.fromkeys(map(words.plain, column)))
    if _numbers(values):
        return sorted(values, key=lambda value: -math.inf if value is None else float(str(value)))
    return sorted(values, key=lambda value: value is not None)
