"""At which numbers of seeds an experiment gives a verdict, declared before it starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from bench.analysis.statistics import LEVEL

Standing = Literal["before", "look", "exploratory"]
"""Before the first look; at a declared one; at a number of seeds that was not declared."""


@dataclass(frozen=True)
class Looks:
    """The declared numbers of paired seeds, rising, and how many verdicts each look gives.

    Every look has the same share of the error of 5 % (Bonferroni): 4.3 to 4.6 % in all.
    """

    seeds: tuple[int, ...]
    verdicts: int = 1  # contexts that are judged at each

    @classmethod
    def of(cls, declared: Sequence[int] | None, planned: int, verdicts: int = 1) -> Looks:
        """As declared, or else one look, at the number of seeds that the file asks for."""
        return cls(tuple(sorted(set(declared))) if declared else (planned,), max(1, verdicts))

    @property
    def level(self) -> float:
        """Of every interval that a verdict is drawn from.

        >>> Looks((4, 8)).level, round(Looks((4, 8), verdicts=5).level, 6)
        (0.975, 0.995)
        """
        return 1 - (1 - LEVEL) / (len(self.seeds) * self.verdicts)

    def number(self, n: int) -> int | None:
        """Which look `n` seeds are, counted from 1; None where they are none."""
        return self.seeds.index(n) + 1 if n in self.seeds else None

    def standing(self, n: int) -> Standing:
        """What may be said at `n` seeds.

        >>> [Looks((4, 8)).standing(n) for n in (3, 4, 5, 8, 9)]
        ['before', 'look', 'exploratory', 'look', 'exploratory']
        """
        if n < self.seeds[0]:
            return "before"
        return "look" if n in self.seeds else "exploratory"
