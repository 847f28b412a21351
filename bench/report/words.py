"""Numbers and names as a reader sees them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bench.analysis.statistics import Interval
from bench.spec.trial import SETTING_FIELDS, Trial

MINUS, TIMES, NONE = "\N{MINUS SIGN}", "\N{MULTIPLICATION SIGN}", "\N{EN DASH}"
TOP1 = "top-1 accuracy, %"
AXES = {
    "dataset": "{}",
    "backbone": "{}",
    "resizer": "{}",
    "interpolation": "{}",
    "input_size": "input {} px",
    "output_size": "output {} px",
    "epochs": "{} epochs",
}
"""How a value of an axis is put into words; any other: its name and the value."""


def points(value: float, *, signed: bool = False) -> str:
    """Percentage points: one decimal, or two where one would hide a sign.

    >>> points(85.31), points(0.04, signed=True), points(-0.001, signed=True)
    ('85.3', '+0.04', '0.0')
    """
    if abs(value) < 0.005:
        return "0.0"
    digits = 2 if abs(value) < 0.05 else 1
    text = f"{value:+.{digits}f}" if signed else f"{value:.{digits}f}"
    return text.replace("-", MINUS)


def number(value: float, digits: int = 3) -> str:
    """Significant digits, thousands apart.

    >>> number(1234.4), number(12.345), number(0.01234), number(5.004, 2), number(0.998, 2)
    ('1,234', '12.3', '0.0123', '5.0', '1.0')
    """
    if math.isnan(value):
        return NONE
    value = float(f"{value:.{digits - 1}e}") if abs(value) < 10 ** (digits - 1) else value
    magnitude = math.floor(math.log10(abs(value))) if value else 0
    return f"{value:,.{max(0, digits - 1 - magnitude)}f}"


def count(n: int, noun: str) -> str:
    """
    >>> count(1, "seed"), count(1200, "seed")
    ('1 seed', '1,200 seeds')
    """
    return f"{n:,} {noun}" + ("" if n == 1 else "s")


def count_points(n: float) -> str:
    """
    >>> count_points(1.0), count_points(0.5)
    ('1 point', '0.5 points')
    """
    return f"{n:g} point" + ("" if n == 1 else "s")


def mean(interval: Interval, *, signed: bool = False) -> str:
    """The mean with half its interval, where there is one."""
    if not interval.n:
        return NONE
    text = points(interval.mean, signed=signed)
    return text if interval.n < 2 else f"{text} ± {points(interval.half_width)}"


def between(means: Sequence[float]) -> str:
    """The range of differences, points.

    >>> between([-1.0, 0.5, 2.0]), between([1.0])
    ('The differences lie between \u22121.0 and +2.0 points', 'The difference is +1.0 points')
    """
    low, high = (points(end, signed=True) for end in (min(means), max(means)))
    if low == high:
        return f"The difference is {low} points"
    return f"The differences lie between {low} and {high} points"


def bounds(interval: Interval) -> str:
    """The interval with its level: `95 % interval +0.3 to +1.2`."""
    low, high = points(interval.low, signed=True), points(interval.high, signed=True)
    return f"{percent(interval.level)} interval {low} to {high}"


def percent(share: float) -> str:
    """
    >>> percent(0.95), percent(1 - 0.05 / 3), percent(0.9995)
    ('95 %', '98.3 %', '99.95 %')
    """
    return f"{round(100 * share, 1 if share < 0.999 else 3):g} %"


def join(parts: Iterable[str], last: str = "and") -> str:
    """
    >>> join(["a", "b", "c"])
    'a, b and c'
    """
    *most, end = list(parts) or [""]
    return f"{', '.join(most)} {last} {end}" if most else end


def setting(one: Sequence[Any], among: Iterable[Sequence[Any]]) -> str:
    """How a setting differs among others: `batch_size 64`.

    >>> base = (64, None, "auto", True, False)
    >>> setting(base, [base, (50, None, "auto", True, False)])
    'batch_size 64'
    """
    several = [len(set(values)) > 1 for values in zip(*among, strict=True)]
    fields = zip(SETTING_FIELDS, one, several, strict=True)
    return ", ".join(f"{name} {value}" for name, value, differs in fields if differs)


def length(trial: Trial) -> str:
    """How long a trial trains."""
    return count(trial.epochs, "epoch") if trial.epochs else count(trial.steps or 0, "step")


def lengths(trials: Iterable[Trial]) -> str:
    """How long trials train, those that start from others apart: `5 epochs, then 2 epochs`.

    >>> trial = Trial(dataset="d", backbone="b", input_size=32, epochs=5)
    >>> lengths([trial, trial.model_copy(update={"epochs": 2, "backbone_from": "key"})])
    '5 epochs, then 2 epochs'
    """
    first: dict[str, Trial] = {}
    then: dict[str, Trial] = {}
    for trial in trials:
        (then if trial.parents else first)[length(trial)] = trial
    return ", then ".join(join(told, "or") for told in (first, then) if told)


def plain(value: Any) -> Any:
    """The value of an axis as it was written: pandas makes None and whole numbers into floats.

    A list is told by its parts.

    >>> plain(float("nan")), plain(2.0), plain(0.5), plain(["backbone", "resizer"])
    (None, 2, 0.5, 'backbone and resizer')
    """
    if isinstance(value, list | tuple):
        return join(map(str, value))
    if value is None or value != value:
        return None
    return int(value) if isinstance(value, float) and value.is_integer() else value


def axis_value(name: str, value: Any) -> str:
    """One value of an axis, readable on its own."""
    shown = plain(value)
    return NONE if shown is None else AXES.get(name, f"{name} {{}}").format(shown)


def axis_label(name: str) -> str:
    """An axis with its unit, for a figure."""
    return f"{name}, px" if name.endswith("_size") else name


def place(context: Mapping[str, Any], axes: Sequence[str]) -> str:
    """A context in the axes that tell it from the others."""
    return " · ".join(axis_value(name, context[name]) for name in axes)
