"""A resizer in front of a timm backbone, made into one classifier."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import timm
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import resizer
from bench.errors import InputError
from bench.experiment import Trial
from bench.paths import local_results
from bench.processes import Tell
from bench.seeds import seed_for
from bench.store import Store
from resizer.specs import nearest

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Classifier(nn.Module):
    """Normalise, resize, classify.

    Shape: (B, 3, H, W), uint8 in 0..255 or float in 0..1 -> (B, classes) logits.
    Args:
        backbone: takes (B, 3, height, width) and gives the logits.
        front: the resizer; None sends the image straight to the backbone.
    """

    def __init__(self, backbone: nn.Module, front: nn.Module | None = None) -> None:
        super().__init__()
        self.resizer = front or nn.Identity()
        self.backbone = backbone
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        if not images.is_floating_point():
            images = images.float() / 255
        logits: Tensor = self.backbone(self.resizer((images - self.mean) / self.std))
        return logits


def build(trial: Trial, classes: int) -> Classifier:
    """The trial's untrained classifier, on the CPU.

    The weights of backbone and resizer come from streams of their own: arms of one seed share
    the backbone's initial weights, whatever stands in front of it.

    Raises:
        InputError: if the backbone is unknown or cannot take the size, or the resizer refuses.
    """
    torch.manual_seed(seed_for("backbone weights", trial.backbone, trial.seed))
    backbone = build_backbone(trial.backbone, trial.backbone_size, classes)
    torch.manual_seed(seed_for("resizer weights", trial.resizer, trial.seed))
    return Classifier(backbone, build_resizer(trial))


def build_backbone(name: str, size: int, classes: int) -> nn.Module:
    """A timm classifier with random weights for square images of `size` pixels."""
    if not timm.is_model(name):
        raise InputError(
            f"unknown backbone {name!r}{nearest(name, timm.list_models())} "
            "timm.list_models() has them all"
        )
    config = timm.get_pretrained_cfg(name)
    options: dict[str, Any] = {"num_classes": classes}
    if config is not None and config.fixed_input_size:
        options["img_size"] = size
    try:
        backbone: nn.Module = timm.create_model(name, pretrained=False, **options)
    except (AssertionError, ValueError, TypeError, RuntimeError) as error:
        raise InputError(f"backbone {name!r} cannot take {size} px: {error}") from error
    return backbone


def build_resizer(trial: Trial) -> nn.Module | None:
    """The trial's resizer; None for an arm without one."""
    if trial.resizer == "none" or trial.output_size is None:
        return None
    try:
        return resizer.build(trial.resizer, output_size=trial.output_size, **trial.resizer_options)
    except (ValueError, TypeError) as error:
        raise InputError(str(error)) from error


def check(tell: Tell, trials: Iterable[Trial]) -> None:
    """Tell {"refused": why} of the first backbone or resizer that cannot be built, if any."""
    fronts, backbones = {}, set()
    for trial in trials:
        fronts[trial.resizer, trial.output_size, str(trial.resizer_options)] = trial
        backbones.add((trial.backbone, trial.backbone_size))
    try:
        for name, size in sorted(backbones):
            build_backbone(name, size, classes=2)
        for trial in fronts.values():
            build_resizer(trial)
    except InputError as error:
        tell({"event": "check", "refused": str(error)})


def load(key: str, store: Store | None = None) -> Classifier:
    """The trained classifier of a finished trial, in evaluation mode, on the CPU.

    Args:
        key: the trial's key, as in `table.csv`.
        store: where the trial is; the user's own results unless given.
    Raises:
        InputError: if there is no finished trial of that key, or its weights were not kept.
    """
    store = store or Store(local_results())
    record = store.trial(key)
    weights = store.trial_folder(key) / "weights.safetensors"
    if record is None or record["status"] != "ok":
        raise InputError(f"no finished trial {key!r} in {store.root}")
    if not weights.exists():
        raise InputError(
            f"trial {key!r} in {store.root} has no weights: publishing leaves them out"
        )
    model = build(Trial(**record["trial"]), len(record["data"]["classes"]))
    model.load_state_dict(load_file(weights))
    return model.eval()
