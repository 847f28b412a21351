"""`report` and `export`: what is made of results."""

from __future__ import annotations

import shlex
import shutil
import time
import webbrowser
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from bench.cli.console import name_damaged, near, out, results_table, say
from bench.cli.options import Changes, Small, experiments, opened, own_store, values
from bench.errors import InputError, counted
from bench.opening import note_owner
from bench.paths import EXPERIMENTS, PUBLISHED, results_with
from bench.spec.experiment import Experiment
from bench.spec.files import read, shipped
from bench.spec.trial import named_by
from bench.store import Store

if TYPE_CHECKING:
    from bench.report.made import Report

WATCH_S = 5.0  # between two looks of `report --watch`


def report(
    name: Annotated[
        str,
        typer.Argument(
            help="An experiment, a TOML file, or a report's folder.", autocompletion=experiments
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
    from bench.report.made import saved

    if other is not None:
        if watch or pdf:
            raise InputError("--watch and --pdf are of one report, not of two that are compared")
        page = _compare([name, other], small, changes)
    elif folder := _folder(name):
        if small or changes or watch or pdf:
            of = "--small, --set, --watch and --pdf are of an experiment"
            raise InputError(f"{name} is a report's folder: {of}")
        page = show(_made(folder)).html
    else:
        experiment, store = opened(name, small, changes)
        published = None if watch or pdf else _published(experiment, store)
        made = show(published) if published else make_report(experiment, store, pdf=pdf)
        while watch and not (made and made.complete):
            time.sleep(WATCH_S)
            experiment, store = opened(name, small, changes)
            made = saved(experiment, store, store.root / experiment.name)
            made = made or make_report(experiment, store, pdf=pdf)
        page = (made.folder if made else store.root / experiment.name) / "report.html"
    if browse:
        webbrowser.open(page.resolve().as_uri())


def _folder(name: str) -> Path | None:
    """The folder that is meant; one without a report has no name of an experiment of ours."""
    folder = Path(name)
    ours = name in shipped() and not (folder / "answer.md").exists()
    return folder if folder.is_dir() and not ours else None


def _made(folder: Path) -> Report:
    """The report in a folder, as it was made."""
    from bench.report.made import Report

    answer = folder / "answer.md"
    if not answer.exists():
        raise InputError(f"no report in {folder}: run the experiment, or resizer-bench report it")
    return Report(answer.read_text("utf-8").rstrip("\n"), folder, complete=True)


def _published(experiment: Experiment, store: Store) -> Report | None:
    """The published report of an experiment of ours of which nothing was run here."""
    folder, ours = PUBLISHED / experiment.name, experiment.file.is_relative_to(EXPERIMENTS)
    here = any(store.trials(experiment.runs).values()) or store.timings(experiment)
    if here or not ours or not (folder / "answer.md").exists():
        return None
    say(f"nothing of {experiment.name} was run here; this is the published report:")
    return _made(folder)


def _compare(both: Sequence[str], small: bool, changes: Changes) -> Path:
    from bench.report import compare

    root = own_store().root
    folders = [
        _folder(of) or root / read(of, small=small, changes=values(changes)).name for of in both
    ]
    labels = [str(of) if of.parent != root else of.name for of in folders]
    comparison = compare.compare(*map(compare.side, folders, labels))
    folder = root / "comparisons" / "..".join(of.resolve().name for of in folders)
    page = compare.write(comparison, folder)
    for letter, of in zip("AB", comparison.sides, strict=True):
        say(f"{letter}: {of.label}")
    if not comparison.table.empty:
        out.print(results_table(folder / "comparison.csv", out.width))
    for what, why in comparison.apart:
        say(f"not compared: {what}: {why}")
    say(f"comparison: {near(page)}")
    return page


def make_report(experiment: Experiment, store: Store, *, pdf: bool = False) -> Report | None:
    """Write the report of what is saved, and show it; None if another process is at it."""
    from bench.report import front, pages
    from bench.run.claims import claim

    note_owner(store, experiment)
    with claim(store, named_by(["report", experiment.name])) as claimed:  # the name may be long
        if not claimed:
            say("another process writes the report")
            return None
        made = pages.make(experiment, store, store.root / experiment.name, pdf=pdf)
        front.write_index(store.root)
    show(made)
    name_damaged(store)
    return made


def show(made: Report) -> Report:
    out.print(results_table(made.results, out.width))
    out.print()
    say(made.answer, prose=True)
    say(f"report: {near(made.html)}")
    return made


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
    changes: Changes = None,
) -> None:
    """Write a trial's model as one file, checked, its card beside it; or curves as event files."""
    if onnx + pt2 + tensorboard != 1:
        raise InputError("export takes one of --onnx, --pt2 and --tensorboard")
    if (small or changes) and not tensorboard:
        raise InputError("--small and --set are of an experiment's curves, not of a trial's model")
    if tensorboard:
        _export_curves(*opened(key, small, changes))
    else:
        _export_model(key, "onnx" if onnx else "pt2")


def _export_model(key: str, form: Literal["onnx", "pt2"]) -> None:
    from bench.report.summary import told_of
    from bench.run import jobs, processes

    root, path = results_with(key), Path(f"{key}.{form}")
    processes.call(jobs.export, root, key, form, path, told_of(root, key))
    say(f"exported and checked: {path}; its card is {path.with_suffix('.md')}")


def _export_curves(experiment: Experiment, store: Store) -> None:
    """Write the curve of each finished trial, by step, in a folder of its name; old ones go."""
    names, records = experiment.trial_names, store.trials(experiment.runs)
    ended = {names[key]: r for key, r in records.items() if r and r["status"] == "ok"}
    if not ended:
        raise InputError(f"{experiment.name}: nothing is finished yet; {experiment.command} first")
    try:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.event_file_writer import EventFileWriter
    except ModuleNotFoundError as error:
        said = "--tensorboard needs TensorBoard: pip install 'resizer-bench[tensorboard]'"
        raise InputError(said) from error
    if (folder := store.root / experiment.name / "tensorboard").exists():
        shutil.rmtree(folder)
    for name, record in ended.items():
        began = datetime.fromisoformat(record["started"]).timestamp()
        writer = EventFileWriter(str(folder / name.replace("/", "-")))
        for row in record["curve"]:
            measured = {tag: value for tag, value in row.items() if tag not in ("epoch", "step")}
            told = [Summary.Value(tag=tag, simple_value=of) for tag, of in measured.items()]
            at = {"step": row["step"], "wall_time": began + row["train_s"]}
            writer.add_event(Event(summary=Summary(value=told), **at))
        writer.close()
    shown = f"tensorboard --logdir {shlex.quote(near(folder))}"
    say(f"curves of {counted(len(ended), 'trial')}: {shown}")
