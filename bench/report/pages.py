"""The page, in HTML and in Markdown, and the files beside it."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from bench.analysis import verdicts as glance
from bench.analysis.evidence import Evidence
from bench.records import write_whole
from bench.report import answer, environment, index, words
from bench.report import table as results
from bench.report import tuning as tuned
from bench.report.figures.style import Drawing, looks

LOADER = PackageLoader("bench.report")


def write(evidence: Evidence, drawings: dict[str, Drawing], folder: Path) -> None:
    """Put the report into `folder`, each file whole."""
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    for drawn in drawings.values():
        write_whole(folder / "figures" / f"{drawn.name}.svg", drawn.file)
    for old in (folder / "figures").glob("*.svg"):
        if old.stem not in drawings:
            old.unlink()
    write_whole(folder / "table.csv", evidence.table.to_csv(index=False))
    write_whole(folder / "results.csv", results.table(evidence).frame.to_csv(index=False))
    write_whole(folder / "results.tex", results.latex(evidence))
    told = content(evidence, drawings)
    write_whole(folder / "answer.md", answer.in_words(evidence) + "\n")
    write_whole(folder / "report.md", markdown("page.md.j2", told))
    write_whole(folder / "report.html", html("page.html.j2", told))
    index.save(summary(evidence, told), folder)


def html(template: str, told: dict[str, Any]) -> str:
    """A page of one of our templates."""
    return _html().get_template(template).render(told)


def markdown(template: str, told: dict[str, Any]) -> str:
    """The same in Markdown."""
    return _markdown().get_template(template).render(told)


def summary(evidence: Evidence, told: dict[str, Any]) -> index.Summary:
    """What is kept of the report for the front page, and for comparisons."""
    drawn = told["drawings"].get("differences")
    done = [record for record in evidence.records.values() if record["status"] == "ok"]
    lane = evidence.timing or {}
    return index.Summary(
        name=evidence.experiment.name,
        question=told["spec"].question,
        answer=told["answer"],
        scope=told["scope"],
        progress=told["progress"],
        complete=told["complete"],
        date=told["date"],
        figure=drawn.alt if drawn else "",
        baseline=evidence.experiment.baseline,
        fingerprints={r["trial"]["dataset"]: r["data"]["fingerprint"] for r in done},
        environments={
            "trials": dict(done[-1].get("environment", {})) if done else {},
            "timing": dict(lane.get("environment", {})),
        },
        glance=glance.at(evidence),
    )


def content(evidence: Evidence, drawings: dict[str, Drawing]) -> dict[str, Any]:
    """All that the templates say."""
    spec, lane = evidence.experiment.spec, evidence.timing or {}
    return {
        "experiment": evidence.experiment,
        "spec": spec,
        "answer": answer.sentences(evidence),
        "scope": answer.scope(evidence),
        "progress": answer.progress(evidence),
        "complete": evidence.finished == len(evidence.experiment.runs),
        "warnings": environment.warnings(evidence),
        "prices": answer.prices(evidence) if spec.train else [],  # else they are the answer
        "timed": evidence.timing is not None,
        "results": results.table(evidence),
        "rows": evidence.rows,
        "looks": looks(evidence.arms.values()),
        "costs": results.costs(evidence),
        "reasons": results.reasons(evidence),
        "problems": results.problems(evidence),
        "tuning": tuned.tuning(evidence),
        "recipe": recipe(evidence),
        "matched": matched(evidence),
        "crossed": [
            (words.place(row.context, evidence.axes), row.crossed)
            for row in evidence.rows
            if row.crossed
        ],
        "environment": environment.table(evidence),
        "drawings": drawings,
        "by_axis": [d for d in drawings.values() if d.name.startswith("by-")],
        "date": max(str(r.get("finished", "")) for r in [*evidence.records.values(), lane]),
    }


def matched(evidence: Evidence) -> list[str]:
    """How well each matched size meets the cost that it was sought for."""
    found = [(r, evidence.store.size(key)) for key, r in evidence.experiment.matched.items()]
    return [
        f"{request.arm} ({request.plain.backbone}): {record['size']} px, "
        f"{words.number(record['ratio'])} {words.TIMES} the "
        f"{'multiply-adds' if request.kind == 'equal_gmacs' else 'training time'} of the arm that "
        "it is matched to"
        for request, record in found
        if record
    ]


def recipe(evidence: Evidence) -> list[tuple[str, str]]:
    """The fields of the trials with the values that they take."""
    dumped = [trial.model_dump(exclude_none=True) for trial in evidence.experiment.trials.values()]
    names = dict.fromkeys(name for fields in dumped for name in fields)
    return [
        (name, words.join(dict.fromkeys(str(f[name]) for f in dumped if name in f)))
        for name in names
    ]


def _html() -> Environment:
    env = Environment(
        loader=LOADER, autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, finalize=_unbroken,
    )  # fmt: skip
    env.globals |= {"source": _source, "sortable": _sortable, "words": words}
    return env


def _markdown() -> Environment:
    env = Environment(
        loader=LOADER, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        finalize=_escaped, keep_trailing_newline=True,
    )  # fmt: skip
    env.globals |= {"words": words}
    return env


def _source(name: str) -> Markup:
    """One of our own files, as it is."""
    return Markup((Path(__file__).parent / "templates" / name).read_text())


def _sortable(value: float | str) -> str:
    """What a column is sorted by; nothing where there is nothing."""
    missing = isinstance(value, float) and math.isnan(value)
    return "" if missing else str(value)


def _unbroken(value: object) -> object:
    """Text whose numbers stay on one line with their signs and units."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return re.sub(rf" (?=[±%→{words.TIMES}]|px\b)|(?<=[±→]) ", "\N{NO-BREAK SPACE}", value)


def _escaped(value: object) -> object:
    """Text from data as Markdown shows it literally, on one line."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    line = " ".join(value.split())
    return re.sub(r"([\\`*\[\]<>|_~#])", r"\\\1", line)
