"""Numbers and names as a reader sees them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import pandas as pd

from bench.analysis.statistics import LARGEST, LEVEL, Interval, Ratio
from bench.errors import counted
from bench.spec.trial import SETTING_FIELDS, Length

MINUS, TIMES, NONE = "\N{MINUS SIGN}", "\N{MULTIPLICATION SIGN}", "\N{EN DASH}"
TOP1 = "top-1 accuracy, %"
DEVICES = {"cpu": "CPU", "cuda": "GPU"}
SIZES = ("input_size", "output_size")
NAMELESS = ("dataset", "backbone", "resizer", "interpolation")  # axes: the value says enough
MOST_VALUES = 6  # of an axis, that are listed where it is said for what a comparison holds


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


def mean(interval: Interval | None, *, signed: bool = False) -> str:
    """The mean with half its interval, where there is one."""
    if not interval or not interval.n:
        return NONE
    text = points(interval.mean, signed=signed)
    return text if interval.n < 2 else f"{text} ± {points(interval.half_width)}"


def difference(interval: Interval | None, unit: str = " points") -> str:
    """A difference with its interval, whose level is named unless it is 95 %.

    Without spread, as below two seeds, there is no interval; without a seed, a dash. Of one that
    leaves out nothing the ends are not told: they would look like a result.

    >>> difference(Interval(-1.5, -4.6, 1.6, 3, 0.95, 1.2))
    '\u22121.5 points [\u22124.6, +1.6]'
    >>> difference(Interval(0.3, -0.9, 1.6, 3, 0.975, 0.5))
    '+0.3 points [\u22120.9, +1.6; 97.5 %]'
    >>> difference(Interval(3.6, -100.0, 100.0, 3, 0.995, 12.5))
    '+3.6 points [any difference]'
    """
    if not interval or not interval.n:
        return NONE
    ends = interval.mean, interval.low, interval.high
    mean, low, high = (points(value, signed=True) for value in ends)
    level = "" if interval.level == LEVEL else f"; {percent(interval.level)}"
    held = (
        "any difference" if interval.high - interval.low == 2 * LARGEST else f"{low}, {high}{level}"
    )
    return f"{mean}{unit}" + (f" [{held}]" if interval.high > interval.low else "")


def ratio(found: Ratio, unit: str = f" {TIMES}") -> str:
    """A ratio with its interval; of one seed or round without.

    >>> ratio(Ratio(1.84, 1.8, 1.9, 5)), ratio(Ratio(12.3, 12.3, 12.3, 1), " s")
    ('1.84 \xd7 [1.80, 1.90]', '12.3 s')
    """
    value, low, high = (number(end) for end in (found.value, found.low, found.high))
    return f"{value}{unit}" + (f" [{low}, {high}]" if found.n > 1 else "")


def ratios(found: Sequence[Ratio]) -> str:
    """One ratio with its interval, or the least and the most of several.

    >>> ratios([Ratio(1.5, 1, 2, 5), Ratio(2.5, 2, 3, 5)])
    '1.5 to 2.5 \xd7'
    """
    if len(found) == 1:
        return ratio(found[0])
    return f"{span([one.value for one in found])} {TIMES}"


def span(values: Iterable[float], show: Callable[[float], str] = lambda n: number(n, 2)) -> str:
    """The least and the most, or the one that both are.

    >>> span([2.04, 1.3, 1.5]), span([1.0, 1.001])
    ('1.3 to 2.0', '1.0')
    """
    found = sorted(values)
    low, high = show(found[0]), show(found[-1])
    return low if low == high else f"{low} to {high}"


def points_span(values: Iterable[float]) -> str:
    """The least and the most of several differences.

    >>> points_span([0.5, -1.2])
    '\u22121.2 to +0.5'
    """
    return span(values, lambda value: points(value, signed=True))


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


def setting(one: Sequence[object], among: Iterable[Sequence[object]]) -> str:
    """How a setting differs among others: `batch_size 64`.

    >>> base = (64, None, "auto", True, False, None)
    >>> setting(base, [base, (50, None, "auto", True, False, None)])
    'batch_size 64'
    """
    several = [len(set(values)) > 1 for values in zip(*among, strict=True)]
    fields = zip(SETTING_FIELDS, one, several, strict=True)
    return ", ".join(
        f"{name} {join(map(str, value)) if isinstance(value, tuple) else value}"
        for name, value, differs in fields
        if differs
    )


def lengths(trained: Iterable[Length], started_from: Iterable[Length] = ()) -> str:
    """How long trials train, and what they start from before: `5 epochs, then 2 epochs`.

    >>> lengths([(2, "epochs")], [(5, "epochs")]), lengths([(1, "steps"), (3, "steps")])
    ('5 epochs, then 2 epochs', '1 or 3 steps')
    """
    return ", then ".join(filter(None, map(_stage, (started_from, trained))))


def _stage(lengths: Iterable[Length]) -> str:
    """The lengths of one stage; a unit that they share is named once."""
    found = list(dict.fromkeys((n, unit.removesuffix("s")) for n, unit in lengths if n))
    alike = len({unit for _, unit in found}) == 1
    most = [str(n) if alike else counted(n, unit) for n, unit in found[:-1]]
    return join([*most, *(counted(*last) for last in found[-1:])], "or")


def holds_for(table: pd.DataFrame) -> str:
    """For what comparisons hold, each a row with the columns of the analysis's `holds_for`."""
    told = [join(table[name].unique()) for name in ("dataset", "size", "backbone")]
    told[1] += " px"
    for name in table["others"].iloc[0]:
        values = {plain(others[name]): axis_value(name, others[name]) for others in table["others"]}
        first, *rest = values
        among = rest if len(rest) < MOST_VALUES else [f"{len(rest)} more"]
        told.append(join([values[first], *among]))
    by_start = table["length"].groupby(table["started_from"], sort=False)
    trained = [lengths(of, start) for start, of in by_start]
    return ", ".join(filter(None, [*told, join(trained, "or")]))


def plain(value: object) -> str:
    """The value of an axis; a list is told by its parts.

    >>> plain(None), plain(2), plain(["backbone", "resizer"])
    ('\u2013', '2', 'backbone and resizer')
    """
    if isinstance(value, list | tuple):
        return join(map(str, value))
    return NONE if value is None else str(value)


def axis_value(name: str, value: object) -> str:
    """One value of an axis, readable on its own.

    >>> axis_value("epochs", 1), axis_value("epochs", 12), axis_value("num_resblocks", 2)
    ('1 epoch', '12 epochs', 'num_resblocks 2')
    """
    if name in ("epochs", "steps") and isinstance(value, int):
        return counted(value, name.removesuffix("s"))
    if value is None or name in NAMELESS:
        return plain(value)
    return f"{name.removesuffix('_size')} {value} px" if name in SIZES else f"{name} {plain(value)}"


def axis_label(name: str) -> str:
    """An axis with its unit, for a figure."""
    return f"{name}, px" if name in SIZES else name


def place(context: Mapping[str, object], axes: Sequence[str]) -> str:
    """A context in the axes that tell it from the others."""
    return " · ".join(axis_value(name, context[name]) for name in axes)
