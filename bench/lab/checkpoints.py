"""Weights from a file into a backbone: all of its body, or a refusal that names what is missing."""

from __future__ import annotations

import hashlib
import sys
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, cast

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from bench.errors import InputError, first_line

if TYPE_CHECKING:
    from bench.records import LoadedWeights

AVERAGED = {"state_dict_ema", "model_ema", "ema_state_dict", "ema_model", "ema"}
"""Keys of the running mean of the weights: where a file has both, it is what is meant."""

PREFIXES = ("model.", "module.", "timm_model.", "backbone.", "_orig_mod.", "net.", "encoder.")
"""What wrappers put before the names of the weights: Lightning, DataParallel, compile, this one."""

COUNTERS = "num_batches_tracked"
"""Batch norm's count of steps: older files lack it, and nothing depends on it."""

MOST_WRAPPED = 4
MOST_NAMED = 3

Weights = Mapping[str, Tensor]


def load(
    backbone: nn.Module, path: Path, head: Sequence[str], unused: Sequence[str] = ()
) -> LoadedWeights:
    """Load a checkpoint's weights into `backbone`, in place.

    The body must fit wholly; the classifying layer is taken where it fits the classes.

    Args:
        path: a file of safetensors, or of torch.save with weights alone.
        head: names of the classifying layers.
        unused: what the names of further classifiers begin with, which the backbone is without.
    Returns: what was loaded, for the record.
    Raises:
        InputError: if the file cannot be read, if anything of the body is missing, left over or of
            another shape (the first of each are named), or if several sets of weights fit.
    """
    own = {name: t for name, t in backbone.state_dict().items() if not name.endswith(COUNTERS)}
    layers = tuple(f"{layer}." for layer in head)
    body = {name: t for name, t in own.items() if not name.startswith(layers)}
    found = _fitting(path, backbone, body)
    left = tuple(unused)
    given = {n: t for n, t in found.items() if not n.endswith(COUNTERS) and not n.startswith(left)}
    if why := misfit(body, {n: t for n, t in given.items() if not n.startswith(layers)}):
        raise InputError(f"{path} does not fit this backbone: {why}")
    heads = {name: t for name, t in own.items() if name.startswith(layers)}
    kept = bool(heads) and all(n in given and given[n].shape == t.shape for n, t in heads.items())
    wanted = {*body, *(heads if kept else ())}
    state = {name: t for name, t in found.items() if name in wanted or name.endswith(COUNTERS)}
    backbone.load_state_dict(state, strict=False)
    return {
        "file": path.name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "loaded": len(wanted),
        "tensors": len(own),
        "head": kept,
    }


def _content(path: Path) -> object:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return cast("object", torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # zip and safetensors raise what they like
        said = first_line(error)[:200]
        if isinstance(error, UnpicklingError):  # whose text tells how to run what the file holds
            said = "it is not of torch.save(model.state_dict(), ...), or holds more than tensors"
        raise InputError(f"{path} cannot be read as weights: {said}") from error


def _fitting(path: Path, backbone: nn.Module, body: Weights) -> Weights:
    """Of a file's sets of weights the one that fits the body best; of two, the averaged one."""

    def rank(named: tuple[str, Weights]) -> tuple[int, int, bool]:
        where, given = named
        shared = given.keys() & body.keys()
        fitting = sum(given[name].shape == body[name].shape for name in shared)
        return fitting, len(shared), not AVERAGED.isdisjoint(where.split("."))

    found = list(_candidates(_content(path), backbone, next(iter(body))))
    if not found:
        raise InputError(f"{path} holds no weights by name")
    chosen = max(found, key=lambda named: (*rank(named), len(named[1])))
    where, weights = chosen
    alike = [named for named in found if rank(named) == rank(chosen)]
    for other, given in alike if rank(chosen)[0] == len(body) else ():
        if not all(torch.equal(given[name], weights[name]) for name in body):
            both = " and ".join(f"{one.rstrip('.') or 'the top level'!r}" for one in (where, other))
            raise InputError(f"{path} holds two sets of weights that fit, {both}: leave one in it")
    return weights


def _candidates(content: object, backbone: nn.Module, name: str) -> Iterator[tuple[str, Weights]]:
    """Each set of tensors in a file, without what may stand before their names, and where it is.

    Args:
        name: of one of the backbone's tensors: whatever stands before it may be such a thing.
    """
    for where, tensors in _sets(content):
        before = [n.removesuffix(name) for n in tensors if f".{n}".endswith(f".{name}")]
        for prefix in dict.fromkeys([*_prefixes(tensors), *before]):
            under = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
            yield where + prefix, _converted(under, backbone)


def _sets(content: object, where: str = "") -> Iterator[tuple[str, Weights]]:
    """Whatever has tensors by name in a file, and the keys that lead there, each with a dot."""
    if not isinstance(content, Mapping) or where.count(".") > MOST_WRAPPED:
        return
    named = {name: value for name, value in content.items() if isinstance(name, str)}
    if tensors := {name: value for name, value in named.items() if isinstance(value, Tensor)}:
        yield where, tensors
    for name, inner in named.items():
        yield from _sets(inner, f"{where}{name}.")


def _prefixes(weights: Weights) -> Iterator[str]:
    """ "" and each chain of known prefixes that some name begins with."""
    waiting = [""]
    while waiting:
        prefix = waiting.pop()
        yield prefix
        longer = (prefix + more for more in PREFIXES if prefix.count(".") < MOST_WRAPPED)
        waiting += [p for p in longer if any(name.startswith(p) for name in weights)]


def _converted(weights: Weights, backbone: nn.Module) -> Weights:
    """As the library itself converts: older names, embeddings of another image size."""
    library = sys.modules[type(backbone).__module__]
    try:
        if convert := getattr(library, "checkpoint_filter_fn", None):  # timm
            return cast("Weights", convert(dict(weights), backbone))
        if convert := getattr(library, "interpolate_embeddings", None):  # torchvision
            size, patch = backbone.image_size, backbone.patch_size
            return cast("Weights", convert(size, patch, OrderedDict(weights)))
    except Exception:  # of weights of another network; they are then refused by name
        return weights
    return weights


def misfit(wanted: Weights, given: Weights) -> str:
    """Why the given weights are not exactly those that are wanted; "" if they are."""
    missing = [name for name in wanted if name not in given]
    over = [name for name in given if name not in wanted]
    other = [
        f"{name} ({'x'.join(map(str, given[name].shape))}, not {'x'.join(map(str, t.shape))})"
        for name, t in wanted.items()
        if name in given and given[name].shape != t.shape
    ]
    told = (("missing", missing), ("left over", over), ("of another shape", other))
    whys = [f"{len(names)} {what}: {_first(names)}" for what, names in told if names]
    return f"of its {len(wanted)} tensors " + "; ".join(whys) if whys else ""


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:MOST_NAMED]) + (", …" if len(names) > MOST_NAMED else "")
