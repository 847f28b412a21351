"""Learning curves: accuracy over training."""

from __future__ import annotations

from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from bench.analysis.evidence import Evidence
from bench.report import words
from bench.report.figures.style import Drawing, drawing, legend, looks, panels
from bench.store import context_label

MOST_PANELS = 8
"""With more contexts than these, a panel for each dataset and a line for each context."""


def curves(evidence: Evidence) -> Drawing | None:
    """Mean over seeds with a band from the least to the most, a panel for each context."""
    points = _points(evidence)
    if points.empty:
        return None
    by = "context" if points["context"].nunique() <= MOST_PANELS else "dataset"
    titles = {context_label(c): words.place(c, evidence.axes) for c in evidence.experiment.contexts}
    places = list(dict.fromkeys(points[by]))
    table = looks(evidence.arms.values())
    figure, axes = panels(len(places))
    for ax, place in zip(axes, places, strict=True):
        mine, colours = points[points[by] == place], {name: table[name].colour for name in table}
        _banded(ax, mine, colours) if by == "context" else _thin(ax, mine, colours)
        ax.set(title=titles.get(place, place), xlabel="epoch", ylabel=words.TOP1)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    legend(figure, table)
    return drawing(
        figure,
        "learning-curves",
        "Learning curves",
        "Mean over seeds; the band is from the least seed to the most."
        if by == "context"
        else "A line is the mean over the seeds of one arm in one context.",
        f"{words.TOP1} by epoch for each arm; the last epoch is the result.",
    )


def _points(evidence: Evidence) -> pd.DataFrame:
    """A line for each evaluated epoch of each trial that ended well, in each context."""
    done = evidence.table[evidence.table["status"] == "ok"]
    named = ["arm", "context", "dataset", "seed"]
    points = [
        {name: line[name] for name in named}
        | {"epoch": point["epoch"], "top1_pct": point["top1_pct"]}
        for line in done[[*named, "key"]].to_dict("records")
        for point in evidence.records[line["key"]].get("curve", [])
        if "top1_pct" in point
    ]
    return pd.DataFrame(points)


def _banded(ax: Axes, points: pd.DataFrame, colours: dict[str, Any]) -> None:
    sns.lineplot(
        points, x="epoch", y="top1_pct", hue="arm", palette=colours, errorbar=("pi", 100),
        legend=False, ax=ax,
    )  # fmt: skip


def _thin(ax: Axes, points: pd.DataFrame, colours: dict[str, Any]) -> None:
    means = points.groupby(["arm", "context", "epoch"])["top1_pct"].mean().reset_index()
    for (arm, _), line in means.groupby(["arm", "context"]):
        ax.plot(line["epoch"], line["top1_pct"], color=colours[str(arm)], linewidth=0.8, alpha=0.6)
