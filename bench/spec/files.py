"""From a TOML file to an experiment: read, validate, add controls, cross."""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast

from pydantic import ValidationError

from bench.errors import InputError
from bench.paths import EXPERIMENTS
from bench.spec import controls, tuning
from bench.spec.experiment import (
    ARM_FIELDS,
    SETTLED,
    Arm,
    Cell,
    Experiment,
    ExperimentFile,
    Part,
    SizeRequest,
    Trial,
)
from bench.spec.mistakes import sentence, shown, unknown
from bench.spec.ranges import Fields
from bench.spec.settling import settled
from bench.store import Store
from resizer.specs import nearest

TIMES = {"output_size": 1, "2 * output_size": 2}
EQUAL = ("equal_gmacs", "equal_time")
PARTS: tuple[Part, ...] = ("resizer", "backbone")
OWN = ("cost", "margin_pct", "recipe_for")
LAID = ("axes", "timing", "search", "arm")
"""Fields of the file, and tables, that `[small]` may have; its others are those of [trial]."""


def load(
    name: str,
    *,
    small: bool = False,
    sizes: Mapping[str, int] | None = None,
    best: Mapping[str, Sequence[Fields]] | None = None,
) -> Experiment:
    """Read an experiment.

    Args:
        name: a bare name (`experiments/<name>.toml`) or the path of a TOML file.
        small: lay the file's `[small]` table over it.
        sizes: pixels by the key of a `SizeRequest`, those that are settled.
        best: of a search, the best configurations found, by arm: what is retrained.
    Raises:
        InputError: with the file, the field, the value and what is allowed.
    """
    file, spec = read(name, small=small)
    if spec.search:
        if set(best or {}) != set(spec.search.arms):
            verb = f"resizer-bench search {name}" + (" --small" if small else "")
            raise InputError(f"{shown(file)} is a search that has found nothing yet: {verb}")
        spec = tuning.with_choice(spec, best or {})
    cross = Cross(file, spec, sizes or {})
    cells = list(cross.cells())
    arms = [arm for arm in spec.arm if not _idle(arm, spec, cells)]
    kept = {arm.name for arm in arms}
    return Experiment(
        name=result_name(file, small=small),
        file=file,
        small=small,
        spec=spec.model_copy(update={"arm": arms}),
        cells=[cell for cell in cells if cell.arm in kept],
        sizes=cross.open,
        matched=cross.matched,
    )


def load_from(store: Store, name: str, *, small: bool) -> Experiment:
    """Read an experiment with the sizes that the store has settled and what its search found.

    Raises:
        InputError: as `load`; or if the search was over other ranges than the file has now.
    """
    file, spec = read(name, small=small)
    told = store.search(result_name(file, small=small)) if spec.search else None
    if told and told.get("spaces") != tuning.written(spec):
        verb = f"resizer-bench search {name}" + (" --small" if small else "")
        raise InputError(f"{shown(file)} was tuned over other ranges than it has now: {verb}")
    best = store.best(result_name(file, small=small))
    return load(name, small=small, sizes=store.sizes(), best=best)


def read(name: str, *, small: bool) -> tuple[Path, ExperimentFile]:
    """An experiment's file, and what is in it: standard controls added, ranges not yet chosen.

    Raises:
        InputError: as `load`.
    """
    file = _find(name)
    try:
        raw = tomllib.loads(file.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{shown(file)} is not TOML: {error}") from None
    if small:
        raw = _with_small(file, raw)
    try:
        spec = controls.expand(ExperimentFile.model_validate(raw))
    except ValidationError as error:
        raise InputError(sentence(file, error, {}, ExperimentFile)) from None
    _check(file, spec)
    tuning.check(file, spec)
    return file, spec


def result_name(file: Path, *, small: bool) -> str:
    """What the folder of an experiment's results is called."""
    return file.stem + ("-small" if small else "")


def shipped() -> list[str]:
    """The bare names of the experiments in `experiments/`."""
    return sorted(path.stem for path in EXPERIMENTS.glob("*.toml"))


def _find(name: str) -> Path:
    if name.endswith(".toml"):
        if not (file := Path(name).resolve()).is_file():
            raise InputError(f"no experiment file {name!r}")
        if file.stem.endswith("-small"):
            raise InputError(f"{name}: a name that ends in -small is that of a --small run")
        return file
    if name not in shipped():
        raise InputError(
            f"no experiment {name!r} in {EXPERIMENTS}{nearest(name, shipped())} "
            f"One of: {', '.join(shipped())}"
        )
    return EXPERIMENTS / f"{name}.toml"


def _with_small(file: Path, raw: Fields) -> Fields:
    """The file with its `[small]` table laid over the other tables and the arms."""
    if "small" not in raw:
        raise InputError(f"{shown(file)} has no [small] table: --small has nothing to lay over it")
    fields = dict(raw["small"])
    laid = {name: _table(file, name, fields.pop(name, {})) for name in LAID}
    if laid["search"] and "search" not in raw:
        raise InputError(f"{shown(file)}: [small.search] without a [search] table")
    arms = [arm | laid["arm"].pop(arm.get("name", ""), {}) for arm in raw.get("arm", [])]
    for name in laid["arm"]:
        known = [arm["name"] for arm in arms if "name" in arm]
        raise InputError(
            f"{shown(file)}: [small.arm] names the arm {name!r}, which is not there"
            f"{nearest(name, known)} One of: {', '.join(known)}"
        )
    own = {name: fields.pop(name) for name in OWN if name in fields}
    return (
        raw
        | own
        | {
            "trial": raw.get("trial", {}) | fields,
            "axes": raw.get("axes", {}) | laid["axes"],
            "timing": raw.get("timing", {}) | laid["timing"],
            "arm": arms,
        }
        | ({"search": raw["search"] | laid["search"]} if "search" in raw else {})
    )


def _table(file: Path, name: str, value: Any) -> Fields:
    if not isinstance(value, dict):
        raise InputError(f"{shown(file)}: [small] {name} = {value!r}: it is a table")
    return dict(value)


def _check(file: Path, spec: ExperimentFile) -> None:
    """Raise InputError at the first name that is not there or stands twice."""
    arms = [arm.name for arm in spec.arm]
    for name in arms:
        if arms.count(name) > 1:
            raise InputError(f"{shown(file)}: two arms are named {name!r}")
    for name, values in spec.axes.items():
        if len({repr(value) for value in values}) < len(values):
            raise InputError(f"{shown(file)}: [axes] {name} = {values} names a value twice")
    named = [("primary", name) for name in spec.primary or ()]
    named += [("recipe_for", spec.recipe_for)] if spec.recipe_for else []
    named += [(f"[arm {a.name!r}] {field}", to) for a in spec.arm for field, to in a.arms.items()]
    for where, name in named:
        if name not in arms:
            raise InputError(
                f"{shown(file)}: {where} names the arm {name!r}, which is not there"
                f"{nearest(name, arms)} One of: {', '.join(arms)}"
            )
    _check_seeds(file, spec)
    if spec.primary and spec.primary[0] == spec.primary[1]:
        raise InputError(f"{shown(file)}: primary compares {spec.primary[0]!r} with itself")
    _check_fields(file, spec)


def _check_seeds(file: Path, spec: ExperimentFile) -> None:
    """Raise InputError where an arm asks for more seeds than there are to it."""
    total = len(spec.axes.get("seed", [0]))
    seeds = {arm.name: arm.seeds or total for arm in spec.arm}
    for arm in spec.arm:
        if max(seeds[arm.name], arm.control_seeds or 0) > total:
            raise InputError(f"{shown(file)}: [arm {arm.name!r}] seeds: [axes] has {total} of them")
        for field, parent in arm.arms.items():
            if field != "match" and seeds[arm.name] > seeds[parent]:
                raise InputError(
                    f"{shown(file)}: [arm {arm.name!r}] {field} = {parent!r}, which has fewer seeds"
                )


def _check_fields(file: Path, spec: ExperimentFile) -> None:
    tables: dict[str, Mapping[str, Any]] = {"trial": spec.trial, "axes": spec.axes}
    tables |= {"search.trial": spec.search.trial} if spec.search else {}
    tables |= {f"arm {arm.name!r}": arm.fields for arm in spec.arm}
    known = [name for name in Trial.model_fields if name not in ARM_FIELDS]
    for table, fields in tables.items():
        for name in fields:
            if name not in known:
                raise InputError(unknown(file, table, name, known))
            if name == "seed" and table.startswith("arm "):
                raise InputError(f"{shown(file)}: [{table}] seed: arms are paired by [axes] seed")


def _idle(arm: Arm, spec: ExperimentFile, cells: Sequence[Cell]) -> bool:
    """Whether a standard control has nothing to tell: its trials are the baseline's own."""
    ours, base = (
        {cell.trial.key for cell in cells if cell.arm == name} for name in (arm.name, spec.baseline)
    )
    return arm.control is not None and bool(ours) and ours <= base


class Cross:
    """Every arm at every combination of axis values; where both set a field, the arm wins.

    Cells that collapse to one trial share the object, and so compute its key once. A cell whose
    size is not settled, or that starts from such a one, is left out.
    """

    def __init__(self, file: Path, spec: ExperimentFile, sizes: Mapping[str, int]) -> None:
        self.file = file
        self.spec = spec
        self.sizes = sizes
        self.open: dict[str, SizeRequest] = {}
        self.matched: dict[str, SizeRequest] = {}
        self._arms = {arm.name: arm for arm in spec.arm}
        self._made: dict[tuple[str, int], Trial | None] = {}
        self._distinct: dict[str, Trial] = {}
        self._axes = [
            dict(zip(spec.axes, values, strict=True))
            for values in itertools.product(*spec.axes.values())
        ]

    def cells(self) -> Iterator[Cell]:
        """The cells, arm by arm."""
        for arm in self.spec.arm:
            seeds = self.spec.axes.get("seed", [])[: arm.seeds]
            for place, axes in enumerate(self._axes):
                if axes.get("seed") not in (seeds or [None]):
                    continue
                if trial := self._trial(arm.name, place, ()):
                    yield Cell(arm.name, axes, trial)

    def _trial(self, name: str, place: int, asking: tuple[str, ...]) -> Trial | None:
        """The trial of an arm at the place-th combination, made after those that it needs."""
        if name in asking:
            told = " → ".join([*asking[asking.index(name) :], name])
            raise InputError(f"{shown(self.file)}: arms start from one another in a circle: {told}")
        if (name, place) not in self._made:
            arm, path = self._arms[name], (*asking, name)
            needed = {field: self._trial(to, place, path) for field, to in arm.arms.items()}
            settled = None not in needed.values()
            made = self._make(arm, place, cast("dict[str, Trial]", needed)) if settled else None
            self._made[name, place] = made
        return self._made[name, place]

    def _make(self, arm: Arm, place: int, needed: Mapping[str, Trial]) -> Trial | None:
        fields = self.spec.trial | self._axes[place] | arm.fields
        word = fields.get("input_size")
        if isinstance(word, str) and word in (*TIMES, *EQUAL):
            side = fields.get("output_size")
            whole = isinstance(side, int)
            fields["input_size"] = TIMES.get(word, 1) * side if whole else side  # type: ignore[operator]
        trial = self._valid(arm, place, fields | self._starts(arm, place, fields, needed))
        if word in EQUAL:
            size = self._size(arm, word, trial, needed.get("match"))
            return controls.enlarged(trial, size) if size else None
        return trial

    def _size(
        self, arm: Arm, kind: Literal["equal_gmacs", "equal_time"], plain: Trial, like: Trial | None
    ) -> int | None:
        """The settled size, or None after a note of what is to be settled."""
        if like is None:
            raise InputError(
                f"{shown(self.file)}: [arm {arm.name!r}] input_size = {kind!r} needs match, "
                "the arm whose cost is to be met"
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
                    raise self._another(arm, part, own, parent)
                del keys["resizer_from"]
        return keys

    def _another(self, arm: Arm, part: Part, ours: Trial, theirs: Trial) -> InputError:
        """Our part is not of the kind that the other trial has trained."""
        field = f"{part}_from" if f"{part}_from" in arm.arms else "init_from"
        return InputError(
            f"{shown(self.file)}: [arm {arm.name!r}] {field} = {arm.arms[field]!r}: that arm's "
            f"{part} is {getattr(theirs, part)}, not {getattr(ours, part)} with these options"
        )

    def _valid(self, arm: Arm, place: int, fields: Fields) -> Trial:
        try:
            own = settled(fields)
            checkpoint = own.get("pretrained")
            if isinstance(checkpoint, str) and not Path(checkpoint).is_file():
                raise ValueError(f"pretrained = {checkpoint!r}: there is no such file")
            text = repr(sorted(own.items()))
            if text not in self._distinct:
                self._distinct[text] = Trial.model_validate(own, context=SETTLED)
            return self._distinct[text]
        except ValidationError as error:
            axes = self._axes[place]
            layers = {f"arm {arm.name!r}": arm.fields, "axes": axes, "trial": self.spec.trial}
            raise InputError(sentence(self.file, error, layers, Trial)) from None
        except ValueError as error:
            raise InputError(f"{shown(self.file)}: {error}") from None


def _same(part: Part, ours: Trial, theirs: Trial) -> bool:
    """Whether two trials have the same kind of a part, so that weights of one fit the other."""
    if part == "resizer" and ours.resizer_options != theirs.resizer_options:
        return False
    return bool(getattr(ours, part) == getattr(theirs, part))
