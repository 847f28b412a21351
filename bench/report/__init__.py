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

    evidence = gather(experiment, store)
    write(evidence, draw(evidence), folder)
    return Report(
        answer=in_words(evidence),
        results=frame(evidence),
        html=folder / "report.html",
        markdown=folder / "report.md",
    )


def saved(folder: Path) -> Report | None:
    """The report as it was last made, read back; None if none was made."""
    import pandas as pd

    if not (folder / "report.html").exists():
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
