"""A trial as a value: its fields, settled and checked, and the key that names it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_serializer,
    model_validator,
)

from resizer.sources import source_digest, source_file
from resizer.specs import ANTIALIASED, RESIZERS, check_name

Fields = dict[str, Any]
"""Fields of a trial, or of a table in an experiment's file, by name."""

UNWRITTEN = ("zero_init", "negative_slope")
"""Options that are None where they have their default: so they left older keys as they were."""
AS_NONE: dict[str, object] = {
    "pretrained": False,
    "replicate": 0,
    "compile": "off",
    "load_antialias": True,
    "resizer_lr_factor": 1.0,
}
"""Values of other fields that mean what None does."""

SEMANTICS = {"data": 1, "resizer": 1, "training": 1}
"""Raise one when the same fields would give another result: old records then no longer match."""

TIMING_VERSION = 5  # raise it when speeds are measured otherwise: those on record match no more
MATCHING_VERSIONS = {"equal_gmacs": 2, "equal_time": 4}  # likewise, of sizes of that equal cost

CANONICAL = object()
"""The context of `Trial.model_validate` that tells it that its fields went through `canonical`."""

LENGTHS = {"epochs": "steps", "steps": "epochs"}
"""A field that goes where the other one is laid over it."""

SETTING_FIELDS = (
    "batch_size",
    "micro_batch",
    "precision",
    "channels_last",
    "deterministic",
    "compile",
)
"""Speeds and memory under other values of these are not comparable."""

Pixels = Annotated[int, Field(ge=1, le=8192)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=0, le=2**53)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Filter = Literal["nearest", "box", "bilinear", "bicubic", "lanczos"]
Part = Literal["resizer", "backbone"]
Length = tuple[int, Literal["epochs", "steps"]]


class Trial(BaseModel):
    """One training run, as a value: every field that can change its result.

    A field that the trial does not use is None, and None does not enter the key: so a plain arm
    is one trial, whatever the resizer's options are in the cell that asks for it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    dataset: str
    seed: Count = 0
    replicate: Count | None = None  # salts the weights' streams: arms that differ in nothing else
    backbone: str  # a timm name, or torchvision:<name>
    pretrained: bool | str | None = None  # its library's weights, or a checkpoint's path
    resizer: str = "none"
    input_size: Pixels  # side of the loaded image, pixels
    output_size: Pixels | None = None  # side of what the backbone gets, pixels
    num_resblocks: Annotated[int, Field(ge=0, le=1000)] | None = None
    num_kernels: Annotated[int, Field(ge=1)] | None = None
    interpolation: Literal["nearest", "bilinear", "bicubic", "area", "lanczos"] | None = None
    antialias: bool | None = None
    zero_init: bool | None = None
    negative_slope: Fraction | None = None

    resizer_from: str | None = None  # key of the trial whose trained resizer it starts from
    backbone_from: str | None = None  # key of the trial whose trained backbone it starts from
    frozen: Annotated[tuple[Part, ...], Field(strict=False)] | None = None  # stay as they begin
    frozen_resizer_norm: Literal["batch"] | None = None  # a frozen resizer normalises by the batch
    # in training, and in validation by what it gathered there; None: by its initial statistics

    epochs: Count | None = None  # 0: nothing is trained, only validated
    steps: Annotated[int, Field(ge=1)] | None = None
    batch_size: Annotated[int, Field(ge=2)] = 64
    micro_batch: Annotated[int, Field(ge=2)] | None = None  # gradients add up over such parts
    optimizer: Literal["adamw", "sgd"] = "adamw"
    lr: Positive = 3e-3
    resizer_lr_factor: Positive | None = None  # the resizer learns at so many times lr; None: 1
    momentum: Fraction | None = None  # sgd; 0.9 unless given
    weight_decay: Annotated[float, Field(ge=0)] = 0.05
    schedule: Literal["one_cycle", "step"] = "one_cycle"
    warmup_fraction: Annotated[float, Field(ge=0, lt=1)] | None = None  # one_cycle: rising share
    decay_every_epochs: Annotated[int, Field(ge=1)] | None = None  # step
    decay_factor: Fraction | None = None  # step
    label_smoothing: Fraction = 0.1
    clip_norm: Positive | None = None  # largest gradient norm; None: not clipped

    crop: Literal["random_resized", "squash"] = "random_resized"
    crop_min_area: Fraction | None = None  # random_resized: least share of the image's area
    # The share of the training images that score the trial in place of the validation images.
    holdout: Annotated[float, Field(gt=0, lt=1)] | None = None
    flip: bool = True  # mirror half of the training images
    eval_fit: Literal["center_crop", "squash"] = "center_crop"
    resample: Filter = "bilinear"  # of loading
    load_antialias: bool | None = None  # False: pixels are sampled as images are loaded, not
    # averaged over all that a new one covers; None: averaged
    eval_resample: Filter | None = None  # of validation images, in place of `resample`
    eval_antialias: bool | None = None  # the same, in place of `load_antialias`
    eval_size: Pixels | None = None  # the same, in place of `input_size`

    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    channels_last: bool = True
    deterministic: bool = False
    compile: Literal["default", "reduce-overhead"] | None = None  # by torch.compile; "off" is None
    eval_every_epochs: Annotated[int, Field(ge=1)] = 1

    @model_validator(mode="before")
    @classmethod
    def _canonical(cls, given: Fields, info: ValidationInfo) -> Fields:
        return given if info.context is CANONICAL else canonical(given)

    @model_validator(mode="after")
    def _check(self) -> Trial:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("a trial takes exactly one of 'epochs' and 'steps'")
        if self.resizer != "none" and self.output_size is None:
            raise ValueError(f"resizer {self.resizer!r} needs an output_size")
        if self.epochs == 0 and not (self.backbone_from or self.pretrained):
            raise ValueError("epochs = 0 trains nothing: the arm needs a backbone to start from")
        if self.micro_batch and self.batch_size % self.micro_batch == 1:
            raise ValueError(
                f"micro_batch = {self.micro_batch} leaves one image of a batch of "
                f"{self.batch_size}, of which batch norm knows no deviation"
            )
        antialias = self.load_antialias if self.eval_antialias is None else self.eval_antialias
        loaded = (self.resample, self.load_antialias)
        for filter_, averages in (loaded, (self.eval_resample or self.resample, antialias)):
            if averages is False and filter_ not in ("nearest", "bilinear"):
                raise ValueError(f"{filter_!r} averages: only 'bilinear' is had without antialias")
        trainable = {"backbone", "resizer"} if has_weights(self.resizer) else {"backbone"}
        if self.epochs != 0 and set(self.frozen or ()) >= trainable:
            raise ValueError("frozen names every part that could be trained")
        return self

    @field_serializer("frozen")
    def _listed(self, frozen: tuple[Part, ...] | None) -> list[Part] | None:
        return list(frozen) if frozen else None

    @cached_property
    def key(self) -> str:
        """16 hex digits that name the trial's folder."""
        fields = self.model_dump(exclude_none=True) | {"semantics": SEMANTICS}
        if isinstance(self.pretrained, str):
            fields["pretrained"] = digest(Path(self.pretrained).read_bytes())
        return named_by(fields | self._user_source)

    @cached_property
    def speed_key(self) -> str:
        """16 hex digits shared by the trials that cost the same for each image."""
        values = tuple(getattr(self, name) for name in SPEED_FIELDS)
        return _speed_key(values, self._user_source.get("resizer_source"))  # of many trials one

    @property
    def _user_source(self) -> dict[str, str]:
        """The digest of a user's own resizer: its file, and those of theirs that it imports."""
        if ":" not in self.resizer:
            return {}
        return {"resizer_source": source_digest(self.resizer)}

    @property
    def setting(self) -> tuple[object, ...]:
        """The values of SETTING_FIELDS."""
        return tuple(getattr(self, name) for name in SETTING_FIELDS)

    @property
    def parents(self) -> tuple[str, ...]:
        """The keys of the trials that it starts from."""
        return tuple(dict.fromkeys(k for k in (self.resizer_from, self.backbone_from) if k))

    @property
    def resizer_options(self) -> Fields:
        options = {name: getattr(self, name) for name in RESIZER_OPTIONS}
        return {name: value for name, value in options.items() if value is not None}

    def used(self, field: str) -> object:
        """The value of a field, also of an option that is None where it has its default."""
        default = _options(self.resizer)[1].get(field) if field in UNWRITTEN else None
        return default if (value := getattr(self, field)) is None else value

    @property
    def length(self) -> Length:
        """How long it trains."""
        return (self.epochs, "epochs") if self.epochs else (self.steps or 0, "steps")

    @property
    def size(self) -> str:
        """Side of the loaded image, and what the resizer makes of it, pixels: `64 → 32`."""
        return f"{self.input_size}" + (f" → {self.output_size}" if self.output_size else "")

    @property
    def backbone_size(self) -> int:
        """Side of the image that the backbone gets, pixels."""
        return self.output_size or self.input_size

    @property
    def evaluated_size(self) -> int:
        """Side of the image that is loaded in validation, pixels."""
        return self.eval_size or self.input_size

    @property
    def evaluated(self) -> Trial:
        """The same with its validation images' way of being loaded for that of its training's."""
        renamed = {"resample": "eval_resample", "load_antialias": "eval_antialias"}
        fields = self.model_dump()
        own = {name: fields.pop(of) for name, of in (renamed | {"input_size": "eval_size"}).items()}
        return Trial(**fields | {name: value for name, value in own.items() if value is not None})

    def total_steps(self, images: int) -> int:
        """Optimiser steps in all; the last, incomplete batch of an epoch is left out."""
        return self.steps or (self.epochs or 0) * (images // self.batch_size)


RESIZER_OPTIONS = tuple(
    name for name in Trial.model_fields if any(name in of.options for of in RESIZERS.values())
)
MODEL_FIELDS = ("backbone", "resizer", "input_size", "output_size", *RESIZER_OPTIONS)
TRAINED_FIELDS = ("frozen", "frozen_resizer_norm", "optimizer", "clip_norm")
LOADING_FIELDS = ("resample", "load_antialias", "eval_size")
SPEED_FIELDS = (*MODEL_FIELDS, *TRAINED_FIELDS, *SETTING_FIELDS, *LOADING_FIELDS)
"""What the speed of a trial depends on, besides the machine."""


@cache
def _speed_key(values: tuple[object, ...], source: str | None) -> str:
    fields = {name: v for name, v in zip(SPEED_FIELDS, values, strict=True) if v is not None}
    if fields["resample"] == Trial.model_fields["resample"].default:
        del fields["resample"]  # so it left older keys as they were
    semantics = {name: SEMANTICS[name] for name in ("resizer", "training")}
    return named_by([fields, source, semantics])


def digest(content: bytes) -> str:
    """The sha256 of some bytes, in hex."""
    return hashlib.sha256(content).hexdigest()


def named_by(value: object) -> str:
    """16 hex digits that name what can be written as JSON."""
    return digest(json.dumps(value, sort_keys=True, default=str).encode())[:16]


def laid_over(fields: Fields, others: Fields) -> Fields:
    """Fields with others laid over them; of epochs and steps, the one that is laid over.

    >>> laid_over({"lr": 0.1, "epochs": 20}, {"steps": 500})
    {'lr': 0.1, 'steps': 500}
    """
    gone = {LENGTHS.get(name) for name in others}
    return {name: value for name, value in fields.items() if name not in gone} | others


def has_weights(resizer: str) -> bool:
    """Whether the resizer has anything to learn; a user's own counts as having."""
    return resizer not in ("none", "fixed")


USES: tuple[tuple[str, str, Fields], ...] = (
    ("optimizer", "sgd", {"momentum": 0.9}),
    ("schedule", "one_cycle", {"warmup_fraction": 0.3}),
    ("schedule", "step", {"decay_every_epochs": 50, "decay_factor": 0.8}),
    ("crop", "random_resized", {"crop_min_area": 0.35}),
)
"""Fields with their defaults that are used only where another field has a value."""


def canonical(given: Mapping[str, object]) -> Fields:
    """The fields of a trial: what is used has its default, what is not used is dropped.

    Raises:
        ValueError: if the resizer is unknown.
    """
    fields: Fields = {
        n: v for n, v in given.items() if v is not None and not _means(v, AS_NONE.get(n))
    }
    if isinstance(resizer := fields.get("resizer", "none"), str):
        _collapse_resizer(fields, resizer)
    for field, value, defaults in USES:
        if fields.get(field, Trial.model_fields[field].default) == value:
            fields = defaults | fields
        else:
            _drop(fields, defaults)
    _collapse_loading(fields)
    part = fields.get("micro_batch")
    whole = fields.get("batch_size", Trial.model_fields["batch_size"].default)
    if type(part) is type(whole) is int and part >= whole:
        del fields["micro_batch"]  # it holds the whole batch
    return fields


def _means(value: object, default: object) -> bool:
    """Whether a value is the default: 1 is a 1.0, but neither a true, nor is 64.0 a 64."""
    whole = type(value) is int and type(default) is float
    return (whole or type(value) is type(default)) and value == default


def _drop(fields: Fields, names: Iterable[str]) -> None:
    for name in names:
        fields.pop(name, None)


def _collapse_loading(fields: Fields) -> None:
    """Drop what makes no other picture, and what validation has in common with training."""
    resample = fields.get("resample", "bilinear")
    evaluated = fields.get("eval_resample", resample)
    fields.setdefault("eval_antialias", fields.get("load_antialias", True))
    used = {"load_antialias": resample, "eval_antialias": evaluated}
    _drop(fields, [name for name, of in used.items() if of == "nearest"])  # it averages nothing
    trained = {"eval_resample": resample, "eval_antialias": fields.get("load_antialias", True)}
    trained["eval_size"] = fields.get("input_size")
    _drop(fields, [name for name, value in trained.items() if _means(fields.get(name), value)])


def _collapse_resizer(fields: Fields, resizer: str) -> None:
    unused, defaults = _options(resizer)
    _drop(fields, unused)
    for name, default in defaults.items():
        if _means(fields.setdefault(name, default), default) and name in UNWRITTEN:
            del fields[name]
    if resizer in RESIZERS and fields.get("interpolation") not in ANTIALIASED:
        fields.pop("antialias", None)
    _collapse_frozen(fields, learns=has_weights(resizer))


def _collapse_frozen(fields: Fields, *, learns: bool) -> None:
    """Keep the frozen parts that could learn, and what is said of a resizer that does, or not."""
    frozen = fields.pop("frozen", [])
    if isinstance(frozen, list | tuple):  # anything else is refused later
        parts = {str(part): part for part in sorted(frozen, key=str) if learns or part != "resizer"}
        frozen = list(parts.values())
    if frozen != []:
        fields["frozen"] = frozen
    still = isinstance(frozen, list) and "resizer" in frozen
    if not still:
        fields.pop("frozen_resizer_norm", None)
    if still or not learns:
        fields.pop("resizer_lr_factor", None)


@cache
def _options(resizer: str) -> tuple[tuple[str, ...], Fields]:
    """Which fields the resizer does not use, and the defaults of those that it does."""
    check_name(resizer)
    if ":" in resizer:
        source_file(resizer)
        return (), {}  # a user's own class: what is given goes to it as it is
    options = RESIZERS[resizer].options if resizer in RESIZERS else {}
    unused = [name for name in RESIZER_OPTIONS if name not in options]
    unused += [] if has_weights(resizer) else ["resizer_from"]
    unused += ["output_size"] if resizer == "none" else []
    return tuple(unused), {name: options[name] for name in RESIZER_OPTIONS if name in options}


def enlarged(plain: Trial, size: int) -> Trial:
    """The same trial at another input size, pixels."""
    return Trial(**{**plain.model_dump(), "input_size": size})
