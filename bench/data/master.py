"""The master copy of a split: every image decoded once, in one flat file with an index beside it.

`<split>.bin` holds the pixels (uint8, RGB, row after row, image after image); `<split>.parquet`
has one row an image: name, label, offset (bytes), height, width (pixels).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.data.decoding import Image
from bench.events import DataRead, Listener
from bench.machine import synced

INDEX = {"name": "string", "label": "int64", "offset": "int64", "height": "int32", "width": "int32"}
"""The columns of a split's index, and what PyArrow calls their types."""


class Master:
    """One split, decoded; pickles as its address, so that it can be handed to other processes.

    Its index is read at once; pixels are mapped when one is asked for.

    Args:
        folder: where the split's two files are.
        split: train or val.
        rows: which of the split's images, where it is a part of it.
    Raises:
        OSError, ValueError: if a file of it is not there, or ends before the last of its images.
    """

    names: tuple[str, ...]  # of the images, "<class folder>/<file>"
    labels: NDArray[np.int64]  # (n,)
    offsets: NDArray[np.int64]  # (n,), where each image begins in the .bin, bytes
    sizes: NDArray[np.int64]  # (n, 2), height and width of each, pixels

    def __init__(self, folder: Path, split: str, rows: NDArray[np.int64] | None = None) -> None:
        import pyarrow.parquet as pq  # which takes longer to import than all datasets to list

        self.folder, self.split, self.rows = folder, split, rows
        index = pq.ParquetFile(folder / f"{split}.parquet").read()  # without pyarrow's datasets
        if rows is not None:
            index = index.take(rows)
        self.names = tuple(index["name"].to_pylist())
        self.labels, self.offsets, heights, widths = (
            index[column].to_numpy().astype(np.int64)
            for column in ("label", "offset", "height", "width")
        )
        self.sizes = np.stack([heights, widths], axis=1)
        needed = (self.offsets + 3 * heights * widths).max(initial=0)
        if (there := self.file.stat().st_size) < needed:
            raise ValueError(f"{self.file.name} has {there:,} of {needed:,} bytes")

    def __len__(self) -> int:
        return len(self.names)

    @property
    def file(self) -> Path:
        """The split's pixels."""
        return self.folder / f"{self.split}.bin"

    def part(self, rows: NDArray[np.int64]) -> Master:
        """The named rows alone, in their order."""
        assert self.rows is None, "a part of a part"
        return Master(self.folder, self.split, rows)

    def image(self, i: int) -> Image:
        """Image `i`, (H, W, 3) uint8: a read-only view into the memory map, nothing is copied."""
        (height, width), start = self.sizes[i].tolist(), int(self.offsets[i])
        return self._pixels[start : start + height * width * 3].reshape(height, width, 3)

    @cached_property
    def _pixels(self) -> NDArray[np.uint8]:
        # A plain array over the map: slicing an np.memmap itself costs several times as much.
        return np.asarray(np.memmap(self.file, np.uint8, mode="r"))

    def __reduce__(self) -> tuple[object, ...]:
        return Master, (self.folder, self.split, self.rows)


def write_split(
    folder: Path, split: str, images: Iterable[tuple[str, int, Image]], total: int, tell: Listener
) -> dict[str, str]:
    """Stream (name, label, (H, W, 3) uint8) to the split's two files and sync both.

    Args:
        total: how many they are; `tell` hears of each.
    Returns: the sha256 of each file written, by file name.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = []
    offset = 0
    pixels, index = folder / f"{split}.bin", folder / f"{split}.parquet"
    with pixels.open("wb") as file:
        for done, (name, label, image) in enumerate(images, 1):
            assert image.dtype == np.uint8, image.dtype
            assert image.shape[2:] == (3,), image.shape
            height, width, _ = image.shape
            rows.append(dict(zip(INDEX, (name, label, offset, height, width), strict=True)))
            offset += file.write(image.tobytes())
            tell(DataRead(split, done, total))
    pq.write_table(pa.Table.from_pylist(rows, schema=pa.schema(list(INDEX.items()))), index)
    for path in (pixels, index):
        synced(path)
    return {path.name: file_digest(path) for path in (pixels, index)}


def file_digest(path: Path, algorithm: str = "sha256") -> str:
    """The digest of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()
