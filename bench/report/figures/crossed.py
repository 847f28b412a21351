"""The treatment's difference over two axes at once."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bench.analysis.evidence import Evidence
from bench.report import words
from bench.report.figures import style
from bench.report.figures.style import Drawing

MOST_BESIDE = 3
"""With more sizes, two panels in a line would be too narrow for their numbers."""


def heat(evidence: Evidence) -> Drawing | None:
    """The mean difference by backbone and size, a panel for each dataset; of two and more of both.

    The mean is over the other axes, each of whose values counts alike.
    """
    points = pd.DataFrame(
        [
            (row.trial.dataset, row.trial.backbone, row.size, row.difference.mean)
            for row in evidence.treated
            if row.difference and row.difference.n
        ],
        columns=["dataset", "backbone", "size", "points"],
    )
    sizes = points["size"].nunique()
    if min(points["backbone"].nunique(), sizes) < 2:
        return None
    by_dataset = list(points.groupby("dataset", sort=False))
    most = float(points["points"].abs().max()) or 1.0
    figure, axes = style.panels(len(by_dataset), {}, columns=1 if sizes > MOST_BESIDE else 2)
    for ax, (dataset, of) in zip(axes, by_dataset, strict=True):
        table = of.pivot_table("points", "backbone", "size", sort=False)
        ax.pcolormesh(table, cmap="coolwarm", vmin=-2 * most, vmax=2 * most)
        ax.grid(visible=False)
        ax.invert_yaxis()
        for (y, x), value in np.ndenumerate(table.to_numpy()):
            text = words.points(value, signed=True) if np.isfinite(value) else words.NONE
            ax.text(x + 0.5, y + 0.5, text, ha="center", va="center", color="black")
        style.name_columns(ax, np.arange(table.shape[1]) + 0.5, list(table.columns))
        ax.set_yticks(np.arange(table.shape[0]) + 0.5, map(style.in_lines, table.index))
        ax.set(title=dataset, xlabel="image, px", ylabel="")
    return style.drawing(
        figure,
        "by-backbone-and-size",
        f"Mean difference to {evidence.experiment.baseline}, points, over other axes and seeds.",
        "Difference by backbone and image size; the numbers are in the results table.",
    )
