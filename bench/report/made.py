"""A report on the disk: its files, and whether it is made of what is saved now."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from bench.spec.experiment import Experiment
from bench.store import Store


@dataclass(frozen=True)
class Report:
    """What a report says, and where it was written."""

    answer: str  # the verdicts in words, with their scope
    folder: Path
    complete: bool  # every trial ended well, and every arm was timed

    @property
    def html(self) -> Path:
        return self.folder / "report.html"

    @property
    def markdown(self) -> Path:
        return self.folder / "report.md"

    @property
    def results(self) -> Path:
        """The results table as it is displayed, CSV."""
        return self.folder / "results.csv"


STAMP, COMPLETE = ".made-of", "complete"


def saved(experiment: Experiment, store: Store, folder: Path) -> Report | None:
    """The report read back, if it was made of just what is saved now; else None."""
    made_of = folder / STAMP
    made_from, _, state = made_of.read_text().partition(" ") if made_of.exists() else ("", "", "")
    whole = all((folder / name).exists() for name in ("answer.md", "results.csv", "report.html"))
    if not whole or made_from != stamp(experiment, store):
        return None
    return Report((folder / "answer.md").read_text("utf-8").rstrip("\n"), folder, state == COMPLETE)


def stamp(experiment: Experiment, store: Store) -> str:
    """Changes when what a report is made of does, or the code that makes it."""
    return f"{store.stamp(experiment)}-{code_digest(Path(__file__).parent.parent)}"


def code_digest(bench: Path) -> str:
    """16 hex digits of the sources that a report depends on, in the folder of the package."""
    digest = hashlib.sha256()
    for room in ("analysis", "report", "metrics.py", "records.py", "store.py"):
        for path in sorted([bench / room, *(bench / room).rglob("*")]):
            if path.is_file() and path.suffix != ".pyc":
                digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
