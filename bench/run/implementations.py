"""Getting the learned resizer measured against the blog's: rounds, and what each form weighs."""

from __future__ import annotations

from collections.abc import Callable

from bench.records import AGAIN, FormsRecord, FormsRound
from bench.run import jobs
from bench.run.processes import call
from bench.run.timing import more_rounds, rounds_to_use


def compare(rounds: int, seconds: float, tell: Callable[[FormsRound], object]) -> FormsRecord:
    """Measure every form in so many undisturbed rounds, or twice as many of whatever kind.

    Args:
        seconds: measured of each phase in a round, at least.
        tell: hears of each round.
    """
    taken: list[FormsRound] = []
    while more_rounds([one["disturbance"]["disturbed"] for one in taken], rounds):
        taken.append(call(jobs.take_round_of_forms, len(taken), seconds))
        tell(taken[-1])
    disturbances = [one["disturbance"] for one in taken]
    used = rounds_to_use([one["disturbed"] for one in disturbances])
    phases = taken[0]["seconds"].items()
    trained = [name for name, of in phases if "train" in of and name != AGAIN]
    return {
        "status": "ok",
        "reason": "",
        "rounds": [taken[number] for number in used],
        "disturbances": disturbances,
        "weighed": {name: call(jobs.weigh_form, name) for name in trained},
        "finished": taken[-1]["finished"],
    }
