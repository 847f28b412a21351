"""The machine under this process: processors, memory, room on a disk, files that are on it."""

from __future__ import annotations

import errno
import math
import os
import platform
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

CGROUPS = Path("/sys/fs/cgroup")


def cores(cgroups: Path = CGROUPS) -> int:
    """Processors that this process may use: by its affinity, and by its container's quota.

    `os.cpu_count` knows neither, so that a container of 2 processors on a machine of 64 would be
    given 64 threads.
    """
    allowed = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    quota = _quota(cgroups)
    return max(1, min(allowed, math.ceil(quota))) if quota else allowed


def _quota(cgroups: Path) -> float | None:
    """Processors that the control group may use, in version 2 or 1; None without a limit."""
    found = _numbers(cgroups / "cpu.max")
    for name in () if found else ("cpu.cfs_quota_us", "cpu.cfs_period_us"):
        found += _numbers(cgroups / "cpu" / name)
    return found[0] / found[1] if len(found) == 2 and min(found) > 0 else None


def memory_bytes(cgroups: Path = CGROUPS) -> int:
    """The memory that this process and its children may use: the machine's, or its container's."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = ("memory.max", "memory/memory.limit_in_bytes")  # versions 2 and 1
    return min([machine, *(number for name in limits for number in _numbers(cgroups / name))])


def _numbers(file: Path) -> list[int]:
    """What is in a control group's file; none where it is not there, or says "max"."""
    try:
        return [int(word) for word in file.read_text().split()]
    except (OSError, ValueError):
        return []


@dataclass(frozen=True)
class Share:
    """What of the machine a process may use."""

    threads: int  # of torch on the processor
    card: str | None = None  # the one GPU, as CUDA_VISIBLE_DEVICES names it; None: as it is


def shares(workers: int | None, cards: Sequence[str | None], need: int) -> list[Share]:
    """What each of the processes gets that run at once: it is the same however many are busy.

    Args:
        workers: how many they are; by default one a GPU, or one a core.
        cards: the GPUs; none on a processor.
        need: memory, bytes, of one of them, of which a processor's default takes account.
    """
    count = workers or len(cards) or max(1, min(cores(), memory_bytes() // need))
    threads = max(1, cores() // count)
    return [Share(threads, cards[n % len(cards)] if cards else None) for n in range(count)]


def free_bytes(folder: Path) -> int:
    """Room on the disk of a folder, or of the nearest one above it that is there."""
    there = next(at for at in (folder, *folder.parents) if at.exists())
    return shutil.disk_usage(there).free


def own_name() -> str:
    """A name for a file or a folder that no other process, of whatever host, gives."""
    return f"{platform.node()}-{secrets.token_hex(4)}"


@contextmanager
def written_whole(path: Path) -> Iterator[BinaryIO]:
    """A file to write that has its name once it is complete: a crash leaves all of it or nothing.

    Until then it has an `own_name`.
    """
    temporary = path.with_name(f".{path.name}.{own_name()}")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    synced(path.parent)


def synced(path: Path) -> None:
    """Wait until a file, or the list of a folder's files, is on the disk.

    Some network disks, and those of some containers, know no such thing of a folder.
    """
    if path.is_dir() and os.name == "nt":
        return  # Windows opens no folders
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if not path.is_dir() or error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)
