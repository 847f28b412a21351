"""Fresh processes: each job in one of its own, torch already imported.

A server process imports torch once and is then forked for each job, so that a job starts within
milliseconds and from the same clean state. This module does not import torch itself.
"""

from __future__ import annotations

import asyncio
import math
import multiprocessing
import os
import signal
import tempfile
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from multiprocessing.util import get_temp_dir
from typing import TypeVar, TypeVarTuple, cast

from bench.errors import InputError
from bench.events import Event, Listener, StoppedError, ignore
from bench.run.stopping import ending_tasks

PRELOADED = ("bench.lab.trial", "bench.lab.timing", "pandas")  # pyarrow looks for pandas

LONGEST_FOLDER = 60
"""Bytes; a socket's address has at most 107, of which multiprocessing's own names take some 40."""

ENDING_S = 30.0
"""A process that has told all is waited for; one may hang in a GPU's driver, killed or not."""

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class TimedOutError(Exception):
    """The process was ended because its time was up."""


class DiedError(Exception):
    """The process ended without finishing what it was asked to do."""


@dataclass(frozen=True)
class Answer:
    """The last that a process sends: what its job returned."""

    value: object


Message = Event | Answer | InputError


def call(
    job: Callable[[Listener, *Ts], T],
    *arguments: *Ts,
    listener: Listener = ignore,
    timeout_s: float = math.inf,
) -> T:
    """`perform` a job, and wait for its end."""
    return waited_for(perform(job, *arguments, listener=listener, timeout_s=timeout_s))


def waited_for(work: Coroutine[object, object, T]) -> T:
    """What comes of work on several things at once; the first error of one of them is raised."""
    try:
        with ending_tasks():
            return asyncio.run(work)
    except BaseExceptionGroup as group:
        first = group.exceptions[0]
        raise first from first.__cause__


async def perform(
    job: Callable[[Listener, *Ts], T],
    *arguments: *Ts,
    listener: Listener = ignore,
    timeout_s: float = math.inf,
    grace_s: float = 0.0,
) -> T:
    """Run `job(tell, *arguments)` in a fresh process; returns what it returns.

    Args:
        job: a function of a module, which the process can import; see `bench.run.jobs`.
        listener: hears what the job tells. If it raises, the process is ended.
        timeout_s: seconds after which the process is ended.
        grace_s: seconds that it has to save what it does when this one is interrupted.
    Raises:
        InputError: as the job does.
        TimedOutError: when the time is up.
        DiedError: when the process ends in any other way; the text says how.
    """
    here, there = _context().Pipe()
    asked = (job, arguments, there, dict(os.environ))
    process = _context().Process(target=_serve, args=asked, daemon=True)  # type: ignore[attr-defined]
    process.start()
    there.close()
    try:
        async with asyncio.timeout(timeout_s) as limit:
            return cast("T", await _answer(here, listener))
    except EOFError:
        await _readable(process.sentinel, ENDING_S)
        process.join(0)
        raise DiedError(_how_it_ended(process.exitcode)) from None
    except TimeoutError:
        if limit.expired():
            raise TimedOutError from None
        raise
    except (asyncio.CancelledError, KeyboardInterrupt):
        here.close()  # which the job notices when it tells of its next step
        await _readable(process.sentinel, grace_s)
        raise
    finally:
        here.close()
        process.kill()
        process.join(ENDING_S)


async def _answer(connection: Connection, listener: Listener) -> object:
    """What the job returns; all that it tells is passed on. EOFError where nothing will come."""
    while True:
        await _readable(connection.fileno())
        message = cast("Message", connection.recv())
        if isinstance(message, Answer):
            return message.value
        if isinstance(message, InputError):
            raise message
        listener(message)


async def _readable(descriptor: int, timeout_s: float = math.inf) -> None:
    """Wait until there is something to read, or the time is up."""
    loop, there = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(descriptor, there.set)
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await there.wait()
    finally:
        loop.remove_reader(descriptor)


def _serve(
    job: Callable[[Listener, *Ts], object],
    arguments: tuple[*Ts],
    there: Connection,
    environment: Mapping[str, str],
) -> None:
    os.environ.clear()  # the server's is of when it was started
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the group; the runner decides

    def send(message: Message) -> None:
        try:
            there.send(message)
        except OSError:
            raise StoppedError from None

    with suppress(StoppedError):
        try:
            answer: Message = Answer(job(send, *arguments))
        except InputError as error:
            answer = error
        send(answer)
    there.close()


@cache
def _context() -> BaseContext:
    _keep_sockets_short()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOADED))
    resource_tracker.ensure_running()  # unblocks the signal where it starts one
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    forkserver.ensure_running()  # it and its jobs leave the signal to the runner, who decides
    signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    return context


def _keep_sockets_short() -> None:
    """Let multiprocessing put its sockets in /tmp where TMPDIR is too long for an address."""
    if len(os.fsencode(tempfile.gettempdir())) > LONGEST_FOLDER:
        usual, tempfile.tempdir = tempfile.tempdir, "/tmp"
        try:
            get_temp_dir()  # is chosen once
        finally:
            tempfile.tempdir = usual


def _how_it_ended(exitcode: int | None) -> str:
    if exitcode is None:
        return f"the process told no more, and did not end within {ENDING_S} s"
    if exitcode == -signal.SIGKILL:
        return "the process was killed (signal 9), as the system does when memory runs out"
    if exitcode < 0:
        return f"the process was ended by signal {-exitcode}"
    return f"the process ended with exit status {exitcode}"
