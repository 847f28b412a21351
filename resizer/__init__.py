"""Image resizers as plain `nn.Module`s: the learned one, and what it is compared with.

`build("learned", output_size=224)` gives a module; `RESIZERS` lists what there is. Importing
this package does not import torch; building does.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from resizer.sources import source_file, working_directory_importable
from resizer.specs import RESIZERS, Spec, check_name, names, one_of

if TYPE_CHECKING:
    from torch import nn

__all__ = ["RESIZERS", "Spec", "build", "names"]


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
    known = sorted(spec.options if spec else options)
    for option in options:
        if option not in known:
            raise ValueError(f"resizer {name!r} has no option {option!r}{one_of(option, known)}")
    module, _, attribute = (spec.implementation if spec else name).partition(":")
    with working_directory_importable():
        implementation = getattr(importlib.import_module(module), attribute, None)
    if implementation is None:
        raise ValueError(f"resizer {name!r}: {module} has no {attribute!r}")
    made = implementation(output_size=output_size, **options)
    if not isinstance(made, nn.Module):
        raise ValueError(f"resizer {name!r} makes {type(made).__name__}, not torch.nn.Module")
    return made
