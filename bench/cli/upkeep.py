"""`info`, `data`, `results`, `check`: this machine, what is on it, and the harness itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.console import near, out, say, wrapped_table
from bench.cli.options import DatasetName, Name, Small, opened, own_store
from bench.cli.progress import Display
from bench.data.specs import SPLITS
from bench.errors import InputError, counted

if TYPE_CHECKING:
    from bench.data.library import Dataset
    from bench.records import Finding


def info() -> None:
    """Show device, versions and the data found."""
    from bench.lab import device, environment

    for fact, value in environment.describe(device.pick(), "auto").items():
        say(f"{fact:14} {'-' if value is None else value}")
    list_data()


def list_data() -> None:
    """Show the datasets, and which are here."""
    from bench.data import library

    numbers = (*SPLITS, "MB")
    headings = ("dataset", "state", *numbers, "from", "fingerprint")
    lines = []
    for row in library.listing():
        known = ("", "", "", row.title, "")
        if of := row.manifest:
            train, val = (str(of.images[split]) for split in SPLITS)
            known = (train, val, f"{row.size_mb:.0f}", of.origin, of.fingerprint[:12])
        lines.append((row.name, row.state, *known))
    say(f"in {library.data_dir()}")
    out.print(wrapped_table(headings, lines, right=numbers))


def fetch(dataset: DatasetName) -> None:
    """Download a dataset and check it."""
    from bench.data import incoming

    with Display(out).shown() as display:
        fetched = incoming.fetch(dataset, tell=display)
    _show(fetched)


def import_data(
    path: Path,
    name: Annotated[
        str | None, typer.Option(help="Call it this; needed for data of yours.")
    ] = None,
) -> None:
    """Bring in a local archive, or a folder with train/<class>/ and val/<class>/."""
    from bench.data import incoming

    with Display(out).shown() as display:
        dataset = incoming.import_local(path, name=name, tell=display)
    _show(dataset)


def _show(dataset: Dataset) -> None:
    """What was read of a dataset, by class and split, and what is to be known of it."""
    from bench.data.library import data_dir, notes

    counts = dataset.manifest.counts
    lines = [(name, *(f"{counts[of][name]:,}" for of in SPLITS)) for name in dataset.classes]
    total = ("in all", *(f"{len(dataset.split(of)):,}" for of in SPLITS))
    out.print(wrapped_table(("class", *SPLITS), [*lines, total], right=SPLITS))
    for note in notes(dataset):
        say(note)
    say(f"{dataset.name} is in {data_dir()}")


def verify(dataset: DatasetName) -> None:
    """Read a dataset again and compare it with what it was."""
    from bench.data import library

    with Display(out).shown() as display:
        summary = library.verify(dataset, display)
    say(summary)
    for note in library.notes(library.open_dataset(dataset)):
        say(note)


def clean(
    name: Name,
    small: Small = False,
    yes: Annotated[bool, typer.Option("--yes", help="Delete, instead of saying how much.")] = False,
) -> None:
    """Delete the weights that an experiment does not keep (its keep_weights)."""
    from bench.run import keeping

    found = keeping.droppable(*opened(name, small))
    told = f"weights of {counted(len(found), 'trial')}, {sum(found.values()) / 1e6:,.0f} MB"
    if not yes:
        say(f"{told}: `--yes` deletes them; records, predictions and pictures stay")
        return
    for file in found:
        file.unlink()
    say(f"deleted: {told}")


def merge(folder: Path) -> None:
    """Take in what another folder of results has: finished trials, their weights, begun ones."""
    from bench import merging

    taken = merging.merge(own_store(), folder)
    found = ", ".join(f"{kind} {count}" for kind, count in taken.items())
    say(f"taken from {folder}: {found or 'nothing that was not here'}")


def check_data(name: Name = "woof-first", small: Small = False) -> None:
    """Time the treatment's training step with its data and without: how much speed is left."""
    from bench.run import jobs, processes
    from bench.run.readiness import prepare

    experiment, store = opened(name, small)
    treatments = {arm.name for arm in experiment.spec.arm if arm.role == "treatment"}
    trials = [cell.trial for cell in experiment.cells if cell.arm in treatments]
    if not (trials and experiment.runs):
        raise InputError(f"{experiment.name} has no treatment that is trained")
    with Display(out).shown() as display:
        prepare(experiment, trials[:1], store, display)
        ratio, low, high = processes.call(jobs.data_overhead, trials[0])
    say(
        f"{experiment.name}: a training step with its data is {ratio:.3f} times as fast as on a "
        f"batch that is there (95 % interval {low:.3f} to {high:.3f})"
    )


def check_gpu(
    dataset: Annotated[
        str, typer.Option(help="Whose images the speeds are of.")
    ] = "synthetic-coarse",
) -> None:
    """Prove the harness on this GPU, in some minutes: known answers, and how fast it is."""
    from bench.data.library import open_dataset
    from bench.lab import device, gpu

    here = device.pick()
    if here.type != "cuda":
        raise InputError(f"check gpu needs a GPU with CUDA; the device here is {here}")
    folder = own_store().root / "checks" / "gpu"
    bench = gpu.Bench(here, open_dataset(dataset))
    made = gpu.prove(bench, folder, lambda line: say(finding(line)))
    say(f"{made['environment']['device_name']}: {made['status']}; {near(folder / 'record.json')}")
    raise typer.Exit(made["status"] != "ok")


def finding(line: Finding) -> str:
    """A line of a check: `fails  1.2   peak of …, MiB (wanted: …)`.

    >>> finding({"what": "levels at most", "found": 0.25, "wanted": "≤ 1", "holds": True})
    'holds      0.25  levels at most (wanted: ≤ 1)'
    """
    state = {True: "holds", False: "fails", None: ""}[line["holds"]]
    found = "" if line["found"] is None else f"{line['found']:,.4g}"
    wanted = f" (wanted: {line['wanted']})" if line["wanted"] else ""
    return f"{state:6}{found:>9}  {line['what']}{wanted}"


def check_verdicts(name: Name = "check-verdicts", small: Small = False) -> None:
    """Count the verdicts of arms that do not differ: one in twenty is expected to be false."""
    from bench.checks import verdicts

    for line in verdicts(*opened(name, small)):
        say(line)
