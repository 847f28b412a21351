"""What each arm's backbone sees: example images."""

from __future__ import annotations

from collections.abc import Iterator

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from bench.analysis.evidence import Evidence, Row
from bench.report import words
from bench.report.figures import style
from bench.report.figures.style import Drawing

MOST_ARMS = 12


def images(evidence: Evidence) -> Drawing | None:
    """One validation image through each arm that has a resizer, in the first context."""
    found = list(_with_pictures(evidence))[:MOST_ARMS]
    if not found:
        return None
    figure = style.sheet(0.4 + 1.75 * len(found))
    grid = figure.subplots(len(found), 4, squeeze=False)
    titles = ("loaded image", "plain resize", "given to the backbone", "given minus plain")
    for ax, title in zip(grid[0], titles, strict=True):
        ax.set_title(title, fontsize=10)
    for line, (row, kept) in zip(grid, found, strict=True):
        difference = kept["output"] - kept["plain"]
        largest = max(float(np.abs(difference).max()), 1e-6)
        strip = kept | {"difference": 0.5 + difference / (2 * largest)}
        for ax, (name, image) in zip(line, strip.items(), strict=True):
            _show(ax, image, f"{row.arm.name}-{name}")
        line[0].set_ylabel(f"{row.arm.name}\n{row.size} px")
    place = words.place(found[0][0].context, evidence.axes)
    return style.drawing(
        figure,
        "images",
        f"One validation image{f' of {place}' if place else ''}, the first seed of each arm. "
        "Differences are around grey, stretched so that the largest is black or white.",
        "One validation image as it is loaded, plainly resized, as the arm's resizer gives it, and "
        f"the difference, for {words.join(row.arm.name for row, _ in found)}.",
    )


@mpl.rc_context(style.STYLE)
def hidden(evidence: Evidence) -> Drawing | None:
    """What a plain resize loses of one image, and what the treatment makes of it."""
    found = next((one for one in _with_pictures(evidence) if one[0].verdict), None)
    if not found:
        return None
    (row, kept), base = found, evidence.baseline_of(found[0])
    arm, small, whole = row.arm.name, row.trial.backbone_size, row.trial.input_size
    plain, output = (f"{words.points(of.accuracy.mean)} % right" for of in (base, row))
    titles = {"input": f"the image, {whole} px", "plain": plain, "output": output}
    figure = style.sheet(2.5)
    for ax, (name, title) in zip(figure.subplots(1, 3), titles.items(), strict=True):
        _show(ax, kept[name], name)
        ax.set_title(title)
    return style.drawing(
        figure,
        "hidden",
        f"Left: {whole} px of striped noise; the class is the shape in the stripes. Middle: "
        f"plainly resized to {small} px it is gone. Right: the {arm} resizer's {small} px.",
        f"Striped noise with a shape in it; plainly resized, {plain}; by the {arm} resizer, "
        f"{output}.",
    )


def _with_pictures(evidence: Evidence) -> Iterator[tuple[Row, dict[str, NDArray[np.float64]]]]:
    first = None
    for row in evidence.rows:
        done = row.seeds[row.seeds["status"] == "ok"]
        if row.trial.resizer == "none" or done.empty or first not in (None, row.context):
            continue
        if kept := evidence.store.pictures(str(done["key"].iloc[0])):
            first = row.context
            yield row, {name: kept[name][0].astype(float) for name in ("input", "plain", "output")}


def _show(ax: Axes, image: NDArray[np.float64], name: str) -> None:
    shown = ax.imshow(np.clip(image, 0, 1), interpolation="nearest")
    shown.set_gid(f"image-{name}")  # matplotlib's own id is one for equal images
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
