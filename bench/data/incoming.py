"""How a dataset comes here: fetched, or imported from an archive or a folder."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from pathlib import Path

from bench.data import archives, building
from bench.data.folders import Folder, Reading
from bench.data.library import Dataset, data_dir, entry, open_dataset
from bench.data.master import file_digest
from bench.data.specs import BASE_ADDRESS, DATASETS, SPLITS, DatasetSpec
from bench.errors import InputError, readable
from bench.events import Listener, ignore
from bench.machine import free_bytes
from bench.paths import expanded


def fetch(name: str, *, base: str = BASE_ADDRESS, tell: Listener = ignore) -> Dataset:
    """Download a dataset's archive, check its digest and contents, and make the master copy.

    Raises:
        InputError: if the name has no archive, the dataset is there already, the server fails, or
            what it sends is not what was published; nothing is then left behind.
    """
    spec = entry(name)
    if spec.archive is None:
        why = "it is generated on first use" if spec.generator else "it is a set of your own"
        raise InputError(f"dataset {name!r} has no archive to fetch: {why}")
    address = f"{base.rstrip('/')}/{spec.archive}"
    with building.staging(data_dir() / name) as staging:
        _refuse_if_there(name)
        archive = staging / spec.archive
        archives.download(address, archive, free_bytes(staging), tell)
        found = _archive_facts(archive, spec)
        if spec.digests and not found["published digest"]:
            raise InputError(
                f"{address} is not the published archive: its sha256 is {found['sha256']}, its md5 "
                f"{found['md5']}; nothing of it was kept"
            )
        known = {"origin": f"fetched from {address}", "archive": found}
        _build(name, archive, staging, known, tell)
    return open_dataset(name)


def import_local(path: Path | str, *, name: str | None = None, tell: Listener = ignore) -> Dataset:
    """Make the master copy of an archive or folder that has train/<class>/… and val/<class>/….

    Args:
        path: a tar archive, or a folder.
        name: a name of `DATASETS`, whose classes and counts the images must then have, or one of
            the user's own; by default the dataset whose archive has this name or top folder.
    Raises:
        InputError: if the path, the name or the images cannot be used, or the dataset is there
            already; nothing is then left behind.
    """
    path = expanded(path).absolute()
    if not path.exists():
        raise InputError(f"{path} does not exist; wanted is an archive or a folder of images")
    with building.plain_errors(path):
        name = _guessed_name(path) if name is None else _checked_name(name)
    with building.staging(data_dir() / name) as staging:
        _refuse_if_there(name)
        archive = _archive_facts(path, DATASETS.get(name)) if path.is_file() else None
        known = {"origin": f"imported from {path.name}", "archive": archive}
        _build(name, path, staging, known, tell)
    return open_dataset(name)


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
    """The dataset of `DATASETS` whose archive, or whose own name, is the path's or top folder."""
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


def _archive_facts(archive: Path, spec: DatasetSpec | None) -> dict[str, str | bool]:
    """A `bench.data.manifest.Archive`, as it is written."""
    md5, sha256 = (file_digest(archive, name) for name in ("md5", "sha256"))
    published = spec.digests if spec else ()
    match = f"md5:{md5}" in published or f"sha256:{sha256}" in published
    return {"file": archive.name, "md5": md5, "sha256": sha256, "published digest": match}


def _build(
    name: str, path: Path, staging: Path, known: Mapping[str, object], tell: Listener
) -> None:
    """Unpack if need be, check the contents, decode, and move the finished set into place."""
    spec, root = DATASETS.get(name), path
    if path.is_file():
        root = staging / "unpacked"
        archives.unpack(path, root, free_bytes(staging), tell)
    images = Folder(root, path.name, tuple(spec.classes) if spec else ())
    if spec is None:
        building.check_own(images)
    else:
        building.check_published(images, name, spec)
    with warnings.catch_warnings(action="ignore"):  # Pillow's, of large images and damaged EXIF
        reading = Reading(images, tell)
        needed, free = reading.decoded_bytes, free_bytes(staging)
        if needed > free:
            raise InputError(
                f"{path.name} takes {archives.gigabytes(needed)} decoded; "
                f"{archives.gigabytes(free)} are free in {data_dir()}"
            )
        splits = {split: (reading.images(split), len(reading.found[split])) for split in SPLITS}
        digests = building.write(made := staging / "made", splits, tell)
    reading.finish()
    content = {"fingerprint": images.fingerprint(), "passed over": images.passed}
    facts = {**known, **content, "changes": reading.changes}
    classes = list(map(readable, images.classes))
    building.finish(made, data_dir() / name, classes, digests, facts)
