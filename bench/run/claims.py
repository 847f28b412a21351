"""Who does what: leases in the store. The work of a dead or stopped process is taken over.

The holder gives a sign now and then; who has seen none for `LEASE_S`, by its own clock, may take
the lease, on whatever host, and at once where the holder is seen to be dead. So a lease keeps two
processes from the same work but does not bar it: `bench.store.put_in_place` lets the first win.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import cache
from pathlib import Path

from filelock import SoftFileLease, Timeout

from bench.events import Listener, Waiting
from bench.store import Store

LEASE_S = 120.0  # longer than network file systems remember what they have once read of a file
POLL_S = 3.0  # between two looks at what another process is doing


@contextmanager
def claim(store: Store, name: str) -> Iterator[bool]:
    """Hold a trial's key, or something else by name; False if another process, or task, has it."""
    lease = _lease(store.root / "claims" / name)
    if lease.is_locked or not _acquired(lease):
        yield False
        return
    try:
        yield True
    finally:
        lease.release()


@asynccontextmanager
async def waiting_claim(store: Store, name: str, listener: Listener) -> AsyncIterator[None]:
    """Hold it when nobody else does any more."""
    while True:
        with claim(store, name) as claimed:
            if claimed:
                yield
                return
        listener(Waiting(1, "measurement"))
        await asyncio.sleep(POLL_S)


def _acquired(lease: SoftFileLease) -> bool:
    path = Path(lease.lock_file)
    path.parent.mkdir(parents=True, exist_ok=True)
    # A machine that lost power leaves empty files; a living holder has written its own at once.
    with suppress(FileNotFoundError):
        found = path.stat()
        if not found.st_size and time.time() - found.st_mtime > LEASE_S:
            path.unlink()
    for _ in range(2):  # the first try clears away what a dead process has left
        with suppress(Timeout):
            lease.acquire(timeout=0)
            return True
    return False


@cache
def _lease(path: Path) -> SoftFileLease:
    """One for each path, as it knows since when the holder has given no sign."""
    return SoftFileLease(path, lease_duration=LEASE_S)
