"""What resizers there are and which options each one uses. Free of torch."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from numbers import Integral, Real

INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "area", "lanczos")
ANTIALIASED = ("bilinear", "bicubic")
"""The interpolations that can be had with and without antialias."""
MOST = 8192
"""Pixels of a side, channels of a layer, or layers."""


@dataclass(frozen=True)
class Spec:
    """One entry of `RESIZERS`: where the class is, and its options with their defaults."""

    implementation: str
    options: Mapping[str, object] = field(default_factory=dict)


RESIZERS: dict[str, Spec] = {
    "fixed": Spec(
        "resizer.fixed:FixedResizer",
        {"interpolation": "bilinear", "antialias": False},
    ),
    "learned": Spec(
        "resizer.learned:LearnedResizer",
        {
            "in_channels": 3,
            "out_channels": 3,
            "num_kernels": 16,
            "num_resblocks": 1,
            "negative_slope": 0.2,
            "interpolation": "bilinear",
            "antialias": False,
            "zero_init": False,
        },
    ),
    "muller": Spec(
        "resizer.muller:MullerResizer",
        {
            "num_layers": 2,
            "kernel_size": 5,
            "sigma": 1.0,
            "interpolation": "bilinear",
            "antialias": False,
        },
    ),
    "strided": Spec("resizer.strided:StridedResizer", {"channels": 3, "stride": 2}),
}


def names() -> list[str]:
    """Every value that the field `resizer` takes, besides a user's own `package.module:Class`."""
    return sorted([*RESIZERS, "none"])


def check_name(name: str) -> None:
    """Raise ValueError unless `name` is known, or is a `package.module:Class` of the user's own."""
    if ":" not in str(name) and name not in names():
        raise ValueError(
            f"unknown resizer {name!r}{one_of(name, names())}, or package.module:Class of your own"
        )


def is_whole(value: object, least: int = 1) -> bool:
    """Whether it is a whole number from `least` to MOST, Python's or NumPy's."""
    return isinstance(value, Integral) and _is_between(least, value, MOST)


def _is_between(least: float, value: Real, most: float) -> bool:
    return not isinstance(value, bool) and value <= most and not value < least


def check_whole(least: int = 1, **options: object) -> None:
    """Raise ValueError unless each is a whole number from `least` to MOST."""
    for name, value in options.items():
        if not is_whole(value, least):
            raise ValueError(f"{name} is {value!r}; it takes a whole number from {least} to {MOST}")


def check_real(least: float, most: float, **options: object) -> None:
    """Raise ValueError unless each is a number in these bounds."""
    for name, value in options.items():
        if not (isinstance(value, Real) and _is_between(least, value, most)):
            raise ValueError(f"{name} is {value!r}; it takes a number from {least:g} to {most:g}")


def check_flags(**options: object) -> None:
    """Raise ValueError unless each is True or False."""
    for name, value in options.items():
        if not isinstance(value, bool):
            raise ValueError(f"{name} is {value!r}; it takes True or False")


def nearest(name: str, known: Iterable[str]) -> str:
    """The words that point from a misspelt name to the nearest known one.

    >>> nearest("lerned", ["fixed", "learned"])
    "; did you mean 'learned'?"
    >>> nearest("quux", ["fixed", "learned"])
    '.'
    """
    close = difflib.get_close_matches(str(name), list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else "."


def one_of(name: str, known: Iterable[str]) -> str:
    """The same, and then every known one.

    >>> one_of("lerned", ["fixed", "learned"])
    "; did you mean 'learned'? One of: fixed, learned"
    """
    known = list(known)
    return f"{nearest(name, known)} One of: {', '.join(known)}"
