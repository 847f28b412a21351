"""The cross: every arm at every combination of axis values, as trials."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, cast

from pydantic import ValidationError

from bench.spec.experiment import EQUAL, Arm, Cell, ExperimentFile, SizeRequest, context_label
from bench.spec.mistakes import sentence
from bench.spec.ranges import of_seed
from bench.spec.trial import CANONICAL, Fields, Part, Trial, canonical, laid_over
from resizer.specs import one_of

TIMES = {"output_size": 1, "2 * output_size": 2}
MOST_CELLS = 100_000  # of more, nobody waits for the end
MOST_STARTS = 100  # of one arm from another, one after the other
PARTS: tuple[Part, ...] = ("resizer", "backbone")


class Cross:
    """Every arm at every combination of axis values; where both set a field, the arm wins.

    Cells that collapse to one trial share the object, and so compute its key once. A cell whose
    size is not matched yet, or that starts from such a one, is left out. What cannot be made is a
    ValueError.
    """

    def __init__(self, spec: ExperimentFile, sizes: Mapping[str, int]) -> None:
        self.spec, self.sizes = spec, sizes
        self.open: dict[str, SizeRequest] = {}
        self.matched: dict[str, SizeRequest] = {}
        self._arms = {arm.name: arm for arm in spec.arm}
        self._made: dict[tuple[str, int], Trial | None] = {}
        self._distinct: dict[str, Trial] = {}
        if (cells := math.prod(map(len, spec.axes.values())) * len(spec.arm)) > MOST_CELLS:
            raise ValueError(f"[axes] and arms make {cells:,} cells; {MOST_CELLS:,} are the most")
        places = itertools.product(*spec.axes.values())
        self._axes = [dict(zip(spec.axes, values, strict=True)) for values in places]
        self._contexts = [context_label(axes) for axes in self._axes]

    def cells(self) -> Iterator[Cell]:
        for arm in self.spec.arm:
            seeds = self.spec.axes.get("seed", [])[: arm.seeds] or [None]
            for place, axes in enumerate(self._axes):
                if axes.get("seed") in seeds and (trial := self._trial(arm.name, place, ())):
                    yield Cell(arm.name, axes, trial)

    def _trial(self, name: str, place: int, asking: tuple[str, ...]) -> Trial | None:
        """The trial of an arm at the place-th combination, made after those that it needs."""
        if name in asking:
            circle = " → ".join([*asking[asking.index(name) :], name])
            raise ValueError(f"arms start from one another in a circle: {circle}")
        if len(asking) > MOST_STARTS:
            raise ValueError(f"arms start from one another {MOST_STARTS} times at most")
        if (name, place) not in self._made:
            arm, path = self._arms[name], (*asking, name)
            needed = {field: self._trial(to, place, path) for field, to in arm.arms.items()}
            known = None not in needed.values()
            made = self._make(arm, place, cast("dict[str, Trial]", needed)) if known else None
            self._made[name, place] = made
        return self._made[name, place]

    def _make(self, arm: Arm, place: int, needed: Mapping[str, Trial]) -> Trial | None:
        given = laid_over(laid_over(self.spec.trial, self._axes[place]), arm.fields)
        fields = self._in_turn(arm, given)
        word, side = fields.get("input_size"), fields.get("output_size")
        if isinstance(word, str):
            fields["input_size"] = _in_pixels(arm, word, side)
        fields |= self._starts(arm, place, fields, needed)
        trial = self._valid(arm, place, fields)
        if word in EQUAL:
            size = self._settled(arm, place) or self._size(arm, word, trial, needed.get("match"))
            return self._valid(arm, place, fields | {"input_size": size}) if size else None
        return trial

    def _in_turn(self, arm: Arm, given: Fields) -> Fields:
        """The fields of one seed: each of several recipes is that of every so many-th."""
        seed = given.get("seed", 0)
        try:
            return {name: of_seed(value, seed) for name, value in given.items()}
        except ValueError as error:
            raise ValueError(f"[arm {arm.name!r}] {error}") from None

    def _settled(self, arm: Arm, place: int) -> int | None:
        """The size that the file has in place of one that this machine would match."""
        sizes, contexts = arm.matched_px, dict.fromkeys(self._contexts)
        if len(sizes) not in (0, 1, len(contexts)):
            raise ValueError(
                f"[arm {arm.name!r}] matched_px has {len(sizes)} sizes: it takes one, or one for "
                f"each of the {len(contexts)} contexts"
            )
        if len(sizes) < 2:
            return sizes[0] if sizes else None
        return sizes[list(contexts).index(self._contexts[place])]

    def _size(
        self, arm: Arm, kind: Literal["equal_gmacs", "equal_time"], plain: Trial, like: Trial | None
    ) -> int | None:
        """The matched size, or None after a note of what is to be matched."""
        if like is None:
            raise ValueError(
                f"[arm {arm.name!r}] input_size = {kind!r} needs match, the arm whose cost is to "
                "be met"
            )
        request = SizeRequest(arm.name, kind, like, plain)
        known = request.key in self.sizes
        (self.matched if known else self.open)[request.key] = request
        return self.sizes.get(request.key)

    def _starts(
        self, arm: Arm, place: int, fields: Fields, needed: Mapping[str, Trial]
    ) -> dict[str, str]:
        """The keys of the trials whose parts the arm takes over.

        `init_from` gives what both have: the backbone, and the resizer where it is the same one.
        """
        whole = needed.get("init_from")
        parents = {part: needed.get(f"{part}_from", whole) for part in PARTS}
        keys = {f"{part}_from": parent.key for part, parent in parents.items() if parent}
        if not keys:
            return {}
        own = self._valid(arm, place, fields | keys)
        for part, parent in parents.items():
            if parent and not _same(part, own, parent):
                if part == "backbone" or parent is not whole:
                    field = f"{part}_from" if f"{part}_from" in arm.arms else "init_from"
                    raise ValueError(
                        f"[arm {arm.name!r}] {field} = {arm.arms[field]!r}: that arm's {part} is "
                        f"{getattr(parent, part)}, not {getattr(own, part)} with these options"
                    )
                del keys["resizer_from"]
        return keys

    def _valid(self, arm: Arm, place: int, fields: Fields) -> Trial:
        own = canonical(fields)
        checkpoint = own.get("pretrained")
        if isinstance(checkpoint, str) and not Path(checkpoint).is_file():
            raise ValueError(f"pretrained = {checkpoint!r}: there is no such file")
        text = repr(sorted(own.items()))
        try:
            if text not in self._distinct:
                self._distinct[text] = Trial.model_validate(own, context=CANONICAL)
        except ValidationError as error:
            axes = self._axes[place]
            layers = {f"arm {arm.name!r}": arm.fields, "axes": axes, "trial": self.spec.trial}
            raise ValueError(sentence(error, layers, Trial)) from None
        return self._distinct[text]


def _in_pixels(arm: Arm, word: str, side: object) -> int:
    """An input_size in words; of one that is to be matched, the size from which it grows."""
    said = f"[arm {arm.name!r}] input_size = {word!r}"
    if word not in (*TIMES, *EQUAL):
        raise ValueError(f"{said} is no number of pixels{one_of(word, (*TIMES, *EQUAL))}")
    if type(side) is not int:
        raise ValueError(f"{said} needs an output_size in whole pixels")
    return side * TIMES.get(word, 1)


def _same(part: Part, ours: Trial, theirs: Trial) -> bool:
    """Whether two trials have the same kind of a part, so that weights of one fit the other."""
    if part == "resizer" and ours.resizer_options != theirs.resizer_options:
        return False
    return bool(getattr(ours, part) == getattr(theirs, part))
