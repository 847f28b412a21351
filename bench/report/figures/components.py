"""Where the time of a training step goes: backbone and resizer, and the data beside them."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from bench.analysis.evidence import Evidence, Row
from bench.report import words
from bench.report.figures.style import BASELINE, INK, TREATMENT, WIDTH, Drawing, drawing, looks

MOST_LINES = 32
"""With more rows than this, only the baseline's and the treatment's are drawn, if these are not
more; else there is no figure, and the table has it."""


def components(evidence: Evidence) -> Drawing | None:
    """Milliseconds per image of backbone and resizer, forward and backward, a bar for each row."""
    rows = [row for row in evidence.rows if "backbone_ms" in row.speed]
    if len(rows) > MOST_LINES:
        rows = [row for row in rows if row.arm.role != "control"]
    if len(rows) > MOST_LINES or not any(row.speed["resizer_ms"] for row in rows):
        return None
    figure = Figure(figsize=(WIDTH, 1.1 + 0.27 * len(rows)), layout="constrained")
    ax = figure.subplots()
    _bars(ax, evidence, rows)
    handles = [
        Patch(color=BASELINE, alpha=0.6, label="backbone"),
        Patch(color=TREATMENT, label="resizer (in its arm's colour), and its share"),
        Line2D([], [], color=INK, marker="|", linestyle="", ms=9, label="data, on one thread"),
    ]
    with_data = any("data_ms" in row.speed for row in rows)
    figure.legend(handles=handles[: 2 + with_data], loc="outside upper left", ncols=3)
    return drawing(
        figure,
        "components",
        "Time by component",
        "Forward and backward of the backbone and of the resizer, each timed by itself"
        + ("; the data are made beside them." if with_data else "."),
        "; ".join(_told(evidence, row) for row in rows if row.speed["resizer_ms"]),
    )


def _bars(ax: Axes, evidence: Evidence, rows: Sequence[Row]) -> None:
    table = looks(evidence.arms.values())
    for y, row in enumerate(rows):
        backbone, resizer = row.speed["backbone_ms"], row.speed["resizer_ms"]
        ax.barh(y, backbone, color=BASELINE, alpha=0.6, height=0.62)
        ax.barh(y, resizer, left=backbone, color=table[row.arm.name].colour, height=0.62)
        if resizer:
            ax.annotate(
                words.percent(round(_share(row), 2)), (backbone + resizer, y),
                xytext=(5, 0), textcoords="offset points", va="center", fontsize=9,
            )  # fmt: skip
        if "data_ms" in row.speed:
            ax.plot([row.speed["data_ms"]], [y], "|", color=INK, markersize=9)
    ax.set_yticks(range(len(rows)), [_name(evidence, row) for row in rows])
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.margins(x=0.12)
    ax.set_xlim(left=0)
    ax.set_xlabel("time per image in training, ms")
    ax.grid(visible=False, axis="y")
    ax.tick_params(axis="y", length=0)


def _name(evidence: Evidence, row: Row) -> str:
    used = [axis for axis in evidence.axes if getattr(row.trial, axis, None) is not None]
    sizes = [f"{row.trial.size} px"]
    others = [axis for axis in used if not axis.endswith("_size")]
    told = [words.axis_value(axis, row.context[axis]) for axis in others]
    return ", ".join([*told, row.arm.name, *sizes])


def _share(row: Row) -> float:
    return row.speed["resizer_ms"] / (row.speed["resizer_ms"] + row.speed["backbone_ms"])


def _told(evidence: Evidence, row: Row) -> str:
    return f"{_name(evidence, row)}: the resizer takes {words.percent(round(_share(row), 2))}"
