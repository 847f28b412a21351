"""The networks that classify: timm's by their names, torchvision's as `torchvision:<name>`."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import timm
import torch
from torch import Tensor, nn
from torchvision import models as torchvision
from torchvision.models.vision_transformer import interpolate_embeddings

from bench.errors import InputError, first_line
from bench.lab import checkpoints, weights
from bench.lab import device as devices
from bench.records import LoadedWeights
from bench.spec.trial import Fields, Trial
from resizer.specs import nearest, one_of

TORCHVISION = "torchvision:"
AUXILIARY = {"googlenet": ("aux1.", "aux2."), "inception_v3": ("AuxLogits.",)}
"""Further classifiers inside a network, by torchvision's name of it: they are not built."""
EMBEDDINGS = ("class_token", "pos_embedding", "relative_position_bias_table")
"""Parameters that torchvision's reference training can spare from weight decay."""


class SizeRefusedError(InputError):
    """A backbone cannot take images of a size."""


def build(trial: Trial, classes: int, *, start: bool = True) -> nn.Module:
    """The trial's backbone, for square images of `backbone_size` pixels, as its library builds it.

    Shape: (B, 3, backbone_size, backbone_size) float -> (B, classes) logits.
    Args:
        start: False leaves published weights out; those of a file are `load_checkpoint`'s.
    Raises:
        InputError: if the name is unknown, the size does not suit, or there are no such weights.
    """
    name, pretrained = trial.backbone, start and trial.pretrained is True
    make = _torchvision if name.startswith(TORCHVISION) else _timm
    _check_name(name)
    try:
        return make(trial, classes, pretrained)
    except Exception as error:  # the libraries and the hub raise what they like
        said = first_line(error)
        if pretrained:
            raise InputError(f"backbone {name!r} has no pretrained weights here: {said}") from error
        size = trial.backbone_size
        raise SizeRefusedError(f"backbone {name!r} cannot take {size} px: {said}") from error


def check(trial: Trial, *, start: bool = True) -> None:
    """Build the trial's backbone as `build` does, and give it an image of each of its sizes.

    Raises:
        SizeRefusedError: if it cannot take the size.
        InputError: if it cannot be had, or the image does not fit in memory.
    """
    backbone = build(trial, classes=2, start=start).eval()
    if start:
        load_checkpoint(backbone, trial)
    what = f"backbone {trial.backbone!r}"
    for side in dict.fromkeys((trial.backbone_size, trial.output_size or trial.evaluated_size)):
        try:
            with torch.no_grad():
                backbone(torch.zeros(1, 3, side, side))
        except Exception as error:  # each family has its own way to refuse a size
            if devices.is_out_of_memory(error):
                raise InputError(f"{what} does not fit in memory at {side} px") from error
            said = first_line(error)
            raise SizeRefusedError(f"{what} cannot take {side} px: {said}") from error
    weights.rehearse(backbone, what)


def load_checkpoint(backbone: nn.Module, trial: Trial) -> LoadedWeights | None:
    """Load the file that the trial starts from, if it names one; returns what was loaded."""
    if not isinstance(trial.pretrained, str):
        return None
    unused = AUXILIARY.get(trial.backbone.removeprefix(TORCHVISION), ())
    layers = classifying_layers(backbone)
    return checkpoints.load(backbone, Path(trial.pretrained), layers, unused)


def _check_name(name: str) -> None:
    if name.startswith(TORCHVISION):
        known = [f"{TORCHVISION}{one}" for one in torchvision.list_models(module=torchvision)]
        there, names = name in known, "torchvision.models.list_models(module=torchvision.models)"
    else:
        known = timm.list_models()
        there, names = timm.is_model(name), "timm.list_models()"
        family, dot, tag = name.partition(".")
        if there and dot:
            published = timm.list_models(f"{family}.*", pretrained=True)
            tags = [one.partition(".")[2] for one in published]
            if tag not in tags:
                said = one_of(tag, tags) if tags else ": it has none"
                raise InputError(f"backbone {family!r} has no weights called {tag!r}{said}")
    if not there:
        raise InputError(f"unknown backbone {name!r}{nearest(name, known)} {names} has them all")


def _timm(trial: Trial, classes: int, pretrained: bool) -> nn.Module:
    config = timm.get_pretrained_cfg(trial.backbone)
    options: Fields = {"num_classes": classes}
    if config is not None and config.fixed_input_size:
        options["img_size"] = trial.backbone_size
    backbone: nn.Module = timm.create_model(trial.backbone, pretrained=pretrained, **options)
    return backbone


def _torchvision(trial: Trial, classes: int, pretrained: bool) -> nn.Module:
    name, size = trial.backbone.removeprefix(TORCHVISION), trial.backbone_size
    options: Fields = {"num_classes": classes}
    if name.startswith("vit_"):
        options["image_size"] = size
    if name.startswith("maxvit_"):
        options["input_size"] = size, size
    if name in AUXILIARY:
        options |= {"aux_logits": False, "transform_input": False, "init_weights": True}
    backbone: nn.Module = torchvision.get_model(name, weights=None, **options)
    if pretrained:
        _load_pretrained(backbone, name, trial)
    return backbone


def _load_pretrained(backbone: nn.Module, name: str, trial: Trial) -> None:
    """Load torchvision's best weights; a layer for other classes stays fresh."""
    state = torchvision.get_model(name, weights="DEFAULT", progress=False).state_dict()
    if name.startswith("vit_"):  # a position for each patch: there may be more patches, or fewer
        patch = cast("int", backbone.patch_size)
        state = interpolate_embeddings(trial.backbone_size, patch, OrderedDict(state))
    own, (head,) = backbone.state_dict(), classifying_layers(backbone)
    fresh: dict[str, Tensor] = {}
    if state[f"{head}.weight"].shape != own[f"{head}.weight"].shape:
        fresh = {n: t for n, t in own.items() if n.startswith(f"{head}.")}
    left = AUXILIARY.get(name, ())
    backbone.load_state_dict({n: t for n, t in state.items() if not n.startswith(left)} | fresh)


def scale(trial: Trial, backbone: nn.Module) -> dict[str, Sequence[float]]:
    """Mean and standard deviation of the images that the backbone was pretrained on."""
    if trial.backbone.startswith(TORCHVISION):
        name = trial.backbone.removeprefix(TORCHVISION)
        if name in AUXILIARY:  # their `transform_input` makes this of ImageNet's
            return {"mean": (0.5,) * 3, "std": (0.5,) * 3}
        prepared = torchvision.get_model_weights(name).DEFAULT.transforms()
        return {"mean": prepared.mean, "std": prepared.std}
    config = cast("Fields", backbone.pretrained_cfg)  # of timm's published weights
    return {"mean": config["mean"], "std": config["std"]}


def classifying_layers(backbone: nn.Module) -> list[str]:
    """The names of the layers that give the logits; of torchvision's, that is the last layer."""
    if _of_torchvision(backbone):
        layers = [n for n, m in backbone.named_modules() if isinstance(m, nn.Linear | nn.Conv2d)]
        return layers[-1:]
    named = cast("Fields", backbone.pretrained_cfg)["classifier"]
    return [named] if isinstance(named, str) else list(named)


def spared_from_decay(backbone: nn.Module) -> set[str]:
    """The parameters, besides biases and norms, that its authors spare from weight decay."""
    if _of_torchvision(backbone):
        return {n for n, _ in backbone.named_parameters() if n.endswith(EMBEDDINGS)}
    spared: set[str] = getattr(backbone, "no_weight_decay", set)()
    return spared


def _of_torchvision(backbone: nn.Module) -> bool:
    return type(backbone).__module__.startswith("torchvision.")
