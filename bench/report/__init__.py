"""One page for one question: from saved records to report.html, report.md and figures."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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


def make(experiment: Experiment, store: Store, folder: Path) -> Report:
    """Write the report of an experiment, finished or not, into `folder`.

    Files: table.csv (a row per arm, context and seed), results.csv and results.tex (the table of
    the page), answer.md (the answer alone), report.md, report.html (complete in itself) and
    figures/*.svg.
    """
    from bench.analysis.evidence import gather
    from bench.records import write_whole
    from bench.report.answer import in_words
    from bench.report.figures.draw import draw
    from bench.report.pages import write

    evidence = gather(experiment, store)
    stamp = _stamp(experiment, store)
    (folder / STAMP).unlink(missing_ok=True)
    write(evidence, draw(evidence), folder)
    write_whole(folder / STAMP, f"{stamp} {COMPLETE if evidence.complete else 'open'}")
    return Report(in_words(evidence), folder, evidence.complete)


def saved(experiment: Experiment, store: Store, folder: Path) -> Report | None:
    """The report read back, if it was made of just what is saved now; else None."""
    made_of = folder / STAMP
    stamp, _, state = made_of.read_text().partition(" ") if made_of.exists() else ("", "", "")
    if stamp != _stamp(experiment, store):
        return None
    return Report((folder / "answer.md").read_text().rstrip("\n"), folder, state == COMPLETE)


def _stamp(experiment: Experiment, store: Store) -> str:
    """Changes when what a report is made of does, or the code that makes it."""
    return f"{store.stamp(experiment)}-{code_digest(Path(__file__).parent.parent)}"


def code_digest(bench: Path) -> str:
    """16 hex digits of the sources that a report depends on.

    Args:
        bench: the folder of the package.
    """
    digest = hashlib.sha256()
    for room in ("analysis", "report", "metrics.py", "records.py", "store.py"):
        for path in sorted([bench / room, *(bench / room).rglob("*")]):
            if path.is_file() and path.suffix != ".pyc":
                digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
