"""Fresh processes that tell what they do: each call in one of its own, torch already imported.

A server process imports torch once and is then forked for each call, so that a call costs
milliseconds and starts from the same clean state. This module does not import torch itself.
"""

from __future__ import annotations

import importlib
import multiprocessing
import signal
import sys
import time
from collections.abc import Generator, Iterator
from contextlib import suppress
from functools import cache
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from typing import Any

from bench.events import Event

PRELOADED = ("bench.lab.trial", "bench.lab.timing", "pandas")  # pyarrow looks for pandas


class TimedOutError(Exception):
    """The process was ended because its time was up."""


class DiedError(Exception):
    """The process ended without finishing what it was asked to do."""


class StoppedError(BaseException):
    """Raised inside the process when the one that started it wants no more, or is gone."""


def call(
    function: str, *arguments: Any, timeout_s: float = float("inf")
) -> Generator[Event, None, None]:
    """Run `function` ("module:name") as function(tell, *arguments) elsewhere; yield its events.

    Leaving the iterator early ends the process.

    Raises:
        TimedOutError: when `timeout_s` seconds are over.
        DiedError: when the process ends with an error; the text says how.
    """
    here, there = _context().Pipe()
    process = _context().Process(target=_serve, args=(function, arguments, there), daemon=True)  # type: ignore[attr-defined]
    process.start()
    there.close()
    deadline = time.monotonic() + timeout_s
    try:
        yield from _events(here, deadline)
        process.join()
        if process.exitcode:
            raise DiedError(_how_it_ended(process.exitcode))
    finally:
        here.close()
        process.kill()
        process.join()


def _events(here: Connection, deadline: float) -> Iterator[Event]:
    while True:
        left = deadline - time.monotonic()
        if not here.poll(max(0.0, left) if left < 1e9 else None):
            raise TimedOutError
        try:
            yield here.recv()
        except EOFError:
            return


def _serve(function: str, arguments: tuple[Any, ...], there: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the group; the runner decides
    module, _, name = function.partition(":")

    def tell(event: Event) -> None:
        try:
            there.send(event)
        except OSError:
            raise StoppedError from None

    with suppress(StoppedError):
        getattr(importlib.import_module(module), name)(tell, *arguments)
    there.close()


@cache
def _context() -> BaseContext:
    if sys.platform == "win32":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOADED))
    return context


def _how_it_ended(exitcode: int) -> str:
    if exitcode == -signal.SIGKILL:
        return "the process was killed (signal 9), as the system does when memory runs out"
    if exitcode < 0:
        return f"the process was ended by signal {-exitcode}"
    return f"the process ended with exit status {exitcode}"
