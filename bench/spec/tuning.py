"""The [search] table of a file: which arms have ranges, and the file with values chosen of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.spec.experiment import Arm, ExperimentFile, SearchSettings
from bench.spec.mistakes import check_arm
from bench.spec.ranges import Space, space
from bench.spec.trial import Fields, digest
from resizer.sources import source_digest


def spaces(spec: ExperimentFile) -> dict[str, Space]:
    """The space of each arm that the search tunes, by its name.

    Raises:
        ValueError: at the first range that is none.
    """
    tuned = spec.search.arms if spec.search else ()
    return {arm.name: space(spec.trial | arm.fields) for arm in spec.arm if arm.name in tuned}


def written(spec: ExperimentFile) -> dict[str, dict[str, Fields]]:
    """The ranges of each tuned arm as a search's record keeps them."""
    return {
        arm: {name: of.written for name, of in space.ranges.items()}
        for arm, space in spaces(spec).items()
    }


def check(spec: ExperimentFile) -> None:
    """Raise ValueError at the first thing that makes no sense in a search, or only in one."""
    said = ": only a file with a [search] table has ranges"
    if spec.search:
        _check_search(spec, spec.search)
        said = ", but [search] arms does not name the arm"
    for arm in spec.arm:
        ranges = space(spec.trial | arm.fields).ranges
        if ranges and not (spec.search and arm.name in spec.search.arms):
            raise ValueError(f"[arm {arm.name!r}] {next(iter(ranges))} is a range{said}")


def _check_search(spec: ExperimentFile, search: SearchSettings) -> None:
    for name in search.arms:
        check_arm("[search] arms", name, [arm.name for arm in spec.arm])
        if search.arms.count(name) > 1:
            raise ValueError(f"[search] arms names {name!r} twice")
    if set(spec.axes) != {"seed"}:
        raise ValueError("a search has one axis: the seeds with which the best are retrained")
    for seed in {search.seed, *(arm.search_seed for arm in spec.arm)}:
        if seed in spec.axes["seed"]:
            raise ValueError(
                f"[axes] seed has {seed}, the search's own: the best are retrained with fresh seeds"
            )
    if not spec.train:
        raise ValueError("train = false: a search trains")
    for arm in spec.arm:
        if field := next(iter(arm.arms), "controls" if arm.controls else ""):
            said = "the arms of a search stand by themselves"
            raise ValueError(f"[arm {arm.name!r}] {field}: {said}")
    for name, tuned in spaces(spec).items():
        if not tuned.ranges:
            raise ValueError(f"[search] arms names {name!r}, which has no range to choose from")


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
    ours: Fields = {"name": arm.name, "role": arm.role, "isolates": arm.isolates}
    ours |= {"seeds": arm.seeds, "search_seed": arm.search_seed}
    if place:
        ours |= {"name": f"{arm.name} #{place + 1}", "role": "control"}
    return Arm(**(space(arm.fields).fixed | values | ours))


def search_seed(spec: ExperimentFile, name: str) -> int:
    """The seed of an arm's sampler, and with which its configurations are trained."""
    assert spec.search
    own = next(arm.search_seed for arm in spec.arm if arm.name == name)
    return spec.search.seed if own is None else own


def configuration(spec: ExperimentFile, chosen: Mapping[str, Fields]) -> ExperimentFile:
    """The file that scores one choice for each arm named: by the search's split, seed and trial."""
    assert spec.search
    own = spec.search.trial | {"holdout": spec.search.holdout}
    seeds = {arm.name: {"seed": search_seed(spec, arm.name)} for arm in spec.arm}
    scored = with_choice(spec, {arm: [of | own | seeds[arm]] for arm, of in chosen.items()})
    arms = [arm for arm in scored.arm if arm.name in chosen]
    return scored.model_copy(update={"arm": arms, "axes": {"seed": [spec.search.seed]}})


def contents(space: Space) -> list[str]:
    """Digests of the user's own code, and of the checkpoints, that an arm's values name."""
    values: dict[str, Sequence[object]] = {
        name: space.ranges[name].values if name in space.ranges else [space.fixed.get(name)]
        for name in ("resizer", "pretrained")
    }
    texts = {name: [of for of in found if isinstance(of, str)] for name, found in values.items()}
    code = [source_digest(of) for of in texts["resizer"] if ":" in of]
    return code + [digest(Path(of).read_bytes()) for of in texts["pretrained"]]
