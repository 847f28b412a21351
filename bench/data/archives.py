"""Tar archives: from a server, and unpacking them safely."""

from __future__ import annotations

import http.client
import lzma
import os
import re
import tarfile
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from bench.errors import InputError
from bench.events import DataRead, Listener

CHUNK = 1 << 20
BLOCK = 4096  # what the smallest file takes on a disk, bytes

MOST_TIMES, MOST_BESIDES = 100, 1 << 30
"""An archive may unpack to so many times its own size and so many bytes: images hardly shrink."""

LONGEST_NAME = 1000  # of a member, folders included, bytes
TIMEOUT_S = 30.0
LENGTH = re.compile("[0-9]{1,18}")  # of a download, as a server may announce it
UNREACHABLE = (
    urllib.error.URLError,
    TimeoutError,  # of an answer that does not come
    ConnectionError,
    http.client.HTTPException,
    ValueError,  # of an address that is none
)
"""What asking a server ends in where it cannot be had."""


def download(address: str, to: Path, free: int, tell: Listener) -> None:
    """Fetch `address` into the file `to`.

    Args:
        free: bytes that there are for it.
    Raises:
        InputError: if the server cannot be reached, has no such file, or sends only a part of it,
            or if there is no room for it.
        OSError: if there is no right to write.
    """
    try:
        with urllib.request.urlopen(address, timeout=TIMEOUT_S) as answer:
            said = str(answer.headers.get("Content-Length", "")).strip()
            total = int(said) if LENGTH.fullmatch(said) else 0  # bytes; 0: not known
            if total > free:
                raise InputError(
                    f"{address} has {gigabytes(total)}; {gigabytes(free)} are free in {to.parent}"
                )
            done = _copy(answer, to, total, tell)
    except urllib.error.HTTPError as error:
        with error:
            raise InputError(f"{address} answered {error.code} {error.reason}") from error
    except InputError:
        raise
    except UNREACHABLE as e:
        raise InputError(
            f"{address} cannot be reached ({getattr(e, 'reason', None) or e}); an archive brought "
            "here by other means is taken by `resizer-bench data import ARCHIVE`"
        ) from e
    if total and done != total:
        raise InputError(f"{address} broke off after {done} of {total} bytes; fetch it again")


def _copy(answer: http.client.HTTPResponse, to: Path, total: int, tell: Listener) -> int:
    done = 0
    with to.open("wb") as file:
        while data := _received(answer):
            file.write(data)
            done += len(data)
            tell(DataRead("download", done, total))
    return done


def _received(answer: http.client.HTTPResponse) -> bytes:
    """The next bytes; what fails is the network, not the disk."""
    try:
        return answer.read(CHUNK)
    except OSError as error:
        raise urllib.error.URLError(error) from error


def top_folder(archive: Path) -> str:
    """The outermost folder that an archive unpacks to, by its first member; "" if it has none.

    Raises:
        InputError: if it is not a tar archive.
    """
    with _readable(archive), tarfile.open(archive) as tar:
        first = tar.next()
    parts = [part for part in PurePosixPath(first.name).parts if part != "."] if first else []
    return parts[0] if parts else ""


def unpack(archive: Path, folder: Path, free: int, tell: Listener) -> None:
    """Unpack a tar archive, compressed or not, to its end: so damage anywhere in it is found.

    Args:
        folder: it is made; members that would leave it are refused.
        free: bytes that there are for it.
    Raises:
        InputError: if it is not a tar archive, is cut short or damaged, holds an unsafe member, or
            unpacks to more than it may; then as soon as a member's header says so.
        OSError: if there is no room or no right to write.
    """
    folder.mkdir()
    size, unpacked = archive.stat().st_size, 0
    with _readable(archive), archive.open("rb") as raw, tarfile.open(fileobj=raw) as tar:
        for member in tar:
            if len(os.fsencode(member.name)) > LONGEST_NAME:
                raise InputError(
                    f"{archive.name} is not safe to unpack: {member.name[:60]}… is a name of "
                    f"{len(member.name)} characters"
                )
            unpacked += -(-member.size // BLOCK) * BLOCK or BLOCK
            _refuse_too_large(archive, unpacked, size, free)
            _extract(tar, member, folder)
            tar.members = []  # type: ignore[attr-defined]  # it remembers every one
            tell(DataRead("unpack", raw.tell(), size))
        _read_to_the_end(tar)


def _extract(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    """Raises: tarfile.ReadError where a name is that of a file and of a folder."""
    try:
        tar.extract(member, folder, filter="data")
    except (FileExistsError, IsADirectoryError, NotADirectoryError) as error:
        raise tarfile.ReadError(f"a part of {member.name} is a file and a folder") from error


def _refuse_too_large(archive: Path, unpacked: int, size: int, free: int) -> None:
    if unpacked > MOST_TIMES * size + MOST_BESIDES:
        most = f"{MOST_TIMES} times its size, as no archive of images does"
    elif unpacked > free:
        most = f"the {gigabytes(free)} that are free"
    else:
        return
    raise InputError(f"{archive.name} unpacks to more than {most}; nothing was kept")


def _read_to_the_end(tar: tarfile.TarFile) -> None:
    """Past the last member: the end mark, and the check sum of the compression.

    tarfile takes a damaged header for the archive's end.
    """
    stream: IO[bytes] | None = tar.fileobj  # type: ignore[assignment]
    assert stream is not None
    stream.seek(tar.offset)
    mark = stream.read(tarfile.BLOCKSIZE)
    if len(mark) < tarfile.BLOCKSIZE or any(mark):
        raise tarfile.ReadError(f"neither a member nor the end mark at byte {tar.offset}")
    while data := stream.read(CHUNK):
        if any(data):
            raise tarfile.ReadError("more after the end mark, as where two archives were joined")


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
    except (ValueError, OverflowError) as error:  # of numbers and names in members' headers
        if isinstance(error, InputError):
            raise
        raise InputError(f"{archive.name} is damaged: {error}") from error
    except KeyError as error:  # of a hard link to nothing
        raise InputError(f"{archive.name} is damaged: {error.args[0]}") from error


def gigabytes(size: int) -> str:
    """
    >>> gigabytes(1_234_567_890), gigabytes(5_000)
    ('1.23 GB', '0.00 GB')
    """
    return f"{size / 1e9:.2f} GB"
