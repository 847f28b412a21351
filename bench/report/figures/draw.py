"""The figures of a report, by name."""

from __future__ import annotations

from collections.abc import Iterable

import matplotlib as mpl

from bench.analysis.evidence import Evidence
from bench.report.figures.by_axis import by_axis
from bench.report.figures.components import components
from bench.report.figures.cost import cost
from bench.report.figures.curves import curves
from bench.report.figures.differences import differences
from bench.report.figures.images import images, spectra
from bench.report.figures.price import price
from bench.report.figures.style import STYLE, Drawing
from bench.report.figures.tuning import tuning


def draw(evidence: Evidence) -> dict[str, Drawing]:
    """Every figure that there is something to draw for, in the order of the page."""
    with mpl.rc_context(STYLE):
        found = [
            differences(evidence),
            price(evidence),
            cost(evidence),
            components(evidence),
            *(by_axis(evidence, axis) for axis in evidence.axes),
            curves(evidence),
            images(evidence),
            spectra(evidence),
            *tuning(evidence),
        ]
    return named(drawn for drawn in found if drawn)


def named(drawings: Iterable[Drawing]) -> dict[str, Drawing]:
    """The drawings by name: that of their file, and of the ids in it.

    Raises:
        ValueError: if two have one name.
    """
    by_name: dict[str, Drawing] = {}
    for drawn in drawings:
        if drawn.name in by_name:
            raise ValueError(f"two figures are named {drawn.name!r}: one would hide the other")
        by_name[drawn.name] = drawn
    return by_name
