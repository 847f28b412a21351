"""What the record.json files hold, key by key, and how they are read and written.

Every record has a status, and the reason where it is not "ok". Times are UTC, in ISO format.
Records of schema 0 have no "schema"; their keys are those of schema 1.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, Required, TypeVar, cast

from pydantic import Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict  # typing's is one that pydantic reads from Python 3.12 on

from bench.errors import InputError
from bench.machine import written_whole
from bench.metrics import Measured, Status

SCHEMA = 1
"""Raise it when a key changes its meaning or goes, so that older programs refuse the record."""

Json = dict[str, Any]
"""An object of JSON: a whole record of whatever kind, or a table in one."""

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
"""A time that was measured; its logarithm is taken."""


class Environment(TypedDict):
    """What ran it; speeds are compared within one such environment only."""

    device: str  # "cpu", "cuda"
    device_name: str  # of the GPU or the processor
    driver: str | None  # CUDA's version and its driver's; None without CUDA
    precision: str  # "fp32", "bf16", "fp16"
    threads: int  # of torch
    cores: int | None  # that the system has
    platform: str  # "Linux x86_64"
    python: str  # versions, from here on
    torch: str
    torchvision: str
    timm: str
    numpy: str
    pillow: str
    git_revision: str | None  # 12 digits of the commit; None outside a checkout
    git_dirty: bool | None  # whether the code differs from that commit


class CurveRow(TypedDict, total=False):
    """One epoch of a training run."""

    epoch: int  # from 1
    step: int  # optimiser steps so far
    train_loss: float  # mean over the epoch's steps, nat
    lr: float  # of the epoch's last step
    train_s: float  # training alone so far, seconds
    val_loss: float  # nat; absent where the epoch was not validated, as is the next
    top1_pct: Annotated[float, Field(allow_inf_nan=False)]


class Spectrum(TypedDict):
    """Mean radial power of what the backbone gets; see `bench.lab.pictures.radial_power`."""

    frequency: list[float]  # cycles per pixel of the output
    output: list[float]  # power there, of the resizer's output
    plain: list[float]  # of the antialiased bilinear resize of the same images


class DataFacts(TypedDict):
    """The images that a trial was run on."""

    name: str
    fingerprint: str  # sha256 of the names and sizes of the files
    origin: str  # where it came from
    classes: list[str]  # in the order of the labels
    train_images: int
    val_images: int
    scored_on: NotRequired[str]  # the split of the accuracy: "val", or "held-out train" in a search
    pixels: NotRequired[str]  # sha256 of the decoded pixels
    doubt: NotRequired[str]  # why it may not be the published set of its name; "" without any


def other_content(data: Mapping[str, object], known: Mapping[str, object]) -> str:
    """The digest in which data differ from those that are known, and both its values; "" if none.

    One that either does not have is not compared.
    """
    for what in ("fingerprint", "pixels"):
        one, other = (str(of.get(what, "")) for of in (data, known))
        if one and other and one != other:
            return f"{what} {one[:12]}, not {other[:12]}"
    return ""


class LoadedWeights(TypedDict):
    """What of a checkpoint went into the backbone before training; see `bench.lab.checkpoints`."""

    file: str  # its name
    sha256: str
    loaded: int  # tensors that were taken
    tensors: int  # that the backbone has
    head: bool  # whether the classifying layer is among them


class Ending(TypedDict):
    """What every record begins with."""

    status: Status
    reason: str  # why it is not "ok", in a sentence; "" where it is
    schema: NotRequired[int]


class TrialRecord(Ending, total=False):
    """A trial: `trials/<key>/record.json`. One that failed lacks what it did not come to.

    A smoke run, a few training steps at full size, has one too: `smoke/<speed key>/record.json`.
    """

    metrics: Required[dict[str, Measured]]  # by name, those of `METRICS` with the source "trial"
    key: Required[str]
    trial: Required[Json]
    started: str
    environment: Environment
    steps: int  # optimiser steps that were taken
    curve: list[CurveRow]  # a row for each epoch
    spectrum: Spectrum
    data: DataFacts
    loader: str  # what made the batches on the device: "triton", "torch"; absent: Pillow did
    capture: str  # of a GPU: "ok" where its steps were captured as a CUDA graph, else why not
    weights: LoadedWeights  # where it starts from a checkpoint
    finished: str
    wall_s: float  # from the process's start of work to its record, earlier processes included
    resumptions: int  # how often it went on from a snapshot; absent where it never did
    retries: int  # how often it was begun again as its node was lost; absent where it never was
    pruned_by: str  # the study that wanted no more of it; "pruned" alone
    reused_from: str  # the published experiment that it was copied from
    seconds_per_step: float  # of the last, warm step of a smoke run, which has no metrics


class DisturbanceFacts(TypedDict):
    """What else went on in a round of the timing; None where the platform does not tell."""

    share: float | None  # of all cores' time that others took, the hypervisor's included
    switches_per_s: float | None  # times a second that we were put off the processor
    load: float | None  # the load average over a minute, our own part included
    disturbed: bool


class CardFacts(TypedDict):
    """A GPU at the end of a round of the timing; None where it does not tell."""

    clock_mhz: int | None  # of its multiprocessors
    temperature_c: int | None
    power_w: float | None
    others: int | None  # processes that compute on it beside ours
    throttled: list[str] | None  # why its clock is slower than it could be, in NVML's words


class RoundRecord(Ending):
    """One round of a sitting: `timings/<key>/rounds/<number>/record.json`."""

    samples: dict[str, dict[str, list[Seconds]]]  # seconds of a call, by speed key and phase
    again: dict[str, list[Seconds]]  # by phase, of the reference's second turn
    failures: dict[str, str]  # why a subject could not be timed, by speed key
    disturbance: DisturbanceFacts
    card: NotRequired[CardFacts]  # of a GPU that NVML knows, as are the watts
    watts: NotRequired[dict[str, float]]  # mean power over training steps, by speed key
    environment: Environment
    finished: str


class TimedArm(TypedDict):
    """What was measured of the trials of one speed key."""

    trial: Json  # of one of them
    reason: str  # why it could not be measured; "" if it was
    seconds: dict[str, list[Seconds]]  # by phase: the median of each round that is used
    metrics: dict[str, Measured]  # by name, those of `METRICS` with the source "timing"
    reserved_mib: NotRequired[float]  # what a GPU's allocator held in training, in use or not
    joules_per_image: NotRequired[float]  # in training, of a GPU that tells its energy


class TimingRecord(Ending, total=False):
    """Arms timed side by side: `timings/<key>/record.json`."""

    settings: Json  # rounds, seconds
    environment: Environment
    finished: str
    memory_method: str | None  # how peak memory was measured
    reference: str  # the speed key that was measured twice in each round
    again: dict[str, list[Seconds]]  # its second measurement, as `seconds`: the noise floor
    disturbances: list[DisturbanceFacts]  # of each round that was taken
    cards: list[CardFacts]  # likewise, of a GPU
    rounds_used: list[int]  # numbers of those that count
    subjects: Required[dict[str, TimedArm]]  # by speed key


class SizeRecord(Ending):
    """A size of equal cost: `sizes/<key>/record.json`."""

    kind: Literal["equal_gmacs", "equal_time"]
    arm: str  # whose size it is
    size: int  # pixels
    ratio: float  # the cost at that size over the cost to be met
    environment: Environment
    like: Json  # the trial whose cost is met
    plain: Json  # the trial that was enlarged


class Configuration(TypedDict):
    """One choice of a tuned arm's fields."""

    number: int  # in the arm's study
    state: str  # "ok", "pruned", "failed", "running"
    reason: str  # why it failed
    key: str | None  # of the trial that scored it
    chosen: Json
    values: list[float] | None  # of the objectives; None without a score
    epochs: int  # that it was trained for
    seconds: float  # that it took


class TunedArm(TypedDict):
    """What a search knows of one arm."""

    configurations: list[Configuration]
    best: list[int]  # numbers of those to be retrained, the best first
    front: list[int]  # with two objectives: numbers of those that none surpasses in both
    importances: dict[str, float]  # each field's share in being among the best; {} before the end


class SearchRecord(Ending):
    """A search: `searches/<name>/record.json`."""

    asked: dict[str, str]  # by arm, what its study is bound to: see `bench.run.search.binding`
    optuna: str  # its version
    sampler: Json  # name and every argument
    pruner: Json
    settings: Json  # the [search] table
    spaces: NotRequired[dict[str, dict[str, Json]]]  # by arm and field, the range as in the file
    arms: dict[str, TunedArm]


class Finding(TypedDict):
    """A line of a check of the harness."""

    what: str  # with its unit
    found: float | None  # None where it came to no figure
    wanted: str  # the tolerance; "" of a figure that has none
    holds: bool | None  # None likewise


class CheckRecord(Ending, total=False):
    """What `check gpu` found: `checks/gpu/record.json`."""

    findings: list[Finding]
    dataset: str  # of the speeds
    environment: Environment
    card: CardFacts  # after it, where NVML knows the card
    wall_s: float
    finished: str


PUBLISHED_FORM, AGAIN = "published, fp32, NCHW", "again"
"""Of `check resizer`: what the others are compared with, and its second turn in a round."""


class FormsRound(TypedDict):
    """A round of `check resizer`; see `bench.lab.implementations`."""

    seconds: dict[str, dict[str, Seconds]]  # of an image, by form and phase that it was timed in
    speeds: dict[str, float]  # the machine's: GMAC/s by precision, and GB/s of a "copy"
    disturbance: DisturbanceFacts
    environment: Environment
    finished: str


class FormsRecord(Ending):
    """What `check resizer` found: `check-resizer/record.json`."""

    rounds: list[FormsRound]  # those that count
    disturbances: list[DisturbanceFacts]  # of all that were taken
    weighed: dict[str, dict[str, float]]  # by form: memory_mib, gmacs and traffic_mb of training
    finished: str


class OwnerRecord(Ending):
    """Which experiment's results have a name: `names/<name>/record.json`."""

    file: str  # the experiment's file


class DamagedError(InputError):
    """A file of the store is there, but is not what it should be."""


KINDS: dict[str, type[Ending]] = {
    "sizes": SizeRecord,
    "trials": TrialRecord,
    "timings": TimingRecord,
    "searches": SearchRecord,
}
"""What a store has a folder of."""

OF_A_RESULT = ("environment", "steps", "curve", "data", "finished")
MEASURED = {"top1_pct", "val_loss", "train_s"}
"""What the record of a trial that ended well has besides, and among its metrics."""

Kind = TypeVar("Kind", bound=Ending)


@cache
def _shape(kind: type[Kind]) -> TypeAdapter[Kind]:
    return TypeAdapter(kind)


def misshapen(record: Mapping[str, Any], kind: type[Kind]) -> str:
    """The first key of a record that lacks, or holds what it cannot; "" if none does."""
    try:
        _shape(kind).validate_python(record, strict=True)  # type: ignore[arg-type]
    except ValidationError as error:
        return str(error.errors(include_url=False)[0]["loc"][0])
    if kind is not TrialRecord or record["status"] != "ok" or "seconds_per_step" in record:
        return ""
    metrics = record["metrics"]
    accuracies = (one["value"] for one in metrics.values() if one["unit"] == "%")
    if not (metrics.keys() >= MEASURED and all(map(math.isfinite, accuracies))):
        return "metrics"
    return next((name for name in OF_A_RESULT if name not in record), "")


def read_record(folder: Path | str, kind: type[Kind]) -> Kind | None:
    """The record in `folder`, or None where there is none; one without a schema gets number 0.

    Args:
        kind: the class above that says what it holds.
    Raises:
        DamagedError: if the file is there but is no such record.
        InputError: if it is one of a later schema.
    """
    try:
        with open(f"{folder}/record.json", "rb") as file:  # noqa: PTH123 # Path is slower here
            content = file.read()
        record = json.loads(content)
        if b"\\ud" in content.lower():  # a half of a character is none that a table could hold
            json.dumps(record, ensure_ascii=False).encode()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, RecursionError, IsADirectoryError):
        record = None
    if not isinstance(record, dict):
        raise DamagedError(f"{folder}/record.json is not a record; delete its folder and run again")
    schema = record.setdefault("schema", 0)
    if isinstance(schema, int) and schema > SCHEMA:
        raise InputError(
            f"{folder}/record.json has schema {schema}, this program reads up to {SCHEMA}: update "
            "resizer-bench"
        )
    if wrong := misshapen(record, kind) or _strayed(folder, record):
        raise DamagedError(
            f"{folder}/record.json is damaged: its {wrong!r} is not what a record has there; "
            "delete its folder and run again"
        )
    return cast("Kind", record)


def _strayed(folder: Path | str, record: Mapping[str, Any]) -> str:
    """Of a trial in the folder of another, as where one was copied, "key"; else ""."""
    above, name = os.path.split(folder)
    own = os.path.split(above)[1] != "trials" or record.get("key", name) == name
    return "" if own else "key"


def read_sound(folder: Path | str, kind: type[Kind]) -> Kind | None:
    """The record in `folder`; None where there is none, or one that is damaged."""
    try:
        return read_record(folder, kind)
    except DamagedError:
        return None


def write_record(folder: Path, record: Mapping[str, object]) -> None:
    """Put `record` into `folder` under its final name only when it is complete and on the disk.

    It gets the number of this program's schema; a record of an older one keeps its own.
    """
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"schema": SCHEMA, **record}, indent=1)
    write_whole(folder / "record.json", text + "\n")


def write_whole(path: Path, text: str) -> None:
    """Write a file so that a reader, or a crash, sees all of it or nothing."""
    with written_whole(path) as file:
        file.write(text.encode(errors="backslashreplace"))  # an error may say halves of characters
