"""Learning curves: accuracy over training."""

from __future__ import annotations

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from bench.analysis import drawn
from bench.analysis.evidence import Evidence
from bench.report import words
from bench.report.figures.style import (
    FAINT,
    ArmStyle,
    Drawing,
    arm_styles,
    at_most_all,
    drawing,
    legend,
    panels,
)
from bench.spec.experiment import context_label

MOST_PANELS = 8
"""With more contexts than these, a panel for each dataset, over all its contexts."""
MOST_COLOURED = 4
"""With more arms than these, those that are not compared by the verdict are grey."""


def curves(evidence: Evidence) -> Drawing | None:
    """Mean over seeds with a band from the least to the most, a panel for each context."""
    points = drawn.curves(evidence)
    if points.empty:
        return None
    few = points["context"].nunique() <= MOST_PANELS
    titles = {context_label(c): words.place(c, evidence.axes) for c in evidence.experiment.contexts}
    panel = points.groupby("context" if few else "dataset", sort=False)
    styles = arm_styles(evidence.arms.values())
    greyed = {n for n, arm in evidence.arms.items() if arm.role == "control"}
    greyed = greyed if len(styles) > MOST_COLOURED else set()
    figure, axes = panels(len(panel))
    for ax, (name, lines) in zip(axes, panel, strict=True):
        for arm, of in lines.groupby("arm", sort=False):
            _curve(ax, of, styles[str(arm)], grey=arm in greyed)
        ax.set(title=titles.get(str(name), name), xlabel="epoch", ylabel=words.TOP1)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        at_most_all(ax)
    legend(figure, {name: style for name, style in styles.items() if name not in greyed})
    others = f" Grey: {words.count(len(greyed), 'other arm')}, their means." if greyed else ""
    return drawing(
        figure,
        "learning-curves",
        "Learning curves",
        f"Mean over seeds{'' if few else ' and contexts'}; the band is from the least to the most."
        + others,
        f"{words.TOP1} by epoch for each arm; the last epoch is the result.",
    )


def _curve(ax: Axes, of: pd.DataFrame, style: ArmStyle, *, grey: bool) -> None:
    look = {"color": FAINT, "lw": 1.0, "errorbar": None, "zorder": 1}
    if not grey:
        look = {"color": style.colour, "marker": style.marker, "errorbar": ("pi", 100), "zorder": 3}
    sns.lineplot(of, x="epoch", y="top1_pct", legend=False, markeredgewidth=0, ax=ax, **look)
