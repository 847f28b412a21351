"""Checks of the harness itself, on what is saved.

    python -m bench.checks [EXPERIMENT]

cuts the seeds of an experiment whose arms do not differ (check-verdicts unless named) into
experiments of three and counts the verdicts of each: one in twenty is expected to be false.
"""

from __future__ import annotations

import sys
from collections import Counter

import pandas as pd

from bench.analysis.statistics import LEAST_SEEDS, Answer, by_seed, verdict
from bench.errors import InputError
from bench.paths import local_results
from bench.spec.experiment import ExperimentFile
from bench.spec.files import load
from bench.store import Store


def count_verdicts(table: pd.DataFrame, spec: ExperimentFile) -> Counter[Answer]:
    """The verdicts of consecutive experiments of LEAST_SEEDS seeds each.

    Args:
        table: the store's, of an experiment with one context.
    """
    assert spec.primary
    pairs = by_seed(table).droplevel("context").reindex(columns=list(spec.primary)).dropna()
    starts = range(0, len(pairs) - LEAST_SEEDS + 1, LEAST_SEEDS)
    parts = [pairs.iloc[start : start + LEAST_SEEDS] for start in starts]
    return Counter(verdict(part, *spec.primary, spec.margin_pct).answer for part in parts)


def verdicts(name: str = "check-verdicts") -> str:
    """The verdicts of an experiment's parts, counted, in a sentence."""
    experiment = load(name)
    found = count_verdicts(Store(local_results()).table(experiment), experiment.spec)
    told = ", ".join(f"{n} {answer}" for answer, n in found.most_common()) or "none yet"
    return f"{experiment.name}: {found.total()} experiments of {LEAST_SEEDS} seeds: {told}"


if __name__ == "__main__":
    try:
        print(verdicts(*sys.argv[1:]))  # noqa: T201
    except InputError as error:
        sys.exit(f"check: {error}")
