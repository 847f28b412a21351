"""The front page of a folder of reports: question and answer of each, the newest first."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from bench.analysis.verdicts import NOTHING, Glance
from bench.records import write_whole
from bench.report.front import CAPTION, HEADINGS, rows, short

SUMMARY = "summary.json"


@dataclass(frozen=True)
class Summary:
    """What a report's folder keeps of it for the front page, and for comparisons."""

    name: str
    question: str
    answer: list[str]  # paragraphs
    scope: str
    progress: str
    complete: bool  # every trial finished
    date: str  # of the last trial, ISO; empty before the first
    figure: str  # what the figure of differences shows, in words; empty where there is none
    baseline: str
    fingerprints: dict[str, str]  # of each dataset whose trials are finished
    environments: dict[str, dict[str, object]]  # of "trials" (the last one's), and of "timing"
    glance: Glance = NOTHING


SUMMARIES = TypeAdapter(Summary)


def save(summary: Summary, folder: Path) -> None:
    """Keep a report's summary beside it, and write the front page of all reports anew."""
    write_whole(folder / SUMMARY, SUMMARIES.dump_json(summary, indent=1).decode() + "\n")
    write_index(folder.parent)


def read_summary(folder: Path) -> Summary | None:
    """The summary of the report in `folder`; None where there is no report.

    Of a report that other code has made, the glance is left out until it is made again.
    """
    path = folder / SUMMARY
    if not path.exists():
        return None
    try:
        return SUMMARIES.validate_json(path.read_bytes())
    except ValidationError:
        told = json.loads(path.read_bytes())
        return SUMMARIES.validate_python(told | {"glance": NOTHING})


def write_index(root: Path) -> None:
    """Write `index.html` in the folder that holds the reports' folders."""
    found = [summary for path in root.iterdir() if (summary := read_summary(path))]
    write_whole(root / "index.html", front_page(found))


def front_page(found: Iterable[Summary]) -> str:
    """The page of all these reports, in HTML."""
    from bench.report.pages import html

    newest = sorted(found, key=lambda one: (one.date, one.name), reverse=True)
    glances = [one.glance for one in newest]
    told = {
        "reports": newest,
        "short": short(glances, [one.name for one in newest]),
        "caption": CAPTION,
        "headings": HEADINGS,
        "rows": rows(glances),
    }
    return html("index.html.j2", told)
