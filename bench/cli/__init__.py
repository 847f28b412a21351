"""The command line: its verbs, of which `run`, `search` and `publish` are here, and how it ends."""

from __future__ import annotations

import gc
import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from bench import __version__
from bench.cli import options, planning, reporting, upkeep
from bench.cli.console import near, out, say
from bench.cli.options import Small, fields, opened, own_store, pairs
from bench.cli.progress import Display
from bench.errors import InputError, counted, machine_trouble, told
from bench.opening import check_owner, note_owner
from bench.paths import PUBLISHED
from bench.run.processes import DiedError
from bench.spec.experiment import Experiment
from bench.store import Store, copy_record

if TYPE_CHECKING:
    from bench.run.executors import Choose
    from bench.run.runner import Outcome


def run(
    name: options.Name,
    small: Small = False,
    changes: options.Changes = None,
    where: Annotated[
        list[str] | None,
        typer.Option(help="FIELD=VALUE: only trials that have it.", autocompletion=fields),
    ] = None,
    smoke: Annotated[
        bool, typer.Option("--smoke", help="Three training steps of every distinct arm, no more.")
    ] = False,
    retry: options.Retry = False,
    workers: options.Workers = None,
    cluster: options.ClusterAddress = None,
    cpus_per_trial: options.CpusPerTrial = None,
    minutes: options.Minutes = None,
    reuse_published: options.ReusePublished = False,
) -> None:
    """Run what is missing, then report. Stopped or killed, the same command goes on."""
    from bench.report.made import saved
    from bench.run import runner

    if smoke and (retry or workers or cluster or cpus_per_trial):
        without = "it goes without --retry, --workers, --cluster and --cpus-per-trial"
        raise InputError(f"--smoke takes one arm after the other, here: {without}")
    experiment, store = opened(name, small, changes)
    if experiment.spec.search:
        raise InputError(f"{experiment.name} is a search: {experiment.command}")
    note_owner(store, experiment)
    chosen = pairs(where or [], "--where")
    if reuse_published:
        experiment = _reused(experiment, store)
    made = saved(experiment, store, store.root / experiment.name)
    if made and made.complete and not (smoke or chosen):
        say(f"0 trials to run, {len(experiment.runs)} on record")
        reporting.show(made)
        return
    display = Display(out, experiment)
    with _shown(display, store, minutes):
        experiment = display.experiment = runner.match_sizes(experiment, store, display)
        if smoke:
            _smoke(experiment, store, display, chosen)
        with _placed(workers, cluster, cpus_per_trial) as choose:
            outcome = runner.run(
                experiment, store, display, where=chosen, retry=retry, choose=choose
            )
    _end(experiment, store, outcome)


def search(
    name: options.Name,
    small: Small = False,
    retry: options.Retry = False,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Trials at once; by default one until the best are retrained."),
    ] = None,
    cluster: options.ClusterAddress = None,
    cpus_per_trial: options.CpusPerTrial = None,
    minutes: options.Minutes = None,
    reuse_published: options.ReusePublished = False,
) -> None:
    """Tune the arms of a search, retrain the best, report. Again = go on."""
    from bench.run import runner, studies
    from bench.run.search import finished, open_search

    tuned, store = open_search(name, small=small), own_store()
    check_owner(store, tuned)
    note_owner(store, tuned)
    shelf = Store(PUBLISHED / tuned.name)
    if reuse_published and store.search(tuned.name) is None and finished(tuned, shelf):
        copy_record(shelf.search_folder(tuned.name), store.search_folder(tuned.name))
    display = Display(out)
    with _shown(display, store, minutes), _placed(workers, cluster, cpus_per_trial) as choose:
        studies.tune(tuned, store, display, choose, workers or 1)
        experiment, _ = opened(name, small)
        if reuse_published:
            experiment = _reused(experiment, store)
        display.experiment = experiment
        outcome = runner.run(experiment, store, display, retry=retry, choose=choose)
    _end(experiment, store, outcome)


def _reused(experiment: Experiment, store: Store) -> Experiment:
    """The experiment once what is published of it was taken."""
    from bench.reusing import reuse

    experiment, taken = reuse(experiment, store)
    say(f"{counted(taken, 'trial')} taken from results/published")
    return experiment


@contextmanager
def _shown(display: Display, store: Store, minutes: float | None) -> Iterator[None]:
    """Show what is done in here; when it is stopped, say what is left, where that is known."""
    from bench.run.plan import make_plan
    from bench.run.stopping import SignalledError, stoppable

    try:
        with stoppable(minutes), display.shown():
            yield
    except SignalledError as stop:
        left = ""
        if display.experiment:
            missing = make_plan(display.experiment, store).missing()
            begun = sum(store.snapshot(key).exists() for key in missing)
            waiting = f" with {counted(len(missing), 'trial')} left, {begun} begun"
            left = waiting if missing else " while sizes or times were measured"
        say(f"stopped{left}; the same command goes on")
        raise typer.Exit(stop.status) from None


@contextmanager
def _placed(workers: int | None, address: str | None, cpus: int | None) -> Iterator[Choose]:
    """Where trials are run: on this machine, or on the cluster at an address."""
    from bench.run import executors

    if address is None:
        if cpus:
            raise InputError("--cpus-per-trial is for --cluster; --workers shares out the cores")
        yield partial(executors.Local, workers=workers)
        return
    try:
        from bench.run.cluster import joined
    except ModuleNotFoundError as error:
        said = "--cluster needs Ray: pip install 'resizer-bench[cluster]'"
        raise InputError(said) from error
    with joined(address, cpus) as choose:
        yield partial(choose, workers=workers)


def _smoke(
    experiment: Experiment, store: Store, display: Display, chosen: dict[str, str]
) -> NoReturn:
    from bench.run import runner

    failures = runner.smoke(experiment, store, display, where=chosen)
    for record in failures:
        name = experiment.trial_names[record["key"]]
        say(f"{name}: {record['status']} ({record['reason']})")
    raise typer.Exit(1 if failures else 0)


def _end(experiment: Experiment, store: Store, outcome: Outcome) -> NoReturn:
    """Report, then say what is missing; the exit status tells whether anything is."""
    reporting.make_report(experiment, store)
    if outcome.failures:
        say(f"{counted(len(outcome.failures), 'trial')} failed; `--retry` tries again:")
        for key, record in outcome.failures.items():
            say(f"  {key}  {record['status']}: {record['reason']}")
    for what, reason in outcome.untimed.items():
        say(f"not timed: {what}: {reason}; `--retry` tries again")
    raise typer.Exit(1 if outcome.failures or outcome.untimed else 0)


def publish(
    name: Annotated[
        str | None, typer.Argument(help="An experiment of experiments/; none: all published ones.")
    ] = None,
    small: Small = False,
) -> None:
    """Copy records and report to results/published; renew README and front page.

    Without a name nothing is copied: every published report is made anew from its own records.
    """
    from bench import publish as publishing

    if name is None and small:
        raise InputError("--small is of an experiment, which publish was not given")
    if name is None:
        say(f"{counted(publishing.renew(), 'published report')} made anew")
    else:
        say(f"published in {near(publishing.publish(*opened(name, small)))}")


def check_resizer(
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each form.")] = 5,
    seconds: Annotated[float, typer.Option(min=0, help="Of each measurement.")] = 1.0,
    publish: Annotated[
        bool, typer.Option("--publish", help="Into results/published, and renew its pages.")
    ] = False,
) -> None:
    """Time the learned resizer against the published module, and what bounds both."""
    from bench import publish as publishing
    from bench.report import implementations as page
    from bench.run.implementations import compare

    if publish:
        publishing.need_checkout()
    record = compare(
        rounds,
        seconds,
        lambda one: say(f"a round: others took {(one['disturbance']['share'] or 0) * 100:.0f} %"),
    )
    folder = PUBLISHED if publish else own_store().root
    page.save(record, folder / page.NAME)
    if publish:
        publishing.renew()
    say(page.summary(record).answers[0].sentence)
    say(near(folder / page.NAME / "report.html"))


VERBS: dict[str, Callable[..., None]] = {
    "list": planning.list_experiments,
    "new": planning.new,
    "plan": planning.plan,
    "run": run,
    "search": search,
    "report": reporting.report,
    "publish": publish,
    "export": reporting.export,
    "info": upkeep.info,
    "data list": upkeep.list_data,
    "data fetch": upkeep.fetch,
    "data import": upkeep.import_data,
    "data verify": upkeep.verify,
    "results clean": upkeep.clean,
    "results merge": upkeep.merge,
    "check data": upkeep.check_data,
    "check gpu": upkeep.check_gpu,
    "check resizer": check_resizer,
    "check verdicts": upkeep.check_verdicts,
}
"""By what is typed."""
GROUPS = {
    "data": "The datasets: list, fetch, import, verify.",
    "results": "What is saved: clean, merge.",
    "check": "The harness itself: data, gpu, resizer, verdicts.",
}

COLLECT_AFTER = 100_000
"""New objects, of which imports and figures make many and next to no garbage: Python's usual 700
would look for it so often that a report takes a tenth longer."""

app = typer.Typer(
    help="Does a learned image resizer help a vision model, and is it worth what it costs?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    epilog="To begin: `run quick` takes minutes and needs no download. "
    "Then `list`, `plan NAME`, `run NAME`; or `new NAME` for a question of "
    "your own.",
)
groups = {name: typer.Typer(help=text, no_args_is_help=True) for name, text in GROUPS.items()}
for name, inner in groups.items():
    app.add_typer(inner, name=name)
for typed, verb in VERBS.items():
    group, _, name = typed.rpartition(" ")
    groups.get(group, app).command(name)(verb)


def _show_version(asked: bool) -> None:
    if asked:
        say(f"resizer-bench {__version__}")
        raise typer.Exit


@app.callback()
def before_the_verb(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
    device: Annotated[str | None, typer.Option("--device", help="cpu, cuda, cuda:1, …")] = None,
) -> None:
    """Options that stand before the command."""
    if device:
        os.environ["RESIZER_BENCH_DEVICE"] = device  # of this process, and of those that it starts


def main() -> None:
    """Run the command line; a mistake of the user's is one sentence and exit status 2.

    So is a file or a folder that cannot be read or written, and a process of ours that was ended,
    by the system for its memory for one.
    """
    gc.set_threshold(COLLECT_AFTER)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # what the terminal's encoding lacks becomes "?"
    try:
        Path.cwd()
    except FileNotFoundError:
        _give_up("the working directory is gone: change to one that is there")
    try:
        app()
    except (InputError, DiedError) as error:
        _give_up(str(error))
    except OSError as error:
        if error.filename is None and not machine_trouble(error):
            raise
        _give_up(machine_trouble(error) or told(error, Path.cwd()))


def _give_up(reason: str) -> NoReturn:
    print(f"resizer-bench: {reason}", file=sys.stderr)  # noqa: T201
    sys.exit(2)
