"""Trials as values, and the experiments (TOML files) that enumerate them. Free of torch."""

from __future__ import annotations

import hashlib
import itertools
import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from bench.errors import InputError
from bench.paths import EXPERIMENTS
from resizer.specs import ANTIALIASED, RESIZERS, check_name, nearest, source_file

SEMANTICS = {"data": 1, "resizer": 1, "training": 1}
"""Raise one when the same fields would give another result: old records then no longer match."""

RESIZER_OPTIONS = ("num_resblocks", "num_kernels", "interpolation", "antialias")
SPEED_FIELDS = (
    *("backbone", "resizer", "input_size", "output_size", *RESIZER_OPTIONS),
    *("batch_size", "optimizer", "precision", "channels_last", "deterministic"),
)
"""What the speed of a trial depends on, besides the machine."""

Pixels = Annotated[int, Field(ge=1, le=8192)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]


class Trial(BaseModel):
    """One training run, as a value: every field that can change its result.

    A field that the trial does not use is None, and None does not enter the key: so a plain arm
    is one trial, whatever the resizer's options are in the cell that asks for it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str
    seed: Count = 0
    backbone: str  # a timm name
    resizer: str = "none"
    input_size: Pixels  # side of the loaded image, pixels
    output_size: Pixels | None = None  # side of what the backbone gets, pixels
    num_resblocks: Count | None = None
    num_kernels: Annotated[int, Field(ge=1)] | None = None
    interpolation: Literal["nearest", "bilinear", "bicubic", "area", "lanczos"] | None = None
    antialias: bool | None = None

    epochs: Annotated[int, Field(ge=1)] | None = None
    steps: Annotated[int, Field(ge=1)] | None = None
    batch_size: Annotated[int, Field(ge=2)] = 64
    optimizer: Literal["adamw", "sgd"] = "adamw"
    lr: Positive = 3e-3
    momentum: Fraction | None = None  # sgd; 0.9 unless given
    weight_decay: Annotated[float, Field(ge=0)] = 0.05
    schedule: Literal["one_cycle", "step"] = "one_cycle"
    warmup_fraction: Fraction | None = None  # one_cycle: share of the steps with a rising rate
    decay_every_epochs: Annotated[int, Field(ge=1)] | None = None  # step
    decay_factor: Fraction | None = None  # step
    label_smoothing: Fraction = 0.1
    clip_norm: Positive | None = None  # largest gradient norm; None: not clipped

    crop: Literal["random_resized", "squash"] = "random_resized"
    crop_min_area: Fraction | None = None  # random_resized: least share of the image's area
    flip: bool = True  # mirror half of the training images
    eval_fit: Literal["center_crop", "squash"] = "center_crop"
    resample: Literal["box", "bilinear", "bicubic", "lanczos"] = "bilinear"  # of loading

    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    channels_last: bool = True
    deterministic: bool = False
    eval_every_epochs: Annotated[int, Field(ge=1)] = 1

    @model_validator(mode="before")
    @classmethod
    def _settle(cls, given: dict[str, Any]) -> dict[str, Any]:
        """Give what is used its default, and drop what is not used."""
        fields = dict(given)
        if isinstance(resizer := fields.get("resizer", "none"), str):
            check_name(resizer)
            _settle_resizer(fields, resizer)
        _settle_used(fields, fields.get("optimizer", "adamw") == "sgd", momentum=0.9)
        stepwise = fields.get("schedule", "one_cycle") == "step"
        _settle_used(fields, not stepwise, warmup_fraction=0.3)
        _settle_used(fields, stepwise, decay_every_epochs=50, decay_factor=0.8)
        random_crop = fields.get("crop", "random_resized") == "random_resized"
        _settle_used(fields, random_crop, crop_min_area=0.35)
        return fields

    @model_validator(mode="after")
    def _check(self) -> Trial:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("a trial takes exactly one of 'epochs' and 'steps'")
        if self.resizer != "none" and self.output_size is None:
            raise ValueError(f"resizer {self.resizer!r} needs an output_size")
        return self

    @cached_property
    def key(self) -> str:
        """16 hex digits that name the trial's folder."""
        fields = self.model_dump(exclude_none=True) | {"semantics": SEMANTICS}
        if ":" in self.resizer:
            fields["resizer_source"] = _digest(source_file(self.resizer).read_bytes())
        return _digest(json.dumps(fields, sort_keys=True).encode())[:16]

    @cached_property
    def speed_key(self) -> str:
        """16 hex digits shared by the trials that cost the same for each image."""
        fields = {name: getattr(self, name) for name in SPEED_FIELDS}
        return _digest(json.dumps(fields, sort_keys=True).encode())[:16]

    @property
    def resizer_options(self) -> dict[str, Any]:
        """The options to build the resizer with."""
        options = {name: getattr(self, name) for name in RESIZER_OPTIONS}
        return {name: value for name, value in options.items() if value is not None}

    @property
    def backbone_size(self) -> int:
        """Side of the image that the backbone gets, pixels."""
        return self.output_size or self.input_size

    def total_steps(self, train_images: int) -> int:
        """Optimiser steps in all; the last, incomplete batch of an epoch is left out."""
        return self.steps or (self.epochs or 0) * (train_images // self.batch_size)


def _settle_resizer(fields: dict[str, Any], resizer: str) -> None:
    if resizer == "none":
        _settle_used(fields, False, "output_size", *RESIZER_OPTIONS)
        return
    if resizer not in RESIZERS:
        return  # a user's own class: what is given goes to it as it is
    options = RESIZERS[resizer].options
    for name in RESIZER_OPTIONS:
        _settle_used(fields, name in options, **{name: options.get(name)})
    _settle_used(fields, fields.get("interpolation") in ANTIALIASED, antialias=False)


def _settle_used(fields: dict[str, Any], used: bool, *names: str, **defaults: Any) -> None:
    for name in (*names, *defaults):
        if not used:
            fields.pop(name, None)
        elif fields.get(name) is None and name in defaults:
            fields[name] = defaults[name]


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class Arm(BaseModel):
    """One pipeline under comparison: a name, a role, and the trial fields that it sets."""

    model_config = ConfigDict(frozen=True, extra="allow")

    name: Annotated[str, Field(min_length=1)]
    role: Literal["baseline", "treatment", "control"] = "control"
    isolates: str = ""  # what its difference to the treatment tells, in a few words

    @property
    def fields(self) -> dict[str, Any]:
        """The trial fields that the arm sets."""
        return dict(self.__pydantic_extra__ or {})


class Timing(BaseModel):
    """How the timing lane measures: every figure is of one turn; turns are interleaved."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rounds: Annotated[int, Field(ge=1)] = 5  # turns of every arm
    seconds: Positive = 1.0  # measured time of each phase in a turn, at least


class ExperimentFile(BaseModel):
    """The shape of a file in `experiments/`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    question: Annotated[str, Field(min_length=1)]
    source: str = ""
    expect: str = ""
    cost: str = ""
    primary: tuple[str, str] | None = None  # (treatment, baseline)
    margin_pct: Positive = 1.0
    timeout_s: Positive = 6 * 3600.0  # of one trial
    trial: dict[str, Any]
    axes: dict[str, Annotated[list[Any], Field(min_length=1)]] = {}
    arm: Annotated[list[Arm], Field(min_length=1)]
    timing: Timing = Timing()
    small: dict[str, Any] = {}


@dataclass(frozen=True)
class Cell:
    """One point of the cross: an arm, a value of every axis, and the trial that answers it."""

    arm: str
    axes: Mapping[str, Any]
    trial: Trial


@dataclass(frozen=True)
class Experiment:
    """A question and everything that is to be run for it."""

    name: str
    file: Path
    small: bool
    spec: ExperimentFile
    cells: Sequence[Cell]

    @cached_property
    def trials(self) -> dict[str, Trial]:
        """The distinct trials by key, all arms of one seed before the next seed."""
        by_key = {cell.trial.key: cell.trial for cell in self.cells}
        return dict(sorted(by_key.items(), key=lambda item: item[1].seed))

    @cached_property
    def contexts(self) -> list[dict[str, Any]]:
        """The distinct combinations of axis values other than the seed."""
        seen = {json.dumps(context_of(c.axes)): context_of(c.axes) for c in self.cells}
        return list(seen.values())

    @property
    def baseline(self) -> str:
        """The arm that differences are taken to."""
        if self.spec.primary:
            return self.spec.primary[1]
        named = [arm.name for arm in self.spec.arm if arm.role == "baseline"]
        return (named or [self.spec.arm[0].name])[0]

    @property
    def command(self) -> str:
        """What reproduces it."""
        name = self.file.stem if self.file.parent == EXPERIMENTS else str(self.file)
        return f"resizer-bench run {name}" + (" --small" if self.small else "")


def context_of(axes: Mapping[str, Any]) -> dict[str, Any]:
    """The axis values of a cell without the seed."""
    return {name: value for name, value in axes.items() if name != "seed"}


def load(name: str, *, small: bool = False) -> Experiment:
    """Read an experiment.

    Args:
        name: a bare name (`experiments/<name>.toml`) or the path of a TOML file.
        small: lay the file's `[small]` table over it.
    Raises:
        InputError: with the file, the field, the value and what is allowed.
    """
    file = _find(name)
    try:
        raw = tomllib.loads(file.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{_shown(file)} is not TOML: {error}") from None
    if small:
        raw = _with_small(file, raw)
    try:
        spec = ExperimentFile.model_validate(raw)
    except ValidationError as error:
        raise InputError(_sentence(file, error, {}, ExperimentFile)) from None
    _check_names(file, spec)
    return Experiment(
        name=file.stem + ("-small" if small else ""),
        file=file,
        small=small,
        spec=spec,
        cells=list(_cross(file, spec)),
    )


def shipped() -> list[str]:
    """The bare names of the experiments in `experiments/`."""
    return sorted(path.stem for path in EXPERIMENTS.glob("*.toml"))


def _find(name: str) -> Path:
    if name.endswith(".toml"):
        if not (file := Path(name).resolve()).is_file():
            raise InputError(f"no experiment file {name!r}")
        return file
    if name not in shipped():
        raise InputError(
            f"no experiment {name!r} in {EXPERIMENTS}{nearest(name, shipped())} "
            f"One of: {', '.join(shipped())}"
        )
    return EXPERIMENTS / f"{name}.toml"


def _shown(file: Path) -> str:
    return f"{file.parent.name}/{file.name}"


def _with_small(file: Path, raw: dict[str, Any]) -> dict[str, Any]:
    if "small" not in raw:
        raise InputError(f"{_shown(file)} has no [small] table: --small has nothing to lay over it")
    fields = dict(raw["small"])
    axes = raw.get("axes", {}) | fields.pop("axes", {})
    timing = raw.get("timing", {}) | fields.pop("timing", {})
    return raw | {"trial": raw.get("trial", {}) | fields, "axes": axes, "timing": timing}


def _check_names(file: Path, spec: ExperimentFile) -> None:
    arms = [arm.name for arm in spec.arm]
    for name in arms:
        if arms.count(name) > 1:
            raise InputError(f"{_shown(file)}: two arms are named {name!r}")
    for name, values in spec.axes.items():
        if len({repr(value) for value in values}) < len(values):
            raise InputError(f"{_shown(file)}: [axes] {name} = {values} names a value twice")
    for name in spec.primary or ():
        if name not in arms:
            raise InputError(
                f"{_shown(file)}: primary names the arm {name!r}, which is not there"
                f"{nearest(name, arms)} One of: {', '.join(arms)}"
            )
    tables = {"trial": spec.trial, "axes": spec.axes} | {
        f"arm {arm.name!r}": arm.fields for arm in spec.arm
    }
    for table, fields in tables.items():
        for name in fields:
            if name not in Trial.model_fields:
                raise InputError(_unknown(file, table, name, Trial))


def _cross(file: Path, spec: ExperimentFile) -> Iterator[Cell]:
    """Every arm at every combination of axis values. Where both set a field, the arm wins.

    Cells that collapse to one trial share the object, and so compute its key once.
    """
    shared: dict[Trial, Trial] = {}
    for arm in spec.arm:
        for values in itertools.product(*spec.axes.values()):
            axes = dict(zip(spec.axes, values, strict=True))
            fields = spec.trial | axes | arm.fields
            if fields.get("input_size") == "output_size":
                fields["input_size"] = fields.get("output_size")
            try:
                trial = Trial.model_validate(fields)
            except ValidationError as error:
                layers = {f"arm {arm.name!r}": arm.fields, "axes": axes, "trial": spec.trial}
                raise InputError(_sentence(file, error, layers, Trial)) from None
            yield Cell(arm.name, axes, shared.setdefault(trial, trial))


def _sentence(
    file: Path,
    error: ValidationError,
    layers: Mapping[str, Mapping[str, Any]],
    model: type[BaseModel],
) -> str:
    """The first thing that is wrong: file, table, field, value, what is allowed."""
    first = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in first["loc"] if not str(part).startswith("function"))
    table = next((name for name, fields in layers.items() if field in fields), "")
    if first["type"] == "extra_forbidden":
        return _unknown(file, table, field, model)
    where = f"{_shown(file)}: " + (f"[{table}] " if table else "")
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "missing":
        return f"{where}{field!r} is missing"
    if not field:
        return f"{where}{message}"
    hint = ""
    if first["type"] == "literal_error" and isinstance(first["input"], str):
        allowed = first["ctx"]["expected"].replace(" or ", ", ").replace("'", "").split(", ")
        hint = nearest(first["input"], allowed)
    return f"{where}{field} = {first['input']!r}: {message[0].lower()}{message[1:]}{hint}".rstrip(
        "."
    )


def _unknown(file: Path, table: str, field: str, model: type[BaseModel]) -> str:
    known = list(model.model_fields)
    where = f"[{table}] " if table else ""
    return (
        f"{_shown(file)}: {where}unknown field {field!r}{nearest(field, known)} "
        f"One of: {', '.join(known)}"
    )
