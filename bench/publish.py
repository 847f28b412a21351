"""Publishing: an experiment into `results/published/`, and the pages made of all that is there.

What is copied are numbers, per-image predictions and plots, and pictures of generated images.
Weights stay behind, but for one trial of each arm in `WITH_WEIGHTS`.
"""

from __future__ import annotations

import math
import shutil
from collections import defaultdict
from collections.abc import Container, Iterable
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from bench.analysis.evidence import gather
from bench.analysis.verdicts import is_generated
from bench.errors import InputError
from bench.opening import load_from
from bench.paths import CHECKOUT, EXPERIMENTS, PROJECT, PUBLISHED, WEIGHTS
from bench.records import (
    KINDS,
    FormsRecord,
    TimingRecord,
    TrialRecord,
    read_record,
    write_whole,
)
from bench.report import front, implementations, render
from bench.report.figures.images import hidden
from bench.report.figures.style import Drawing
from bench.report.made import STAMP
from bench.report.pages import make
from bench.report.summary import read_summary
from bench.spec.experiment import Experiment
from bench.spec.files import read, shipped
from bench.store import Store, copy_folder, copy_record

WITH_WEIGHTS = {"answer-equal-price": ("plain", "learned")}
"""Arms of experiments of which one trial is published with its weights, the same seed of each."""
README = PROJECT / "README.md"
BEGIN = "<!-- written by `resizer-bench publish`: begin -->"
END = "<!-- written by `resizer-bench publish`: end -->"
Places = dict[tuple[str, str], Path]
"""Folders of records, by kind and by what each is of."""


def publish(experiment: Experiment, store: Store) -> Path:
    """Copy what is finished of the experiment, write its report there and renew the README.

    What was published of it before makes way once all is copied.

    Raises:
        InputError: outside a checkout; or if nothing is finished yet, the experiment is not one of
            `experiments/`, a record of it is damaged, or one that is published is not here.
    """
    need_checkout()
    if not experiment.file.is_relative_to(EXPERIMENTS):
        raise InputError(
            f"{experiment.file} is not in {EXPERIMENTS}: only what is there is published"
        )
    here, folder = _sound(experiment, store), PUBLISHED / experiment.name
    if not any(kind in ("trials", "timings") for kind, _ in here):
        raise InputError(f"{experiment.name}: nothing is finished yet; {experiment.command} first")
    there = _places(experiment, Store(folder))
    lost = [at for what, at in there.items() if what not in here and (at / "record.json").exists()]
    if lost:
        raise InputError(
            f"{experiment.name}: what is published would be lost, as {len(lost)} of its records "
            f"are not here, {lost[0]} for one: `run` with --reuse-published takes its trials and "
            "makes the rest"
        )
    here |= _taken_back(here, there, experiment.name)
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder.parent, prefix=".staged-") as staged:
        _copy(experiment, here, Path(staged))
        for room in KINDS:
            if (folder / room).exists():
                shutil.rmtree(folder / room)
            if (Path(staged) / room).exists():
                (Path(staged) / room).rename(folder / room)
    _make([experiment])
    return folder


def _places(experiment: Experiment, store: Store) -> Places:
    """Where a store has the records of the experiment."""
    folders = {("trials", key): store.trial_folder(key) for key in experiment.runs}
    timed = store.timing_folders(experiment)
    folders |= {("timings", context): folder for context, folder in timed.items()}
    sizes = (*experiment.matched, *experiment.sizes)
    folders |= {("sizes", key): store.size_folder(key) for key in sizes}
    if experiment.spec.search:
        folders["searches", experiment.name] = store.search_folder(experiment.name)
    return folders


def _sound(experiment: Experiment, store: Store) -> Places:
    """Of `_places`, those with a record.

    Raises:
        InputError: if a record is damaged, or what is beside it: a report would leave it out.
    """
    places, read = _places(experiment, store), Store(store.root)
    found = {what: at for what, at in places.items() if read_record(at, KINDS[what[0]])}
    for key in (key for kind, key in found if kind == "trials"):
        read.has_predictions(key)
        read.pictures(key)
    for why in read.damaged.values():
        raise InputError(why)
    return found


def _taken_back(here: Places, there: Places, name: str) -> Places:
    """Of the trials that are there, those whose records here were taken from there."""
    own, back = f"published/{name}", {}
    for what, at in here.items():
        record = read_record(at, TrialRecord) if what[0] == "trials" else None
        if record and record.get("reused_from") == own and (there[what] / "record.json").exists():
            back[what] = there[what]
    return back


def _copy(experiment: Experiment, folders: Places, to: Path) -> None:
    """Copy the records of the experiment, and beside them what is published of each kind."""
    weighty = _with_weights(experiment, folders)
    for folder in dict.fromkeys(folders.values()):  # one sitting may be of several contexts
        kind, key = folder.parent.name, folder.name
        target, files = to / kind / key, []
        if kind == "timings":
            copy_folder(folder, target)
            continue
        if kind == "trials":
            files = ["predictions.parquet", *([WEIGHTS] if key in weighty else [])]
            if is_generated(experiment.trials[key]):
                files.append("pictures.npz")
        copy_record(folder, target, *files)


def _with_weights(experiment: Experiment, folders: Places) -> set[str]:
    """The trials whose weights are published: of the first seed whose weights are all here."""
    arms, by_seed = WITH_WEIGHTS.get(experiment.name, ()), defaultdict[int, set[str]](set)
    for cell in experiment.cells:
        at = folders.get(("trials", cell.trial.key))
        if cell.arm in arms and at and (at / WEIGHTS).exists():
            by_seed[cell.trial.seed].add(cell.trial.key)
    return next((keys for _, keys in sorted(by_seed.items()) if len(keys) == len(arms)), set())


def renew() -> int:
    """Make every published report anew from the records beside it, and the pages of them all.

    Returns: how many reports.
    Raises:
        InputError: outside a checkout.
    """
    need_checkout()
    there = published()
    if record := read_record(PUBLISHED / implementations.NAME, FormsRecord):
        implementations.save(record, PUBLISHED / implementations.NAME)
    _make(there)
    return len(there)


def need_checkout() -> None:
    """Raise InputError outside a checkout, or where its README has no place for what is told."""
    if CHECKOUT is None:
        raise InputError(
            "publishing needs a checkout of the project, whose README and results/published it "
            "renews; this is an installed package"
        )
    marked(README.read_text("utf-8"))


def _make(experiments: Iterable[Experiment]) -> None:
    """The published reports of some experiments, and the pages of them all."""
    for one in experiments:
        folder = PUBLISHED / one.name
        make(one, Store(folder), folder)
        (folder / STAMP).unlink()  # what is published is not resumed
    for path, text in pages().items():
        write_whole(path, text)


def published() -> list[Experiment]:
    """The published experiments, by name.

    Raises:
        InputError: if a file in `experiments/` no longer asks for what is published of it, or a
            record of it is damaged.
    """
    found = []
    for folder in sorted(path.parent for path in PUBLISHED.glob("*/report.md")):
        if (folder / "record.json").exists():
            continue  # of a check, not of an experiment
        name, store = folder.name, Store(folder)
        experiment = load_from(store, name.removesuffix("-small"), small=name.endswith("-small"))
        _sound(experiment, store)
        if stray := set(store.kept()) - set(experiment.trials):
            raise InputError(
                f"{experiment.file} does not ask for {len(stray)} of the trials that are published "
                f"as {name}: run and publish it again, or put the file back"
            )
        found.append(experiment)
    return found


def marked(readme: str) -> tuple[str, str]:
    """What stands before and after the part that `publish` writes; InputError without its marks."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise InputError(f"{README} lacks the marks {BEGIN} and {END}")
    return before, after


def pages() -> dict[Path, str]:
    """The texts and figures that are made of all that is published: the README, and the list."""
    asked = published()
    folders = sorted(path.parent for path in PUBLISHED.glob("*/summary.json"))
    found = [one for folder in folders if (one := read_summary(folder))]
    before, after = marked(README.read_text("utf-8"))
    figures, detail = front.figures(found), _hidden_detail(asked)
    first = front.first_screen(
        found,
        "results/published/{}/report.md".format,
        [render.picture(one, "results/published") for one in figures],
        [render.picture(one, "results/published") for one in detail],
        not_run=_not_run({one.name for one in asked}),
        took=_took(),
    )
    files = {f"{one.name}.svg": one.file for one in (*figures, *detail)}
    files |= {f"{one.name}-dark.svg": one.dark for one in (*figures, *detail)}
    files |= {"README.md": front.listing(found, "report.md", figures)}
    files |= {"index.html": front.front_page(found), "leaderboard.csv": _leaderboard(asked)}
    own = {PUBLISHED / name: text for name, text in files.items()}
    return {README: f"{before}{BEGIN}\n\n{first}\n{END}{after}", **own}


def _hidden_detail(asked: Iterable[Experiment]) -> list[Drawing]:
    """What a plain resize loses, of the first experiment that kept pictures of a gain."""
    for one in asked:
        if any(map(is_generated, one.trials.values())):
            evidence = gather(one, Store(PUBLISHED / one.name))
            gained = any(verdict.answer == "better" for _, verdict in evidence.judged)
            if gained and (drawn := hidden(evidence)):
                return [drawn]
    return []


def _leaderboard(asked: Iterable[Experiment]) -> str:
    """The arms of all published experiments by their accuracy, as CSV."""
    files = [PUBLISHED / one.name / "summary.csv" for one in asked]
    tables = [pd.read_csv(file) for file in files if file.exists()]
    trained = [table for table in tables if "top1_pct_mean" in table]
    if not trained:
        return ""
    order = ["dataset", "top1_pct_mean", "experiment", "arm"]
    whole = pd.concat(trained, ignore_index=True)
    ordered = whole.sort_values(order, ascending=[True, False, True, True], kind="stable")
    return ordered.to_csv(index=False)


def _not_run(there: Container[str]) -> str:
    """Which of the questions that are shipped were not asked yet at their full size."""
    waiting = [read(name).spec for name in shipped() if name not in there]
    if not waiting:
        return ""
    sizes = [spec.axes.get("input_size", [spec.trial.get("input_size")]) for spec in waiting]
    most = max((size for of in sizes for size in of if isinstance(size, int)), default=0)
    return f"Not run at full size: {len(waiting)} of {len(shipped())} questions, up to {most} px."


def _took() -> str:
    """How long `make bench` takes once it is installed, for the README: first start to last end."""
    store = Store(PUBLISHED / "quick")
    trials = [record for record in store.trials(store.kept()).values() if record]
    if not trials:
        return ""
    timings = [read_record(folder, TimingRecord) for folder in store.root.glob("timings/*")]
    began = [datetime.fromisoformat(one["started"]) for one in trials]
    ended = [datetime.fromisoformat(one["finished"]) for one in (*trials, *timings) if one]
    minutes = math.ceil((max(ended) - min(began)).total_seconds() / 60)
    on = trials[0]["environment"]
    return f"about {minutes} minutes on {on['cores']} cores ({on['device_name']})"
