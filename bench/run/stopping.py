"""How a run is stopped: by Ctrl-C, by SIGTERM, or because its time is up."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import current_thread, main_thread
from types import FrameType

AGAIN_S = 0.1  # after so long a stop that fell into an import is tried again
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)


class SignalledError(KeyboardInterrupt):
    """A run was stopped by the signal of this number; the program exits with `status`."""

    def __init__(self, number: int) -> None:
        self.status = 0 if number == signal.SIGALRM else 128 + number  # 0 where time was up


def is_importing(frame: FrameType | None) -> bool:
    """Whether a module is being imported in this frame."""
    while frame and frame.f_code.co_filename != "<frozen importlib._bootstrap>":
        frame = frame.f_back
    return frame is not None


@contextmanager
def ending_tasks() -> Iterator[None]:
    """Give Ctrl-C Python's own handler, which asyncio replaces by one that ends tasks."""
    ours = signal.getsignal(signal.SIGINT)
    if not callable(ours) or current_thread() is not main_thread():
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, ours)


@contextmanager
def stoppable(minutes: float | None = None) -> Iterator[None]:
    """Let Ctrl-C, SIGTERM, and the end of the minutes stop what runs in here.

    For the main thread alone.

    Raises:
        SignalledError: when it was stopped by one of the three.
    """
    asked: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        asked.append(number)
        if is_importing(frame):  # compiled modules swallow what is raised there, and stay half made
            signal.setitimer(signal.ITIMER_REAL, AGAIN_S)
        elif number == signal.SIGINT:
            raise KeyboardInterrupt
        else:
            signal.raise_signal(signal.SIGINT)  # whose handler knows how to end what is at work

    usual = {number: signal.signal(number, stop) for number in STOPS}
    signal.setitimer(signal.ITIMER_REAL, 60 * minutes if minutes else 0)
    try:
        yield
    except KeyboardInterrupt:
        raise SignalledError(asked[0] if asked else signal.SIGINT) from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in usual.items():
            signal.signal(number, handler)
