"""Where images come from: an archive on a server, an archive on disk, a folder of class folders."""

from __future__ import annotations

import hashlib
import http.client
import io
import itertools
import lzma
import os
import tarfile
import urllib.error
import urllib.request
import zlib
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import PIL.Image

from bench.data.master import SPLITS, Image, Progress
from bench.errors import InputError

SUFFIXES = (".jpeg", ".jpg", ".png")
"""Of the files that count as images, in lower or upper case; other files are passed over."""

TIMEOUT_S = 30.0
CHUNK = 1 << 20


@dataclass(frozen=True)
class Folder:
    """Images in ImageFolder layout, found but not read.

    Args:
        shown: what errors call it.
        root: the folder that has train/ and val/.
        classes: class folders in the order of the labels.
        files: split -> class folder -> its images, sorted.
    """

    shown: str
    root: Path
    classes: tuple[str, ...]
    files: Mapping[str, Mapping[str, Sequence[Path]]]

    def counts(self) -> dict[str, dict[str, int]]:
        """Split -> class folder -> number of images."""
        return {
            split: {folder: len(paths) for folder, paths in found.items()}
            for split, found in self.files.items()
        }

    def fingerprint(self) -> str:
        """The sha256 of the sorted list of "split/class/file size", one a line."""
        lines = sorted(
            f"{split}/{path.relative_to(self.root / split).as_posix()} {path.stat().st_size}\n"
            for split, found in self.files.items()
            for path in itertools.chain.from_iterable(found.values())
        )
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def images(self, split: str) -> Iterator[tuple[str, int, Image]]:
        """Each image of a split, decoded: (name, label, (H, W, 3) uint8), in order of name.

        Raises:
            InputError: at the first file that is not a whole image.
        """
        label = {folder: i for i, folder in enumerate(self.classes)}
        files = sorted(
            (path.relative_to(self.root / split).as_posix(), label[folder], path)
            for folder, paths in self.files[split].items()
            for path in paths
        )
        decoded = _in_threads([(path, f"{split}/{name}") for name, _, path in files], self.shown)
        for (name, number, _), image in zip(files, decoded, strict=True):
            yield name, number, image


def read_folder(root: Path, shown: str, classes: Sequence[str] = ()) -> Folder:
    """Find the images below `root`; their labels follow `classes`, or else the sorted folders.

    Args:
        root: the folder that has train/ and val/, or the only folder in it that does.
        shown: what errors call it.
    Raises:
        InputError: if there is no train/ or no val/.
    """
    below = [path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")]
    if not any((root / split).is_dir() for split in SPLITS) and len(below) == 1:
        root = below[0]
    for split in SPLITS:
        if not (root / split).is_dir():
            raise InputError(
                f"{shown} has no folder {split!r}; wanted is train/<class>/… and val/<class>/…"
            )
    files = {split: _class_files(root / split) for split in SPLITS}
    return Folder(shown, root, tuple(classes) or tuple(sorted(files["train"])), files)


def _class_files(folder: Path) -> dict[str, list[Path]]:
    return {
        below.name: sorted(
            path
            for path in below.rglob("*")
            if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
        )
        for below in sorted(folder.iterdir())
        if below.is_dir() and not below.name.startswith(".")
    }


def _in_threads(files: Iterable[tuple[Path, str]], shown: str) -> Iterator[Image]:
    """Decode in a few threads, in order, with a bounded number of images in memory."""
    workers = min(8, os.cpu_count() or 1)
    waiting: deque[Future[Image]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="decode")
    try:
        for path, name in files:
            waiting.append(pool.submit(decode, path, f"{name} in {shown}"))
            if len(waiting) > 4 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def decode(path: Path, shown: str) -> Image:
    """A file as (H, W, 3) uint8 RGB at its native size; a rotation noted in EXIF is not applied.

    Raises:
        InputError: if it is not a whole image.
    """
    data = path.read_bytes()
    try:
        with PIL.Image.open(io.BytesIO(data)) as image:
            return np.asarray(image.convert("RGB"))
    # Pillow's plug-ins raise SyntaxError, struct.error and others besides OSError.
    except Exception as error:
        unknown = isinstance(error, PIL.UnidentifiedImageError)
        reason = "no known image format" if unknown else str(error) or type(error).__name__
        raise InputError(f"{shown} cannot be decoded: {reason}") from error


def digests(archive: Path) -> dict[str, str]:
    """The md5 and sha256 of a file, in hexadecimal, by name of the algorithm."""
    found = {}
    for algorithm in ("md5", "sha256"):
        with archive.open("rb") as file:
            found[algorithm] = hashlib.file_digest(file, algorithm).hexdigest()
    return found


def top_folder(archive: Path) -> str:
    """The outermost folder that an archive unpacks to, by its first member; "" if it has none.

    Raises:
        InputError: if it is not a tar archive.
    """
    with _readable(archive), tarfile.open(archive) as tar:
        first = tar.next()
    parts = [part for part in PurePosixPath(first.name).parts if part != "."] if first else []
    return parts[0] if parts else ""


def unpack(archive: Path, folder: Path, progress: Progress) -> None:
    """Unpack a tar archive, compressed or not, refusing members that would leave `folder`.

    Raises:
        InputError: if it is not a tar archive, is cut short, or holds an unsafe member.
        OSError: if there is no room or no right to write.
    """
    folder.mkdir()
    size = archive.stat().st_size
    with _readable(archive), archive.open("rb") as raw, tarfile.open(fileobj=raw) as tar:
        for member in tar:
            tar.extract(member, folder, filter="data")
            progress("unpack", raw.tell(), size)


@contextmanager
def _readable(archive: Path) -> Iterator[None]:
    """Turn what is wrong with an archive into one sentence; trouble with the disk passes through.

    The modules for gzip and bzip2 raise OSError for damage too, but without an errno.
    """
    try:
        yield
    except tarfile.FilterError as error:
        raise InputError(f"{archive.name} is not safe to unpack: {error}") from error
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        if str(error).startswith("file could not be opened"):
            raise InputError(
                f"{archive.name} is not a tar archive (.tgz, .tar.gz, .tar); what is packed in "
                "another way can be unpacked by hand and imported as a folder"
            ) from error
        raise InputError(f"{archive.name} is cut short or damaged: {error}") from error


def download(address: str, to: Path, progress: Progress) -> None:
    """Fetch `address` into the file `to`.

    Raises:
        InputError: if the server cannot be reached, has no such file, or sends only a part of it.
        OSError: if there is no room or no right to write.
    """
    try:
        with urllib.request.urlopen(address, timeout=TIMEOUT_S) as answer:
            total = int(answer.headers.get("Content-Length") or 0)
            done = _copy(answer, to, total, progress)
    except urllib.error.HTTPError as error:
        with error:
            raise InputError(f"{address} answered {error.code} {error.reason}") from error
    except (urllib.error.URLError, TimeoutError, ConnectionError, http.client.HTTPException) as e:
        raise InputError(
            f"{address} cannot be reached ({getattr(e, 'reason', None) or e}); an archive brought "
            "here by other means is taken by `resizer-bench data import ARCHIVE`"
        ) from e
    if total and done != total:
        raise InputError(f"{address} broke off after {done} of {total} bytes; fetch it again")


def _copy(answer: http.client.HTTPResponse, to: Path, total: int, progress: Progress) -> int:
    done = 0
    with to.open("wb") as file:
        while data := answer.read(CHUNK):
            file.write(data)
            done += len(data)
            progress("download", done, total)
    return done
