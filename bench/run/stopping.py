"""How a run is stopped: by Ctrl-C, by SIGTERM, or because its time is up."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn


class SignalledError(KeyboardInterrupt):
    """A signal asks a run to stop, as Ctrl-C does."""

    def __init__(self, number: int) -> None:
        self.number = number


@contextmanager
def stoppable(minutes: float | None = None) -> Iterator[None]:
    """Let SIGTERM, and the end of the minutes, stop what runs in here. For the main thread alone.

    Raises:
        SignalledError: when it is to stop.
    """

    def stop(number: int, _: object) -> NoReturn:
        raise SignalledError(number)

    usual = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGALRM)}
    signal.setitimer(signal.ITIMER_REAL, 60 * minutes if minutes else 0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in usual.items():
            signal.signal(number, handler)


def status(stop: KeyboardInterrupt) -> int:
    """The exit status of a program that was stopped: 0 where only its time was up."""
    number = stop.number if isinstance(stop, SignalledError) else signal.SIGINT
    return 0 if number == signal.SIGALRM else 128 + number
