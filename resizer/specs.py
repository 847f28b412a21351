"""What resizers there are and which options each one uses. Free of torch."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resizer.sources import module_file, working_directory_importable

if TYPE_CHECKING:
    from torch import nn

INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "area", "lanczos")
ANTIALIASED = ("bilinear", "bicubic")
"""The interpolations that can be had with and without antialias."""


@dataclass(frozen=True)
class Spec:
    """One entry of `RESIZERS`: where the class is, and its options with their defaults."""

    implementation: str
    options: Mapping[str, Any] = field(default_factory=dict)


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
    """Raise ValueError unless `name` is known, or names a class of the user's own that is there."""
    if ":" in name:
        source_file(name)
    elif name not in names():
        raise ValueError(
            f"unknown resizer {name!r}{nearest(name, names())} One of: {', '.join(names())}, "
            "or package.module:Class of your own"
        )


def source_file(implementation: str) -> Path:
    """The file that `package.module:Class` is in, found without running it.

    Raises:
        ValueError: if there is no such module.
    """
    module = implementation.partition(":")[0]
    with working_directory_importable():
        found = module_file(module)
    if found is None:
        raise ValueError(
            f"resizer {implementation!r}: no module {module!r} in {Path.cwd()} or on PYTHONPATH"
        )
    return found


def build(name: str, *, output_size: int | tuple[int, int], **options: Any) -> nn.Module:
    """Make the resizer `name`, or a user's own `package.module:Class`.

    A module of the user's own may import others of the working directory at its top.

    Args:
        name: a key of `RESIZERS`, or `package.module:Class`.
        output_size: side of the output, pixels; an int or (height, width).
        options: those that the resizer uses (`RESIZERS[name].options`).
    Raises:
        ValueError: if the name is unknown, or an option is not one of the resizer's.
    """
    if name == "none":
        raise ValueError("resizer 'none' is the absence of a module: there is nothing to build")
    check_name(name)
    spec = RESIZERS.get(name)
    if spec is not None:
        refuse_unknown_options(name, options, spec.options)
    module, _, attribute = (spec.implementation if spec else name).partition(":")
    with working_directory_importable():
        implementation = getattr(importlib.import_module(module), attribute, None)
    if implementation is None:
        raise ValueError(f"resizer {name!r}: {module} has no {attribute!r}")
    made: nn.Module = implementation(output_size=output_size, **options)
    return made


def refuse_unknown_options(name: str, given: Iterable[str], allowed: Iterable[str]) -> None:
    """Raise ValueError at the first given option that the resizer does not have."""
    allowed = sorted(allowed)
    for option in given:
        if option not in allowed:
            raise ValueError(
                f"resizer {name!r} has no option {option!r}{nearest(option, allowed)} "
                f"One of: {', '.join(allowed)}"
            )


def nearest(name: str, known: Iterable[str]) -> str:
    """The words that point from a misspelt name to the nearest known one.

    >>> nearest("lerned", ["fixed", "learned"])
    "; did you mean 'learned'?"
    >>> nearest("quux", ["fixed", "learned"])
    '.'
    """
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else "."
