"""One page for one question: from saved records to report.html, report.md and figures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from bench.experiment import Experiment
    from bench.store import Store


@dataclass(frozen=True)
class Report:
    """What a report says, and where it was written."""

    answer: str  # the verdicts in words, with their scope
    results: pd.DataFrame  # the results table, as it is displayed
    html: Path
    markdown: Path


STAMP = ".made-of"


def make(experiment: Experiment, store: Store, folder: Path) -> Report:
    """Write the report of an experiment, finished or not, into `folder`.

    Files: table.csv (a row per arm, context and seed), results.csv and results.tex (the table of
    the page), answer.md (the answer alone), report.md, report.html (complete in itself) and
    figures/*.svg.
    """
    from bench.report.answer import in_words
    from bench.report.evidence import gather
    from bench.report.figures import draw
    from bench.report.page import write
    from bench.report.results import frame
    from bench.store import write_whole

    stamp = store.stamp(experiment)
    evidence = gather(experiment, store)
    (folder / STAMP).unlink(missing_ok=True)
    write(evidence, draw(evidence), folder)
    write_whole(folder / STAMP, stamp)
    return Report(
        answer=in_words(evidence),
        results=frame(evidence),
        html=folder / "report.html",
        markdown=folder / "report.md",
    )


def saved(experiment: Experiment, store: Store, folder: Path) -> Report | None:
    """The report read back, if it was made of just what is saved now; else None."""
    import pandas as pd

    stamp = folder / STAMP
    if not stamp.exists() or stamp.read_text() != store.stamp(experiment):
        return None
    return Report(
        answer=(folder / "answer.md").read_text().rstrip("\n"),
        results=pd.read_csv(folder / "results.csv", dtype=str, keep_default_na=False),
        html=folder / "report.html",
        markdown=folder / "report.md",
    )


def answer_of(experiment: Experiment, store: Store) -> str:
    """The answer alone, in words with its scope; nothing is written."""
    from bench.report.answer import in_words
    from bench.report.evidence import gather

    return in_words(gather(experiment, store))
