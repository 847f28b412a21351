"""Where the time of a training step goes: backbone and resizer, and the data beside them."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from bench.analysis.evidence import Evidence, Row
from bench.report import words
from bench.report.figures.style import BASELINE, INK, TREATMENT, WIDTH, Drawing, arm_styles, drawing

MOST_LINES = 32
"""With more rows than this, only the baseline's and the treatment's are drawn, if these are not
more; else there is no figure, and the table has it."""


def components(evidence: Evidence) -> Drawing | None:
    """Milliseconds per image of backbone and resizer, forward and backward, a bar for each row."""
    if not evidence.experiment.spec.train:
        return None  # `price` has what is asked for there
    rows = [row for row in evidence.rows if "backbone_ms" in row.speed]
    if len(rows) > MOST_LINES:
        rows = [row for row in rows if row.arm.role != "control"]
    if len(rows) > MOST_LINES or not any(row.speed["resizer_ms"] for row in rows):
        return None
    figure = Figure(figsize=(WIDTH, 1.1 + 0.27 * len(rows)), layout="constrained")
    _bars(figure.subplots(), evidence, rows)
    with_data = any("data_ms" in row.speed for row in rows)
    handles = [
        Patch(color=BASELINE, alpha=0.6, label="backbone"),
        Patch(color=TREATMENT, label="resizer (in its arm's colour), and its share"),
        Line2D([], [], color=INK, marker="|", linestyle="", ms=9, label="data, on one thread"),
    ]
    figure.legend(handles=handles[: 2 + with_data], loc="outside upper left", ncols=3)
    return drawing(
        figure,
        "components",
        "Time by component",
        "Forward and backward of the backbone and of the resizer, each "
        " timed by itself" + ("; the data are made beside them." if with_data else "."),
        "; ".join(
            f"{_name(evidence, row)}: the resizer takes {_share(row)}"
            for row in rows
            if row.speed["resizer_ms"]
        ),
    )


def _bars(ax: Axes, evidence: Evidence, rows: Sequence[Row]) -> None:
    styles, lines = arm_styles(evidence.arms.values()), range(len(rows))
    backbones, resizers = ([r.speed[f"{n}_ms"] for r in rows] for n in ("backbone", "resizer"))
    names = [_name(evidence, row) for row in rows]
    colours = [styles[row.arm.name].colour for row in rows]
    ax.barh(lines, backbones, 0.62, color=BASELINE, alpha=0.6, tick_label=names)
    bars = ax.barh(lines, resizers, 0.62, left=backbones, color=colours)
    shares = [_share(row) if row.speed["resizer_ms"] else "" for row in rows]
    ax.bar_label(bars, shares, padding=5, fontsize=9)
    timed = [(row.speed["data_ms"], y) for y, row in enumerate(rows) if "data_ms" in row.speed]
    if timed:
        times = [time for time, _ in timed]
        at = [y for _, y in timed]
        ax.plot(times, at, "|", color=INK, markersize=9)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.use_sticky_edges = False
    ax.margins(x=0.12)
    ax.set_xlim(left=0)
    ax.set_xlabel("time per image in training, ms")
    ax.grid(visible=False, axis="y")
    ax.tick_params(axis="y", length=0)


def _name(evidence: Evidence, row: Row) -> str:
    used = [axis for axis in evidence.axes if getattr(row.trial, axis, None) is not None]
    others = [axis for axis in used if not axis.endswith("_size")]
    named = [words.axis_value(axis, row.context[axis]) for axis in others]
    return ", ".join([*named, row.arm.name, f"{row.trial.size} px"])


def _share(row: Row) -> str:
    """Of the resizer in the time of both."""
    resizer, backbone = row.speed["resizer_ms"], row.speed["backbone_ms"]
    return words.percent(round(resizer / (resizer + backbone), 2))
