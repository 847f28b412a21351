"""Trials as values, and experiments, which enumerate them. Free of torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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

from bench.paths import EXPERIMENTS
from bench.spec.settling import RESIZER_OPTIONS, has_weights, settled
from resizer.specs import source_file

SEMANTICS = {"data": 1, "resizer": 1, "training": 1}
"""Raise one when the same fields would give another result: old records then no longer match."""

LANE = 4
"""Raise it when speeds are measured otherwise: old ones, and sizes by them, then match no more."""

SPEED_FIELDS = (
    *("backbone", "resizer", "input_size", "output_size", *RESIZER_OPTIONS, "frozen"),
    *(
        "batch_size",
        "micro_batch",
        "optimizer",
        "clip_norm",
        "precision",
        "channels_last",
        "deterministic",
    ),
)
"""What the speed of a trial depends on, besides the machine."""

SETTLED = object()
"""The context of `Trial.model_validate` that tells it that its fields went through `settled`."""

SETTING_FIELDS = ("batch_size", "micro_batch", "precision", "channels_last", "deterministic")
"""Speeds and memory under other values of these are not comparable."""

Pixels = Annotated[int, Field(ge=1, le=8192)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Fraction100 = Annotated[float, Field(gt=0, le=100)]
Part = Literal["resizer", "backbone"]
Objective = Literal[
    "top1_pct",
    "gmacs",
    "params_m",
    "peak_memory_mib",
    "infer_memory_mib",
    "latency_p50_ms",
    "train_images_per_s",
    "infer_images_per_s",
]
"""Metrics that a search may be for."""


class Trial(BaseModel):
    """One training run, as a value: every field that can change its result.

    A field that the trial does not use is None, and None does not enter the key: so a plain arm
    is one trial, whatever the resizer's options are in the cell that asks for it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str
    seed: Count = 0
    replicate: Count | None = None  # salts the weights' streams: arms that differ in nothing else
    backbone: str  # a timm name
    pretrained: bool | str | None = None  # timm's published weights, or the path of a checkpoint
    resizer: str = "none"
    input_size: Pixels  # side of the loaded image, pixels
    output_size: Pixels | None = None  # side of what the backbone gets, pixels
    num_resblocks: Count | None = None
    num_kernels: Annotated[int, Field(ge=1)] | None = None
    interpolation: Literal["nearest", "bilinear", "bicubic", "area", "lanczos"] | None = None
    antialias: bool | None = None
    zero_init: bool | None = None
    negative_slope: Fraction | None = None

    resizer_from: str | None = None  # key of the trial whose trained resizer it starts from
    backbone_from: str | None = None  # key of the trial whose trained backbone it starts from
    frozen: tuple[Part, ...] | None = None  # parts that stay as they are at the start

    epochs: Count | None = None  # 0: nothing is trained, only validated
    steps: Annotated[int, Field(ge=1)] | None = None
    batch_size: Annotated[int, Field(ge=2)] = 64
    micro_batch: Annotated[int, Field(ge=2)] | None = None  # gradients add up over such parts
    optimizer: Literal["adamw", "sgd"] = "adamw"
    lr: Positive = 3e-3
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
    holdout: Annotated[float, Field(gt=0, lt=1)] | None = None  # share of the training images
    # that score the trial in place of the validation images, and are not trained on
    flip: bool = True  # mirror half of the training images
    eval_fit: Literal["center_crop", "squash"] = "center_crop"
    resample: Literal["box", "bilinear", "bicubic", "lanczos"] = "bilinear"  # of loading

    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    channels_last: bool = True
    deterministic: bool = False
    eval_every_epochs: Annotated[int, Field(ge=1)] = 1

    @model_validator(mode="before")
    @classmethod
    def _settle(cls, given: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        return given if info.context is SETTLED else settled(given)

    @model_validator(mode="after")
    def _check(self) -> Trial:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("a trial takes exactly one of 'epochs' and 'steps'")
        if self.resizer != "none" and self.output_size is None:
            raise ValueError(f"resizer {self.resizer!r} needs an output_size")
        if self.epochs == 0 and not (self.backbone_from or self.pretrained):
            raise ValueError("epochs = 0 trains nothing: the arm needs a backbone to start from")
        if self.epochs != 0 and set(self.frozen or ()) >= self._trainable:
            raise ValueError("frozen names every part that could be trained")
        return self

    @property
    def _trainable(self) -> set[Part]:
        return {"backbone", "resizer"} if has_weights(self.resizer) else {"backbone"}

    @field_serializer("frozen")
    def _listed(self, frozen: tuple[Part, ...] | None) -> list[Part] | None:
        return list(frozen) if frozen else None

    @cached_property
    def key(self) -> str:
        """16 hex digits that name the trial's folder."""
        fields = self.model_dump(exclude_none=True) | {"semantics": SEMANTICS}
        if isinstance(self.pretrained, str):
            fields["pretrained"] = _digest(Path(self.pretrained).read_bytes())
        return _digest(json.dumps(fields | self._own_source, sort_keys=True).encode())[:16]

    @cached_property
    def speed_key(self) -> str:
        """16 hex digits shared by the trials that cost the same for each image."""
        values = tuple(getattr(self, name) for name in SPEED_FIELDS)
        return _speed_key(values, self._own_source.get("resizer_source"))

    @property
    def _own_source(self) -> dict[str, str]:
        """The digest of a user's own resizer."""
        if ":" not in self.resizer:
            return {}
        return {"resizer_source": _digest(source_file(self.resizer).read_bytes())}

    @property
    def setting(self) -> tuple[Any, ...]:
        """What must be equal where speeds and memory are compared; see SETTING_FIELDS."""
        return tuple(getattr(self, name) for name in SETTING_FIELDS)

    @property
    def parents(self) -> tuple[str, ...]:
        """The keys of the trials that it starts from."""
        return tuple(dict.fromkeys(k for k in (self.resizer_from, self.backbone_from) if k))

    @property
    def resizer_options(self) -> dict[str, Any]:
        """The options to build the resizer with."""
        options = {name: getattr(self, name) for name in RESIZER_OPTIONS}
        return {name: value for name, value in options.items() if value is not None}

    @property
    def size(self) -> str:
        """Side of the loaded image, and what the resizer makes of it, pixels: `64 → 32`."""
        return f"{self.input_size}" + (f" → {self.output_size}" if self.output_size else "")

    @property
    def backbone_size(self) -> int:
        """Side of the image that the backbone gets, pixels."""
        return self.output_size or self.input_size

    def total_steps(self, images: int) -> int:
        """Optimiser steps in all, with so many images to train on.

        The last, incomplete batch of an epoch is left out.
        """
        return self.steps or (self.epochs or 0) * (images // self.batch_size)


@cache
def _speed_key(values: tuple[Any, ...], source: str | None) -> str:
    fields = {name: v for name, v in zip(SPEED_FIELDS, values, strict=True) if v is not None}
    semantics = {name: SEMANTICS[name] for name in ("resizer", "training")}
    text = json.dumps([fields, source, semantics], sort_keys=True)
    return _digest(text.encode())[:16]


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class Arm(BaseModel):
    """One pipeline under comparison: a name, a role, and the trial fields that it sets.

    `input_size` may be words: "output_size", "2 * output_size", or the size at which the arm's cost
    reaches that of the arm that it is matched to: "equal_gmacs" or "equal_time".
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    name: Annotated[str, Field(min_length=1)]
    role: Literal["baseline", "treatment", "control"] = "control"
    isolates: str = ""  # what its difference to the treatment tells, in a few words
    controls: Literal["standard"] | None = None  # adds the arms of `bench.spec.controls.STANDARD`
    control_seeds: Annotated[int, Field(ge=1)] | None = None  # how many seeds these have
    control: str | None = None  # which of these it is
    seeds: Annotated[int, Field(ge=1)] | None = None  # the first so many of [axes] seed; None: all
    match: str | None = None  # the arm whose cost an "equal_..." input_size meets
    init_from: str | None = None  # the arm of whose trained weights it takes what both have
    resizer_from: str | None = None  # the arm whose trained resizer it takes
    backbone_from: str | None = None  # the arm whose trained backbone it takes

    @property
    def fields(self) -> dict[str, Any]:
        """The trial fields that the arm sets."""
        return dict(self.__pydantic_extra__ or {})

    @property
    def arms(self) -> dict[str, str]:
        """The arms that it needs to be settled first, by the field that names them."""
        named = {name: getattr(self, name) for name in ARM_FIELDS}
        return {name: arm for name, arm in named.items() if arm}


ARM_FIELDS = ("match", "init_from", "resizer_from", "backbone_from")


class Timing(BaseModel):
    """How the timing lane measures: every figure is of one turn; turns are interleaved."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rounds: Annotated[int, Field(ge=1)] = 5  # turns of every arm
    seconds: Positive = 1.0  # measured time of each phase in a turn, at least


class SearchSettings(BaseModel):
    """How the arms of a search are tuned: each with the same number of configurations."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    arms: Annotated[tuple[str, ...], Field(min_length=1)]  # those that are tuned
    trials: Annotated[int, Field(ge=1)]  # configurations of each; failed and pruned ones count
    objectives: Annotated[tuple[Objective, ...], Field(min_length=1, max_length=2)] = ("top1_pct",)
    holdout: Annotated[float, Field(gt=0, lt=1)] = 0.2  # share of the training images that scores
    seed: Count = 1000  # of every configuration's training, and of the sampler
    trial: dict[str, Any] = {}  # what the configurations' trials have otherwise: fewer epochs
    sampler: Literal["tpe", "random"] = "tpe"
    startup_trials: Count = 5  # tpe: so many of each arm are drawn at random first
    pruner: Literal["median", "none"] | None = None  # median unless there are two objectives
    pruner_startup_trials: Count = 4  # median: nothing is pruned before so many have finished
    pruner_warmup_epochs: Count = 1  # median: nor in its first epochs
    retrain: Annotated[int, Field(ge=1)] = 1  # best configurations of each arm that are retrained

    @model_validator(mode="after")
    def _check(self) -> SearchSettings:
        if self.objectives[0] != "top1_pct":
            raise ValueError(f"objectives = {list(self.objectives)}: top1_pct is the first of them")
        if len(set(self.objectives)) < len(self.objectives):
            raise ValueError(f"objectives = {list(self.objectives)} names one twice")
        if self.pruner == "median" and len(self.objectives) > 1:
            raise ValueError("pruner = 'median' with two objectives: pruning goes by one alone")
        return self

    @property
    def prunes(self) -> bool:
        return len(self.objectives) == 1 and self.pruner != "none"


class ExperimentFile(BaseModel):
    """The shape of a file in `experiments/`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    question: Annotated[str, Field(min_length=1)]
    source: str = ""
    expect: str = ""
    cost: str = ""
    recipe_for: str | None = None  # the arm alone for which the recipe of [trial] was tuned
    primary: tuple[str, str] | None = None  # (treatment, baseline)
    margin_pct: Positive = 1.0
    train: bool = True  # False: what the arms cost, from the timing lane alone
    targets_pct: tuple[Fraction100, ...] = ()  # accuracies whose training time is asked for
    timeout_s: Positive = 6 * 3600.0  # of one trial
    trial: dict[str, Any]
    axes: dict[str, Annotated[list[Any], Field(min_length=1)]] = {}
    arm: Annotated[list[Arm], Field(min_length=1)]
    timing: Timing = Timing()
    search: SearchSettings | None = None
    small: dict[str, Any] = {}

    @property
    def baseline(self) -> str:
        """The arm that differences are taken to."""
        if self.primary:
            return self.primary[1]
        named = [arm.name for arm in self.arm if arm.role == "baseline"]
        return (named or [self.arm[0].name])[0]


@dataclass(frozen=True)
class Cell:
    """One point of the cross: an arm, a value of every axis, and the trial that answers it."""

    arm: str
    axes: Mapping[str, Any]
    trial: Trial


@dataclass(frozen=True)
class SizeRequest:
    """A size that must be counted or timed before its trials can be named."""

    arm: str
    kind: Literal["equal_gmacs", "equal_time"]
    like: Trial  # whose cost is to be met
    plain: Trial  # what is to be enlarged; its input_size is the largest that is too small

    @cached_property
    def key(self) -> str:
        """16 hex digits, the same for all seeds."""
        named: list[object] = [self.kind, self.like.speed_key, self.plain.speed_key]
        named += [LANE] if self.kind == "equal_time" else []
        return _digest(json.dumps(named).encode())[:16]


@dataclass(frozen=True)
class Experiment:
    """A question and everything that is to be run for it."""

    name: str
    file: Path
    small: bool
    spec: ExperimentFile
    cells: Sequence[Cell]
    sizes: Mapping[str, SizeRequest]  # by key, those that are not settled yet
    matched: Mapping[str, SizeRequest]  # by key, those that are

    @cached_property
    def trials(self) -> dict[str, Trial]:
        """The distinct trials by key: seed by seed, each after those that it starts from."""
        by_key = {cell.trial.key: cell.trial for cell in self.cells}

        def depth(key: str) -> int:
            trial = by_key.get(key)
            return 1 + max(map(depth, trial.parents), default=0) if trial else 0

        return dict(sorted(by_key.items(), key=lambda item: (item[1].seed, depth(item[0]))))

    def recipe(self, trial: Trial) -> str:
        """What tells a trial from others but for its seed; of what it starts from, likewise."""
        own = trial.model_dump_json(exclude={"seed", "resizer_from", "backbone_from"})
        starts = [
            self.recipe(self.trials[key]) if key in self.trials else key
            for key in (trial.resizer_from, trial.backbone_from)
            if key
        ]
        return json.dumps([own, *starts]) if starts else own

    @property
    def runs(self) -> Mapping[str, Trial]:
        """The trials that are to be run: all, or none where only the cost is asked for."""
        return self.trials if self.spec.train else {}

    @cached_property
    def contexts(self) -> list[dict[str, Any]]:
        """The distinct combinations of axis values other than the seed."""
        seen = {json.dumps(context_of(c.axes)): context_of(c.axes) for c in self.cells}
        return list(seen.values())

    @property
    def baseline(self) -> str:
        """The arm that differences are taken to."""
        return self.spec.baseline

    @property
    def command(self) -> str:
        """What reproduces it."""
        verb = "search" if self.spec.search else "run"
        name = self.file.stem if self.file.parent == EXPERIMENTS else str(self.file)
        return f"resizer-bench {verb} {name}" + (" --small" if self.small else "")


def context_of(axes: Mapping[str, Any]) -> dict[str, Any]:
    """The axis values of a cell without the seed."""
    return {name: value for name, value in axes.items() if name != "seed"}
