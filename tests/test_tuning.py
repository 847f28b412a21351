"""Figures of what a search tried."""

from __future__ import annotations

import pandas as pd
import pytest

from bench.report.figures import style, tuning
from bench.spec.ranges import Range

STYLES = {"plain": style.ArmStyle(style.BASELINE, "o"), "learned": style.ArmStyle("#d55e00", "D")}


@pytest.mark.parametrize(
    ("ours", "theirs", "labels", "places"),
    [
        ((32, 56, 40), (48, 56), ["32", "40", "48", "56"], [[0, 3], [2, 3]]),
        (("b", "a"), ("c", "a"), ["b", "a", "c"], [[0, 1], [2, 1]]),
    ],
)
def test_arms_that_choose_from_different_values_share_an_axis(
    ours: tuple[str | int, ...],
    theirs: tuple[str | int, ...],
    labels: list[str],
    places: list[list[int]],
) -> None:
    choices = {"plain": ours, "learned": theirs}
    spaces = {arm: {"field": Range("choice", values)} for arm, values in choices.items()}
    scored = {
        arm: pd.DataFrame({"field": values[:2], "score": [40.0, 41.0], "state": "ok"})
        for arm, values in choices.items()
    }
    figure = tuning._slices(spaces, scored, STYLES).figure
    (ax,) = figure.axes
    assert [label.get_text() for label in ax.get_xticklabels()] == labels
    drawn = [list(line.get_xdata()) for line in ax.lines if len(line.get_xdata())]
    assert drawn == places
