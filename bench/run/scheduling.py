"""In which order trials are taken, and how many at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from graphlib import TopologicalSorter

from bench.spec.trial import Trial


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
