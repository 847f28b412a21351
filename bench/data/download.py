"""An archive from a server."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from pathlib import Path

from bench.data.archives import CHUNK, gigabytes
from bench.data.master import Progress
from bench.errors import InputError

TIMEOUT_S = 30.0
LONGEST_LENGTH = 18
"""Digits of a length that is taken for one."""


def download(address: str, to: Path, free: int, progress: Progress) -> None:
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
            total = _length(answer)
            if total > free:
                raise InputError(
                    f"{address} has {gigabytes(total)}; {gigabytes(free)} are free in {to.parent}"
                )
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


def _length(answer: http.client.HTTPResponse) -> int:
    """What the server says that it sends, bytes; 0 where it says nothing that is a length."""
    said = str(answer.headers.get("Content-Length", "")).strip()
    return int(said) if said.isascii() and said.isdigit() and len(said) <= LONGEST_LENGTH else 0


def _copy(answer: http.client.HTTPResponse, to: Path, total: int, progress: Progress) -> int:
    done = 0
    with to.open("wb") as file:
        while data := answer.read(CHUNK):
            file.write(data)
            done += len(data)
            progress("download", done, total)
    return done
