"""A resizer in front of a backbone, made into one classifier."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor, nn

import resizer
from bench.errors import InputError, first_line
from bench.lab import backbones, checkpoints, weights
from bench.lab import device as devices
from bench.paths import WEIGHTS, results_with
from bench.records import LoadedWeights, TrialRecord, read_record, read_sound
from bench.seeds import seed_for
from bench.spec.trial import Fields, Trial


class Classifier(nn.Module):
    """Normalise, resize, classify.

    Shape: (B, 3, H, W), uint8 in 0..255 or float in 0..1 -> (B, classes) logits.
    Args:
        backbone: takes (B, 3, height, width) and gives the logits.
        front: the resizer; None sends the image straight to the backbone.
        mean, std: of the backbone's images, by channel, in 0..1.
        frozen: "resizer", "backbone": parts whose weights and batch statistics stay as they are.
        frozen_resizer_norm: "batch" lets a frozen resizer normalise by the batch in training, and
            gather the statistics by which it then normalises in evaluation.
    """

    def __init__(
        self,
        backbone: nn.Module,
        front: nn.Module | None = None,
        *,
        mean: Sequence[float] = IMAGENET_DEFAULT_MEAN,
        std: Sequence[float] = IMAGENET_DEFAULT_STD,
        frozen: Sequence[str] = (),
        frozen_resizer_norm: str | None = None,
    ) -> None:
        super().__init__()
        self.resizer = nn.Identity() if front is None else front
        self.backbone = backbone
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))
        self.loaded: LoadedWeights | None = None  # what of a checkpoint the backbone starts from
        for part in frozen:
            self.get_submodule(part).requires_grad_(False)
        kept = [part for part in frozen if part != "resizer" or frozen_resizer_norm is None]
        self.in_evaluation = [self.get_submodule(part) for part in kept]

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.backbone(self.resizer(self.normalised(images)))
        return logits

    def normalised(self, images: Tensor) -> Tensor:
        """What the resizer gets: (B, 3, H, W) float of about zero mean and unit variance."""
        if not images.is_floating_point():
            images = images.float() / 255
        return (images - self.mean) / self.std

    def train(self, mode: bool = True) -> Classifier:
        super().train(mode)
        for part in self.in_evaluation:
            part.eval()
        return self

    def no_weight_decay(self) -> set[str]:
        """The backbone's parameters that its authors spare from weight decay, for timm.optim."""
        return {f"backbone.{name}" for name in backbones.spared_from_decay(self.backbone)}


def build(trial: Trial, classes: int, *, start: bool = True) -> Classifier:
    """The trial's untrained classifier, on the CPU.

    The weights of backbone and resizer come from streams of their own: arms of one seed share
    the backbone's initial weights, whatever stands in front of it.

    Args:
        start: False leaves pretrained weights out, where others take their place or none matter.
    Raises:
        InputError: if the backbone is unknown, cannot take the size, or has no such weights, or the
            resizer refuses.
    """
    salt = [trial.replicate] if trial.replicate else []
    devices.begin_random_streams(seed_for("backbone weights", trial.backbone, trial.seed, *salt))
    backbone = backbones.build(trial, classes, start=start)
    loaded = backbones.load_checkpoint(backbone, trial) if start else None
    devices.begin_random_streams(seed_for("resizer weights", trial.resizer, trial.seed, *salt))
    front = build_resizer(trial)
    scale = backbones.scale(trial, backbone) if trial.pretrained else {}
    model = Classifier(
        backbone,
        front,
        frozen=trial.frozen or (),
        frozen_resizer_norm=trial.frozen_resizer_norm,
        **scale,
    )
    model.loaded = loaded
    return model


def build_resizer(trial: Trial) -> nn.Module | None:
    """The trial's resizer; None for an arm without one."""
    if trial.resizer == "none" or trial.output_size is None:
        return None
    name = trial.resizer
    try:
        return resizer.build(name, output_size=trial.output_size, **trial.resizer_options)
    except ValueError as error:
        raise InputError(str(error)) from error
    except BaseException as error:  # a user's own module may raise anything
        raise InputError(f"resizer {name!r} cannot be built: {first_line(error)}") from error


def take_over(model: Classifier, trial: Trial, trials: Path) -> None:
    """Load into `model` the trained parts that the trial starts from.

    The backbone brings the mean and deviation of the images that it was trained on. Its classifying
    layer comes along only from the same dataset.

    Args:
        trials: the folder of all trials' folders, here and below.
    Raises:
        InputError: if a trial that it starts from has no weights there, or they do not fit.
    """
    if trial.backbone_from:
        parent = trials / trial.backbone_from
        state = trained_weights(parent, PARENT)
        model.load_state_dict({name: state[name] for name in ("mean", "std")}, strict=False)
        if _trial(parent.name, _record(parent)).dataset != trial.dataset:
            layers = backbones.classifying_layers(model.backbone)
            fresh = tuple(f"backbone.{layer}." for layer in layers)
            state |= {n: t for n, t in model.state_dict().items() if n.startswith(fresh)}
        _load_part(model, "backbone", state, trial.backbone_from)
    if trial.resizer_from:
        state = trained_weights(trials / trial.resizer_from, PARENT)
        if not all(torch.equal(state[n], getattr(model, n)) for n in ("mean", "std")):
            raise InputError(
                f"the resizer of trial {trial.resizer_from} does not fit: it was trained on images "
                f"of another mean and deviation than backbone {trial.backbone!r} has here"
            )
        _load_part(model, "resizer", state, trial.resizer_from)


def _load_part(model: Classifier, part: str, state: weights.State, key: str) -> None:
    own = {n.removeprefix(f"{part}."): t for n, t in state.items() if n.startswith(f"{part}.")}
    module = model.get_submodule(part)
    try:
        module.load_state_dict(own)
    except RuntimeError as error:
        wanted, given = weights.tensors(module.state_dict()), weights.tensors(own)
        why = checkpoints.misfit(wanted, given) or first_line(error)
        raise InputError(f"the {part} of trial {key} does not fit: {why}") from error


MOST_COMPILED = 256
"""Compiled forms at once: all models are one function to torch, which beyond would not compile."""

PARENT = ", which it starts from,"


def trained_weights(folder: Path, role: str = "") -> weights.State:
    """The weights of the trial in `folder`; errors add its role to its key.

    Raises:
        InputError: if they were not kept, or are damaged.
    """
    file = folder / WEIGHTS
    if not file.exists():
        raise InputError(
            f"trial {folder.name}{role} has no weights: publishing leaves them out, and so may "
            f"keep_weights; delete its folder in {folder.parent} and run its experiment with "
            'keep_weights = "all" to have them' + ("" if role else _kept_beside(folder))
        )
    try:
        return weights.load(file)
    except (SafetensorError, ValueError, KeyError) as error:
        raise InputError(
            f"the weights of trial {folder.name}{role} are damaged ({first_line(error)}); delete "
            f"its folder in {folder.parent} and run its experiment again"
        ) from error


def _kept_beside(folder: Path) -> str:
    """Names those that differ from a trial in their seeds alone and have weights; "" without."""
    of_its_seed = ("seed", "resizer_from", "backbone_from")

    def seedless(of: Path) -> Fields:
        record = read_sound(of, TrialRecord)
        fields = record["trial"].items() if record else ()
        return {n: v for n, v in fields if v is not None and n not in of_its_seed}

    ours, kept = seedless(folder), sorted(folder.parent.glob(f"*/{WEIGHTS}"))
    keys = [file.parent.name for file in kept if seedless(file.parent) == ours]
    return f"; of another seed, and with weights: {', '.join(keys)}" if keys else ""


def knows_imagenet(trial: Trial, trials: Path) -> bool:
    """Whether the backbone was pretrained, in this trial or in one that it goes back to."""
    fields: Fields = trial.model_dump()
    while fields.get("backbone_from"):
        fields = _record(trials / fields["backbone_from"])["trial"]
    return bool(fields.get("pretrained"))


def _record(folder: Path) -> TrialRecord:
    record = read_record(folder, TrialRecord)
    assert record, "trials whose parents are not finished are not run"
    return record


def load(key: str, results: Path | None = None) -> Classifier:
    """The trained classifier of a finished trial, in evaluation mode, on the CPU.

    Args:
        key: the trial's key, as in `table.csv`.
        results: the folder of results that the trial is in; unless given, the user's own, or the
            published one that has its weights.
    Raises:
        InputError: if there is no finished trial of that key, or its weights were not kept.
    """
    results = results or results_with(key)
    record = read_record(results / "trials" / key, TrialRecord)
    if record is None:
        raise InputError(f"no finished trial {key!r} in {results}")
    if record["status"] != "ok":
        raise InputError(f"trial {key!r} has no model: {record['status']}, {record['reason']}")
    state = trained_weights(results / "trials" / key)
    model = build(_trial(key, record), len(record["data"]["classes"]), start=False)
    model.load_state_dict(state)
    return model.eval()


def _trial(key: str, record: TrialRecord) -> Trial:
    """The trial of a record, unless the user's code that it was made of is another one here."""
    try:
        trial = Trial(**record["trial"])
        here = trial.key
    except ValidationError as error:
        said = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise InputError(f"trial {key!r} cannot be made here: {said}") from None
    except FileNotFoundError:  # of its checkpoint: the weights are in the trial's folder
        return trial
    if ":" in trial.resizer and here != key:
        raise InputError(
            f"trial {key!r} cannot be made here: {trial.resizer!r} is not the code that it was "
            "trained with"
        )
    return trial


def placed(model: Classifier, trial: Trial, device: torch.device) -> Classifier:
    if trial.compile:  # for each shape of its own: validation and latency have others
        torch._dynamo.config.recompile_limit = MOST_COMPILED
        torch._dynamo.config.fail_on_recompile_limit_hit = True
        model.compile(mode=trial.compile, dynamic=False)
    model.to(device)
    for tensor in [*model.parameters(), *model.buffers()] if trial.channels_last else ():
        if tensor.dim() == 4:  # of five dimensions, as a front end may have, there is no such order
            tensor.data = tensor.data.to(memory_format=torch.channels_last)
    return model
