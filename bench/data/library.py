"""The data folder: what is there, and how it is opened.

A dataset on disk is its master copy (`bench.data.master`): `<data folder>/<name>/` with
`train.bin`, `train.parquet`, `val.bin`, `val.parquet` and `manifest.json`.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

import numpy as np
import platformdirs

from bench.data import building
from bench.data.manifest import Manifest, again, digest_of, read_manifest
from bench.data.master import Master, file_digest
from bench.data.specs import DATASETS, SPLITS, DatasetSpec
from bench.errors import InputError, counted, told
from bench.events import DataRead, Listener, ignore
from bench.paths import expanded
from bench.seeds import seed_for
from resizer.specs import one_of


@dataclass(frozen=True, eq=False)
class Dataset:
    """A dataset that is there."""

    name: str  # what experiments call it
    manifest: Manifest
    train: Master
    val: Master

    @property
    def classes(self) -> tuple[str, ...]:
        """Class folders in the order of the labels."""
        return self.manifest.classes

    @property
    def doubt(self) -> str:
        """Why it may not be the published set of its name; "" without any, or of one's own."""
        archive = self.manifest.archive
        if not DATASETS.get(self.name, DatasetSpec("")).digests or (archive and archive.published):
            return ""
        if archive is None:
            return "imported from a folder: no digest says that its files are the published ones"
        return f"the digest of {archive.file} is not that of the published archive"

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
    manifest: Manifest | None = None
    size_mb: float = 0.0


def data_dir() -> Path:
    """`RESIZER_BENCH_DATA`, or else a folder in the platform's cache."""
    if given := os.environ.get("RESIZER_BENCH_DATA"):
        return expanded(given).absolute()
    return platformdirs.user_cache_path("resizer-bench") / "data"


def known_names() -> list[str]:
    """Every name that can be asked for: those of `DATASETS`, then the user's own."""
    own = {path.parent.name for path in data_dir().glob("[!.]*/manifest.json")}
    return [*DATASETS, *sorted(own - set(DATASETS))]


def fingerprint(name: str) -> str | None:
    """The fingerprint of a dataset, from its manifest alone; None if it is not there."""
    return manifest.fingerprint if (manifest := _manifest(name)) else None


def content(name: str) -> dict[str, str]:
    """The digests of a dataset's files and pixels, from its manifest alone; {} if not there."""
    manifest = _manifest(name)
    return {"fingerprint": manifest.fingerprint, "pixels": manifest.pixels} if manifest else {}


def open_dataset(name: str, tell: Listener = ignore, *, holdout: float | None = None) -> Dataset:
    """Open a dataset; an embedded one is generated first if it is not there.

    Args:
        holdout: the share of the training images that stands for validation: see `held_out`.
    Raises:
        InputError: if the name is unknown, the dataset must first be fetched or imported, or its
            files are damaged.
    """
    if _manifest(name) is None:
        spec = entry(name)
        if spec.generator is None:
            raise _absent(name, spec)
        _generate(name, spec.generator, tell)
    folder, manifest = data_dir() / name, _manifest(name)
    assert manifest is not None
    try:
        train, val = (Master(folder, split) for split in SPLITS)
        dataset = Dataset(name, manifest, train, val)
        return dataset.held_out(holdout) if holdout else dataset
    except PermissionError as error:
        raise InputError(told(error, folder)) from error
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{folder} is damaged: {error}; {again(folder)}") from error


def listing() -> list[Row]:
    """What `DATASETS` and the data folder have, one row a dataset."""
    return [_row(name) for name in known_names()]


def _row(name: str) -> Row:
    spec = entry(name)
    try:
        manifest = _manifest(name)
    except InputError as error:
        denied = isinstance(error.__cause__, OSError)
        return Row(name, spec.title, "not readable" if denied else "damaged")
    if manifest is None:
        return Row(name, spec.title, "made on first use" if spec.generator else "not here")
    size = sum(path.stat().st_size for path in (data_dir() / name).iterdir())
    return Row(name, spec.title, "ready", manifest, size / 1e6)


def images(dataset: str, split: str) -> int | None:
    """How many images a split of the dataset has; None while nobody can know."""
    spec = DATASETS.get(dataset)
    if spec and spec.counts:
        return sum(spec.counts[split].values())
    if spec and spec.generator:
        return int(_module(spec.generator).COUNTS[split])
    manifest = _row(dataset).manifest
    return manifest.images[split] if manifest else None


def class_count(dataset: str) -> int:
    """How many classes the dataset has; known of a published one before it is here."""
    spec = DATASETS.get(dataset)
    return len(spec.classes) if spec and spec.classes else len(open_dataset(dataset).classes)


def verify(name: str, tell: Listener = ignore) -> str:
    """Read all of a dataset again and compare it with its manifest; returns a summary for people.

    Raises:
        InputError: if the dataset is not there, or anything differs.
    """
    manifest, folder = _manifest(name), data_dir() / name
    if manifest is None:
        raise _absent(name, entry(name))
    for done, (file, digest) in enumerate(manifest.sha256.items(), 1):
        path = folder / file
        with building.plain_errors(path):
            if file_digest(path) != digest:
                raise InputError(f"{path} is damaged: its digest has changed; {again(folder)}")
        tell(DataRead("verify", done, len(manifest.sha256)))
    dataset = open_dataset(name)
    for split in SPLITS:
        if not _fits(dataset, split):
            raise InputError(
                f"{folder} is damaged: the index of {split} does not fit its images; "
                + again(folder)
            )
    return (
        f"{name}: {len(dataset.train)} train and {len(dataset.val)} val images in "
        f"{len(dataset.classes)} classes, as when {manifest.origin}"
    )


def _fits(dataset: Dataset, split: str) -> bool:
    """Whether the images fill the .bin without gaps and have the right counts."""
    master = dataset.split(split)
    ends = np.cumsum(3 * master.sizes.prod(axis=1))
    return bool(
        np.array_equal(master.offsets[1:], ends[:-1])
        and ends[-1] == master.file.stat().st_size
        and len(set(master.names)) == len(master)
        and building.class_counts(master, dataset.classes) == dataset.manifest.counts[split]
    )


def notes(dataset: Dataset) -> list[str]:
    """What is to be known of a dataset: doubt of its origin, what changed and was passed over."""
    changed, passed = dataset.manifest.changes, dataset.manifest.passed
    return [
        *([dataset.doubt] if dataset.doubt else []),
        *(f"{what}: {counted(count, 'image')}" for what, count in changed.items()),
        *(f"passed over, {why}: {_some(names)}" for why, names in passed.items()),
    ]


def _some(names: Sequence[str], most: int = 3) -> str:
    """
    >>> _some(["a", "b", "c", "d", "e"])
    '5 (a, b, c and 2 more)'
    """
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{len(names)} ({', '.join(names[:most])}{more})"


def entry(name: str) -> DatasetSpec:
    """The entry of `DATASETS`, or an empty one for a set of the user's own that is there."""
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
    manifest = read_manifest(data_dir() / name)
    generator = DATASETS[name].generator if name in DATASETS else None
    if manifest and generator and manifest.version != _module(generator).VERSION:
        return None
    return manifest


def _generate(name: str, generator: str, tell: Listener) -> None:
    module, function = _module(generator), generator.partition(":")[2]
    make = getattr(module, function)
    splits = {split: (make(split), module.COUNTS[split]) for split in SPLITS}
    maker, version = f"{module.NAME}:{function}", module.VERSION
    place = data_dir() / name
    with building.staging(place) as staging:
        if _manifest(name):  # another process made it while this one waited
            return
        digests = building.write(made := staging / "made", splits, tell)
        written = [digests[f"{split}.bin"] for split in SPLITS]
        known = {
            "origin": "generated",
            "generator": maker,
            "version": version,
            "fingerprint": digest_of(maker, str(version), *written),
        }
        building.finish(made, place, module.CLASSES, digests, known)


def _module(generator: str) -> ModuleType:
    return importlib.import_module(generator.partition(":")[0])
