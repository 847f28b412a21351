"""Getting what is missing of an experiment done: match sizes, smoke, run, resume, retry."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench import events
from bench.data.library import class_count
from bench.errors import InputError
from bench.events import Listener
from bench.opening import again
from bench.records import SizeRecord, TrialRecord, write_record
from bench.run import jobs, keeping, timing
from bench.run.attempt import attempt, ended
from bench.run.claims import POLL_S, claim, waiting_claim
from bench.run.executors import Choose, Executor, Local, take_all
from bench.run.plan import Plan, make_plan, select
from bench.run.processes import DiedError, TimedOutError, call, perform, waited_for
from bench.run.readiness import need_weights, prepare
from bench.spec.experiment import Experiment, SizeRequest
from bench.spec.trial import Trial
from bench.store import Store

SMOKE_TIMEOUT_S = 600


@dataclass(frozen=True)
class Outcome:
    plan: Plan
    failures: Mapping[str, TrialRecord]  # trial key -> record, of every trial that is not ok
    untimed: Mapping[str, str]  # reasons of the arms that could not be timed


def match_sizes(experiment: Experiment, store: Store, listener: Listener) -> Experiment:
    """Count and time the sizes that are not matched, save them, and name the trials they give.

    Raises:
        InputError: if one cannot be matched.
    """
    if not experiment.sizes:
        return experiment
    requests = experiment.sizes.values()
    prepare(experiment, [request.like for request in requests], store, listener)
    listener(events.MeasuringBegun("sizes", len(requests)))
    waited_for(_match_all(experiment, store, listener))
    return again(store, experiment)


async def _match_all(experiment: Experiment, store: Store, listener: Listener) -> None:
    async with waiting_claim(store, "timing", listener):
        for request in experiment.sizes.values():
            if store.size(request.key) is None:  # another process may have matched it meanwhile
                await _match(experiment, request, store, listener)


async def _match(
    experiment: Experiment, request: SizeRequest, store: Store, listener: Listener
) -> None:
    try:
        matched = await perform(jobs.match_size, request, class_count(request.like.dataset))
    except (InputError, DiedError) as error:
        raise InputError(f"{experiment.name}: the size of {request.arm!r}: {error}") from None
    record: SizeRecord = {
        "status": "ok",
        "reason": "",
        "kind": request.kind,
        "arm": request.arm,
        "size": matched.size,
        "ratio": matched.ratio,
        "environment": matched.environment,
        "like": request.like.model_dump(),
        "plain": request.plain.model_dump(),
    }
    if store.size(request.key) is None:  # by a process that took this one for dead
        write_record(store.size_folder(request.key), record)
    listener(matched)


def run(
    experiment: Experiment,
    store: Store,
    listener: Listener,
    *,
    where: Mapping[str, str] | None = None,
    retry: bool = False,
    choose: Choose = Local,
) -> Outcome:
    """Run every trial that is missing, several at once, then time the arms. Again = resume.

    Args:
        experiment: with every size matched.
        where: run only trials whose fields print as these values, and those that they start from;
            nothing is timed then.
        retry: take up the trials that failed, too.
        choose: where they are run.
    Raises:
        InputError: before anything is run, if the experiment cannot be.
    """
    planned = make_plan(experiment, store)
    todo = select(experiment, planned.missing(retry=retry), where or {})
    before = store.trials(todo)  # not later: others may end some while this one makes ready
    to_time = not where and bool(timing.unfinished(experiment, store, retry=retry))
    cards: Sequence[str | None] = []
    need_weights(todo.values(), store)
    if todo or to_time:
        to_check = (experiment.trials if to_time else todo).values()
        cards = prepare(experiment, to_check, store, listener)
    # By all of its trials: were it by those left, what goes on might get other threads than it had.
    executor = choose(experiment.runs.values(), cards) if todo else None
    on_record = len(planned.states) - planned.counts["missing"]
    listener(events.PlanMade(len(todo), on_record, executor.places if executor else ""))
    if executor:
        waited_for(_train(experiment, todo, before, store, executor, listener))
        planned = make_plan(experiment, store)
    if to_time and "missing" not in planned.states.values():
        waited_for(_time(experiment, store, listener, retry=retry))
    failed = [key for key, state in planned.states.items() if state not in ("ok", "missing")]
    failures = {key: record for key in failed if (record := store.trial(key))}
    return Outcome(planned, failures, timing.untimed(experiment, store))


async def _train(
    experiment: Experiment,
    todo: Mapping[str, Trial],
    before: Mapping[str, TrialRecord | None],
    store: Store,
    executor: Executor,
    listener: Listener,
) -> None:
    """Run the trials, of which other processes may take some, until each has been run by one."""
    keeper = keeping.Keeper(experiment, store)
    theirs = set[str]()

    def open_still(key: str) -> bool:
        return key not in keeper.ours and store.trial(key) == before[key]

    async def take(trial: Trial) -> None:
        with claim(store, trial.key) as claimed:
            ours = claimed and open_still(trial.key)
            if ours and await attempt(trial, store, executor, listener, experiment.spec.timeout_s):
                keeper.ended(trial.key)
        if trial.key not in keeper.ours and not open_still(trial.key):
            theirs.add(trial.key)
            if record := store.trial(trial.key):
                listener(events.OnRecord(trial, record))

    while left := {key: one for key, one in todo.items() if key not in keeper.ours | theirs}:
        await take_all(left, executor.workers, take)
        if elsewhere := sum(map(open_still, left)):
            listener(events.Waiting(elsewhere))
            await asyncio.sleep(POLL_S)


async def _time(experiment: Experiment, store: Store, listener: Listener, *, retry: bool) -> None:
    async with waiting_claim(store, "timing", listener):
        for folder, sitting in timing.unfinished(experiment, store, retry=retry).items():
            await timing.sit(folder, sitting, listener)


def smoke(
    experiment: Experiment, store: Store, listener: Listener, *, where: Mapping[str, str]
) -> list[TrialRecord]:
    """Take training steps of every distinct arm at full size; returns the failed ones' records."""
    chosen = select(experiment, experiment.trials, where)
    todo = {trial.speed_key: trial for trial in reversed(chosen.values())}  # one of each speed
    prepare(experiment, todo.values(), store, listener)
    listener(events.SmokePlanned(len(todo)))
    records = [_smoke(trial, store, listener) for trial in todo.values()]
    return [record for record in records if record["status"] != "ok"]


def _smoke(trial: Trial, store: Store, listener: Listener) -> TrialRecord:
    folder = store.smoke_folder(trial)
    listener(events.Begin(trial))
    try:
        call(jobs.smoke, trial, folder, listener=listener, timeout_s=SMOKE_TIMEOUT_S)
    except (TimedOutError, DiedError) as error:
        reason = str(error) or f"no step within {SMOKE_TIMEOUT_S} s"
        write_record(folder, ended(trial, "failed", reason))
    record = store.smoke(trial)
    assert record
    listener(events.End(trial, record))
    return record
