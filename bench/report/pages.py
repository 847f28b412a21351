"""The page of one experiment, and the files beside it."""

from __future__ import annotations

import os
import re
from pathlib import Path

import matplotlib as mpl

from bench.analysis.classes import classes
from bench.analysis.drawn import numbers
from bench.analysis.evidence import Evidence, gather
from bench.paths import PUBLISHED
from bench.records import write_whole
from bench.report import answer, details, environment, made, render, table, words
from bench.report.figures.costs import components, cost
from bench.report.figures.curves import by_axis, by_time, curves, heat, spectra
from bench.report.figures.images import images
from bench.report.figures.intervals import differences, price
from bench.report.figures.style import STYLE, Drawing, arm_styles
from bench.report.figures.tuning import ranges, tuning
from bench.report.summary import Summary, save_summary, summary
from bench.spec.experiment import Experiment
from bench.store import Store

FIRST = (
    "by-backbone-and-size",
    "training-time",
    "differences",
    "price",
    "tuning-history",
    "learning-curves",
)
"""The figures that may answer, the best one first: it stands behind the verdict."""
DIGITS = "%.12g"  # of what is computed: processors differ in the last ones
CAPTION = "Mean and half of the 95 % interval over seeds; differences are paired by seed."


def make(experiment: Experiment, store: Store, folder: Path, *, pdf: bool = False) -> made.Report:
    """Write the report of an experiment, finished or not, into `folder`.

    Files: table.csv (a row per arm, context and seed), summary.csv (a row per arm and context, as
    numbers), results.csv and results.tex (the table of the page), short.tex (for a paper),
    answer.md (the answer alone), report.md, report.html (complete in itself) and figures/*.svg,
    where `pdf` is set each as PDF, too.
    """
    evidence = gather(experiment, store)
    stamp = made.stamp(experiment, store)
    (folder / made.STAMP).unlink(missing_ok=True)
    drawings = draw(evidence)
    write(evidence, drawings, folder)
    for drawn in drawings.values() if pdf else ():
        drawn.write_pdf(folder / "figures" / f"{drawn.name}.pdf")
    write_whole(folder / made.STAMP, f"{stamp} {made.COMPLETE if evidence.complete else 'open'}")
    return made.Report(answer.in_words(evidence), folder, evidence.complete)


@mpl.rc_context(STYLE)
def draw(evidence: Evidence) -> dict[str, Drawing]:
    """Every figure that there is something to draw for, in the order of the page."""
    found = [
        differences(evidence),
        price(evidence),
        cost(evidence),
        components(evidence),
        *(by_axis(evidence, axis) for axis in evidence.axes if axis != "dataset"),
        heat(evidence),
        curves(evidence),
        by_time(evidence),
        images(evidence),
        spectra(evidence),
        *tuning(evidence),
    ]
    return {drawn.name: drawn for drawn in found if drawn}


def write(evidence: Evidence, drawings: dict[str, Drawing], folder: Path) -> None:
    """Put the report into `folder`, each file whole."""
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    for old in (folder / "figures").glob("*.svg"):
        if old.stem not in drawings:
            old.unlink()
    first = next((drawings[name] for name in FIRST if name in drawings), None)
    about = summary(evidence, first.name if first else "", first.alt if first else "")
    text = markdown(evidence, about, drawings, folder)
    colours = {name: style.colour for name, style in arm_styles(evidence.arms.values()).items()}
    results = table.results(evidence)
    files = {f"figures/{drawn.name}.svg": drawn.file for drawn in drawings.values()}
    files |= {
        "table.csv": evidence.table.to_csv(index=False),
        "summary.csv": numbers(evidence).to_csv(index=False, float_format=DIGITS),
        "results.csv": results.to_csv(index=False),
        "results.tex": table.latex(results),
        "short.tex": table.latex(table.short(evidence), _caption(evidence, about)),
        "answer.md": answer.in_words(evidence) + "\n",
        "report.md": text,
        "report.html": render.html(text, about.question, drawings, colours),
    }
    for name, content in files.items():
        write_whole(folder / name, content)
    save_summary(about, folder)


def _caption(evidence: Evidence, about: Summary) -> str:
    places = ". ".join(one.place for one in about.answers if one.place)
    told = [f"{about.question} {places}. {about.scope} {CAPTION}"]
    for row, verdict in evidence.judged[:1]:
        level = words.percent(verdict.looks.level)
        told.append(f"The difference of {row.arm.name} has its verdict's interval, of {level}.")
    return " ".join(told)


def markdown(evidence: Evidence, about: Summary, drawings: dict[str, Drawing], folder: Path) -> str:
    """The page as text; `folder` is where it is to be, for links to what stands beside it."""
    heading, _, entry = _log(folder, evidence.experiment.name).partition("\n")
    return render.markdown(
        "report.md.j2",
        evidence=evidence,
        experiment=evidence.experiment,
        spec=evidence.experiment.spec,
        about=about,
        drawings=drawings,
        by_axis=[name for name in drawings if name.startswith("by-") and name != about.figure],
        results=table.results(evidence),
        measured=table.costs(evidence),
        classes=classes,
        details=details,
        environment=environment,
        ranges=ranges,
        tables=table,
        file=os.path.relpath(evidence.experiment.file, folder),
        records=(folder / "trials").exists(),
        log=heading,
        learnt=_learnt(entry),
    )


def _log(folder: Path, name: str) -> str:
    """The newest entry of the log about a published experiment, without its mark; "" of another."""
    log = folder.parent.parent / "LOG.md"
    if folder.parent != PUBLISHED or not log.exists():
        return ""
    entries = log.read_text("utf-8").split("\n## ")[1:]
    named = (re.search(r" · ([^:\n]*)", one) for one in entries)  # date · name, name: and so on
    about = (found[1].split(", ") if found else [] for found in named)
    return next((one for one, names in zip(entries, about, strict=True) if name in names), "")


def _learnt(entry: str) -> str:
    """What an entry of the log says was learnt, in Markdown; "" without a word."""
    found = re.search(r"- \*\*Learnt:\*\* (.*?)(?=\n- \*\*|\n\n|\Z)", entry, re.DOTALL)
    text = " ".join(found[1].split()) if found else ""
    return text[:1].upper() + text[1:]
