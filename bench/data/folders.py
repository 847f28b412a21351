"""A folder of class folders: which files are images, which are passed over, decoding them."""

from __future__ import annotations

import hashlib
import itertools
import os
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from bench.data.decoding import Decoded, Image, UndecodableError, decode, pixel_count, suffixes
from bench.data.specs import SPLITS
from bench.errors import InputError, readable
from bench.events import DataRead, Listener
from bench.machine import cores

DECODE_BYTES = 1 << 29
"""What images that are decoded ahead may take together; one alone may take more."""

BYTES_PER_PIXEL = 12
"""While one is decoded: the plug-in's buffer, RGBA, and the array that is made of it."""

AT_ONCE = 1000  # headers that are asked for together
MOST_NAMED = 1000  # files that one error names


IN_BOTH = "in val as in train, pixel by pixel"
"""Among the changes, how many images are validated on after they were trained on."""


class Found(NamedTuple):
    name: str  # "<class folder>/<file>", in UTF-8 whatever the file system has
    label: int
    path: Path


class Folder:
    """Images in ImageFolder layout, found but not read.

    Args:
        root: the folder that has train/ and val/, or the only folder in it that does.
        shown: what errors call it.
        classes: class folders in the order of the labels; those of train, sorted, unless given.
    Raises:
        InputError: if there is no train/ or no val/, or a folder in them cannot be read.
        OSError: if `root` cannot be read.
    """

    def __init__(self, root: Path, shown: str, classes: Sequence[str] = ()) -> None:
        below = [path for path in root.iterdir() if path.is_dir() and not _hidden(path.name)]
        if not any((root / split).is_dir() for split in SPLITS) and len(below) == 1:
            root = below[0]
        for split in SPLITS:
            if not (root / split).is_dir():
                raise InputError(
                    f"{shown} has no folder {split!r}; wanted is train/<class>/… and val/<class>/…"
                )
        self.shown, self.root = shown, root
        self.passed: dict[str, list[str]] = {}  # files or folders passed over, by the reason
        self.closed: list[str] = []  # folders that could not be read, with the reason
        for entry in self._entries(root):
            if entry.name not in SPLITS:
                self._pass("beside train and val", entry)
        self.files = {split: self._classes(root / split) for split in SPLITS}
        if self.closed:
            raise InputError(f"{shown} cannot be read: {', '.join(self.closed)}")
        self.classes = tuple(classes) or tuple(sorted(self.files["train"]))

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
        return hashlib.sha256("".join(lines).encode(errors="surrogateescape")).hexdigest()

    def found(self, split: str) -> list[Found]:
        """The images of a split in order of name."""
        files = sorted(
            (path.relative_to(self.root / split).as_posix(), label, path)
            for label, folder in enumerate(self.classes)
            for path in self.files[split][folder]
        )
        return [Found(readable(name), label, path) for name, label, path in files]

    def _classes(self, split: Path) -> dict[str, list[Path]]:
        """Class folder -> its images."""
        found = {}
        for entry in self._entries(split):
            if entry.is_dir() and not _hidden(entry.name):
                found[entry.name] = list(self._images(Path(entry.path)))
            else:
                image = _is_image(entry.name)
                self._pass("outside any class folder" if image else _why(entry), entry)
        return found

    def _images(self, folder: Path) -> Iterator[Path]:
        waiting = [folder]
        while waiting:
            for entry in self._entries(waiting.pop()):
                visible = not _hidden(entry.name)
                if visible and entry.is_dir(follow_symlinks=False):
                    waiting.append(Path(entry.path))
                elif visible and entry.is_file() and _is_image(entry.name):
                    yield Path(entry.path)
                else:
                    self._pass(_why(entry), entry)

    def _entries(self, folder: Path) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(folder) as entries:
                return sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            name = folder.relative_to(self.root).as_posix()
            self.closed.append(f"{name} ({error.strerror or error})")
            return []

    def _pass(self, why: str, entry: os.DirEntry[str]) -> None:
        name = Path(entry.path).relative_to(self.root).as_posix()
        self.passed.setdefault(why, []).append(readable(name))


def _hidden(name: str) -> bool:
    return name.startswith(".") or name in ("__MACOSX", "Thumbs.db", "desktop.ini")


def _is_image(name: str) -> bool:
    return Path(name).suffix.lower() in suffixes()


def _why(entry: os.DirEntry[str]) -> str:
    kind = "folder" if entry.is_dir() else "file"
    if _hidden(entry.name):
        return f"hidden {kind}"
    if entry.is_dir():
        return "link to a folder"
    if not entry.is_file():
        return "neither file nor folder, or a link to nothing"
    return f"no image by its suffix {readable(Path(entry.name).suffix.lower())}".strip()


class Reading:
    """Decoding all images of a folder: what they will take, what cannot be decoded, what changes.

    Headers are read at once, and `tell` hears of them.
    """

    def __init__(self, images: Folder, tell: Listener) -> None:
        self.shown = images.shown
        self.found = {split: images.found(split) for split in SPLITS}
        self.broken: dict[str, str] = {}  # "<split>/<name>" -> why it cannot be decoded
        self.changes: Counter[str] = Counter()
        self._trained: set[bytes] = set()  # digests of the training images that were read
        self.pixels: dict[Path, int] = {}
        self._workers = min(8, cores())
        self._read_headers(tell)

    @property
    def decoded_bytes(self) -> int:
        """What the master copies will take."""
        return 3 * sum(self.pixels.values())

    def _read_headers(self, tell: Listener) -> None:
        files = [(split, one) for split, found in self.found.items() for one in found]
        pool = ThreadPoolExecutor(self._workers, thread_name_prefix="headers")
        try:
            for start in range(0, len(files), AT_ONCE):
                some = files[start : start + AT_ONCE]
                headers = [pool.submit(pixel_count, one.path) for _, one in some]
                for (split, one), header in zip(some, headers, strict=True):
                    try:
                        self.pixels[one.path] = header.result()
                    except UndecodableError as error:
                        self.broken[f"{split}/{one.name}"] = str(error)
                tell(DataRead("headers", start + len(some), len(files)))
        finally:
            pool.shutdown(cancel_futures=True)

    def images(self, split: str) -> Iterator[tuple[str, int, Image]]:
        """Each image of a split that can be decoded: (name, label, (H, W, 3) uint8), by name."""
        sound = [one for one in self.found[split] if one.path in self.pixels]
        for one, result in self._decoded(sound):
            try:
                decoded = result.result()
            except UndecodableError as error:
                self.broken[f"{split}/{one.name}"] = str(error)
            else:
                self.changes.update(decoded.changes)
                digest = hashlib.blake2b(decoded.image.tobytes(), digest_size=16).digest()
                if split == "train":
                    self._trained.add(digest)
                elif digest in self._trained:
                    self.changes[IN_BOTH] += 1
                yield one.name, one.label, decoded.image

    def _decoded(self, files: Sequence[Found]) -> Iterator[tuple[Found, Future[Decoded]]]:
        """Decode in a few threads, in order, with a bounded number of bytes ahead."""
        waiting: deque[tuple[Found, Future[Decoded]]] = deque()
        ahead = 0
        pool = ThreadPoolExecutor(self._workers, thread_name_prefix="decode")
        try:
            for one in files:
                ahead += self._cost(one)
                while waiting and ahead > DECODE_BYTES:
                    first, result = waiting.popleft()
                    yield first, result
                    ahead -= self._cost(first)
                waiting.append((one, pool.submit(decode, one.path)))
            while waiting:
                yield waiting.popleft()
        finally:
            pool.shutdown(cancel_futures=True)

    def _cost(self, one: Found) -> int:
        return BYTES_PER_PIXEL * self.pixels[one.path] + one.path.stat().st_size

    def finish(self) -> None:
        """Raise InputError if any image could not be decoded; all are named."""
        if not self.broken:
            return
        if len(self.broken) == 1:
            ((name, why),) = self.broken.items()
            raise InputError(f"{name} in {self.shown} cannot be decoded: {why}")
        named = [f"{name} ({why})" for name, why in list(self.broken.items())[:MOST_NAMED]]
        if (more := len(self.broken) - MOST_NAMED) > 0:
            named.append(f"{more} more")
        raise InputError(
            f"{len(self.broken)} images in {self.shown} cannot be decoded: {'; '.join(named)}"
        )
