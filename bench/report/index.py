"""The front page of a folder of reports: question and answer of each, the newest first."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import TypeAdapter

from bench.analysis.evidence import Evidence
from bench.analysis.verdicts import VerdictRow, as_table, is_generated, verdict_rows
from bench.records import write_whole
from bench.report import front, render
from bench.report.answer import Answer, answers, progress, scope

SUMMARY = "summary.json"
SCHEMA = 2
"""Raised when answers or verdicts change their fields."""


@dataclass(frozen=True)
class Summary:
    """What a report's folder keeps of it for the front page, and for comparisons."""

    name: str
    question: str
    scope: str
    progress: str
    complete: bool  # every trial finished
    date: str  # of the last trial, ISO; empty before the first
    figure: str  # what the figure of differences shows, in words; empty where there is none
    baseline: str
    fingerprints: dict[str, str]  # of each dataset whose trials are finished
    environments: dict[str, dict[str, object]]  # of "trials" (the last one's), and of "timing"
    generated: bool = False  # whether all its images are: it asks of the harness itself
    schema: int = 0
    answers: list[Answer] = field(default_factory=list)
    verdicts: list[VerdictRow] = field(default_factory=list)


SUMMARIES = TypeAdapter(Summary)


def summary(evidence: Evidence, figure: str) -> Summary:
    """What is kept of a report.

    Args:
        figure: what the figure of differences shows, in words.
    """
    done = [record for record in evidence.records.values() if record["status"] == "ok"]
    lane = evidence.sittings[-1] if evidence.sittings else {}
    dated = [*evidence.records.values(), *evidence.sittings]
    return Summary(
        name=evidence.experiment.name,
        question=evidence.experiment.spec.question,
        scope=scope(evidence),
        progress=progress(evidence),
        complete=evidence.finished == len(evidence.experiment.runs),
        date=max((str(record.get("finished", "")) for record in dated), default=""),
        figure=figure,
        baseline=evidence.experiment.baseline,
        fingerprints={one["trial"]["dataset"]: one["data"]["fingerprint"] for one in done},
        environments={
            "trials": dict(done[-1].get("environment", {})) if done else {},
            "timing": dict(lane.get("environment", {})),
        },
        generated=all(map(is_generated, evidence.experiment.trials.values())),
        schema=SCHEMA,
        answers=answers(evidence),
        verdicts=verdict_rows(evidence),
    )


def save(summary: Summary, folder: Path) -> None:
    """Keep a report's summary beside it, and write the front page of all reports anew."""
    write_whole(folder / SUMMARY, SUMMARIES.dump_json(summary, indent=1).decode() + "\n")
    write_index(folder.parent)


def read_summary(folder: Path) -> Summary | None:
    """The summary of the report in `folder`; None where there is no report.

    Of a report that other code has made, answers and verdicts are left out until it is made again.
    """
    path = folder / SUMMARY
    if not path.exists():
        return None
    kept = json.loads(path.read_bytes())
    if kept.get("schema") != SCHEMA:
        kept |= {"schema": 0, "answers": [], "verdicts": []}
    return SUMMARIES.validate_python(kept)


def write_index(root: Path) -> None:
    """Write `index.html` in the folder that holds the reports' folders."""
    found = [summary for path in root.iterdir() if (summary := read_summary(path))]
    write_whole(root / "index.html", front_page(found))


def front_page(found: Iterable[Summary]) -> str:
    """The page of all these reports, in HTML."""
    newest = sorted(found, key=lambda one: (one.date, one.name), reverse=True)
    first = first_screen(newest, lambda name: f"{name}/report.html")
    text = render.markdown("index.md.j2", reports=newest, first_screen=first)
    return render.html(text, "Does a learned image resizer help, and is it worth its cost?")


def first_screen(found: Sequence[Summary], address: Callable[[str], str]) -> render.Markdown:
    """The short answers of these reports, and a line for each comparison."""
    real = [one for one in found if not one.generated]
    costs = {o.name: a.sentence for o in real for a in o.answers if a.badge == "cost"}
    return front.first_screen(as_table(v for one in found for v in one.verdicts), costs, address)
