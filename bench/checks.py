"""How often arms that do not differ are called different: one time in twenty is expected.

The seeds of an experiment are cut into experiments of three, and the verdicts of these counted:
once each has its own variance alone, and once eight others moderate it, as those of ten arms do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from bench.analysis.judging import LEAST_SEEDS, Answer, Looks, judge
from bench.analysis.moderated import prior_among
from bench.analysis.pairs import pairs
from bench.errors import InputError, counted
from bench.spec.experiment import Experiment
from bench.store import Store

NEIGHBOURS = 8


def answers(
    differences: Sequence[float], margin_pct: float, neighbours: int = 0
) -> Counter[Answer]:
    """The answers of the experiments of LEAST_SEEDS seeds each that a larger one is cut into.

    Args:
        differences: treatment minus baseline, points, seed by seed.
        neighbours: how many of the next experiments stand for the other arms of each.
    """
    values = np.asarray(differences, dtype=float)
    parts = values[: len(values) // LEAST_SEEDS * LEAST_SEEDS].reshape(-1, LEAST_SEEDS)
    found: Counter[Answer] = Counter()
    for i, part in enumerate(parts):
        near = np.roll(parts, -i - 1, axis=0)[: min(neighbours, len(parts) - 1)]
        judged = judge(part, margin_pct, Looks((LEAST_SEEDS,)), prior=prior_among(part, near))
        found[judged.answer] += 1
    return found


def verdicts(experiment: Experiment, store: Store) -> list[str]:
    """The verdicts of an experiment's parts, counted, in a sentence for each variance.

    Raises:
        InputError: if the experiment has no primary comparison.
    """
    if not experiment.spec.primary:
        raise InputError(f"{experiment.name} has no primary comparison, whose verdicts are counted")
    lines = []
    for pair in pairs(store.table(experiment), *experiment.spec.primary):
        differences = pair.differences.sort_index().tolist()
        for variance, neighbours in (("own variance", 0), ("moderated", NEIGHBOURS)):
            found = answers(differences, experiment.spec.margin_pct, neighbours)
            told = ", ".join(f"{n} {answer}" for answer, n in found.most_common()) or "none yet"
            many = f"{counted(found.total(), 'experiment')} of {LEAST_SEEDS} seeds"
            where = f"{experiment.name} {pair.context}".rstrip()
            lines.append(f"{where}, {variance}: {many}: {told}")
    return lines
