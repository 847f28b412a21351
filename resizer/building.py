"""A resizer by its name: one of ours, or a class of the user's own. Imports torch as it builds."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from resizer.sources import source_file, working_directory_importable
from resizer.specs import RESIZERS, check_name, refuse_unknown_options

if TYPE_CHECKING:
    from torch import nn


def build(name: str, *, output_size: int | tuple[int, int], **options: object) -> nn.Module:
    """Make the resizer `name`, or a user's own `package.module:Class`.

    A module of the user's own may import others of the working directory at its top.

    Args:
        name: a key of `RESIZERS`, or `package.module:Class`.
        output_size: side of the output, pixels; an int or (height, width).
        options: those that the resizer uses (`RESIZERS[name].options`).
    Raises:
        ValueError: if the name is unknown, an option is not one of the resizer's, or what is made
            is no module.
    """
    from torch import nn

    if name == "none":
        raise ValueError("resizer 'none' is the absence of a module: there is nothing to build")
    check_name(name)
    if ":" in name:
        source_file(name)
    spec = RESIZERS.get(name)
    if spec is not None:
        refuse_unknown_options(name, options, spec.options)
    module, _, attribute = (spec.implementation if spec else name).partition(":")
    with working_directory_importable():
        implementation = getattr(importlib.import_module(module), attribute, None)
    if implementation is None:
        raise ValueError(f"resizer {name!r}: {module} has no {attribute!r}")
    made = implementation(output_size=output_size, **options)
    if not isinstance(made, nn.Module):
        raise ValueError(f"resizer {name!r} makes {type(made).__name__}, not torch.nn.Module")
    return made
