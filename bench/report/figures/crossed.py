"""The treatment's difference over two axes at once."""

from __future__ import annotations

from functools import partial

import pandas as pd

from bench.analysis.evidence import Evidence
from bench.report import words
from bench.report.figures import style
from bench.report.figures.style import Drawing


def heat(evidence: Evidence) -> Drawing | None:
    """The mean difference by backbone and size, a panel for each dataset; of two and more of both.

    The mean is over the other axes, each of whose values counts alike.
    """
    treated = [row for row in evidence.compared if row.arm.role == "treatment"]
    points = pd.DataFrame(
        [
            (row.trial.dataset, row.trial.backbone, row.size, row.difference.mean)
            for row in treated
            if row.difference and row.difference.n
        ],
        columns=["dataset", "backbone", "size", "points"],
    )
    if min(points["backbone"].nunique(), points["size"].nunique()) < 2:
        return None
    import seaborn as sns

    by_dataset = list(points.groupby("dataset", sort=False))
    most = float(points["points"].abs().max()) or 1.0
    figure, axes = style.panels(len(by_dataset), {})
    for ax, (dataset, of) in zip(axes, by_dataset, strict=True):
        table = of.pivot_table("points", "backbone", "size", sort=False)
        sns.heatmap(
            table,
            annot=table.map(partial(words.points, signed=True)),
            fmt="",
            vmin=-most,
            vmax=most,
            cmap="vlag",
            cbar=False,
            linewidths=1,
            ax=ax,
        )
        ax.set(title=dataset, xlabel="image, px", ylabel="")
        ax.tick_params("y", rotation=0)
    return style.drawing(
        figure,
        "by-backbone-and-size",
        f"Mean difference to {evidence.experiment.baseline}, points, over other axes and seeds.",
        "Difference by backbone and image size; the numbers are in the results table.",
    )
