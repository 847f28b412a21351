"""What a report's folder keeps of it for the front page, and for comparisons."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter

from bench.analysis.evidence import Evidence
from bench.analysis.judging import ONE_BY_ONE
from bench.analysis.overview import ANSWERS
from bench.analysis.verdicts import VerdictRow, is_generated, verdict_rows
from bench.records import write_whole
from bench.report.answer import Answer, answers, progress, scope

SUMMARY = "summary.json"
CHECKS = "check-"  # begins the names of experiments on the harness itself
SCHEMA = 10  # raised when the fields of a summary, an answer or a verdict change

Group = Literal["answers", "single questions", "ablations", "costs", "checks of the harness"]


@dataclass(frozen=True)
class Summary:
    """A report in brief."""

    name: str
    question: str
    scope: str
    progress: str
    complete: bool  # every trial finished
    date: str  # of the last trial, ISO; empty before the first
    baseline: str
    environments: dict[str, dict[str, object]]  # of "trials" (the last one's), and of "timing"
    figure: str = ""  # the name of the first figure; empty where there is none
    alt: str = ""  # what it shows, in words
    fingerprints: dict[str, str] = field(default_factory=dict)  # of datasets with finished trials
    comparisons: int = 0  # of the treatment with the baseline, a context each
    generated: bool = False  # whether all its images are: it asks of the harness itself
    schema: int = SCHEMA
    answers: list[Answer] = field(default_factory=list)
    verdicts: list[VerdictRow] = field(default_factory=list)

    @property
    def group(self) -> Group:
        """Under which heading of the front page it stands."""
        if self.generated or self.name.startswith(CHECKS):
            return "checks of the harness"
        if any(one.badge == "cost" for one in self.answers):
            return "costs"
        if self.name.startswith(ANSWERS):
            return "answers"
        return "ablations" if self.comparisons > ONE_BY_ONE else "single questions"


SUMMARIES = TypeAdapter(Summary)


def summary(evidence: Evidence, figure: str = "", alt: str = "") -> Summary:
    """What is kept of a report; `figure` and `alt` are of the page's first figure."""
    trials = evidence.experiment.trials
    finished = {key: one for key, one in evidence.records.items() if one["status"] == "ok"}
    done, timed = list(finished.values()), evidence.sittings
    dated = [*evidence.records.values(), *timed]
    return Summary(
        name=evidence.experiment.name,
        question=evidence.experiment.spec.question,
        scope=scope(evidence),
        progress=progress(evidence),
        complete=evidence.finished == len(evidence.experiment.runs),
        date=max((str(record.get("finished", "")) for record in dated), default=""),
        figure=figure,
        alt=alt,
        baseline=evidence.experiment.baseline,
        fingerprints={trials[k].dataset: one["data"]["fingerprint"] for k, one in finished.items()},
        environments={
            "trials": dict(done[-1].get("environment", {})) if done else {},
            "timing": dict(timed[-1].get("environment", {})) if timed else {},
        },
        comparisons=len(evidence.treated),
        generated=all(map(is_generated, trials.values())),
        answers=answers(evidence),
        verdicts=verdict_rows(evidence),
    )


def save_summary(summary: Summary, folder: Path) -> None:
    """Keep a report's summary beside it."""
    write_whole(folder / SUMMARY, SUMMARIES.dump_json(summary, indent=1).decode() + "\n")


def read_summary(folder: Path) -> Summary | None:
    """The summary of the report in `folder`; None where there is no report.

    Of a report that other code has made, answers and verdicts are left out until it is made again.
    """
    path = folder / SUMMARY
    if not path.exists():
        return None
    kept = json.loads(path.read_bytes())
    if kept.get("schema") != SCHEMA:
        kept |= {"schema": 0, "answers": [], "verdicts": [], "figure": "", "alt": ""}
    return SUMMARIES.validate_python(kept)


def told_of(root: Path, key: str) -> list[str]:
    """Question, verdict and scope of each report with the trial, in `root` or right beneath it."""
    tables = [root / "table.csv", *sorted(root.glob("*/table.csv"))]
    folders = [path.parent for path in tables if path.exists() and key in path.read_text("utf-8")]
    return [
        f"**{one.question}** ({one.name})\n\n{(folder / 'answer.md').read_text('utf-8').strip()}"
        for folder in folders
        if (one := read_summary(folder))
    ]
