"""The command line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from bench.errors import InputError

app = typer.Typer(
    help="Does a learned image resizer help a vision model, and is it worth what it costs?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
data = typer.Typer(help="The datasets: list, fetch, import, verify.", no_args_is_help=True)
app.add_typer(data, name="data")
out = Console(soft_wrap=False)

Name = Annotated[str, typer.Argument(help="An experiment of experiments/, or a TOML file.")]
Small = Annotated[bool, typer.Option("--small", help="At the size that 2 CPU cores answer.")]


def main() -> None:
    """Run the command line; a mistake of the user's is one sentence and exit status 2."""
    try:
        app()
    except InputError as error:
        print(f"resizer-bench: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(2)


@app.command()
def plan(
    name: Name,
    small: Small = False,
    every: Annotated[bool, typer.Option("--all", help="List every trial.")] = False,
) -> None:
    """Show arms, counts, states and estimated time; run nothing."""
    from bench import console, runner

    experiment, store = _open(name, small)
    planned = runner.plan(experiment, store)
    out.print(console.plan_table(planned))
    counts = ", ".join(f"{count} {state}" for state, count in planned.counts.items())
    left = console.time_left(planned, experiment.trials)
    out.print(f"{len(experiment.trials)} trials: {counts}; time left {left}")
    if left == "?":
        out.print(f"`{experiment.command} --smoke` takes a step of every arm and gives estimates")
    if every:
        names = console.trial_names(experiment)
        for key, state in planned.states.items():
            out.print(f"{key}  {state:8} {names[key]}", highlight=False)


@app.command()
def run(
    name: Name,
    small: Small = False,
    where: Annotated[
        list[str] | None, typer.Option(help="FIELD=VALUE: only trials that have it.")
    ] = None,
    smoke: Annotated[
        bool, typer.Option("--smoke", help="Three training steps of every distinct arm, no more.")
    ] = False,
    retry: Annotated[bool, typer.Option("--retry", help="Run failed trials again.")] = False,
    reuse_published: Annotated[
        bool, typer.Option("--reuse-published", help="Take finished trials from results/published.")
    ] = False,
) -> None:
    """Run what is missing, then report. Stopped or killed, the same command goes on."""
    from bench import console, publish, runner

    experiment, store = _open(name, small)
    reused = publish.reuse(experiment, store) if reuse_published else 0
    if reuse_published:
        out.print(f"{reused} trials taken from results/published")
    display = console.Display(out, experiment)
    chosen = _pairs(where or [])
    try:
        with display.shown():
            if smoke:
                _end_smoke(runner.smoke(experiment, store, display))
            outcome = runner.run(experiment, store, display, where=chosen, retry=retry)
    except KeyboardInterrupt:
        counts = runner.plan(experiment, store).counts
        out.print(f"stopped with {counts['ok']} trials finished; the same command goes on")
        raise typer.Exit(130) from None
    _report(experiment, store, anew=outcome.new or reused > 0)
    _end_run(outcome)


def _end_smoke(failures: Any) -> None:
    for record in failures.values():
        out.print(f"{record['trial']['resizer']}: {record['status']} ({record['reason']})")
    raise typer.Exit(1 if failures else 0)


def _end_run(outcome: Any) -> None:
    """Last lines and exit status of a run that has something missing."""
    if outcome.failures:
        out.print(f"{len(outcome.failures)} trials failed; `--retry` takes them up again:")
        for key, record in outcome.failures.items():
            out.print(f"  {key}  {record['status']}: {record['reason']}", highlight=False)
    if outcome.elsewhere:
        out.print(f"{outcome.elsewhere} trials are being run by another process")
    raise typer.Exit(1 if outcome.failures or outcome.elsewhere else 0)


@app.command()
def report(name: Name, small: Small = False) -> None:
    """Make the table, the figures and the pages from what is saved."""
    _report(*_open(name, small), anew=True)


def _report(experiment: Any, store: Any, *, anew: bool) -> None:
    """Print the report, made anew or as it was last made."""
    from bench import console
    from bench import report as reports

    folder = store.root / experiment.name
    made = (None if anew else reports.saved(folder)) or reports.make(experiment, store, folder)
    out.print(console.frame_table(made.results, out.width))
    out.print()
    out.print(made.answer, highlight=False)
    out.print(f"report: {_near(made.html)}", highlight=False)


@app.command()
def publish(name: Name, small: Small = False) -> None:
    """Copy records and report to results/published, and renew the README's numbers."""
    from bench import publish as publishing

    out.print(f"published in {_near(publishing.publish(*_open(name, small)))}")


@app.command()
def info() -> None:
    """Show device, versions and the data found."""
    from bench import device, environment

    here = device.pick()
    facts = environment.describe(here, device.settle_precision("auto", here))
    for fact, value in facts.items():
        out.print(f"{fact:14} {value}", highlight=False)
    list_data()


@data.command("list")
def list_data() -> None:
    """Show the datasets, and which are here."""
    import pandas as pd

    from bench import console
    from bench.datasets import library

    rows = [
        {
            "dataset": row.name,
            "state": row.state,
            "train": row.train_images or "",
            "val": row.val_images or "",
            "MB": f"{row.size_mb:.0f}" if row.size_mb is not None else "",
            "from": row.origin or row.title,
            "fingerprint": row.fingerprint or "",
        }
        for row in library.listing()
    ]
    out.print(console.frame_table(pd.DataFrame(rows), out.width, f"in {library.data_dir()}"))


@data.command()
def fetch(dataset: str) -> None:
    """Download a dataset and check it."""
    from bench import console
    from bench.datasets import library

    with console.Display(out).shown() as display:
        library.fetch(dataset, progress=display.data)
    out.print(f"{dataset} is in {library.data_dir()}")


@data.command("import")
def import_data(
    path: Path,
    name: Annotated[
        str | None, typer.Option(help="Call it this; needed for data of yours.")
    ] = None,
) -> None:
    """Bring in a local archive, or a folder with train/<class>/ and val/<class>/."""
    from bench import console
    from bench.datasets import library

    with console.Display(out).shown() as display:
        dataset = library.import_local(path, name=name, progress=display.data)
    out.print(f"{dataset.name} is in {library.data_dir()}")


@data.command()
def verify(dataset: str) -> None:
    """Read a dataset again and compare it with what it was."""
    from bench import console
    from bench.datasets import library

    with console.Display(out).shown() as display:
        summary = library.verify(dataset, display.data)
    out.print(summary)


def _open(name: str, small: bool) -> tuple[Any, Any]:
    from bench.experiment import load
    from bench.paths import local_results
    from bench.store import Store

    return load(name, small=small), Store(local_results())


def _pairs(where: list[str]) -> dict[str, str]:
    for given in where:
        if "=" not in given:
            raise InputError(f"--where {given!r} is not FIELD=VALUE")
    return {field: value for field, _, value in (given.partition("=") for given in where)}


def _near(path: Path) -> str:
    """The path as it is shortest to type from here."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
