"""Taking in what another folder of results has: of a run on another machine, or a colleague's."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

from bench.errors import InputError
from bench.machine import synced, written_whole
from bench.records import KINDS, DataFacts, Json, put_in_place, read_record
from bench.store import Store


def merge(store: Store, other: Path) -> Counter[str]:
    """Copy what is finished or begun in another folder of results and is not in this one.

    A trial that failed here and not there is taken from there; of two sittings or searches, which
    may both be right, the own one stays. All is checked before anything is written, and each
    folder appears as a whole. Smoke runs, locks and reports are of their own machine, and stay.

    Returns: how many were taken, by kind; of trials in training "snapshots".
    Raises:
        InputError: if it is no such folder, or a record of it is damaged or contradicts one here.
    """
    has_any = (other / "trials").is_dir() or any(other.glob("unfinished/*/snapshot.pt"))
    if not has_any or other.resolve() == store.root.resolve():
        what = "is this one" if has_any else "has no trials"
        raise InputError(f"{other} is no other folder of results: it {what}")
    pairs = list(_pairs(store.root, other))
    own = [record for record in store.trials(store.kept()).values() if record]
    seen = {record["data"]["name"]: record["data"] for record in own if "data" in record}
    for kind, key, ours, theirs in pairs:
        if why := contradiction(kind, ours, theirs) or _other_data(seen, theirs.get("data")):
            raise InputError(f"{other / kind / key} contradicts {store.root}: {why}")
    taken: Counter[str] = Counter()
    for kind, key, ours, theirs in pairs:
        there, here = other / kind / key, store.root / kind / key
        if ours is None or (ours["status"] != "ok" and theirs["status"] == "ok"):
            taken[kind] += _copied(there, here)
        elif ours == theirs:  # whose weights may be kept there alone
            for file in there.iterdir():
                if file.is_file() and not (here / file.name).exists():
                    _copy_file(file, here / file.name)
    for there in other.glob("unfinished/*/snapshot.pt"):
        here = store.snapshot(there.parent.name)
        if store.trial(there.parent.name) is None and not here.exists():
            _copy_file(there, here)
            taken["snapshots"] += 1
    return +taken  # without those that a run has finished meanwhile


def _pairs(root: Path, other: Path) -> Iterator[tuple[str, str, Json | None, Json]]:
    """Kind, key, the record here and the record there, of all that the other folder has."""
    for name, kind in KINDS.items():
        for there in sorted(file.parent for file in (other / name).glob("*/record.json")):
            ours, theirs = (read_record(at, kind) for at in (root / name / there.name, there))
            if theirs:
                yield name, there.name, cast("Json | None", ours), cast("Json", theirs)


def contradiction(kind: str, ours: Json | None, theirs: Json) -> str:
    """Why two records of one key cannot both be right; "" if they can.

    >>> sound = {"status": "ok", "size": 96}
    >>> contradiction("sizes", sound, sound | {"size": 104})
    'its size is 104, here it is 96'
    """
    if ours is None or not ours["status"] == theirs["status"] == "ok":
        return ""
    if kind == "sizes" and ours["size"] != theirs["size"]:
        return f"its size is {theirs['size']}, here it is {ours['size']}"
    for name, measured in ours["metrics"].items() if kind == "trials" else ():
        there = theirs["metrics"].get(name, measured)["value"]
        if name != "train_s" and there != measured["value"]:
            return f"its {name} is {there:g}, here it is {measured['value']:g}"
    return ""


def _other_data(seen: Mapping[str, DataFacts], theirs: DataFacts | None) -> str:
    """Why a trial was run on other images than those here under the same name; "" if not."""
    if theirs is None or (here := seen.get(theirs["name"])) is None:
        return ""
    for what in ("fingerprint", "pixels"):
        one, other = (str(facts.get(what, "")) for facts in (theirs, here))
        if one and other and one != other:
            return f"its {theirs['name']!r} has the {what} {one[:12]}, here it is {other[:12]}"
    return ""


def _copied(there: Path, here: Path) -> bool:
    """Copy a folder, which appears as a whole; False where another process was first."""
    here.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=here.parent.parent, prefix="merging-") as scratch:
        copy = Path(shutil.copytree(there, Path(scratch) / here.name))
        for file in copy.rglob("*"):
            synced(file)
        return put_in_place(copy, here)


def _copy_file(there: Path, here: Path) -> None:
    here.parent.mkdir(parents=True, exist_ok=True)
    with there.open("rb") as source, written_whole(here) as file:
        shutil.copyfileobj(source, file)
