"""The figures of a report, by name."""

from __future__ import annotations

import matplotlib as mpl

from bench.analysis.evidence import Evidence
from bench.report import tuning as tuned
from bench.report.figures.by_axis import by_axis
from bench.report.figures.components import components
from bench.report.figures.cost import cost
from bench.report.figures.curves import curves
from bench.report.figures.differences import differences
from bench.report.figures.images import images, spectra
from bench.report.figures.style import STYLE, Drawing


def draw(evidence: Evidence) -> dict[str, Drawing]:
    """Every figure that there is something to draw for, in the order of the page."""
    with mpl.rc_context(STYLE):
        found = [
            differences(evidence),
            cost(evidence),
            components(evidence),
            *(by_axis(evidence, axis) for axis in evidence.axes),
            curves(evidence),
            images(evidence),
            spectra(evidence),
            *tuned.figures(evidence),
        ]
    return {figure.name: figure for figure in found if figure}
