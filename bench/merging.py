"""Taking in what another folder of results has: of a run on another machine, or a colleague's."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

from bench.errors import InputError
from bench.machine import written_whole
from bench.records import KINDS, Json, other_content, read_record, read_sound
from bench.store import Store, copy_folder, entries, modified, put_in_place

Pair = tuple[Path, Path]
"""A folder there, and its place here."""


def merge(store: Store, other: Path) -> Counter[str]:
    """Copy what is finished or begun in another folder of results and is not in this one.

    A trial that failed here and not there is taken from there, as is what is damaged here; of two
    sittings or searches, which may both be right, the own one stays. All is checked and copied
    before any of it has its place. Smoke runs, locks and reports are of their own machine, and
    stay.

    Returns: how many were taken, by kind; of trials in training "snapshots".
    Raises:
        InputError: if it is no such folder, a record of it is damaged or contradicts another, or a
            file of it cannot be copied.
    """
    records = [
        (folder, cast("Json", record))
        for kind, of in KINDS.items()
        for folder in entries(other / kind)
        if (record := read_record(folder, of))
    ]
    begun = [at / "snapshot.pt" for at in entries(other / "unfinished")]
    begun = [file for file in begun if modified(file) is not None]
    if not (records or begun) or other.resolve() == store.root.resolve():
        what = "is this one" if records or begun else "has no results"
        raise InputError(f"{other} is no other folder of results: it {what}")
    wanted, alike = _sorted_out(store, other, records)
    taken = Counter(_placed(wanted, store.root))
    for there, here in alike:  # whose weights may be kept there alone
        for file in entries(there):
            if file.is_file() and not (here / file.name).exists():
                _copy_file(file, here / file.name)
    for there in begun:
        here = store.snapshot(there.parent.name)
        if store.trial(there.parent.name) is None and not here.exists():
            _copy_file(there, here)
            taken["snapshots"] += 1
    return taken


def _sorted_out(
    store: Store, other: Path, records: Iterable[tuple[Path, Json]]
) -> tuple[list[Pair], list[Pair]]:
    """Of the records of the other folder, those to be taken, and those that are here as well."""
    wanted, alike = [], []
    own = {store.trial_folder(key): of for key, of in store.trials(store.kept()).items() if of}
    seen = {of["data"]["name"]: (at, of["data"]) for at, of in own.items() if "data" in of}
    for there, theirs in records:
        here = store.root / there.relative_to(other)
        ours = cast("Json | None", read_sound(here, KINDS[here.parent.name]))
        if why := contradiction(here.parent.name, ours, theirs):
            raise InputError(f"{there} contradicts {here}: {why}")
        if data := theirs.get("data"):
            first, known = seen.setdefault(data["name"], (there, data))
            if why := other_content(data, known):
                said = f"its {data['name']!r} has the {why}"
                raise InputError(f"{there} contradicts {first}: {said}")
        if ours is None or (ours["status"] != "ok" and theirs["status"] == "ok"):
            wanted.append((there, here))
        elif _same(ours, theirs):
            alike.append((there, here))
    return wanted, alike


def contradiction(kind: str, ours: Json | None, theirs: Json) -> str:
    """Why two records of one key cannot both be right; "" if they can.

    >>> sound = {"status": "ok", "size": 96}
    >>> contradiction("sizes", sound, sound | {"size": 104})
    'its size is 104, not 96'
    """
    if ours is None or not ours["status"] == theirs["status"] == "ok":
        return ""
    if kind == "sizes" and ours["size"] != theirs["size"]:
        return f"its size is {theirs['size']}, not {ours['size']}"
    for name, measured in ours["metrics"].items() if kind == "trials" else ():
        there = theirs["metrics"].get(name, measured)["value"]
        if name != "train_s" and not _same(there, measured["value"]):
            return f"its {name} is {there:g}, not {measured['value']:g}"
    return ""


def _same(one: object, other: object) -> bool:
    """Whether two parts of records are equal, of which NaN is no less so than a number."""
    return one == other or json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _placed(pairs: Sequence[Pair], root: Path) -> Iterator[str]:
    """Copy folders, all of them before one appears; yields the kind of each that does.

    One that another process has made meanwhile stays as it is, as does a search begun here.
    """
    if not pairs:
        return
    root.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=root, prefix="merging-") as scratch:
        copies = [(Path(scratch) / here.relative_to(root), here) for _, here in pairs]
        for (there, _), (copy, _) in zip(pairs, copies, strict=True):
            copy_folder(there, copy)
        for copy, here in copies:
            if not (here / "study.db").exists() and put_in_place(copy, here):
                yield here.parent.name


def _copy_file(there: Path, here: Path) -> None:
    here.parent.mkdir(parents=True, exist_ok=True)
    with there.open("rb") as source, written_whole(here) as file:
        shutil.copyfileobj(source, file)
