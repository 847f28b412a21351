"""Ranges in place of values: what a search may choose, and which of it an arm uses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import product

from bench.spec.trial import Fields, canonical
from resizer.specs import one_of

KINDS = ("log", "uniform", "int", "choice")
DECIDING = ("resizer", "optimizer", "schedule", "crop", "interpolation")
"""Fields on whose values it depends which others are used: they are chosen first."""

Scalar = str | int | float


@dataclass(frozen=True)
class Range:
    """The values that a field may take, both ends included."""

    kind: str  # "log", "uniform": floats; "int": whole numbers; "choice": one of some values
    values: tuple[Scalar, ...]  # two ends, or what is to choose from

    @property
    def ends(self) -> tuple[float, float]:
        """The lowest and the highest value; not of a "choice"."""
        low, high = self.values
        return float(low), float(high)

    @property
    def tried(self) -> tuple[Scalar, ...]:
        """Both ends, as they are drawn, or every choice."""
        return self.ends if self.kind in ("log", "uniform") else self.values

    @property
    def written(self) -> Fields:
        """As a file has it; `parsed` reads it."""
        return {self.kind: list(self.values)}

    def __str__(self) -> str:
        if self.kind == "choice":
            return "one of " + ", ".join(map(str, self.values))
        low, high = self.ends
        return f"{low:g} to {high:g} ({self.kind})"


IN_TURN = "in_turn"


def of_seed(value: object, seed: object) -> object:
    """The value that a field has at a seed: `{ in_turn = [a, b] }` is a at even seeds, b at odd.

    Raises:
        ValueError: if there is nothing to take in turns.
    """
    if not isinstance(value, Mapping) or set(value) != {IN_TURN}:
        return value
    values = value[IN_TURN]
    if not isinstance(values, list) or len(values) < 2:
        raise ValueError(f"{IN_TURN} = {values!r}: it takes a list of two values or more")
    if not isinstance(seed, int):
        raise ValueError(f"seed = {seed!r}: values that are {IN_TURN} need a whole number")
    return values[seed % len(values)]


def parsed(value: object) -> Range | None:
    """The range that a value in a file stands for; None for a plain value, or values in turn.

    Raises:
        ValueError: if it is a table but no range.

    >>> str(parsed({"log": [1e-4, 0.1]})), parsed(64)
    ('0.0001 to 0.1 (log)', None)
    """
    if not isinstance(value, Mapping) or IN_TURN in value:
        return None
    kind, values = next(iter(value.items()), ("", []))
    if kind not in KINDS:
        raise ValueError(f"unknown range {kind!r}{one_of(kind, KINDS)}")
    if len(value) > 1:
        raise ValueError(f"a range is of one kind, not of {' and '.join(value)}")
    if not isinstance(values, list):
        raise ValueError(f"{kind} = {values!r}: it takes a list")
    check = _check_choice if kind == "choice" else _check_ends
    check(kind, values)
    return Range(kind, tuple(values))


def _check_choice(kind: str, values: list[object]) -> None:
    if not values:
        raise ValueError(f"{kind} = []: there is nothing to choose from")
    if not all(isinstance(value, str | int | float) for value in values):
        raise ValueError(f"{kind} = {values}: texts, numbers, true and false are to choose from")
    if any(value in values[:place] for place, value in enumerate(values)):
        raise ValueError(f"{kind} = {values} names a value twice")


def _check_ends(kind: str, values: list[object]) -> None:
    whole = kind == "int"
    allowed = int if whole else int | float
    numbers = [v for v in values if isinstance(v, allowed) and not isinstance(v, bool)]
    if len(values) != 2 or len(numbers) != 2:
        raise ValueError(f"{kind} = {values}: it takes two {'whole ' if whole else ''}numbers")
    low, high = numbers
    if low >= high:
        raise ValueError(f"{kind} = {values}: the lower end comes first")
    if kind == "log" and low <= 0:
        raise ValueError(f"{kind} = {values}: both ends are above zero")


@dataclass(frozen=True)
class Space:
    """The fields of one arm: some fixed, some ranges."""

    fixed: Fields
    ranges: Mapping[str, Range]

    def chosen(self, choose: Callable[[str, Range], object]) -> Fields:
        """A value for every range that the arm uses, given what is chosen before it."""
        values: Fields = {}
        for name in sorted(self.ranges, key=lambda name: name not in DECIDING):
            if self._used(name, values):
                values[name] = choose(name, self.ranges[name])
        return values

    def used(self) -> Space:
        """The same without the ranges that the arm uses under none of its deciding choices."""
        deciding = [name for name in self.ranges if name in DECIDING]
        decided = [
            dict(zip(deciding, values, strict=True))
            for values in product(*(self.ranges[name].values for name in deciding))
        ]
        kept = {n: r for n, r in self.ranges.items() if any(self._used(n, of) for of in decided)}
        return Space(self.fixed, kept)

    def _used(self, name: str, chosen: Fields) -> bool:
        """Whether any of the range's values would count."""
        fields = self.fixed | chosen
        return any(name in canonical(fields | {name: value}) for value in self.ranges[name].values)


def space(fields: Mapping[str, object]) -> Space:
    """Tell ranges from plain values; ranges that are never used are left out.

    Raises:
        ValueError: as `parsed`, with the field's name.
    """
    ranges: dict[str, Range] = {}
    for name, value in fields.items():
        try:
            range_ = parsed(value)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
        if range_:
            ranges[name] = range_
    return Space({n: v for n, v in fields.items() if n not in ranges}, ranges).used()
