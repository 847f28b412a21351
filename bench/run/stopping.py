"""How a run is stopped: by Ctrl-C, by SIGTERM, or because its time is up."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager


class SignalledError(KeyboardInterrupt):
    """A run was stopped by the signal of this number; the program exits with `status`."""

    def __init__(self, number: int) -> None:
        self.status = 0 if number == signal.SIGALRM else 128 + number  # 0 where time was up


@contextmanager
def stoppable(minutes: float | None = None) -> Iterator[None]:
    """Let SIGTERM, and the end of the minutes, stop what runs in here as Ctrl-C does.

    For the main thread alone.

    Raises:
        SignalledError: when it was stopped by one of the three.
    """
    asked: list[int] = []

    def stop(number: int, _: object) -> None:
        asked.append(number)
        signal.raise_signal(signal.SIGINT)  # whose handler knows how to end what is at work

    usual = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGALRM)}
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a script's background job has it
        usual[signal.SIGINT] = signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 60 * minutes if minutes else 0)
    try:
        yield
    except KeyboardInterrupt:
        raise SignalledError(asked[0] if asked else signal.SIGINT) from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in usual.items():
            signal.signal(number, handler)
