"""A resizer that waits in the middle of its training: its trial is surely under way."""

from __future__ import annotations

import os
import time
from pathlib import Path

from torch import Tensor

from resizer.learned import LearnedResizer

WHILE = "RESIZER_TEST_HELD_WHILE"
"""Of a node: the file that lets it wait for as long as it is there."""


class Held(LearnedResizer):
    """The learned resizer; on a node with the variable, it waits at its fourth batch."""

    batches = 0

    def forward(self, images: Tensor) -> Tensor:
        self.batches += 1
        while self.batches == 4 and Path(os.environ.get(WHILE, "")).is_file():
            time.sleep(0.05)
        return super().forward(images)
