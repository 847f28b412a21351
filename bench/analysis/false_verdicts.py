"""How often a small experiment of arms that do not differ is called better or worse.

    python -m bench.analysis.false_verdicts [EXPERIMENT]

cuts the seeds of an experiment (check-verdicts unless named) into experiments of three and counts
the verdicts of each. Where the arms do not differ, one in twenty is expected to be false.
"""

from __future__ import annotations

import sys
from collections import Counter

import pandas as pd

from bench.analysis.statistics import LEAST_SEEDS, Answer, verdict
from bench.errors import InputError
from bench.paths import local_results
from bench.spec.experiment import ExperimentFile
from bench.spec.files import load
from bench.store import Store


def answers(table: pd.DataFrame, spec: ExperimentFile) -> Counter[Answer]:
    """The verdicts of consecutive experiments of LEAST_SEEDS seeds each."""
    assert spec.primary
    done = table[table["status"] == "ok"]
    seeds = sorted(done.groupby("seed").filter(lambda rows: len(rows) == 2)["seed"].unique())
    starts = range(0, len(seeds) - LEAST_SEEDS + 1, LEAST_SEEDS)
    parts = [done[done["seed"].isin(seeds[start : start + LEAST_SEEDS])] for start in starts]
    return Counter(verdict(part, *spec.primary, spec.margin_pct).answer for part in parts)


def main(arguments: list[str]) -> None:
    """Print the counts for the experiment that the arguments name."""
    experiment = load((arguments or ["check-verdicts"])[0])
    found = answers(Store(local_results()).table(experiment), experiment.spec)
    told = ", ".join(f"{n} {answer}" for answer, n in found.most_common())
    print(  # noqa: T201
        f"{experiment.name}: {found.total()} experiments of {LEAST_SEEDS} seeds: "
        f"{told or 'none yet'}"
    )


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except InputError as error:
        sys.exit(f"false_verdicts: {error}")
