"""From a TOML file to an experiment: read, validate, add controls, cross."""

from __future__ import annotations

import math
import re
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from bench.errors import InputError
from bench.paths import EXPERIMENTS
from bench.spec import controls, tuning, variants
from bench.spec.experiment import ARM_FIELDS, Arm, Asked, Experiment, ExperimentFile, Small
from bench.spec.grid import Cross
from bench.spec.mistakes import check_arm, of_file, shown, unknown
from bench.spec.trial import LENGTHS, Fields, Trial, laid_over
from resizer.specs import one_of

OWN = ("cost", "looks", "margin_pct", "recipe_for", "targets_pct")
OF_TRIAL = [name for name in Trial.model_fields if name not in ARM_FIELDS]
"""Fields that a file may set."""
DEEPEST = 16  # tables and lists in one another, in a file
NO_TEXT = re.compile("[\ud800-\udfff]")  # of bytes that are not UTF-8: no table can hold it
STORED = ("trials", "timings", "sizes", "searches", "smoke", "names", "claims", "unfinished")
MADE = ("comparisons", "checks", "check-resizer", "published", "index.html")
RESERVED = (*STORED, *MADE)
"""What a store's folder has of its own: no experiment is called so, as its results lie beside."""


def load(name: str, *, small: bool = False, sizes: Mapping[str, int] | None = None) -> Experiment:
    """An experiment by itself: `read`, then `crossed`."""
    return crossed(read(name, small=small), sizes or {}, {})


def crossed(
    asked: Asked, sizes: Mapping[str, int], best: Mapping[str, Sequence[Fields]]
) -> Experiment:
    """What is asked for with its trials.

    Args:
        sizes: pixels by the key of a `SizeRequest`, those that are matched.
        best: of a search, the best configurations found, by arm: what is retrained.
    Raises:
        InputError: as `read`, or if a search has found nothing yet.
    """
    file, spec = asked.file, asked.spec
    if spec.search:
        if set(best) != set(spec.search.arms):
            said = f"is a search that has found nothing yet: {asked.command}"
            raise InputError(f"{shown(file)} {said}")
        spec = tuning.with_choice(spec, best)
    keys = defaultdict[str, set[str]](set)
    with of_file(file, small=asked.small):
        cross = Cross(spec, sizes)
        cells = list(cross.cells())
        for cell in cells:
            keys[cell.arm].add(cell.trial.key)
        ours, theirs = spec.primary or ("", spec.baseline)
        if keys[ours] == keys[theirs] != set() and not spec.search:
            raise ValueError(f"primary: {ours!r} and {theirs!r} are the same trials")
    others = [spec.baseline, *(arm.name for arm in spec.arm if arm.role == "treatment")]
    arms = {arm.name: arm for arm in spec.arm if not _idle(arm, keys, others)}
    made = Experiment(
        file,
        asked.small,
        asked.changes,
        spec=spec.model_copy(update={"arm": list(arms.values())}),
        cells=[cell for cell in cells if cell.arm in arms],
        sizes=cross.open,
        matched=cross.matched,
    )
    if made.changes:
        plain = load(str(file), small=made.small, sizes=sizes)
        if {*made.trials, *made.sizes} == {*plain.trials, *plain.sizes}:
            said = "no trial changes: [axes] and arms have their own, or have no use for it"
            raise InputError(f"{shown(file)}:{variants.options(made.changes)}: {said}")
    return made


def _idle(arm: Arm, keys: Mapping[str, set[str]], others: Iterable[str]) -> bool:
    """Whether a standard control has nothing to tell: its trials are one of the others' own."""
    own = keys[arm.name]
    return bool(arm.control and own and any(own <= keys[other] for other in others))


def read(name: str, *, small: bool = False, changes: Fields | None = None) -> Asked:
    """What is in an experiment's file: standard controls added, ranges not yet chosen.

    Args:
        name: a bare name (`experiments/<name>.toml`) or the path of a TOML file.
        small: lay the file's `[small]` table over it; it is checked in any case.
        changes: fields laid over its [trial] last: the variant has a name of its own.
    Raises:
        InputError: with the file, the field, the value and what is allowed.
    """
    file = _find(name)
    raw = _parsed(file)
    with of_file(file, raw):
        _check_values(raw)
        spec = ExperimentFile.model_validate(raw)
        if small:
            raw = _with_small(raw, spec.small)
        if changes:
            _check_values({"--set": changes})
            raw = _with_changes(raw, changes)
    with of_file(file, raw, small=small):
        spec = controls.expand(ExperimentFile.model_validate(raw))
        _check(spec)
        tuning.check(spec)
    if spec.small and not small:
        _check_small(read(name, small=True))
    return Asked(file, small, changes or {}, spec)


def _check_small(asked: Asked) -> None:
    """Raise InputError at the first trial of the small form that cannot be made.

    Its checkpoint need not be there: who asks for the full form has no use for it.
    """
    trial = asked.spec.trial
    if isinstance(trial.get("pretrained"), str):
        trial = trial | {"pretrained": True}
    if not asked.spec.search:
        with of_file(asked.file, small=True):
            list(Cross(asked.spec.model_copy(update={"trial": trial}), {}).cells())


def _parsed(file: Path) -> Fields:
    """What is in a TOML file, a byte order mark before it or not."""
    try:
        return tomllib.loads(file.read_bytes().decode("utf-8-sig"))
    except RecursionError:
        raise InputError(f"{shown(file)} is nested too deeply") from None
    except ValueError as error:  # of syntax, encoding, or a number of thousands of digits
        raise InputError(f"{shown(file)} is not TOML: {error}") from None


def _check_values(raw: Fields) -> None:
    """Raise ValueError at the first value that TOML does not promise, or what is nested deeply."""
    waiting: list[tuple[tuple[str, ...], object]] = [((), raw)]
    while waiting:
        at, value = waiting.pop()
        where = ".".join(at)
        if len(at) > DEEPEST:
            raise ValueError(f"{where[:200]}… is nested more than {DEEPEST} deep")
        if isinstance(value, dict):
            waiting += [((*at, name), of) for name, of in value.items()]
        elif isinstance(value, list):
            waiting += [((*at, str(place)), of) for place, of in enumerate(value)]
        elif isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise ValueError(f"{where} is a whole number of more than 64 bits")
        elif isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{where} = {value}: it is no finite number")
        elif isinstance(value, str) and NO_TEXT.search(value):
            raise ValueError(f"{where} = {value!r}: it is no text in UTF-8")


def shipped() -> list[str]:
    """The bare names of the experiments in `experiments/`, those of its folders left out."""
    return sorted(path.stem for path in EXPERIMENTS.glob("*.toml"))


def _find(name: str) -> Path:
    if name.endswith(".toml"):
        if not (file := Path(name).resolve()).is_file():
            raise InputError(f"no experiment file {name!r}")
        check_name(file)
        return file
    ours = {path.stem: path for path in EXPERIMENTS.rglob("*.toml")}
    if name in ours:
        return ours[name]
    missing = f"no experiment {name!r} in {EXPERIMENTS}"
    if (own := Path(f"{name}.toml")).is_file():
        raise InputError(f"{missing}; did you mean the file {str(own)!r}?")
    if (path := Path(name)).name != name:
        why = "is no TOML file" if path.exists() else "is neither a file nor a folder"
        raise InputError(f"{name!r} {why}")
    raise InputError(missing + one_of(name, shipped()))


def check_name(file: Path) -> None:
    """Raise InputError if the results of a file could not have its name."""
    if NO_TEXT.search(str(file)):
        raise InputError(
            f"{file}: neither a file nor its folders may have names that are not UTF-8"
        )
    if file.stem.endswith("-small"):
        raise InputError(f"{file.name}: a name that ends in -small is that of a --small run")
    if file.stem.startswith(".") or file.stem.lower() in RESERVED:
        raise InputError(
            f"{file.name}: among the results {file.stem!r} is the name of something else; give the "
            "file another name"
        )


def _with_small(raw: Fields, small: Small | None) -> Fields:
    """The file with its `[small]` table laid over the other tables and the arms."""
    if small is None:
        raise ValueError("--small: the file has no [small] table to lay over it")
    if small.search and "search" not in raw:
        raise ValueError("[small.search] without a [search] table")
    arms = [arm["name"] for arm in raw["arm"]]
    for name in small.arm:
        check_arm("[small.arm]", name, arms)
    fields = small.fields
    whole = raw | {name: fields.pop(name) for name in OWN if name in fields}
    whole["trial"] = laid_over(raw["trial"], fields)
    whole["arm"] = [laid_over(arm, small.arm.get(arm["name"], {})) for arm in raw["arm"]]
    for name in ("axes", "timing", "search"):
        if own := getattr(small, name):
            whole[name] = laid_over(raw.get(name, {}), own)
    return whole


def _with_changes(raw: Fields, changes: Fields) -> Fields:
    """The file with fields laid over its [trial]."""
    if "search" in raw:
        raise ValueError("--set: what a search chooses from stands in its file")
    for name in changes:
        if name not in OF_TRIAL:
            raise ValueError(f"--set: unknown field {name!r}{one_of(name, OF_TRIAL)}")
    return raw | {"trial": laid_over(raw["trial"], changes)}


def _check(spec: ExperimentFile) -> None:
    """Raise ValueError at the first name that is not there or stands twice."""
    arms = [arm.name for arm in spec.arm]
    for name in arms:
        if arms.count(name) > 1:
            raise ValueError(f"two arms are named {name!r}")
        if not name.isprintable() or name != name.strip():
            raise ValueError(
                f"[arm {name!r}]: a name is printable, on one line, without spaces at its ends"
            )
    for name, values in spec.axes.items():
        if any(value in values[:place] for place, value in enumerate(values)):  # 1, 1.0 and true
            raise ValueError(f"[axes] {name} = {values} names a value twice")
    compared = {"primary": spec.primary or (), "secondary": spec.secondary or ()}
    named = [(field, name) for field, pair in compared.items() for name in pair]
    named += [("recipe_for", spec.recipe_for)] if spec.recipe_for else []
    named += [(f"[arm {a.name!r}] {field}", to) for a in spec.arm for field, to in a.arms.items()]
    for where, name in named:
        check_arm(where, name, arms)
    for arm in spec.arm:
        if arm.control and arm.control not in controls.STANDARD:
            raise ValueError(
                f"[arm {arm.name!r}] control = {arm.control!r} is not a standard "
                f"control{one_of(arm.control, controls.STANDARD)}"
            )
    _check_seeds(spec)
    for field, pair in compared.items():
        if pair and pair[0] == pair[1]:
            raise ValueError(f"{field} compares {pair[0]!r} with itself")
    ours, theirs = spec.primary or ("", "")
    if spec.secondary and (spec.secondary[0] != ours or spec.secondary[1] == theirs):
        raise ValueError("secondary compares the treatment of primary with another arm")
    if spec.targets_pct and all(len(spec.axes.get(name, ())) < 2 for name in LENGTHS):
        raise ValueError("targets_pct: [axes] has no several epochs or steps to reach them in")
    _check_fields(spec)


def _check_seeds(spec: ExperimentFile) -> None:
    """Raise ValueError where an arm, or a look, asks for more seeds than there are to it."""
    total = len(spec.axes.get("seed", [0]))
    seeds = {arm.name: arm.seeds or total for arm in spec.arm}
    most = min([total, *(seeds[name] for name in spec.primary or ())])
    if sorted({look for look in spec.looks if look <= most}) != list(spec.looks):
        raise ValueError(
            f"looks = {list(spec.looks)}: rising numbers of seeds, none beyond the "
            f"{most} that the arms to be compared have"
        )
    for arm in spec.arm:
        if max(seeds[arm.name], arm.control_seeds or 0) > total:
            raise ValueError(f"[arm {arm.name!r}] seeds: [axes] has {total} of them")
        for field, parent in arm.arms.items():
            if field != "match" and seeds[arm.name] > seeds[parent]:
                raise ValueError(f"[arm {arm.name!r}] {field} = {parent!r}, which has fewer seeds")


def _check_fields(spec: ExperimentFile) -> None:
    tables: dict[str, Fields] = {"trial": spec.trial, "axes": spec.axes}
    tables |= {"search.trial": spec.search.trial} if spec.search else {}
    tables |= {f"arm {arm.name!r}": arm.fields for arm in spec.arm}
    for table, fields in tables.items():
        for name in fields:
            if name not in OF_TRIAL:
                raise ValueError(unknown(table, name, OF_TRIAL))
            if name == "seed" and table.startswith("arm "):
                raise ValueError(f"[{table}] seed: arms are paired by [axes] seed")
    for name in spec.axes:
        if all({name, LENGTHS.get(name)} & arm.fields.keys() for arm in spec.arm):
            raise ValueError(f"[axes] {name} changes nothing: every arm has its own")
