"""What a search may choose: ranges in place of values, and which of them an arm uses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Protocol

from bench.errors import InputError
from bench.spec.experiment import Arm, ExperimentFile
from bench.spec.mistakes import shown
from bench.spec.trial import canonical
from resizer.specs import nearest

KINDS = ("log", "uniform", "int", "choice")
DECIDING = ("resizer", "optimizer", "schedule", "crop", "interpolation")
"""Fields on whose values it depends which others are used: they are chosen first."""

Fields = dict[str, Any]


class Asked(Protocol):
    """What a range asks of Optuna: these methods of its Trial."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """A float between two ends."""

    def suggest_int(self, name: str, low: int, high: int) -> int:
        """A whole number between two ends."""

    def suggest_categorical(self, name: str, choices: tuple[Any, ...]) -> Any:
        """One of some values."""


@dataclass(frozen=True)
class Range:
    """The values that a field may take, both ends included."""

    kind: str  # "log", "uniform": floats; "int": whole numbers; "choice": one of some values
    values: tuple[Any, ...]  # two ends, or what is to choose from

    def suggested(self, name: str, asked: Asked) -> Any:
        """The value that Optuna suggests for the field of this name."""
        if self.kind == "choice":
            return asked.suggest_categorical(name, self.values)
        low, high = self.values
        if self.kind == "int":
            return asked.suggest_int(name, low, high)
        return asked.suggest_float(name, low, high, log=self.kind == "log")

    @property
    def written(self) -> Fields:
        """As a file has it; `parsed` reads it."""
        return {self.kind: list(self.values)}

    def __str__(self) -> str:
        if self.kind == "choice":
            return "one of " + ", ".join(map(str, self.values))
        return f"{self.values[0]:g} to {self.values[1]:g} ({self.kind})"


def parsed(value: Any) -> Range | None:
    """The range that a value in a file stands for; None for a plain value.

    Raises:
        ValueError: if it is a table but no range.

    >>> str(parsed({"log": [1e-4, 0.1]})), parsed(64)
    ('0.0001 to 0.1 (log)', None)
    """
    if not isinstance(value, Mapping):
        return None
    kind, values = next(iter(value.items()), ("", []))
    if kind not in KINDS:
        raise ValueError(f"unknown range {kind!r}{nearest(kind, KINDS)} One of: {', '.join(KINDS)}")
    if len(value) > 1:
        raise ValueError(f"a range is of one kind, not of {' and '.join(value)}")
    if not isinstance(values, list):
        raise ValueError(f"{kind} = {values!r}: it takes a list")
    check = _check_choice if kind == "choice" else _check_ends
    check(kind, values)
    return Range(kind, tuple(values))


def _check_choice(kind: str, values: list[Any]) -> None:
    if not values:
        raise ValueError(f"{kind} = []: there is nothing to choose from")
    if not all(isinstance(value, str | int | float) for value in values):
        raise ValueError(f"{kind} = {values}: texts, numbers, true and false are to choose from")
    if any(value in values[:place] for place, value in enumerate(values)):
        raise ValueError(f"{kind} = {values} names a value twice")


def _check_ends(kind: str, values: list[Any]) -> None:
    whole = kind == "int"
    numbers = [v for v in values if isinstance(v, int if whole else int | float)]
    if len(values) != 2 or len(numbers) != 2 or any(isinstance(v, bool) for v in values):
        raise ValueError(f"{kind} = {values}: it takes two {'whole ' if whole else ''}numbers")
    if values[0] >= values[1]:
        raise ValueError(f"{kind} = {values}: the lower end comes first")
    if kind == "log" and values[0] <= 0:
        raise ValueError(f"{kind} = {values}: both ends are above zero")


@dataclass(frozen=True)
class Space:
    """The fields of one arm: some fixed, some ranges."""

    fixed: Mapping[str, Any]
    ranges: Mapping[str, Range]

    def chosen(self, choose: Callable[[str, Range], Any]) -> Fields:
        """A value for every range that the arm uses, given what is chosen before it."""
        found: Fields = {}
        deciding_first = sorted(self.ranges, key=lambda name: name not in DECIDING)
        for name in deciding_first:
            if self._used(name, found):
                found[name] = choose(name, self.ranges[name])
        return found

    def used(self) -> Space:
        """The same without the ranges that the arm uses under none of its deciding choices."""
        deciding = [name for name in self.ranges if name in DECIDING]
        decided = [
            dict(zip(deciding, values, strict=True))
            for values in product(*(self.ranges[name].values for name in deciding))
        ]
        kept = {n: r for n, r in self.ranges.items() if any(self._used(n, of) for of in decided)}
        return Space(self.fixed, kept)

    def _used(self, name: str, found: Fields) -> bool:
        """Whether any of the range's values would count."""
        fields = {**self.fixed, **found}
        return any(name in canonical({**fields, name: value}) for value in self.ranges[name].values)


def space(fields: Mapping[str, Any]) -> Space:
    """Tell ranges from plain values; ranges that are never used are left out.

    Raises:
        ValueError: as `parsed`, with the field's name.
    """
    ranges: dict[str, Range] = {}
    for name, value in fields.items():
        try:
            found = parsed(value)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
        ranges |= {name: found} if found else {}
    return Space({n: v for n, v in fields.items() if n not in ranges}, ranges).used()


def spaces(spec: ExperimentFile) -> dict[str, Space]:
    """The space of each arm that the search tunes, by its name.

    Raises:
        ValueError: at the first range that is none.
    """
    tuned = spec.search.arms if spec.search else ()
    found = {arm.name: arm.fields for arm in spec.arm if arm.name in tuned}
    return {name: space({**spec.trial, **fields}) for name, fields in found.items()}


def written(spec: ExperimentFile) -> dict[str, dict[str, object]]:
    """The ranges of each tuned arm as a search's record keeps them."""
    return {
        arm: {name: of.written for name, of in space.ranges.items()}
        for arm, space in spaces(spec).items()
    }


def check(file: Path, spec: ExperimentFile) -> None:
    """Raise InputError at the first thing that makes no sense in a search, or only in one."""
    try:
        _check_ranges(spec) if spec.search is None else _check_search(spec)
    except ValueError as error:
        raise InputError(f"{shown(file)}: {error}") from None


def _check_ranges(spec: ExperimentFile) -> None:
    for table, fields in {"trial": spec.trial, **{a.name: a.fields for a in spec.arm}}.items():
        if ranges := space(fields).ranges:
            raise ValueError(
                f"[{table}] {next(iter(ranges))} is a range: only a file with a [search] table has "
                "ranges"
            )


def _check_search(spec: ExperimentFile) -> None:
    assert spec.search
    names = [arm.name for arm in spec.arm]
    for name in spec.search.arms:
        if name not in names:
            told = f"{nearest(name, names)} One of: {', '.join(names)}"
            raise ValueError(f"[search] arms names the arm {name!r}, which is not there{told}")
    if set(spec.axes) != {"seed"}:
        raise ValueError("a search has one axis: the seeds with which the best are retrained")
    if spec.search.seed in spec.axes["seed"]:
        raise ValueError(
            f"[axes] seed has {spec.search.seed}, the search's own: the best are retrained with "
            "fresh seeds"
        )
    if not spec.train:
        raise ValueError("train = false: a search trains")
    for arm in spec.arm:
        _check_arm(spec, arm)
    for name, found in spaces(spec).items():
        if not found.ranges:
            raise ValueError(f"[search] arms names {name!r}, which has no range to choose from")


def _check_arm(spec: ExperimentFile, arm: Arm) -> None:
    assert spec.search
    if arm.arms or arm.controls:
        field = next(iter(arm.arms), "controls")
        raise ValueError(f"[arm {arm.name!r}] {field}: the arms of a search stand by themselves")
    ranges = space({**spec.trial, **arm.fields}).ranges
    if ranges and arm.name not in spec.search.arms:
        raise ValueError(
            f"[arm {arm.name!r}] {next(iter(ranges))} is a range, but [search] arms does not name "
            "the arm"
        )


def with_choice(spec: ExperimentFile, chosen: Mapping[str, Sequence[Fields]]) -> ExperimentFile:
    """The file with each tuned arm at its chosen values: "learned", then "learned #2", …"""
    tuned = spec.search.arms if spec.search else ()
    arms = [
        _at(arm, values, place)
        for arm in spec.arm
        for place, values in enumerate(chosen.get(arm.name, [{}]))
        if arm.name in chosen or arm.name not in tuned
    ]
    return spec.model_copy(update={"trial": dict(space(spec.trial).fixed), "arm": arms})


def _at(arm: Arm, values: Fields, place: int) -> Arm:
    ours = {"name": arm.name, "role": arm.role, "isolates": arm.isolates}
    if place:
        ours |= {"name": f"{arm.name} #{place + 1}", "role": "control"}
    return Arm(**{**space(arm.fields).fixed, **values, **ours})


def configuration(spec: ExperimentFile, chosen: Mapping[str, Fields]) -> ExperimentFile:
    """The file that scores one choice for each arm named: by the search's split, seed and trial."""
    assert spec.search
    own = {**spec.search.trial, "holdout": spec.search.holdout}
    scored = with_choice(spec, {arm: [{**values, **own}] for arm, values in chosen.items()})
    arms = [arm for arm in scored.arm if arm.name in chosen]
    return scored.model_copy(update={"arm": arms, "axes": {"seed": [spec.search.seed]}})
