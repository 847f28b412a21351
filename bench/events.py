"""What a run tells while it goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Event = dict[str, Any]
Tell = Callable[[Event], None]
"""What a function in a fresh process calls to tell the one that started it something."""
Listener = Callable[[dict[str, Any]], None]
"""Told every event of a run, to show it; each is a dict with an "event"."""


class PrunedError(Exception):
    """Raised by a listener to end the trial that it hears of: it becomes a row, "pruned"."""

    def __init__(self, reason: str, *, by: str) -> None:
        super().__init__(reason)
        self.by = by
