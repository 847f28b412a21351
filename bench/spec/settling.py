"""The fields of a trial, settled: what is used has its default, what is not used is dropped."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from resizer.specs import ANTIALIASED, RESIZERS, check_name

RESIZER_OPTIONS = (
    *("num_resblocks", "num_kernels", "interpolation", "antialias"),
    *("zero_init", "negative_slope"),
)
UNWRITTEN = ("zero_init", "negative_slope")
"""Options that are None where they have their default: so they left older keys as they were."""


def has_weights(resizer: str) -> bool:
    """Whether the resizer has anything to learn; a user's own counts as having."""
    return resizer not in ("none", "fixed")


USES: tuple[tuple[str, str, Mapping[str, Any]], ...] = (
    ("optimizer", "sgd", {"momentum": 0.9}),
    ("schedule", "one_cycle", {"warmup_fraction": 0.3}),
    ("schedule", "step", {"decay_every_epochs": 50, "decay_factor": 0.8}),
    ("crop", "random_resized", {"crop_min_area": 0.35}),
)
"""Fields with their defaults that are used only where another field has a value."""
FIRST = {"optimizer": "adamw", "schedule": "one_cycle", "crop": "random_resized"}


def settled(given: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a trial: what is used has its default, what is not used is dropped.

    Raises:
        ValueError: if the resizer is unknown.
    """
    fields = {name: value for name, value in given.items() if value is not None}
    if isinstance(resizer := fields.get("resizer", "none"), str):
        _settle_resizer(fields, resizer)
    for field, value, defaults in USES:
        used = fields.get(field, FIRST[field]) == value
        for name, default in defaults.items():
            if not used:
                fields.pop(name, None)
            elif name not in fields:
                fields[name] = default
    for name in ("pretrained", "replicate"):
        if name in fields and not fields[name]:
            del fields[name]
    return fields


def _settle_resizer(fields: dict[str, Any], resizer: str) -> None:
    unused, defaults = _options(resizer)
    for name in unused:
        fields.pop(name, None)
    for name, default in defaults.items():
        if name not in fields:
            fields[name] = default
    for name in UNWRITTEN:
        if (
            name in fields
            and resizer in RESIZERS
            and fields[name] == RESIZERS[resizer].options[name]
        ):
            del fields[name]
    if resizer in RESIZERS and fields.get("interpolation") in ANTIALIASED:
        fields.setdefault("antialias", False)
    elif resizer in RESIZERS:
        fields.pop("antialias", None)
    if isinstance(frozen := fields.get("frozen"), list | tuple):
        kept = sorted({part for part in frozen if part != "resizer" or has_weights(resizer)})
        fields.pop("frozen")
        fields |= {"frozen": kept} if kept else {}


@cache
def _options(resizer: str) -> tuple[tuple[str, ...], Mapping[str, Any]]:
    """Which fields the resizer does not use, and the defaults of those that it does."""
    check_name(resizer)
    untrained = () if has_weights(resizer) else ("resizer_from",)
    if resizer == "none":
        return ("output_size", *RESIZER_OPTIONS, *untrained), {}
    if resizer not in RESIZERS:
        return (), {}  # a user's own class: what is given goes to it as it is
    options = RESIZERS[resizer].options
    unused = tuple(name for name in RESIZER_OPTIONS if name not in options)
    written = [n for n in RESIZER_OPTIONS if n in options and n not in (*UNWRITTEN, "antialias")]
    return (*unused, *untrained), {name: options[name] for name in written}
