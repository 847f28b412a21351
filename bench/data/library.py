"""The data folder: what is there, how it gets there, and how it is opened.

A dataset on disk is its master copy (`bench.data.master`): `<data folder>/<name>/` with
`train.bin`, `train.parquet`, `val.bin`, `val.parquet` and `manifest.json`. It is made in a staging
folder and renamed into place when complete, by one process at a time.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import platformdirs

from bench.data import archives, building
from bench.data.building import FORMAT, Manifest
from bench.data.download import download
from bench.data.folders import Reading, read_folder
from bench.data.master import SPLITS, Master, Progress, file_digest, open_split
from bench.data.specs import BASE_ADDRESS, DATASETS, DatasetSpec
from bench.errors import InputError, readable
from bench.machine import free_bytes
from bench.seeds import seed_for
from resizer.specs import one_of


@dataclass(frozen=True, eq=False)
class Dataset:
    """A dataset that is there.

    Args:
        name: what experiments call it.
        classes: class folders in the order of the labels.
        train, val: the decoded images.
        fingerprint: sha256 that tells one content from another, by names and sizes of files.
        origin: "fetched from …", "imported from …" or "generated".
        manifest: all of `manifest.json`.
        pixels: sha256 of the decoded pixels of both splits.
        doubt: why it may not be the published set of its name; "" without any.
    """

    name: str
    classes: tuple[str, ...]
    train: Master
    val: Master
    fingerprint: str
    origin: str
    manifest: Mapping[str, Any]
    pixels: str
    doubt: str

    def split(self, name: str) -> Master:
        return {"train": self.train, "val": self.val}[name]

    def held_out(self, share: float) -> Dataset:
        """The dataset in which a fixed share of the training images stands for validation.

        The images that are held out depend on the dataset and the share alone.
        """
        order = np.random.default_rng(seed_for("holdout", self.name)).permutation(len(self.train))
        held = held_out_count(len(order), share)
        val, train = (self.train.part(np.sort(rows)) for rows in np.split(order, [held]))
        return replace(self, train=train, val=val)


def held_out_count(images: int, share: float) -> int:
    """How many of so many training images stand for validation."""
    return round(share * images)


@dataclass(frozen=True)
class Row:
    """A line of `resizer-bench data list`; what is not known of a set that is not there is None."""

    name: str
    title: str
    state: str
    train_images: int | None = None
    val_images: int | None = None
    origin: str | None = None
    size_mb: float | None = None
    fingerprint: str | None = None


def no_progress(phase: str, done: int, total: int) -> None:
    """The `Progress` of a caller who wants none."""


def data_dir() -> Path:
    """`RESIZER_BENCH_DATA`, or else a folder in the platform's cache."""
    given = os.environ.get("RESIZER_BENCH_DATA")
    if given:
        return Path(given).expanduser().absolute()
    return platformdirs.user_cache_path("resizer-bench") / "data"


def known_names() -> list[str]:
    """Every name that can be asked for: those of `DATASETS`, then the user's own."""
    own = {path.parent.name for path in data_dir().glob("[!.]*/manifest.json")}
    return [*DATASETS, *sorted(own - set(DATASETS))]


def fingerprint(name: str) -> str | None:
    """The fingerprint of a dataset, from its manifest alone; None if it is not there."""
    manifest = _manifest(name)
    return manifest["fingerprint"] if manifest else None


def pixels(name: str) -> str | None:
    """The digest of a dataset's pixels, from its manifest alone; None if it is not there."""
    manifest = _manifest(name)
    return _pixels(manifest) if manifest else None


def open_dataset(name: str, progress: Progress = no_progress) -> Dataset:
    """Open a dataset; an embedded one is generated first if it is not there.

    Raises:
        InputError: if the name is unknown, the dataset must first be fetched or imported, or its
            files are damaged.
    """
    if fingerprint(name) is None:
        spec = _spec(name)
        if spec.generator is None:
            raise _absent(name, spec)
        _generate(name, spec.generator, progress)
    return _opened(name)


def listing() -> list[Row]:
    """What `DATASETS` and the data folder have, one row a dataset."""
    return [_row(name) for name in known_names()]


def train_images(dataset: str) -> int | None:
    """How many training images the dataset has; None while nobody can know."""
    spec = DATASETS.get(dataset)
    if spec and spec.counts:
        return sum(spec.counts["train"].values())
    if spec and spec.generator:
        return int(_module(spec.generator).COUNTS["train"])
    return _row(dataset).train_images


def class_count(dataset: str) -> int:
    """How many classes the dataset has; known of a published one before it is here."""
    spec = DATASETS.get(dataset)
    return len(spec.classes) if spec and spec.classes else len(open_dataset(dataset).classes)


def fetch(name: str, *, base: str = BASE_ADDRESS, progress: Progress = no_progress) -> Dataset:
    """Download a dataset's archive, check its digest and contents, and make the master copy.

    Raises:
        InputError: if the name has no archive, the dataset is there already, the server fails, or
            what it sends is not what was published; nothing is then left behind.
    """
    spec = _spec(name)
    if spec.archive is None:
        why = "it is generated on first use" if spec.generator else "it is a set of your own"
        raise InputError(f"dataset {name!r} has no archive to fetch: {why}")
    address = f"{base.rstrip('/')}/{spec.archive}"
    with building.staging(data_dir() / name) as staging:
        _refuse_if_there(name)
        archive = staging / spec.archive
        download(address, archive, free_bytes(staging), progress)
        found = _archive_record(archive, spec)
        if spec.digests and not found["published digest"]:
            raise InputError(
                f"{address} is not the published archive: its sha256 is {found['sha256']}, its md5 "
                f"{found['md5']}; nothing of it was kept"
            )
        record: Manifest = {"origin": f"fetched from {address}", "archive": found}
        _build(name, archive, staging, record, progress)
    return _opened(name)


def import_local(
    path: Path | str, *, name: str | None = None, progress: Progress = no_progress
) -> Dataset:
    """Make the master copy of an archive or folder that has train/<class>/… and val/<class>/….

    Args:
        path: a tar archive, or a folder.
        name: a name of `DATASETS`, whose classes and counts the images must then have, or one of
            the user's own; by default the dataset whose archive has this name or top folder.
    Raises:
        InputError: if the path, the name or the images cannot be used, or the dataset is there
            already; nothing is then left behind.
    """
    path = Path(path).expanduser().absolute()
    if not path.exists():
        raise InputError(f"{path} does not exist; wanted is an archive or a folder of images")
    with building.plain_errors(path):
        name = _guessed_name(path) if name is None else _checked_name(name)
    record: Manifest = {"origin": f"imported from {path.name}", "archive": None}
    with building.staging(data_dir() / name) as staging:
        _refuse_if_there(name)
        if path.is_file():
            record["archive"] = _archive_record(path, DATASETS.get(name))
        _build(name, path, staging, record, progress)
    return _opened(name)


def verify(name: str, progress: Progress = no_progress) -> str:
    """Read all of a dataset again and compare it with its manifest; returns a summary for people.

    Raises:
        InputError: if the dataset is not there, or anything differs.
    """
    manifest = _manifest(name)
    if manifest is None:
        raise _absent(name, _spec(name))
    for done, (file, digest) in enumerate(manifest["sha256"].items(), 1):
        path = data_dir() / name / file
        with building.plain_errors(path):
            if file_digest(path) != digest:
                raise InputError(f"{path} is damaged: its digest has changed; {_again(name)}")
        progress("verify", done, len(manifest["sha256"]))
    dataset = _opened(name)
    for split in SPLITS:
        _check_index(dataset, split)
    return (
        f"{name}: {len(dataset.train)} train and {len(dataset.val)} val images in "
        f"{len(dataset.classes)} classes, as when {dataset.origin}"
    )


def notes(dataset: Dataset) -> list[str]:
    """What is to be known of a dataset: doubt of its origin, what changed and was passed over."""
    changed = dataset.manifest.get("changes", {})
    passed = dataset.manifest.get("passed over", {})
    return [
        *([dataset.doubt] if dataset.doubt else []),
        *(f"{what}: {count} images" for what, count in changed.items()),
        *(f"passed over, {why}: {_some(names)}" for why, names in passed.items()),
    ]


def _some(names: Sequence[str], most: int = 3) -> str:
    """
    >>> _some(["a", "b", "c", "d", "e"])
    '5 (a, b, c and 2 more)'
    """
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{len(names)} ({', '.join(names[:most])}{more})"


def _check_index(dataset: Dataset, split: str) -> None:
    """Raise InputError unless the images fill the .bin without gaps and have the right counts."""
    master = dataset.split(split)
    ends = np.cumsum(master.heights * master.widths * 3)
    fits = (
        np.array_equal(master.offsets[1:], ends[:-1])
        and ends[-1] == (master.folder / f"{split}.bin").stat().st_size
        and len(set(master.names)) == len(master)
        and building.class_counts(master, dataset.classes) == dataset.manifest["counts"][split]
    )
    if not fits:
        raise InputError(
            f"{master.folder} is damaged: the index of {split} does not fit its images; "
            + _again(dataset.name)
        )


def _opened(name: str) -> Dataset:
    folder, manifest = data_dir() / name, _manifest(name)
    assert manifest is not None
    try:
        train, val = (open_split(folder, split) for split in SPLITS)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{folder} is damaged: {error}; {_again(name)}") from error
    return Dataset(
        name=name,
        classes=tuple(manifest["classes"]),
        train=train,
        val=val,
        fingerprint=manifest["fingerprint"],
        origin=manifest["origin"],
        manifest=manifest,
        pixels=_pixels(manifest),
        doubt=_doubt(name, manifest),
    )


def _pixels(manifest: Manifest) -> str:
    digests = [manifest["sha256"][f"{split}.bin"] for split in SPLITS]
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def _doubt(name: str, manifest: Manifest) -> str:
    """Why a set may not be the published one of its name; "" without any, or of one's own."""
    if not DATASETS.get(name, DatasetSpec("")).digests:
        return ""
    archive = manifest.get("archive")
    if archive is None:
        return "imported from a folder: no digest says that its files are the published ones"
    if not archive.get("published digest"):
        return f"the digest of {archive.get('file')} is not that of the published archive"
    return ""


def _row(name: str) -> Row:
    spec = _spec(name)
    try:
        manifest = _manifest(name)
    except InputError:
        return Row(name, spec.title, "damaged")
    if manifest is None:
        return Row(name, spec.title, "made on first use" if spec.generator else "not here")
    return Row(
        name,
        spec.title,
        "ready",
        manifest["images"]["train"],
        manifest["images"]["val"],
        manifest["origin"],
        sum(path.stat().st_size for path in (data_dir() / name).iterdir()) / 1e6,
        manifest["fingerprint"][:12],
    )


def _spec(name: str) -> DatasetSpec:
    """The entry of `DATASETS`, or an empty one for a set of the user's own that is there.

    Raises:
        InputError: if the name is unknown.
    """
    known = known_names()
    if name not in known:
        raise InputError(
            f"unknown dataset {name!r}{one_of(name, known)}; or bring "
            "in a folder of your own with `resizer-bench data import`"
        )
    return DATASETS.get(name, DatasetSpec("a set of your own"))


def _absent(name: str, spec: DatasetSpec) -> InputError:
    how = (
        "it is generated on first use"
        if spec.generator
        else f"download it with `resizer-bench data fetch {name}`, or bring in a local "
        f"{spec.archive} with `resizer-bench data import ARCHIVE`"
    )
    return InputError(f"dataset {name!r} is not in {data_dir()}: {how}")


def _manifest(name: str) -> Manifest | None:
    """The manifest of a dataset; None if it is not there, or is generated and out of date."""
    path = data_dir() / name / "manifest.json"
    try:
        manifest: Manifest = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read: {error}; {_again(name)}") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        found = manifest.get("format") if isinstance(manifest, dict) else None
        raise InputError(
            f"{path} has format {found!r}; this version reads {FORMAT}; {_again(name)}"
        )
    if lacking := _lacking(manifest):
        raise InputError(f"{path} is damaged: it has no {lacking}; {_again(name)}")
    generator = DATASETS[name].generator if name in DATASETS else None
    stale = generator is not None and manifest.get("version") != _module(generator).VERSION
    return None if stale else manifest


def _lacking(manifest: Manifest) -> str:
    """What a manifest does not have, or not of the right kind; "" if it is whole."""
    for field, kind in FIELDS.items():
        if not isinstance(manifest.get(field), kind):
            return field
    for split in SPLITS:
        if not isinstance(manifest["images"].get(split), int):
            return f"images of {split}"
        if not isinstance(manifest["counts"].get(split), dict):
            return f"counts of {split}"
    files = {f"{split}{suffix}" for split in SPLITS for suffix in (".bin", ".parquet")}
    if set(manifest["sha256"]) != files or not all(
        isinstance(digest, str) for digest in manifest["sha256"].values()
    ):
        return "sha256 of each file"
    told = (manifest.get(name, {}) for name in ("changes", "passed over"))
    if not all(isinstance(of, dict) for of in told):
        return "sound account of its images"
    archive = manifest.get("archive")
    return "" if archive is None or isinstance(archive, dict) else "sound account of its archive"


FIELDS = {
    "classes": list,
    "origin": str,
    "fingerprint": str,
    "counts": dict,
    "images": dict,
    "sha256": dict,
}
"""What every manifest has."""


def _again(name: str) -> str:
    generated = name in DATASETS and DATASETS[name].generator is not None
    how = "it is then generated anew" if generated else "fetch or import it again"
    return f"delete {data_dir() / name} and {how}"


def _refuse_if_there(name: str) -> None:
    place = data_dir() / name
    if place.exists():
        raise InputError(
            f"dataset {name!r} is already in {data_dir()}; to replace it, delete {place} first"
        )


def _checked_name(name: str) -> str:
    if name in DATASETS and DATASETS[name].generator:
        raise InputError(f"{name!r} is the name of a dataset that is generated; take another")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise InputError(
            f"{name!r} cannot name a dataset: letters, digits, '.', '_' and '-' can, beginning "
            "with a letter or digit"
        )
    return name


def _guessed_name(path: Path) -> str:
    """The dataset of `DATASETS` whose archive, or whose own name, is the path's or the top folder.

    Raises:
        InputError: if there is none.
    """
    files = {spec.archive: name for name, spec in DATASETS.items() if spec.archive}
    known = {archive.removesuffix(".tgz"): name for archive, name in files.items()}
    known |= {name: name for name in files.values()}
    stem = re.sub(r"\.(tgz|tar(\.\w+)?)$", "", path.name)
    top = archives.top_folder(path) if path.is_file() else stem
    if top not in known and stem not in known:
        raise InputError(
            f"{path.name} is none of {', '.join(files)} by name or top folder; say with "
            "--name which one it is, or name it yourself"
        )
    return known[top] if top in known else known[stem]


def _archive_record(archive: Path, spec: DatasetSpec | None) -> dict[str, Any]:
    found = {name: file_digest(archive, name) for name in ("md5", "sha256")}
    published = spec.digests if spec else ()
    match = any(f"{algorithm}:{digest}" in published for algorithm, digest in found.items())
    return {"file": archive.name, **found, "published digest": match}


def _build(name: str, path: Path, staging: Path, record: Manifest, progress: Progress) -> None:
    """Unpack if need be, check the contents, decode, and move the finished set into place."""
    spec, root = DATASETS.get(name), path
    if path.is_file():
        root = staging / "unpacked"
        _unpack(path, root, progress)
    images = read_folder(root, path.name, tuple(spec.classes) if spec else ())
    if spec is None:
        building.check_own(images)
    else:
        building.check_published(images, name, spec)
    reading = Reading(images, progress)
    _refuse_without_room(path.name, {"decoded": reading.decoded_bytes}, staging)
    splits = {split: (reading.images(split), len(reading.found[split])) for split in SPLITS}
    record |= {"fingerprint": images.fingerprint(), "classes": list(map(readable, images.classes))}

    def finished() -> Manifest:
        reading.finish()
        passed = {why: list(names) for why, names in images.passed.items()}
        return record | {"changes": dict(reading.changes), "passed over": passed}

    building.build(data_dir() / name, staging, splits, finished, progress)


def _unpack(archive: Path, root: Path, progress: Progress) -> None:
    """Unpack an archive that is whole, and for which there is room, decoded images included."""
    found = archives.survey(archive, root, free_bytes(root), progress)
    needed = {"unpacked": found.unpacked, "decoded": found.decoded}
    _refuse_without_room(archive.name, needed, root)
    archives.unpack(archive, root, progress)


def _refuse_without_room(shown: str, needed: Mapping[str, int], folder: Path) -> None:
    free = free_bytes(folder)
    if sum(needed.values()) > free:
        told = " and ".join(f"{archives.gigabytes(size)} {what}" for what, size in needed.items())
        raise InputError(
            f"{shown} takes {told}; {archives.gigabytes(free)} are free in {data_dir()}"
        )


def _generate(name: str, generator: str, progress: Progress) -> None:
    module, function = _module(generator), generator.partition(":")[2]
    make = getattr(module, function)
    splits = {split: (make(split), module.COUNTS[split]) for split in SPLITS}
    record: Manifest = {
        "origin": "generated",
        "generator": f"{module.NAME}:{function}",
        "version": module.VERSION,
        "classes": list(module.CLASSES),
    }
    with building.staging(data_dir() / name) as staging:
        if fingerprint(name) is None:  # another process may have made it while this one waited
            building.build(data_dir() / name, staging, splits, lambda: record, progress)


def _module(generator: str) -> ModuleType:
    return importlib.import_module(generator.partition(":")[0])
