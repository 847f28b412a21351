"""The master copy of a split: every image decoded once, in one flat file with an index beside it.

`<split>.bin` holds the pixels (uint8, RGB, row after row, image after image); `<split>.parquet`
has one row an image: name, label, offset (bytes), height, width (pixels).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.data.decoding import Image
from bench.machine import synced

INDEX = {"name": "string", "label": "int64", "offset": "int64", "height": "int32", "width": "int32"}
"""The columns of a split's index, and what PyArrow calls their types."""


@dataclass(frozen=True, eq=False)
class Master:
    """One split, decoded; pickles as its address, so that it can be handed to other processes."""

    folder: Path  # where the split's two files are
    split: str  # train or val
    names: tuple[str, ...]  # of the images, "<class folder>/<file>"
    labels: NDArray[np.int64]  # (n,), as are the next
    offsets: NDArray[np.int64]  # where each image begins in the .bin, bytes
    heights: NDArray[np.int64]  # pixels
    widths: NDArray[np.int64]
    rows: NDArray[np.int64] | None = None  # which of the split's, where it is a part of it

    def __len__(self) -> int:
        return len(self.names)

    @property
    def file(self) -> Path:
        """The split's pixels."""
        return self.folder / f"{self.split}.bin"

    def part(self, rows: NDArray[np.int64]) -> Master:
        """The named rows alone, in their order."""
        assert self.rows is None, "a part of a part"
        columns = ("labels", "offsets", "heights", "widths")
        kept = {name: getattr(self, name)[rows] for name in columns}
        names = tuple(self.names[row] for row in rows)
        return replace(self, names=names, rows=rows, **kept)

    def image(self, i: int) -> Image:
        """Image `i`, (H, W, 3) uint8: a read-only view into the memory map, nothing is copied."""
        height, width = int(self.heights[i]), int(self.widths[i])
        start = int(self.offsets[i])
        return self._pixels[start : start + height * width * 3].reshape(height, width, 3)

    @cached_property
    def _pixels(self) -> NDArray[np.uint8]:
        # A plain array over the map: slicing an np.memmap itself costs several times as much.
        return np.asarray(np.memmap(self.file, np.uint8, mode="r"))

    def __reduce__(self) -> tuple[object, ...]:
        return open_split, (self.folder, self.split, self.rows)


def open_split(folder: Path, split: str, rows: NDArray[np.int64] | None = None) -> Master:
    """Read a split's index, or these rows of it; pixels are mapped when one is asked for.

    Raises:
        OSError, ValueError: if a file of it is not there, or cut.
    """
    import pyarrow.parquet as pq  # which takes longer to import than all datasets to list

    index = pq.read_table(folder / f"{split}.parquet")
    labels, offsets, heights, widths = (
        index[column].to_numpy().astype(np.int64)
        for column in ("label", "offset", "height", "width")
    )
    names = tuple(index["name"].to_pylist())
    whole = Master(folder, split, names, labels, offsets, heights, widths)
    there, needed = whole.file.stat().st_size, (offsets + 3 * heights * widths).max(initial=0)
    if there < needed:
        raise ValueError(f"{whole.file.name} has {there:,} of {needed:,} bytes")
    return whole if rows is None else whole.part(rows)


def write_split(
    folder: Path, split: str, images: Iterable[tuple[str, int, Image]]
) -> dict[str, str]:
    """Stream (name, label, (H, W, 3) uint8) to the split's two files and sync both.

    Returns: the sha256 of each file written, by file name.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = []
    offset = 0
    pixels, index = folder / f"{split}.bin", folder / f"{split}.parquet"
    with pixels.open("wb") as file:
        for name, label, image in images:
            assert image.dtype == np.uint8, image.dtype
            assert image.shape[2:] == (3,), image.shape
            height, width, _ = image.shape
            rows.append(dict(zip(INDEX, (name, label, offset, height, width), strict=True)))
            offset += file.write(image.tobytes())
    pq.write_table(pa.Table.from_pylist(rows, schema=pa.schema(list(INDEX.items()))), index)
    for path in (pixels, index):
        synced(path)
    return {path.name: file_digest(path) for path in (pixels, index)}


def file_digest(path: Path, algorithm: str = "sha256") -> str:
    """The digest of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()
