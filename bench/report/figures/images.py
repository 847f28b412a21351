"""What each arm's backbone sees: example images, and the spectrum of what the resizer gives."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

import matplotlib as mpl
import numpy as np
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, StrMethodFormatter
from numpy.typing import NDArray

from bench.analysis import drawn
from bench.analysis.evidence import Evidence, Row
from bench.report import words
from bench.report.figures.style import (
    STYLE,
    WIDTH,
    Drawing,
    arm_styles,
    drawing,
    legend,
    panels,
)
from bench.spec.experiment import context_label

MOST_ARMS = 12
MOST_PANELS = 4
SHOWN = ("input", "plain", "output")
Pictures = Mapping[str, NDArray[np.float16]]


def images(evidence: Evidence) -> Drawing | None:
    """One validation image through each arm that has a resizer, in the first context."""
    found = list(_with_pictures(evidence))[:MOST_ARMS]
    if not found:
        return None
    figure = Figure(figsize=(WIDTH, 0.4 + 1.75 * len(found)), layout="constrained")
    grid = figure.subplots(len(found), 4, squeeze=False)
    titles = ("loaded image", "plain resize", "given to the backbone", "given minus plain")
    for ax, title in zip(grid[0], titles, strict=True):
        ax.set_title(title, fontsize=10)
    numbers = itertools.count()
    for line, (row, kept) in zip(grid, found, strict=True):
        _strip(line, row, {name: kept[name][0].astype(float) for name in SHOWN}, numbers)
    place = words.place(found[0][0].context, evidence.axes)
    return drawing(
        figure,
        "images",
        "What the backbone sees",
        f"One validation image{f' of {place}' if place else ''}, the first seed of each arm. "
        "Differences are around grey, stretched so that the largest is black or white.",
        "One validation image as it is loaded, plainly resized, as the arm's resizer gives it, and "
        f"the difference, for {words.join(row.arm.name for row, _ in found)}.",
    )


def hidden(evidence: Evidence) -> Drawing | None:
    """What a plain resize loses of one image, and what the treatment makes of it."""
    treated = {id(row) for row, _ in evidence.judged}
    found = [(row, kept) for row, kept in _with_pictures(evidence) if id(row) in treated]
    if not found:
        return None
    (row, kept), base = found[0], evidence.baseline_of(found[0][0])
    accuracy = {"plain": base.accuracy.mean, "output": row.accuracy.mean}
    titles = {"input": f"the image, {row.trial.input_size} px"}
    titles |= {name: f"{words.points(of)} % right" for name, of in accuracy.items()}
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 2.5), layout="constrained")
        for ax, (name, title) in zip(figure.subplots(1, 3), titles.items(), strict=True):
            shown = ax.imshow(np.clip(kept[name][0], 0, 1), interpolation="nearest")
            shown.set_gid(f"hidden-{name}")
            ax.set(xticks=[], yticks=[], title=title)
            ax.spines[:].set_visible(False)
        small, whole = row.trial.backbone_size, row.trial.input_size
        return drawing(
            figure,
            "hidden",
            "What a plain resize loses",
            f"Left: {whole} px of striped noise; the class is the shape in the stripes. Middle: "
            f"plainly resized to {small} px it is gone. Right: the {row.arm.name} resizer's "
            f"{small} px.",
            f"Striped noise with a shape in it; plainly resized, {titles['plain']}; by the "
            f"{row.arm.name} resizer, {titles['output']}.",
        )


def _with_pictures(evidence: Evidence) -> Iterator[tuple[Row, Pictures]]:
    first = None
    for row in evidence.rows:
        done = row.seeds[row.seeds["status"] == "ok"]
        if row.trial.resizer == "none" or done.empty or first not in (None, row.context):
            continue
        if kept := evidence.store.pictures(str(done["key"].iloc[0])):
            first = row.context
            yield row, kept


def _strip(
    line: NDArray[np.object_],
    row: Row,
    kept: Mapping[str, NDArray[np.float64]],
    numbers: Iterator[int],
) -> None:
    difference = kept["output"] - kept["plain"]
    largest = max(float(np.abs(difference).max()), 1e-6)
    for ax, image in zip(line, [*kept.values(), 0.5 + difference / (2 * largest)], strict=True):
        shown = ax.imshow(np.clip(image, 0, 1), interpolation="nearest")
        shown.set_gid(f"image-{next(numbers)}")  # matplotlib's own id is one for equal images
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
    line[0].set_ylabel(f"{row.arm.name}\n{row.trial.size} px")


def spectra(evidence: Evidence) -> Drawing | None:
    """Mean power by spatial frequency of what the backbone gets, an arm a line."""
    points = drawn.spectra(evidence)
    if points.empty:
        return None
    contexts = list(dict.fromkeys(points["context"]))[:MOST_PANELS]
    titles = {context_label(c): words.place(c, evidence.axes) for c in evidence.experiment.contexts}
    styles = arm_styles(arm for arm in evidence.arms.values() if arm.name in set(points["arm"]))
    colours = {name: style.colour for name, style in styles.items()}
    figure, axes = panels(len(contexts))
    for ax, context in zip(axes, contexts, strict=True):
        sns.lineplot(
            points[points["context"] == context], x="cycles", y="power", hue="arm",
            palette=colours, errorbar=None, linewidth=1.4, legend=False, ax=ax,
        )  # fmt: skip
        ax.set(xscale="log", yscale="log", xlabel="cycles per image", ylabel="power")
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_formatter(StrMethodFormatter("{x:g}"))
            axis.set_minor_formatter(NullFormatter())
        ax.set_title(titles[context])
    legend(figure, styles)
    return drawing(
        figure,
        "spectra",
        "Spectra",
        "Mean power of the grey image around its mean, by spatial frequency, over validation "
        "images and seeds; a line ends where the arm's pixels do.",
        f"Power by spatial frequency of what the backbone gets, for {words.join(styles)}.",
    )
