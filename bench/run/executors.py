"""Where trials are trained, how many at once, and in which order; each in a fresh process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Protocol

from bench.errors import counted
from bench.events import Listener, Placed
from bench.machine import shares
from bench.run import jobs
from bench.run.processes import perform
from bench.spec.trial import Trial

BYTES_A_PIXEL = 4000
"""Of memory, for each pixel that is loaded of a batch in training: published peaks reach 3,700."""
BYTES_OF_PROCESS = 2**30

SAVING_S = 60.0  # so long a stopped trial has to come to the end of its step and to save its state


class Executor(Protocol):
    workers: int  # trials that it trains at once
    places: str  # how many that is, and on what, for people

    async def train(
        self, trial: Trial, folder: Path, results: Path, tell: Listener, timeout_s: float
    ) -> None:
        """Train one trial to its record in `folder`; it raises what `perform` does.

        What it starts from is in `results`, and there its state stays when it is stopped.
        """


class Choose(Protocol):
    """Chooses where trials are run, knowing them and this machine's GPUs: an executor's class."""

    def __call__(
        self, trials: Iterable[Trial], cards: Sequence[str | None], /, *, workers: int | None = None
    ) -> Executor: ...


class Local:
    """The GPUs of this machine, or its cores.

    Args:
        workers: trials at once; by default as many as there are GPUs, or cores and memory for the
            largest of the trials.
    """

    def __init__(
        self, trials: Iterable[Trial], cards: Sequence[str | None], *, workers: int | None = None
    ) -> None:
        self.free = shares(workers, cards, max(map(memory_needed, trials)))
        self.workers, one = len(self.free), self.free[0]
        each = counted(one.threads, "thread") + (" and a GPU" if one.card else "")
        self.places = f"{self.workers} at a time, {each} each"

    async def train(
        self, trial: Trial, folder: Path, results: Path, tell: Listener, timeout_s: float
    ) -> None:
        share = self.free.pop(0)
        asked = trial, folder, results, share
        if share.card:
            tell(Placed(f"GPU {share.card}"))
        try:
            await perform(jobs.train, *asked, listener=tell, timeout_s=timeout_s, grace_s=SAVING_S)
        finally:
            self.free.append(share)


def memory_needed(trial: Trial) -> int:
    """Bytes that the trial's process may come to need on a processor: a generous guess."""
    images = trial.micro_batch or trial.batch_size
    return BYTES_OF_PROCESS + BYTES_A_PIXEL * images * trial.input_size**2


async def take_all(
    trials: Mapping[str, Trial], workers: int, take: Callable[[Trial], Awaitable[None]]
) -> None:
    """Take every trial once, so many at a time, each after those that it starts from.

    Of the trials that may be taken the first is next. An error of one ends the others.
    """
    order = TopologicalSorter(
        {key: [k for k in one.parents if k in trials] for key, one in trials.items()}
    )
    places = {key: place for place, key in enumerate(trials)}
    ready: asyncio.PriorityQueue[tuple[int, str]] = asyncio.PriorityQueue()

    def put_ready() -> None:
        for key in order.get_ready():
            ready.put_nowait((places[key], key))

    async def work() -> None:
        while True:
            _, key = await ready.get()
            await take(trials[key])
            order.done(key)
            put_ready()
            ready.task_done()

    order.prepare()
    put_ready()
    async with asyncio.TaskGroup() as group:
        at_work = [group.create_task(work()) for _ in range(min(workers, len(trials)))]
        await ready.join()
        for worker in at_work:
            worker.cancel()
