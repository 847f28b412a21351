"""Learning curves: accuracy over training."""

from __future__ import annotations

import pandas as pd
import seaborn as sns
from matplotlib.ticker import MaxNLocator

from bench.analysis.evidence import Evidence
from bench.report import words
from bench.report.figures.style import Drawing, arm_styles, drawing, legend, panels
from bench.spec.experiment import context_label

MOST_PANELS = 8
"""With more contexts than these, a panel for each dataset, over all its contexts."""


def curves(evidence: Evidence) -> Drawing | None:
    """Mean over seeds with a band from the least to the most, a panel for each context."""
    points = _points(evidence)
    if points.empty:
        return None
    few = points["context"].nunique() <= MOST_PANELS
    titles = {context_label(c): words.place(c, evidence.axes) for c in evidence.experiment.contexts}
    panel = points.groupby("context" if few else "dataset", sort=False)
    styles = arm_styles(evidence.arms.values())
    colours = {name: style.colour for name, style in styles.items()}
    figure, axes = panels(len(panel))
    for ax, (name, lines) in zip(axes, panel, strict=True):
        sns.lineplot(
            lines, x="epoch", y="top1_pct", hue="arm",
            palette=colours, errorbar=("pi", 100), legend=False, ax=ax,
        )  # fmt: skip
        ax.set(title=titles.get(str(name), name), xlabel="epoch", ylabel=words.TOP1)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    legend(figure, styles)
    return drawing(
        figure,
        "learning-curves",
        "Learning curves",
        f"Mean over seeds{'' if few else ' and contexts'}; the band is from the least to the most.",
        f"{words.TOP1} by epoch for each arm; the last epoch is the result.",
    )


def _points(evidence: Evidence) -> pd.DataFrame:
    """A line for each evaluated epoch of each trial that ended well, in each context."""
    done = evidence.table[evidence.table["status"] == "ok"]
    named = ["arm", "context", "dataset"]
    points = [
        {name: line[name] for name in named}
        | {"epoch": point["epoch"], "top1_pct": point["top1_pct"]}
        for line in done[[*named, "key"]].to_dict("records")
        for point in evidence.records[line["key"]].get("curve", [])
        if "top1_pct" in point
    ]
    return pd.DataFrame(points)
