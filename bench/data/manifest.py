"""What is known of a dataset on the disk: its `manifest.json`, written last."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from bench.data.specs import DATASETS, SPLITS
from bench.errors import InputError, told

FORMAT = 1  # of the files of a dataset; raised by hand when their meaning changes
V = TypeVar("V")


def _whole(by_split: dict[str, V]) -> dict[str, V]:
    if set(by_split) != set(SPLITS):
        raise ValueError("it has other splits")
    return by_split


def _of_each_file(digests: dict[str, str]) -> dict[str, str]:
    if set(digests) != {f"{split}{suffix}" for split in SPLITS for suffix in (".bin", ".parquet")}:
        raise ValueError("it has other files")
    return digests


BySplit = Annotated[dict[str, V], AfterValidator(_whole)]


class Archive(BaseModel):
    """The file that a dataset was unpacked from."""

    model_config = ConfigDict(frozen=True)

    file: str = ""  # its name
    md5: str = ""
    sha256: str = ""
    published: Annotated[bool, Field(alias="published digest")] = False  # one of those known


class Manifest(BaseModel):
    """All that is known of a dataset."""

    model_config = ConfigDict(frozen=True)

    classes: tuple[str, ...]  # class folders, in the order of the labels
    origin: str  # "fetched from …", "imported from …" or "generated"
    fingerprint: str  # sha256 that tells one content from another, by names and sizes of files
    counts: BySplit[dict[str, int]]  # images of each class
    images: BySplit[int]
    sha256: Annotated[dict[str, str], AfterValidator(_of_each_file)]
    format: int = FORMAT
    name: str = ""
    decoder: str = ""
    archive: Archive | None = None
    generator: str | None = None
    version: int | None = None  # of the generator
    changes: dict[str, int] = {}  # images by what was done to them besides decoding
    passed: Annotated[dict[str, list[str]], Field(alias="passed over")] = {}  # which, by the reason

    @property
    def pixels(self) -> str:
        """The sha256 of the decoded pixels of both splits."""
        return digest_of(*(self.sha256[f"{split}.bin"] for split in SPLITS))


def digest_of(*lines: str) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def read_manifest(place: Path) -> Manifest | None:
    """The manifest of the dataset in a folder; None if none is there.

    Raises:
        InputError: if it may not be read, is damaged, or of another format.
    """
    path = place / "manifest.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise InputError(told(error, path)) from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read: {error}; {again(place)}") from error
    format_ = found.get("format") if isinstance(found, dict) else None
    if format_ != FORMAT:
        raise InputError(
            f"{path} has format {format_!r}; this version reads {FORMAT}; {again(place)}"
        )
    try:
        return Manifest.model_validate(found)
    except ValidationError as error:
        field = " of ".join(map(str, error.errors()[0]["loc"]))
        raise InputError(f"{path} is damaged: it has no {field}; {again(place)}") from error


def again(place: Path) -> str:
    """What to do about a dataset that is damaged."""
    generated = place.name in DATASETS and DATASETS[place.name].generator is not None
    how = "it is then generated anew" if generated else "fetch or import it again"
    return f"delete {place} and {how}"
