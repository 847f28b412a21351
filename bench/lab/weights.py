"""The weights of a model in a file: shared tensors once, and a module's extra state too."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from bench.errors import InputError, first_line

State = dict[str, Any]
"""A module's state dict: tensors by name, and whatever extra state its author thought of."""

SHARED, EXTRA = "shared", "extra"
"""In the file's metadata: names -> the name that has the tensor; names of packed extra state."""


def save(model: nn.Module, path: Path) -> None:
    """Write the model's state dict.

    A tensor that has several names, as tied weights do, is written under the first of them. What
    `get_extra_state` gives is packed into bytes; tensors, numbers, texts and lists of them can be.
    """
    tensors: dict[str, Tensor] = {}
    first: dict[tuple[object, ...], str] = {}
    shared: dict[str, str] = {}
    extra = []
    for name, value in model.state_dict().items():
        if not isinstance(value, Tensor):
            extra.append(name)
            tensors[name] = _packed(value)
            continue
        same = (value.data_ptr(), value.dtype, value.shape, value.stride(), value.device)
        if value.numel() and first.setdefault(same, name) != name:
            shared[name] = first[same]
        else:
            tensors[name] = value.detach().cpu().clone(memory_format=torch.contiguous_format)
    save_file(tensors, path, {SHARED: json.dumps(shared), EXTRA: json.dumps(extra)})


def load(path: Path) -> State:
    """The state dict that `save` wrote; one of before, without shared tensors, too."""
    with safe_open(path, framework="pt") as file:
        told: Mapping[str, str] = file.metadata() or {}
    state: State = dict(load_file(path))
    for name, original in json.loads(told.get(SHARED, "{}")).items():
        state[name] = state[original]
    for name in json.loads(told.get(EXTRA, "[]")):
        state[name] = torch.load(io.BytesIO(state[name].numpy().tobytes()), weights_only=True)
    return state


def tensors(state: State) -> dict[str, Tensor]:
    """Those of a state dict, without its extra state."""
    return {name: value for name, value in state.items() if isinstance(value, Tensor)}


def _packed(value: object) -> Tensor:
    torch.save(value, file := io.BytesIO())
    return torch.frombuffer(bytearray(file.getvalue()), dtype=torch.uint8)


def rehearse(module: nn.Module, what: str) -> None:
    """Raise InputError, of `what`, unless the module's weights can be saved and loaded again."""
    try:
        with TemporaryDirectory() as folder:
            save(module, path := Path(folder) / "weights.safetensors")
            module.load_state_dict(load(path))
    except OSError:
        raise
    except Exception as error:  # a user's own module may raise anything
        raise InputError(f"{what} cannot be saved and loaded: {first_line(error)}") from error


def refuse_lazy(module: nn.Module, what: str) -> None:
    """Raise InputError if a layer has no shape before the first image: no optimizer can be made."""
    tensors = dict(module.named_parameters()) | dict(module.named_buffers())
    lazy = [name for name, tensor in tensors.items() if is_lazy(tensor)]
    if lazy:
        raise InputError(
            f"{what} has lazy layers, whose weights have no shape before the first image "
            f"({lazy[0]}): give them their number of channels"
        )
