"""By which implementations of its resizer an experiment's trials were trained."""

from __future__ import annotations

from collections.abc import Iterable

from bench.records import TrialRecord

FIRST = "reference"
"""What trained a trial whose record does not say: records say it since there is a choice."""


def implementations(records: Iterable[TrialRecord]) -> tuple[str, ...]:
    """The distinct ones among the finished trials of learned resizers; two or more are a mix.

    Speeds of a mix do not compare; accuracies do, as all compute the same function.
    """
    return tuple(
        sorted(
            {
                record.get("implementation", FIRST)
                for record in records
                if record["status"] == "ok" and record["trial"]["resizer"] == "learned"
            }
        )
    )
