"""Accuracy over training and by each axis, or two; the spectrum of what the backbone gets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from bench.analysis import drawn, lengths
from bench.analysis.evidence import Evidence
from bench.errors import counted
from bench.report import words
from bench.report.figures import style
from bench.report.figures.style import ArmStyle, Drawing, Styles
from bench.spec.experiment import context_label

MOST_CURVES = 8  # panels: of more contexts, one for each dataset over all its contexts
MOST_SPECTRA = 4  # panels: of more contexts, the first alone
MOST_COLOURED = 4  # of more arms, those that are not compared by the verdict are grey
MOST_DOTS = 500  # of more trials, the means alone
MOST_BESIDE = 3  # of more sizes, two panels in a line would be too narrow for their numbers


def curves(evidence: Evidence) -> Drawing | None:
    """Mean over seeds with a band from the least to the most, a panel for each context."""
    points = drawn.curves(evidence)
    if points.empty:
        return None
    few, titles = points["context"].nunique() <= MOST_CURVES, _titles(evidence)
    by_panel = points.groupby("context" if few else "dataset", sort=False)
    styles, greyed = style.arm_styles(evidence.arms.values()), set[str]()
    if len(styles) > MOST_COLOURED:
        greyed = {name for name, arm in evidence.arms.items() if arm.role == "control"}
    named = {name: look for name, look in styles.items() if name not in greyed}
    figure, axes = style.panels(len(by_panel), named)
    for ax, (name, lines) in zip(axes, by_panel, strict=True):
        for arm, of in lines.groupby("arm", sort=False):
            _curve(ax, of, styles[str(arm)], grey=arm in greyed)
        style.name_panel(ax, titles.get(str(name), str(name)))
        ax.set(xlabel="epoch", ylabel=words.TOP1)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        style.at_most_all(ax)
    others = f" Grey: {counted(len(greyed), 'other arm')}, their means." if greyed else ""
    return style.drawing(
        figure,
        "learning-curves",
        f"Mean over seeds{'' if few else ' and contexts'}; the band is from the least to the most."
        + others,
        f"{words.TOP1} by epoch for each arm; the last epoch is the result.",
    )


def _titles(evidence: Evidence) -> dict[str, str]:
    """Of panels, by the label of the context."""
    found = evidence.experiment.contexts
    return {context_label(context): words.place(context, evidence.axes) for context in found}


def _curve(ax: Axes, of: pd.DataFrame, arm: ArmStyle, *, grey: bool) -> None:
    by_epoch = of.groupby("epoch")["top1_pct"]
    if grey:
        ax.plot(by_epoch.mean(), color=style.FAINT, lw=1.0, zorder=1)
        return
    ax.plot(by_epoch.mean(), color=arm.colour, marker=arm.marker, mew=0, zorder=3)
    least, most = by_epoch.min(), by_epoch.max()
    ax.fill_between(least.index, least, most, color=arm.colour, alpha=0.2, lw=0, zorder=3)


def by_time(evidence: Evidence) -> Drawing | None:
    """Accuracy by the time of trainings of several lengths, where that of a target is asked for."""
    asked = evidence.experiment.spec.targets_pct
    lines = lengths.lines(evidence) if asked else []
    if not lines:
        return None
    panels = list({str(line.context): line for line in lines}.values())
    styles = style.arm_styles(evidence.arms.values())
    figure, axes = style.panels(len(panels), styles)
    for ax, line in zip(axes, panels, strict=True):
        _by_seconds(ax, lengths.together_with(evidence, line, lines), styles)
        for target in asked:
            ax.axhline(target, color=style.INK, lw=0.8, ls="--", zorder=1)
        shown = [name for name in evidence.axes if name in line.context]
        style.name_panel(ax, words.place(line.context, shown))
        ax.set(xlabel="training, s", ylabel=words.TOP1)
    return style.drawing(
        figure,
        "training-time",
        "A marker is the mean of one length of training with its 95 % interval over seeds; seconds "
        "are its images over the measured speed. Dashed: what is to be reached.",
        f"{words.TOP1} by training time, an arm a line; the numbers are in the table.",
    )


def _by_seconds(ax: Axes, lines: Sequence[lengths.Line], styles: Styles) -> None:
    for line in lines:
        colour, marker = styles[line.arm]
        shown = [row.accuracy for row in line.rows]
        means, halves = [of.mean for of in shown], [of.half_width for of in shown]
        ax.errorbar(
            line.seconds, means, halves, fmt=f"{marker}-", color=colour, lw=1, elinewidth=1.2
        )
    style.logarithmic(ax, [seconds for line in lines for seconds in line.seconds])
    style.at_most_all(ax)


def by_axis(evidence: Evidence, axis: str) -> Drawing | None:
    """Accuracy of every trial by its value of `axis`, a panel for each dataset."""
    done = drawn.at_axis(evidence, axis)
    if done.empty:
        return None
    datasets, dots = list(dict.fromkeys(done["dataset"])), len(done) <= MOST_DOTS
    styles = style.arm_styles(evidence.arms.values())
    figure, axes = style.panels(len(datasets), styles)
    for ax, dataset in zip(axes, datasets, strict=True):
        _by_value(ax, styles, done[done["dataset"] == dataset], axis, dots=dots)
        ax.set(title=dataset, ylabel=words.TOP1, xlabel=words.axis_label(axis))
    return style.drawing(
        figure,
        f"by-{axis.replace('_', '-')}",
        f"{'A dot is one trial; a' if dots else 'A'} marker is the mean of its arm and value.",
        f"{words.TOP1} of every trial by {axis}, an arm a colour; the numbers are in table.csv.",
    )


def _by_value(ax: Axes, styles: Styles, done: pd.DataFrame, axis: str, *, dots: bool) -> None:
    """The arms of a value side by side; those of a number at that number."""
    values = done[axis].convert_dtypes()
    numbers = pd.api.types.is_numeric_dtype(values)
    labels = values.astype(object).where(values.notna(), words.NONE).map(str)
    order = labels[values.sort_values(na_position="first").index] if numbers else labels
    names = sorted(order.unique(), key=lambda label: label != words.NONE)
    arms = {name: look for name, look in styles.items() if name in set(done["arm"])}
    if dots:
        _strips(ax, arms, done.assign(label=labels), names, apart=not numbers)
    end = 0.0 if numbers else 0.4 - 0.4 / len(arms)  # as strips stand about a value
    means = done.groupby([labels, "arm"])["top1_pct"].mean().unstack().reindex(names)
    for (arm, of), beside in zip(arms.items(), np.linspace(-end, end, len(arms)), strict=True):
        xs, line = np.arange(len(names)) + beside, "-" if numbers else "none"
        ax.plot(xs, means[arm], ls=line, color=of.colour, marker=of.marker, ms=6, lw=1)
    style.name_columns(ax, range(len(names)), names)
    style.at_most_all(ax)


def _strips(
    ax: Axes, styles: Styles, done: pd.DataFrame, names: Sequence[str], *, apart: bool
) -> None:
    """A dot for each trial, the arms of a value beside one another where they stand `apart`."""
    import seaborn as sns  # and SciPy's statistics with it, which most reports do without

    sns.stripplot(
        done,
        x="label",
        y="top1_pct",
        hue="arm",
        order=names,
        hue_order=list(styles),
        palette=[look.colour for look in styles.values()],
        dodge=apart,
        jitter=False,
        size=4,
        alpha=0.6,
        legend=False,
        ax=ax,
    )


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


def spectra(evidence: Evidence) -> Drawing | None:
    """Mean power by spatial frequency of what the backbone gets, an arm a line."""
    points = drawn.spectra(evidence)
    if points.empty:
        return None
    by_context = list(points.groupby("context", sort=False))[:MOST_SPECTRA]
    shown, looks = set(points["arm"]), style.arm_styles(evidence.arms.values())
    styles = {name: look for name, look in looks.items() if name in shown}
    figure, axes = style.panels(len(by_context), styles)
    for ax, (context, lines) in zip(axes, by_context, strict=True):
        for arm, of in lines.groupby("arm", sort=False):
            ax.plot(of.groupby("cycles")["power"].mean(), color=styles[str(arm)].colour, lw=1.4)
        ax.set(xscale="log", yscale="log", xlabel="cycles per image", ylabel="power")
        style.name_panel(ax, _titles(evidence)[str(context)])
        ax.minorticks_off()
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    return style.drawing(
        figure,
        "spectra",
        "Mean power of the grey image around its mean, by spatial frequency, over validation "
        "images and seeds; a line ends where the arm's pixels do.",
        f"Power by spatial frequency of what the backbone gets, for {words.join(styles)}.",
    )
