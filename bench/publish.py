"""Publishing: an experiment's records and report into `results/published/`, and the README's table.

What is copied are numbers, per-image predictions and plots; weights and pictures stay behind.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from bench import report
from bench.errors import InputError
from bench.experiment import Experiment, load
from bench.paths import PROJECT, PUBLISHED
from bench.store import Store, read_record, write_record, write_whole

README = PROJECT / "README.md"
BEGIN = "<!-- written by `resizer-bench publish`: begin -->"
END = "<!-- written by `resizer-bench publish`: end -->"


def publish(experiment: Experiment, store: Store) -> Path:
    """Copy what is finished of the experiment, write its report there and renew the README.

    Raises:
        InputError: if nothing is finished yet.
    """
    folder = PUBLISHED / experiment.name
    finished = [key for key in experiment.trials if store.trial(key)]
    if not finished:
        raise InputError(f"{experiment.name}: nothing is finished yet; {experiment.command} first")
    published = Store(folder)
    for key in finished:
        copy_record(store.trial_folder(key), published.trial_folder(key), "predictions.parquet")
    copy_record(
        store.timing_folder(experiment), published.timing_folder(experiment), "samples.parquet"
    )
    report.make(experiment, published, folder)
    write_whole(README, renewed(README.read_text()))
    return folder


def copy_record(source: Path, target: Path, data: str) -> None:
    """Copy a record and its data file, the record last; nothing where there is no record."""
    record = read_record(source)
    if record is None:
        return
    target.mkdir(parents=True, exist_ok=True)
    if (source / data).exists():
        shutil.copy2(source / data, target)
    write_record(target, record)


def reuse(experiment: Experiment, store: Store) -> int:
    """Take the experiment's finished trials from what is published; how many were taken.

    Timings are not taken: they are another machine's.
    """
    taken = 0
    for key in experiment.trials:
        folders = sorted(PUBLISHED.glob(f"*/trials/{key}"))
        sources = [f for f in folders if (read_record(f) or {}).get("status") == "ok"]
        if sources and not store.trial(key):
            copy_record(sources[0], store.trial_folder(key), "predictions.parquet")
            taken += 1
    return taken


def published() -> list[Experiment]:
    """The published experiments, by name."""
    names = sorted(folder.parent.name for folder in PUBLISHED.glob("*/report.md"))
    return [load(name.removesuffix("-small"), small=name.endswith("-small")) for name in names]


def renewed(readme: str) -> str:
    """The README with the part between its two marks written anew from `results/published/`."""
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    rows = [answered(experiment) for experiment in published()]
    return before + "\n\n".join([BEGIN, *rows, END]) + after


def answered(experiment: Experiment) -> str:
    """One experiment's paragraph in the README: question, answer, where to read on."""
    folder = PUBLISHED / experiment.name
    answer = report.answer_of(experiment, Store(folder))
    link = f"results/published/{experiment.name}/report.md"
    return (
        f"**{experiment.spec.question}**\n{answer}\n"
        f"[Report]({link}); again with `{experiment.command}`."
    )
