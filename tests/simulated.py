"""How busy a run of many trials on many workers keeps its driver, by a clock that skips waiting.

`python -m tests.simulated TRIALS WORKERS` runs all of a run but the training: the order, claims,
display and records are real, and a trial is a wait of some ten minutes that tells of its steps as
often as one on a cluster does. What the program takes is what the driver would be busy.
"""

from __future__ import annotations

import asyncio
import os
import random
import resource
import selectors
import sys
import tempfile
import time
from collections.abc import Coroutine
from pathlib import Path

from rich.console import Console

from bench.cli.progress import Display
from bench.events import Listener, PlanMade, Step
from bench.records import write_record
from bench.run import runner
from bench.spec.trial import Trial
from bench.store import Store
from tests import fakes

MEAN_S, TELL_S = 600.0, 2.0


class Clock(selectors.SelectSelector):
    """Waits for nothing: the time that it should wait has passed at once."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        assert ready or timeout is not None, "it would wait for ever"
        self.now += 0 if ready else timeout or 0
        return ready


def simulated(work: Coroutine[object, object, None]) -> float:
    """Run it to its end; returns the seconds that it would take."""
    clock = Clock()
    loop = asyncio.SelectorEventLoop(clock)
    loop.time = lambda: clock.now  # type: ignore[method-assign]
    with asyncio.Runner(loop_factory=lambda: loop) as once:
        once.run(work)
    return clock.now


class Waits:
    """An executor whose trials are waits of random length."""

    def __init__(self, workers: int) -> None:
        self.workers, self.places = workers, f"{workers} at a time"

    async def train(self, trial: Trial, folder: Path, _: Path, tell: Listener, __: float) -> None:
        steps = max(
            1, round(random.Random(trial.key).lognormvariate(-0.125, 0.5) * MEAN_S / TELL_S)
        )
        for step in range(steps):
            await asyncio.sleep(TELL_S)
            tell(Step(step + 1, steps, 1))
        write_record(folder, fakes.result(trial))


def main() -> None:
    trials, workers = int(sys.argv[1]), int(sys.argv[2])
    with tempfile.TemporaryDirectory() as place, open(os.devnull, "w") as nowhere:  # noqa: PTH123
        start = 'init_from = "plain"\n'
        experiment = fakes.experiment(Path(place), fakes.NARROW, trials // 3, rest=start)
        store = Store(Path(place))
        display = Display(Console(file=nowhere))
        display(PlanMade(len(experiment.trials), 0))
        began, used = time.perf_counter(), time.process_time()
        todo, executor = experiment.trials, Waits(workers)
        took = simulated(
            runner._train(experiment, todo, dict.fromkeys(todo), store, executor, display)
        )
        wall, used = time.perf_counter() - began, time.process_time() - used
        assert len(store.kept()) == len(todo)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        driver = f"{used:.0f} s of processor ({used / took:.2%}), {wall:.0f} s ({wall / took:.2%})"
        said = f"{len(todo):,} trials on {workers} workers: {took / 3600:.1f} h; the driver took"
        each = f"{1e3 * used / len(todo):.1f} ms a trial; {peak:.0f} MiB"
        print(f"{said} {driver}, {each}")  # noqa: T201


if __name__ == "__main__":
    main()
