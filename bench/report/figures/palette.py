"""One colour and one marker for each arm, the same in every figure and in the table."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bench.spec.experiment import Arm

# Okabe and Ito's, the light ones darkened: each stands out from white and from near-black alike.
COLOURS = ("#0072b2", "#009e73", "#b8860b", "#c06a9c", "#3c8fb8", "#8a6fc0", "#7a8f2a", "#a0634b")
BASELINE, TREATMENT = "#7d848c", "#d55e00"
MARKERS = ("s", "^", "v", "P", "X", "<", ">", "p", "h")


class Look(NamedTuple):
    """How an arm is drawn."""

    colour: str
    marker: str


def looks(arms: Iterable[Arm]) -> dict[str, Look]:
    """A look for each arm by name; there are more markers than colours, so that pairs last."""
    table: dict[str, Look] = {}
    others = 0
    for arm in arms:
        name, role = arm.name, arm.role
        if role == "baseline" and BASELINE not in {look.colour for look in table.values()}:
            table[name] = Look(BASELINE, "o")
        elif role == "treatment" and TREATMENT not in {look.colour for look in table.values()}:
            table[name] = Look(TREATMENT, "D")
        else:
            table[name] = Look(COLOURS[others % len(COLOURS)], MARKERS[others % len(MARKERS)])
            others += 1
    return table


def legend(figure: Figure, table: dict[str, Look]) -> None:
    """Name the arms above the panels, in as many lines as they need."""
    lines = math.ceil(sum(len(name) + 6 for name in table) / 76)
    handles = [
        Line2D([], [], color=colour, marker=marker, linestyle="", markersize=7, label=name)
        for name, (colour, marker) in table.items()
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=math.ceil(len(table) / lines))
