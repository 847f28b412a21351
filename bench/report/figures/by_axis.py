"""Accuracy by each value of an axis, with every seed visible."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from bench.analysis.evidence import Evidence
from bench.report import words
from bench.report.figures.style import Drawing, Look, drawing, legend, looks, panels

MOST_LETTERS = 26
"""More than these in one panel's tick labels, and the labels are set at a slant."""


def by_axis(evidence: Evidence, axis: str) -> Drawing | None:
    """Accuracy of every trial by its value of `axis`, a panel for each dataset."""
    done = _valued(evidence, axis)
    if done.empty:
        return None
    datasets = [None] if axis == "dataset" else list(dict.fromkeys(done["dataset"]))
    table = looks(evidence.arms.values())
    figure, axes = panels(len(datasets))
    for ax, dataset in zip(axes, datasets, strict=True):
        _panel(ax, table, done[done["dataset"] == dataset] if dataset else done, axis)
        ax.set(title=dataset or "", ylabel=words.TOP1, xlabel=words.axis_label(axis))
    legend(figure, table)
    return drawing(
        figure,
        f"by-{axis.replace('_', '-')}",
        f"Accuracy by {axis}",
        "A dot is one trial; a dash is the mean of its arm and value.",
        f"{words.TOP1} of every trial by {axis}, an arm a colour; the numbers are in table.csv.",
    )


def _valued(evidence: Evidence, axis: str) -> pd.DataFrame:
    """The finished trials with a value of `axis`: their own, or that of the cells that they answer.

    None where the arm does not use the axis and the trial answers cells of several values.
    """
    asked: dict[tuple[str, str], list[Any]] = {}
    for cell in evidence.experiment.cells:
        asked.setdefault((cell.arm, cell.trial.key), []).append(words.plain(cell.axes[axis]))
    done = evidence.trials[evidence.trials["status"] == "ok"]
    values = []
    for arm, key, own in zip(done["arm"], done["key"], done[axis], strict=True):
        first, *others = dict.fromkeys(asked[arm, key])
        values.append(first if words.plain(own) is None and not others else words.plain(own))
    return done.assign(**{axis: pd.Series(values, done.index, dtype=object)})


def _panel(ax: Axes, table: dict[str, Look], done: pd.DataFrame, axis: str) -> None:
    values = _ordered(done[axis])
    drawn = [name for name in table if name in set(done["arm"])]
    for i, name in enumerate(drawn):
        mine = done[done["arm"] == name]
        shift = 0.7 * ((i + 0.5) / len(drawn) - 0.5)
        xs = [values.index(words.plain(value)) + shift for value in mine[axis]]
        _dots(ax, table[name], xs, mine["top1_pct"].tolist(), joined=_numbers(values))
    labels = [words.NONE if value is None else str(value) for value in values]
    ax.set_xticks(range(len(values)), labels)
    if sum(map(len, labels)) > MOST_LETTERS:
        for label in ax.get_xticklabels():
            label.set(rotation=15, horizontalalignment="right", rotation_mode="anchor")
    ax.set_xlim(-0.6, len(values) - 0.4)
    ax.grid(visible=False, axis="x")


def _dots(ax: Axes, look: Look, xs: list[float], ys: list[float], *, joined: bool) -> None:
    means = pd.Series(ys).groupby(xs).mean()
    ax.scatter(xs, ys, s=16, color=look.colour, marker=look.marker, alpha=0.6, linewidth=0)
    if joined:
        ax.plot(means.index, means, color=look.colour, linewidth=0.8)
    ax.plot(means.index, means, "_", color=look.colour, markersize=16, markeredgewidth=1.6)


def _numbers(values: list[Any]) -> bool:
    return all(isinstance(value, int | float | None) for value in values)


def _ordered(column: pd.Series[Any]) -> list[Any]:
    """The distinct values: none first, then numbers by size or names as they come."""
    values = list(dict.fromkeys(map(words.plain, column)))
    if _numbers(values):
        return sorted(values, key=lambda value: -math.inf if value is None else value)
    return sorted(values, key=lambda value: value is not None)
