"""Making a dataset: check what was found, decode it in a staging folder, rename it into place."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import filelock
import PIL

from bench.data.decoding import Image
from bench.data.folders import Folder
from bench.data.manifest import Manifest, read_manifest
from bench.data.master import Master, write_split
from bench.data.specs import SPLITS, DatasetSpec
from bench.errors import InputError, counted, told
from bench.events import Listener
from bench.records import write_whole

Images = Iterable[tuple[str, int, Image]]
STAGING = ".staging-"


@contextmanager
def plain_errors(folder: Path) -> Iterator[None]:
    """Turn trouble with the disk (no room, no right) into one sentence."""
    try:
        yield
    except OSError as error:
        raise InputError(told(error, folder)) from error


@contextmanager
def staging(place: Path) -> Iterator[Path]:
    """An empty folder beside `place` to make it in, held by one process and removed in the end.

    What processes that were killed have left goes as well.

    Raises:
        InputError: if something is at `place` that is no dataset, or the disk gives trouble, here
            or in the body.
    """
    folder = place.parent / f"{STAGING}{place.name}"
    with plain_errors(place.parent):
        place.parent.mkdir(parents=True, exist_ok=True)
        _clear(place.parent)
        with _lock(place):
            if place.exists() and read_manifest(place) is None:
                raise InputError(f"{place} is there and is no dataset of ours; move it away")
            _remove(folder)
            folder.mkdir()
            try:
                yield folder
            finally:
                _remove(folder)


def _lock(place: Path) -> filelock.BaseFileLock:
    return filelock.FileLock(place.with_name(f".{place.name}.lock"))


def _clear(parent: Path) -> None:
    """Remove the staging folders that no process holds."""
    for left in parent.glob(f"{STAGING}*"):
        lock = _lock(parent / left.name.removeprefix(STAGING))
        with suppress(filelock.Timeout, OSError), lock.acquire(timeout=0):
            _remove(left)


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)


def check_published(images: Folder, name: str, spec: DatasetSpec) -> None:
    """Raise InputError unless the images have exactly the classes and counts of `spec`."""
    found, prefix = images.counts(), f"{images.shown} is not {name}: class"
    for split in SPLITS:
        for folder, expected in spec.counts[split].items():
            shown = f"{prefix} {folder} ({spec.classes[folder]})"
            if folder not in found[split]:
                raise InputError(f"{shown} is missing from {split}")
            if found[split][folder] != expected:
                raise InputError(
                    f"{shown} has {counted(found[split][folder], f'{split} image')}; {expected} "
                    "expected"
                )
        for folder in found[split]:
            if folder not in spec.counts[split]:
                raise InputError(f"{prefix} {folder} in {split} is not one of its classes")


def check_own(images: Folder) -> None:
    """Raise InputError unless there are two classes, in train and val alike, with images."""
    found = images.counts()
    train, val = (set(found[split]) for split in SPLITS)
    for folder in sorted(train ^ val):
        lacking = "val" if folder in train else "train"
        raise InputError(f"{images.shown}: class {folder} is missing from {lacking}")
    if len(train) < 2:
        raise InputError(f"{images.shown} has fewer than two classes")
    for split in SPLITS:
        for folder, count in found[split].items():
            if not count:
                said = f"{images.shown}: class {folder} has no {split} images"
                passed = "; ".join(f"{len(names)} {why}" for why, names in images.passed.items())
                raise InputError(said + (f"; passed over: {passed}" if passed else ""))


def write(made: Path, splits: Mapping[str, tuple[Images, int]], tell: Listener) -> dict[str, str]:
    """Write the splits, each with its number of images, into the new folder `made`.

    Returns: the digests of its files, by name.
    """
    made.mkdir()
    digests: dict[str, str] = {}
    for split, (images, total) in splits.items():
        digests |= write_split(made, split, images, total, tell)
    return digests


def finish(
    made: Path,
    place: Path,
    classes: Sequence[str],
    digests: Mapping[str, str],
    known: Mapping[str, object],
) -> None:
    """Write the manifest, last, and rename the whole to `place`; what is there makes way.

    Args:
        digests: from `write`.
        known: what the manifest says besides; at least "origin" and "fingerprint".
    """
    counts = {split: class_counts(Master(made, split), classes) for split in SPLITS}
    facts = {
        "name": place.name,
        "classes": classes,
        "counts": counts,
        "images": {split: sum(of.values()) for split, of in counts.items()},
        "sha256": digests,
        "decoder": f"Pillow {PIL.__version__}",
    }
    manifest = Manifest.model_validate({**facts, **known})
    text = manifest.model_dump_json(indent=1, by_alias=True, exclude_none=True)
    write_whole(made / "manifest.json", text)
    if place.exists():
        place.rename(made.with_name("old"))
    made.rename(place)


def class_counts(master: Master, classes: Iterable[str]) -> dict[str, int]:
    """Class -> number of images."""
    return {folder: int((master.labels == label).sum()) for label, folder in enumerate(classes)}
