"""Checks of the harness itself, on what is saved.

    python -m bench.checks [EXPERIMENT]

cuts the seeds of an experiment whose arms do not differ (check-verdicts unless named) into
experiments of three and counts the verdicts of each: one in twenty is expected to be false. Once
each has its own variance alone, and once eight others moderate it, as those of ten arms do.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence

import numpy as np

from bench.analysis.judging import LEAST_SEEDS, Answer, Looks, judge
from bench.analysis.moderated import prior_of, variances_of
from bench.analysis.pairs import pairs
from bench.analysis.statistics import NO_PRIOR
from bench.errors import InputError
from bench.paths import local_results
from bench.spec.files import load
from bench.store import Store

NEIGHBOURS = 8


def counted(
    differences: Sequence[float], margin_pct: float, neighbours: int = 0
) -> Counter[Answer]:
    """The answers of the experiments of LEAST_SEEDS seeds each that a larger one is cut into.

    Args:
        differences: treatment minus baseline, points, seed by seed.
        neighbours: how many of the next experiments stand for the other arms of each.
    """
    values = np.asarray(differences, dtype=float)
    parts = values[: len(values) // LEAST_SEEDS * LEAST_SEEDS].reshape(-1, LEAST_SEEDS)
    answers: Counter[Answer] = Counter()
    for i, part in enumerate(parts):
        near = variances_of(
            np.roll(parts, -i - 1, axis=0)[: min(neighbours, len(parts) - 1)].tolist()
        )
        own = float(part.var(ddof=1))
        prior = prior_of(own, LEAST_SEEDS - 1, near) if own else NO_PRIOR
        by_seed = dict(enumerate(part.tolist()))
        answers[judge(by_seed, margin_pct, Looks((LEAST_SEEDS,)), prior=prior).answer] += 1
    return answers


def verdicts(name: str = "check-verdicts") -> str:
    """The verdicts of an experiment's parts, counted, in a sentence for each variance."""
    experiment = load(name)
    assert experiment.spec.primary
    (pair,) = pairs(Store(local_results()).table(experiment), *experiment.spec.primary)
    differences = [value for _, value in sorted(pair.differences.items())]
    lines = []
    for variance, neighbours in (("own variance", 0), ("moderated", NEIGHBOURS)):
        found = counted(differences, experiment.spec.margin_pct, neighbours)
        told = ", ".join(f"{n} {answer}" for answer, n in found.most_common()) or "none yet"
        many = f"{found.total()} experiments of {LEAST_SEEDS} seeds"
        lines.append(f"{experiment.name}, {variance}: {many}: {told}")
    return "\n".join(lines)


if __name__ == "__main__":
    try:
        print(verdicts(*sys.argv[1:]))  # noqa: T201
    except InputError as error:
        sys.exit(f"check: {error}")
