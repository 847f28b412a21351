"""The command line."""

from __future__ import annotations

import io
import os
import sys
import time
import webbrowser
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer
from rich.console import Console

from bench.errors import InputError, machine_trouble, readable, told
from bench.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from bench.data.library import Dataset
    from bench.records import TrialRecord
    from bench.report.made import Report
    from bench.run.executors import Choose
    from bench.run.plan import Plan
    from bench.run.runner import Outcome
    from bench.run.stopping import SignalledError
    from bench.spec.experiment import Experiment, ExperimentFile
    from bench.spec.trial import Fields
    from bench.store import Store

app = typer.Typer(
    help="Does a learned image resizer help a vision model, and is it worth what it costs?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    epilog="To begin: `run quick` takes minutes and needs no download; its report tells how to "
    "read the others. Then `list`, `plan NAME`, `run NAME`; or `new NAME` for a question of "
    "your own.",
)
data = typer.Typer(help="The datasets: list, fetch, import, verify.", no_args_is_help=True)
app.add_typer(data, name="data")
results = typer.Typer(help="What is saved: clean, merge.", no_args_is_help=True)
app.add_typer(results, name="results")
check = typer.Typer(help="The harness itself: data, gpu, resizer, verdicts.", no_args_is_help=True)
app.add_typer(check, name="check")
out = Console(soft_wrap=False)
WATCH_S = 5.0
"""Between two looks of `report --watch`."""


def _experiments(begun: str) -> list[str]:
    from bench.spec.files import shipped

    files = [path.name for path in Path.cwd().glob("*.toml") if path.name != "pyproject.toml"]
    return [name for name in [*shipped(), *files] if name.startswith(begun)]


def _datasets(begun: str) -> list[str]:
    from bench.data.library import known_names

    return [name for name in known_names() if name.startswith(begun)]


def _fields(begun: str) -> list[str]:
    from bench.spec.trial import Trial

    return [f"{name}=" for name in Trial.model_fields if name.startswith(begun)]


Name = Annotated[
    str,
    typer.Argument(
        help="An experiment of experiments/, or a TOML file.", autocompletion=_experiments
    ),
]
DatasetName = Annotated[str, typer.Argument(help="As in `data list`.", autocompletion=_datasets)]
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", help="FIELD=VALUE: a variant, named so.", autocompletion=_fields),
]
Small = Annotated[bool, typer.Option("--small", help="At the size that 2 CPU cores answer.")]
Workers = Annotated[
    int | None, typer.Option(min=1, help="Trials at once; by default one a GPU, or a core.")
]
ClusterAddress = Annotated[
    str | None,
    typer.Option("--cluster", metavar="ADDRESS", help="Run on a Ray cluster; `local` starts one."),
]
CpusPerTrial = Annotated[
    int | None, typer.Option(min=1, help="Cores of a trial on a cluster; 1 by default.")
]
Retry = Annotated[bool, typer.Option("--retry", help="Run failed trials again.")]
Minutes = Annotated[
    float | None,
    typer.Option("--for", metavar="MINUTES", min=0.01, help="Stop after so long; again = go on."),
]


def _show_version(asked: bool) -> None:
    if asked:
        say(f"resizer-bench {__version__}")
        raise typer.Exit


def _choose_device(named: str | None) -> None:
    """Let this process, and those that it starts, run on the device."""
    if named:
        os.environ["RESIZER_BENCH_DEVICE"] = named


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
    device: Annotated[
        str | None, typer.Option("--device", callback=_choose_device, help="cpu, cuda, cuda:1, …")
    ] = None,
) -> None:
    """Options that stand before the command."""


def main() -> None:
    """Run the command line; a mistake of the user's is one sentence and exit status 2.

    So is a file or a folder that cannot be read or written.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # what the terminal's encoding lacks becomes "?"
    try:
        app()
    except InputError as error:
        _give_up(str(error))
    except OSError as error:
        if error.filename is None and not machine_trouble(error):
            raise
        _give_up(machine_trouble(error) or told(error, Path.cwd()))


def _give_up(reason: str) -> NoReturn:
    print(f"resizer-bench: {reason}", file=sys.stderr)  # noqa: T201
    sys.exit(2)


@app.command("list")
def list_experiments() -> None:
    """Show the experiments: what each asks, its size, how far it is, how long it will take."""
    from bench import terminal as console
    from bench.paths import PUBLISHED
    from bench.run.plan import make_plan, published_pace
    from bench.spec.files import read, shipped

    store, pace = _store(), published_pace(PUBLISHED)
    plans: dict[str, tuple[ExperimentFile, Plan | None]] = {}
    for name in shipped():
        spec = read(name, small=False)[1]
        found = not spec.search or set(store.best(name)) == set(spec.search.arms)
        plans[name] = spec, make_plan(*_open(name, small=False), pace) if found else None
    out.print(console.experiments_table(plans))
    say("`plan NAME` tells more of one; `run NAME --small` asks most of them at a smaller size")


@app.command()
def new(name: Annotated[str, typer.Argument(help="What to call the question.")]) -> None:
    """Begin a question of your own: an experiment's file and a front end, here, to be changed."""
    from bench.starting import start

    question, front_end = start(name, Path.cwd())
    say(f"wrote {question.name} and {front_end.name}: change them, then")
    say(f"  resizer-bench plan {question.name}")
    say(f"  resizer-bench run {question.name}")


@app.command()
def plan(
    name: Name,
    small: Small = False,
    changes: Changes = None,
    every: Annotated[bool, typer.Option("--all", help="List every trial.")] = False,
    devices: Annotated[
        int, typer.Option(min=1, help="Time on so many GPUs, or machines without one.")
    ] = 1,
    hourly: Annotated[float | None, typer.Option(min=0, help="Price of one for an hour.")] = None,
) -> None:
    """Show arms, counts, states and estimated time; run nothing."""
    from bench import terminal as console
    from bench.paths import PUBLISHED
    from bench.run.plan import lacking, make_plan, published_pace
    from bench.spec.files import read, result_name

    store = _store()
    file, spec = read(name, small=small, changes=_values(changes))
    say(spec.question)
    if spec.search:
        for line in console.search_lines(spec, store.search(result_name(file, small=small))):
            say(line)
        if set(store.best(result_name(file, small=small))) != set(spec.search.arms):
            return
        say("to be retrained and validated, the best of them so far:")
    experiment, store = _open(name, small, changes)
    planned = make_plan(experiment, store, published_pace(PUBLISHED))
    out.print(console.plan_table(planned))
    _name_damaged(store)
    for line in console.arm_lines(experiment):
        say(line)
    for line in console.design_lines(experiment, store.table(experiment)):
        say(line)
    counts = ", ".join(f"{count} {state}" for state, count in planned.counts.items())
    left = console.time_left(planned, experiment.trials)
    if experiment.spec.train:
        say(f"{counted(len(experiment.trials), 'trial')}: {counts}; time left {left}")
    else:
        say("nothing is trained: the arms are timed side by side")
    for line in console.cost_lines(planned, devices, hourly):
        say(line)
    for line in lacking(experiment):
        say(line)
    for arm in dict.fromkeys(request.arm for request in experiment.sizes.values()):
        say(f"{arm}: its size is counted or timed when the run begins; its trials are not in this")
    if experiment.spec.cost:
        say(f"cost: {experiment.spec.cost}")
    if left == "?" and not spec.search:
        say(f"`{experiment.command} --smoke` takes steps of every arm and gives estimates")
    if every:
        names = console.trial_names(experiment)
        for key, state in planned.states.items():
            say(f"{key}  {state:8} {names[key]}")


@app.command()
def run(
    name: Name,
    small: Small = False,
    changes: Changes = None,
    where: Annotated[
        list[str] | None,
        typer.Option(help="FIELD=VALUE: only trials that have it.", autocompletion=_fields),
    ] = None,
    smoke: Annotated[
        bool, typer.Option("--smoke", help="Three training steps of every distinct arm, no more.")
    ] = False,
    retry: Retry = False,
    workers: Workers = None,
    cluster: ClusterAddress = None,
    cpus_per_trial: CpusPerTrial = None,
    minutes: Minutes = None,
    reuse_published: Annotated[
        bool, typer.Option("--reuse-published", help="Take finished trials from results/published.")
    ] = False,
) -> None:
    """Run what is missing, then report. Stopped or killed, the same command goes on."""
    from bench import terminal as console
    from bench.opening import note_owner
    from bench.report.made import saved
    from bench.run import runner
    from bench.run.stopping import SignalledError, stoppable

    experiment, store = _open(name, small, changes)
    if experiment.spec.search:
        raise InputError(f"{experiment.name} is a search: {experiment.command}")
    note_owner(store, experiment)
    chosen = _pairs(where or [], "--where")
    if reuse_published:
        from bench import publish

        experiment, reused = publish.reuse(experiment, store)
        say(f"{counted(reused, 'trial')} taken from results/published")
    made = saved(experiment, store, store.root / experiment.name)
    if made and made.complete and not (smoke or chosen):
        say(f"0 trials to run, {len(experiment.runs)} on record")
        _show(made)
        return
    display = console.Display(out)
    try:
        with stoppable(minutes), display.shown():
            experiment = runner.match_sizes(experiment, store, display)
            display.experiment = experiment
            if smoke:
                _end_smoke(runner.smoke(experiment, store, display, where=chosen), display.names)
            with _placed(workers, cluster, cpus_per_trial) as choose:
                outcome = runner.run(
                    experiment, store, display, where=chosen, retry=retry, choose=choose
                )
    except SignalledError as stop:
        _end_stopped(stop, experiment, store)
    _end_run(experiment, store, outcome)


@app.command()
def search(
    name: Name,
    small: Small = False,
    retry: Retry = False,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Trials at once; by default one until the best are retrained."),
    ] = None,
    cluster: ClusterAddress = None,
    cpus_per_trial: CpusPerTrial = None,
    minutes: Minutes = None,
) -> None:
    """Tune the arms of a search, retrain the best, report. Again = go on."""
    from bench import terminal as console
    from bench.opening import check_owner, note_owner
    from bench.run import runner, studies
    from bench.run.search import open_search
    from bench.run.stopping import SignalledError, stoppable

    opened = open_search(name, small=small)
    store = _store()
    check_owner(store, opened.file, small=small)
    note_owner(store, opened.example)
    display = console.Display(out)
    try:
        where = _placed(workers, cluster, cpus_per_trial)
        with stoppable(minutes), display.shown(), where as choose:
            studies.tune(opened, store, display, choose, workers or 1)
            experiment, _ = _open(name, small)
            display.experiment = experiment
            outcome = runner.run(experiment, store, display, retry=retry, choose=choose)
    except SignalledError as stop:
        _end_stopped(stop, display.experiment, store)
    _end_run(experiment, store, outcome)


@contextmanager
def _placed(workers: int | None, address: str | None, cpus: int | None) -> Iterator[Choose]:
    """Where trials are run: on this machine, or on the cluster at an address."""
    from bench.run import executors

    if address is None:
        if cpus:
            raise InputError("--cpus-per-trial is for --cluster; --workers shares out the cores")
        yield partial(executors.local, workers=workers)
        return
    try:
        from bench.run.cluster import joined
    except ModuleNotFoundError as error:
        said = "--cluster needs Ray: pip install 'resizer-bench[cluster]'"
        raise InputError(said) from error
    with joined(address, cpus) as choose:
        yield partial(choose, workers=workers)


def _end_stopped(stop: SignalledError, experiment: Experiment | None, store: Store) -> NoReturn:
    """Say what is left, where that is known; the exit status is 0 where the run's time was up."""
    from bench.run.plan import make_plan

    left = ""
    if experiment:
        missing = make_plan(experiment, store).missing()
        begun = sum(store.snapshot(key).exists() for key in missing)
        left = f" with {counted(len(missing), 'trial')} left, {begun} of them begun"
    say(f"stopped{left}; the same command goes on")
    raise typer.Exit(stop.status) from None


def _end_smoke(failures: Sequence[TrialRecord], names: Mapping[str, str]) -> NoReturn:
    for record in failures:
        say(f"{names[record['key']]}: {record['status']} ({record['reason']})")
    raise typer.Exit(1 if failures else 0)


def _end_run(experiment: Experiment, store: Store, outcome: Outcome) -> NoReturn:
    """Report, unless another process is at it; then what is missing, and the exit status."""
    from bench.run.claims import claim

    with claim(store, f"report of {experiment.name}") as claimed:
        if claimed:
            _report(experiment, store)
        else:
            say("another process writes the report")
    if outcome.failures:
        say(f"{counted(len(outcome.failures), 'trial')} failed; `--retry` takes them up again:")
        for key, record in outcome.failures.items():
            say(f"  {key}  {record['status']}: {record['reason']}")
    for what, reason in outcome.untimed.items():
        say(f"not timed: {what}: {reason}; `--retry` takes it up again")
    raise typer.Exit(1 if outcome.failures or outcome.untimed else 0)


@app.command()
def report(
    name: Annotated[
        str,
        typer.Argument(
            help="An experiment, a TOML file, or a report's folder.", autocompletion=_experiments
        ),
    ],
    other: Annotated[
        str | None, typer.Argument(help="Compare with it: a name, or a report's folder.")
    ] = None,
    small: Small = False,
    changes: Changes = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Make it again while a run goes on, until it is whole.")
    ] = False,
    browse: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    pdf: Annotated[bool, typer.Option("--pdf", help="Write each figure as PDF, too.")] = False,
) -> None:
    """Make the table, the figures and the pages from what is saved; of two, compare them."""
    if other is not None:
        page = _compare(name, other, small)
    elif Path(name).is_dir():
        page = _show(_made(Path(name))).html
    else:
        experiment, store = _open(name, small, changes)
        published = _published(experiment, store)
        made = _show(published) if published else _report(experiment, store, pdf=pdf)
        while watch and not made.complete:
            time.sleep(WATCH_S)
            experiment, store = _open(name, small, changes)
            made = _report_if_changed(experiment, store, made)
        page = made.html
    if browse:
        webbrowser.open(page.resolve().as_uri())


def _made(folder: Path) -> Report:
    """The report in a folder, as it was made."""
    from bench.report.made import Report

    answer = folder / "answer.md"
    if not answer.exists():
        raise InputError(f"no report in {folder}: run the experiment, or resizer-bench report it")
    return Report(answer.read_text().rstrip("\n"), folder, complete=True)


def _published(experiment: Experiment, store: Store) -> Report | None:
    """The published report of an experiment of which nothing was run here."""
    from bench.paths import PUBLISHED

    folder = PUBLISHED / experiment.name
    here = any(store.trials(experiment.runs).values()) or store.timings(experiment)
    if here or not (folder / "answer.md").exists():
        return None
    say(f"nothing of {experiment.name} was run here; this is the published report:")
    return _made(folder)


def _report_if_changed(experiment: Experiment, store: Store, last: Report) -> Report:
    from bench.report.made import saved

    return saved(experiment, store, last.folder) or _report(experiment, store)


def _compare(name: str, other: str, small: bool) -> Path:
    from bench import terminal as console
    from bench.report import compare

    root = _store().root
    ending = "-small" if small else ""
    folders = [
        Path(asked) if Path(asked).is_dir() else root / f"{asked}{ending}"
        for asked in (name, other)
    ]
    labels = [str(of) if of.parent != root else of.name for of in folders]
    comparison = compare.compare(*map(compare.side, folders, labels))
    folder = root / "comparisons" / "..".join(of.name for of in folders)
    page = compare.write(comparison, folder)
    for letter, of in zip("AB", comparison.sides, strict=True):
        say(f"{letter}: {of.label}")
    if not comparison.table.empty:
        out.print(console.results_table(folder / "comparison.csv", out.width))
    for what, why in comparison.apart:
        say(f"not compared: {what}: {why}")
    say(f"comparison: {_near(page)}")
    return page


def _report(experiment: Experiment, store: Store, *, pdf: bool = False) -> Report:
    from bench.opening import note_owner
    from bench.report import front, pages

    note_owner(store, experiment)
    made = pages.make(experiment, store, store.root / experiment.name, pdf=pdf)
    front.write_index(store.root)
    _show(made)
    _name_damaged(store)
    return made


def _name_damaged(store: Store) -> None:
    for why in store.damaged.values():
        say(f"taken for missing: {why}")


def _show(made: Report) -> Report:
    from bench import terminal as console

    out.print(console.results_table(made.results, out.width))
    out.print()
    say(made.answer)
    say(f"report: {_near(made.html)}")
    return made


@app.command()
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

    if name is None:
        say(f"{counted(publishing.renew(), 'published report')} made anew")
    else:
        say(f"published in {_near(publishing.publish(*_open(name, small)))}")


@app.command()
def export(
    key: Annotated[
        str, typer.Argument(help="The trial's key, as in table.csv; for curves, an experiment.")
    ],
    onnx: Annotated[bool, typer.Option("--onnx", help="For ONNX runtimes.")] = False,
    pt2: Annotated[bool, typer.Option("--pt2", help="For torch.export.load.")] = False,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Curves of an experiment's finished trials.")
    ] = False,
    small: Small = False,
) -> None:
    """Write a trial's model as one file, checked, its card beside it; or curves as event files."""
    from bench.report.summary import told_of
    from bench.run import jobs, processes

    if onnx + pt2 + tensorboard != 1:
        raise InputError("export takes one of --onnx, --pt2 and --tensorboard")
    if tensorboard:
        _export_curves(*_open(key, small))
        return
    form: Literal["onnx", "pt2"] = "onnx" if onnx else "pt2"
    root, path = _store().root, Path(f"{key}.{form}")
    processes.call(jobs.export, root, key, form, path, told_of(root, key))
    say(f"exported and checked: {path}; its card is {path.with_suffix('.md')}")


def _export_curves(experiment: Experiment, store: Store) -> None:
    from bench import curves
    from bench import terminal as console

    names, records = console.trial_names(experiment), store.trials(experiment.runs)
    ended = {names[key]: r for key, r in records.items() if r and r["status"] == "ok"}
    if not ended:
        raise InputError(f"{experiment.name}: nothing is finished yet; {experiment.command} first")
    curves.write(ended, folder := store.root / experiment.name / "tensorboard")
    say(f"curves of {counted(len(ended), 'trial')}: tensorboard --logdir '{_near(folder)}'")


@app.command()
def info() -> None:
    """Show device, versions and the data found."""
    from bench.lab import device, environment

    here = device.pick()
    facts = environment.describe(here, device.resolve_precision("auto", here))
    for fact, value in facts.items():
        say(f"{fact:14} {value}")
    list_data()


@results.command()
def clean(
    name: Name,
    small: Small = False,
    yes: Annotated[bool, typer.Option("--yes", help="Delete, instead of saying how much.")] = False,
) -> None:
    """Delete the weights that an experiment does not keep (its keep_weights)."""
    from bench.run import keeping

    experiment, store = _open(name, small)
    found = keeping.droppable(experiment, store)
    size = f"{sum(found.values()) / 1e6:,.0f} MB"
    told = f"weights of {counted(len(found), 'trial')}, {size}"
    if not yes:
        say(f"{told}: `--yes` deletes them; records, predictions and pictures stay")
        return
    keeping.drop(experiment, store)
    say(f"deleted: {told}")


@results.command()
def merge(folder: Path) -> None:
    """Take in what another folder of results has: finished trials, their weights, begun ones."""
    from bench import merging

    taken = merging.merge(_store(), folder)
    found = ", ".join(f"{kind} {count}" for kind, count in taken.items())
    say(f"taken from {folder}: {found or 'nothing that was not here'}")


@data.command("list")
def list_data() -> None:
    """Show the datasets, and which are here."""
    from bench import terminal as console
    from bench.data import library

    headings = ("dataset", "state", "train", "val", "MB", "from", "fingerprint")
    lines = [
        (
            row.name,
            row.state,
            str(row.train_images or ""),
            str(row.val_images or ""),
            f"{row.size_mb:.0f}" if row.size_mb is not None else "",
            row.origin or row.title,
            row.fingerprint or "",
        )
        for row in library.listing()
    ]
    out.print(console.text_table(headings, lines, out.width, f"in {library.data_dir()}"))


@data.command()
def fetch(dataset: DatasetName) -> None:
    """Download a dataset and check it."""
    from bench import terminal as console
    from bench.data import library

    with console.Display(out).shown() as display:
        fetched = library.fetch(dataset, progress=display.data)
    _show_dataset(fetched)


@data.command("import")
def import_data(
    path: Path,
    name: Annotated[
        str | None, typer.Option(help="Call it this; needed for data of yours.")
    ] = None,
) -> None:
    """Bring in a local archive, or a folder with train/<class>/ and val/<class>/."""
    from bench import terminal as console
    from bench.data import library

    with console.Display(out).shown() as display:
        dataset = library.import_local(path, name=name, progress=display.data)
    _show_dataset(dataset)


def _show_dataset(dataset: Dataset) -> None:
    """What was read of a dataset, by class and split, and what is to be known of it."""
    from bench import terminal as console
    from bench.data import library

    out.print(console.class_table(dataset))
    for note in library.notes(dataset):
        say(note)
    say(f"{dataset.name} is in {library.data_dir()}")


@data.command()
def verify(dataset: DatasetName) -> None:
    """Read a dataset again and compare it with what it was."""
    from bench import terminal as console
    from bench.data import library

    with console.Display(out).shown() as display:
        summary = library.verify(dataset, display.data)
    say(summary)
    for note in library.notes(library.open_dataset(dataset)):
        say(note)


@check.command("data")
def check_data(name: Name = "woof-first", small: Small = False) -> None:
    """Time the treatment's training step with its data and without: how much speed is left."""
    from bench import terminal as console
    from bench.run import jobs, processes
    from bench.run.readiness import prepare

    experiment, store = _open(name, small)
    treatments = {arm.name for arm in experiment.spec.arm if arm.role == "treatment"}
    trials = [cell.trial for cell in experiment.cells if cell.arm in treatments]
    if not (trials and experiment.runs):
        raise InputError(f"{experiment.name} has no treatment that is trained")
    with console.Display(out).shown() as display:
        prepare(experiment, trials[:1], store, display)
        ratio, low, high = processes.call(jobs.data_overhead, trials[0])
    say(
        f"{experiment.name}: a training step with its data is {ratio:.3f} times as fast as on a "
        f"batch that is there (95 % interval {low:.3f} to {high:.3f})"
    )


@check.command("gpu")
def check_gpu(
    dataset: Annotated[
        str, typer.Option(help="Whose images the speeds are of.")
    ] = "synthetic-coarse",
) -> None:
    """Prove the harness on this GPU, in some minutes: known answers, and how fast it is."""
    from bench import terminal as console
    from bench.data.library import open_dataset
    from bench.lab import device, gpu

    here = device.pick()
    if here.type != "cuda":
        raise InputError(f"check gpu needs a GPU with CUDA; the device here is {here}")
    folder = _store().root / "checks" / "gpu"
    made = gpu.prove(
        gpu.Bench(here, open_dataset(dataset)), folder, lambda line: say(console.finding(line))
    )
    say(f"{made['environment']['device_name']}: {made['status']}; {_near(folder / 'record.json')}")
    raise typer.Exit(made["status"] != "ok")


@check.command("resizer")
def check_resizer(
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each form.")] = 5,
    seconds: Annotated[float, typer.Option(min=0, help="Of each measurement.")] = 1.0,
    publish: Annotated[
        bool, typer.Option("--publish", help="Into results/published, and renew its pages.")
    ] = False,
) -> None:
    """Time the learned resizer against the published module, and what bounds both."""
    from bench import publish as publishing
    from bench.paths import PUBLISHED
    from bench.report import implementations as page
    from bench.run.implementations import compare

    record = compare(
        rounds,
        seconds,
        lambda one: say(f"a round: others took {one['disturbance']['share'] or 0:.0%}"),
    )
    folder = PUBLISHED if publish else _store().root
    page.save(record, folder / page.NAME)
    if publish:
        publishing.renew()
    say(page.summary(record).answers[0].sentence)
    say(_near(folder / page.NAME / "report.html"))


@check.command("verdicts")
def check_verdicts(name: Name = "check-verdicts", small: Small = False) -> None:
    """Count the verdicts of arms that do not differ: one in twenty is expected to be false."""
    from bench.checks import verdicts

    for line in verdicts(*_open(name, small)):
        say(line)


def _open(name: str, small: bool, changes: list[str] | None = None) -> tuple[Experiment, Store]:
    from bench.opening import load_from

    store = _store()
    return load_from(store, name, small=small, changes=_values(changes)), store


def _values(changes: list[str] | None) -> Fields:
    from bench.spec.variants import values

    return values(_pairs(changes or [], "--set"))


def _store() -> Store:
    from bench.paths import local_results
    from bench.store import Store

    return Store(local_results())


def _pairs(asked: list[str], option: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for given in asked:
        field, equals, value = given.partition("=")
        if not equals:
            raise InputError(f"{option} {given!r} is not FIELD=VALUE")
        if field in pairs:
            raise InputError(f"{option} names {field!r} twice: it takes one value a field")
        pairs[field] = value
    return pairs


def say(text: str) -> None:
    """Print a line as it is: what comes from data is not taken for markup, nor wrapped."""
    out.print(readable(text), markup=False, highlight=False, soft_wrap=True)


def counted(n: int, noun: str) -> str:
    """
    >>> counted(1, "trial"), counted(2, "trial")
    ('1 trial', '2 trials')
    """
    return f"{n:,} {noun}" + ("" if n == 1 else "s")


def _near(path: Path) -> str:
    """The path as it is shortest to type from here."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
