"""Which implementations a set of trials mixes."""

from __future__ import annotations

from typing import Any, cast

from bench.analysis.implementations import implementations
from bench.records import TrialRecord


def record(resizer: str, status: str = "ok", **keys: Any) -> TrialRecord:
    return cast("TrialRecord", {"status": status, "trial": {"resizer": resizer}, **keys})


def test_records_of_before_there_was_a_choice_were_trained_by_the_reference() -> None:
    assert implementations([record("learned"), record("fixed")]) == ("reference",)


def test_a_mix_is_seen_among_finished_trials_of_learned_resizers_alone() -> None:
    chunked = record("learned", implementation="chunked")
    failed = record("learned", "failed", implementation="triton")
    assert implementations([chunked, failed]) == ("chunked",)
    assert implementations([chunked, record("learned")]) == ("chunked", "reference")
