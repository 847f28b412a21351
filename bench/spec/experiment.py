"""The shape of an experiment's file, and the experiment that it becomes: arms, cells, trials."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from bench.paths import EXPERIMENTS
from bench.spec import variants
from bench.spec.trial import MATCHING_VERSIONS, Count, Fields, Pixels, Positive, Trial, named_by

Fraction100 = Annotated[float, Field(gt=0, le=100)]
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

EQUAL = ("equal_gmacs", "equal_time")
"""Words for an `input_size`: the smallest at which a cost reaches that of another arm."""
T = TypeVar("T")
Listed = Annotated[T, Field(strict=False)]
"""A tuple, which is a list in TOML; what is in it keeps its type."""
Objectives = Annotated[Listed[tuple[Objective, ...]], Field(min_length=1, max_length=2)]
Settled = Listed[tuple[Pixels, ...]]


class Table(BaseModel):
    """A table of a file, without keys that nobody knows."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class WithFields(BaseModel):
    """A table of a file that also takes fields of trials."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True)

    @property
    def fields(self) -> Fields:
        """The trial fields that it sets."""
        return dict(self.__pydantic_extra__ or {})


class Arm(WithFields):
    """One pipeline under comparison: a name, a role, and the trial fields that it sets.

    `input_size` may be words: "output_size", "2 * output_size", or the size at which the arm's cost
    reaches that of the arm that it is matched to: "equal_gmacs" or "equal_time". `matched_px` is
    that size, settled once and written down, so that every machine asks for the same trials.
    """

    name: Annotated[str, Field(min_length=1)]
    role: Literal["baseline", "treatment", "control"] = "control"
    isolates: str = ""  # what its difference to the treatment tells, in a few words
    controls: Literal["standard"] | None = None  # adds the arms of `bench.spec.controls.STANDARD`
    control_seeds: Annotated[int, Field(ge=1)] | None = None  # how many seeds these have
    control_px: dict[str, Settled] = {}  # matched_px of those whose size is matched, by name
    control: str | None = None  # which of these it is
    seeds: Annotated[int, Field(ge=1)] | None = None  # the first so many of [axes] seed; None: all
    search_seed: Count | None = None  # of its configurations; None: that of [search]
    match: str | None = None  # the arm whose cost an "equal_..." input_size meets
    matched_px: Settled = ()  # that size: one for all contexts, or one for each
    init_from: str | None = None  # the arm of whose trained weights it takes what both have
    resizer_from: str | None = None  # the arm whose trained resizer it takes
    backbone_from: str | None = None  # the arm whose trained backbone it takes

    @model_validator(mode="after")
    def _check(self) -> Arm:
        if self.matched_px and self.fields.get("input_size") not in EQUAL:
            raise ValueError(f"matched_px is for an input_size that is one of {', '.join(EQUAL)}")
        if (self.control_seeds or self.control_px) and not self.controls:
            raise ValueError("control_seeds and control_px are for an arm with controls")
        return self

    @property
    def arms(self) -> dict[str, str]:
        """The arms whose trials are needed first, by the field that names them."""
        named = {name: getattr(self, name) for name in ARM_FIELDS}
        return {name: arm for name, arm in named.items() if arm is not None}


ARM_FIELDS = ("match", "init_from", "resizer_from", "backbone_from")


class Timing(Table):
    """How speeds are measured: every figure is of one turn; the turns of all arms interleave."""

    rounds: Annotated[int, Field(ge=1)] = 5  # turns of every arm
    seconds: Positive = 1.0  # measured time of each phase in a turn, at least


class SearchSettings(Table):
    """How the arms of a search are tuned: each with the same number of configurations."""

    arms: Annotated[Listed[tuple[str, ...]], Field(min_length=1)]  # those that are tuned
    trials: Annotated[int, Field(ge=1)]  # configurations of each; failed and pruned ones count
    objectives: Objectives = ("top1_pct",)
    holdout: Annotated[float, Field(gt=0, lt=1)] = 0.2  # share of the training images that scores
    seed: Count = 1000  # of every configuration's training, and of the sampler
    trial: Fields = {}  # what the configurations' trials have otherwise: fewer epochs
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


class Small(WithFields):
    """What `[small]` lays over the file's other tables; its other fields are those of [trial]."""

    axes: Fields = {}
    timing: Fields = {}
    search: Fields = {}
    arm: dict[str, Fields] = {}


class Reference(Table):
    """What others reach on the data: shown beside the results, never compared."""

    name: Annotated[str, Field(min_length=1)]  # with size, epochs, device
    top1_pct: Fraction100
    source: Annotated[str, Field(min_length=1)]


class ExperimentFile(Table):
    """The shape of a file in `experiments/`."""

    question: Annotated[str, Field(min_length=1)]
    source: str = ""
    expect: str = ""
    cost: str = ""
    recipe_for: str | None = None  # the arm alone for which the recipe of [trial] was tuned
    primary: Listed[tuple[str, str]] | None = None  # (treatment, baseline)
    secondary: Listed[tuple[str, str]] | None = None  # (treatment, another arm): tested, at the
    # same level, only where the primary comparison is settled
    margin_pct: Fraction100 = 1.0
    looks: Listed[tuple[Annotated[int, Field(ge=3)], ...]] = ()  # numbers of seeds with a verdict,
    # the error shared out over them; one, at the number of seeds in [axes], unless any
    reference: Listed[tuple[Reference, ...]] = ()
    train: bool = True  # False: the arms are timed, and nothing is trained
    targets_pct: Listed[tuple[Fraction100, ...]] = ()  # accuracies whose training time is asked for
    timeout_s: Positive = 6 * 3600.0  # of one trial
    keep_weights: Literal["parents", "best", "all"] = "best"  # of the trials that are run: those
    # that others start from; also the most accurate of each arm in each context; all of them
    trial: Fields
    axes: dict[str, Annotated[list[Any], Field(min_length=1)]] = {}
    arm: Annotated[list[Arm], Field(min_length=1)]
    timing: Timing = Timing()
    search: SearchSettings | None = None
    small: Small | None = None

    @property
    def baseline(self) -> str:
        """The arm that differences are taken to."""
        if self.primary:
            return self.primary[1]
        return next((arm.name for arm in self.arm if arm.role == "baseline"), self.arm[0].name)


@dataclass(frozen=True)
class Cell:
    """One point of the cross: an arm, a value of every axis, and the trial that answers it."""

    arm: str
    axes: Fields
    trial: Trial

    @property
    def context(self) -> Fields:
        """The axis values without the seed."""
        return {name: value for name, value in self.axes.items() if name != "seed"}

    @property
    def label(self) -> str:
        """The words for its context."""
        return context_label(self.axes)


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
        version = MATCHING_VERSIONS[self.kind]
        return named_by([self.kind, self.like.speed_key, self.plain.speed_key, version])


@dataclass(frozen=True)
class Sitting:
    """What is timed side by side: the trials of distinct speed of one context."""

    subjects: tuple[Trial, ...]
    reference: Trial  # one of them, usually the baseline's: it is measured twice in each round
    settings: Timing


@dataclass(frozen=True)
class Asked:
    """An experiment's file as it is asked for: at one of its sizes, with fields laid over it."""

    file: Path
    small: bool
    changes: Fields  # laid over its [trial]
    spec: ExperimentFile  # what that gives

    @property
    def name(self) -> str:
        """What the folder of its results is called."""
        return self.file.stem + ("-small" if self.small else "") + variants.ending(self.changes)

    @property
    def command(self) -> str:
        """What reproduces it."""
        verb = "search" if self.spec.search else "run"
        ours = self.file.is_relative_to(EXPERIMENTS)
        name = shlex.quote(self.file.stem if ours else str(self.file))
        small = " --small" if self.small else ""
        return f"resizer-bench {verb} {name}{small}{variants.options(self.changes)}"


@dataclass(frozen=True)
class Experiment(Asked):
    """A question and everything that is to be run for it."""

    cells: Sequence[Cell]
    sizes: Mapping[str, SizeRequest]  # by key, those that are not matched yet
    matched: Mapping[str, SizeRequest]  # by key, those that are

    @cached_property
    def trials(self) -> dict[str, Trial]:
        """The distinct trials by key: seed by seed, each after those that it starts from."""
        by_key = {cell.trial.key: cell.trial for cell in self.cells}

        def depth(key: str) -> int:
            trial = by_key.get(key)
            return 1 + max(map(depth, trial.parents), default=0) if trial else 0

        return dict(sorted(by_key.items(), key=lambda item: (item[1].seed, depth(item[0]))))

    @property
    def runs(self) -> Mapping[str, Trial]:
        """The trials that are to be run: all, or none where only the cost is asked for."""
        return self.trials if self.spec.train else {}

    @cached_property
    def contexts(self) -> list[Fields]:
        """The distinct combinations of axis values other than the seed."""
        return [cells[0].context for cells in self.by_context.values()]

    @cached_property
    def by_context(self) -> dict[str, list[Cell]]:
        """The cells of each context, by its label."""
        found: dict[str, list[Cell]] = {}
        for cell in self.cells:
            found.setdefault(cell.label, []).append(cell)
        return found

    @cached_property
    def sittings(self) -> dict[str, Sitting]:
        """What is timed, by the label of the context."""
        found = {}
        for label, cells in self.by_context.items():
            subjects = {cell.trial.speed_key: cell.trial for cell in reversed(cells)}
            first = next((cell for cell in cells if cell.arm == self.baseline), cells[0])
            reference = subjects[first.trial.speed_key]
            found[label] = Sitting(tuple(subjects.values()), reference, self.spec.timing)
        return found

    @cached_property
    def trial_names(self) -> dict[str, str]:
        """What to call each trial, by key: the first arm that asks, what it uses, the seed."""
        asking: dict[str, list[Cell]] = {}
        for cell in self.cells:
            of = asking.setdefault(cell.trial.key, [])
            if not of or of[0].arm == cell.arm:
                of.append(cell)
        return {key: self._name(cells) for key, cells in asking.items()}

    def _name(self, cells: Sequence[Cell]) -> str:
        """Of the trial that answers these; an axis all of whose values they have is not used."""
        first, sizes = cells[0], ("input_size", "output_size")
        counts = {name: len(values) for name, values in self.spec.axes.items()}
        unused = [n for n in first.context if len({str(c.axes[n]) for c in cells}) == counts[n] > 1]
        if len(cells) < math.prod(counts[name] for name in unused):  # of some combinations alone
            unused = []
        used = [name for name in first.context if name not in (*unused, *sizes)]
        words = [first.arm, context_label({name: first.axes[name] for name in used})]
        words += [f"{first.trial.size} px"] if any(name in first.context for name in sizes) else []
        return ", ".join(filter(None, [*words, f"seed {first.trial.seed}"]))

    @property
    def baseline(self) -> str:
        return self.spec.baseline


def context_label(axes: Mapping[str, object]) -> str:
    """The words for one combination of axis values, the seed left out.

    >>> context_label({"dataset": "imagewoof", "num_resblocks": 2, "seed": 0})
    'dataset imagewoof, num_resblocks 2'
    """
    return ", ".join(f"{name} {value}" for name, value in axes.items() if name != "seed")
