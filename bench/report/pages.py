"""The page of one experiment, and the files beside it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from bench.analysis.classes import Classes, classes
from bench.analysis.crossed import Crossed
from bench.analysis.evidence import Evidence, Row, gather
from bench.analysis.numbers import numbers
from bench.analysis.statistics import Interval
from bench.paths import PUBLISHED
from bench.records import write_whole
from bench.report import answer, environment, made, render, table, words
from bench.report.figures.draw import draw
from bench.report.figures.style import Drawing, arm_styles
from bench.report.summary import Summary, save_summary
from bench.report.summary import summary as summarised
from bench.report.tuning import tuning
from bench.spec.experiment import Experiment
from bench.store import Store

FIRST = ("differences", "price", "tuning-history", "learning-curves")
"""The figures that may answer, the best one first: it stands behind the verdict."""


MOST_CLASSES = 12
"""Of more classes than these, no table tells which is taken for which."""
CAPTION = "Mean and half of the 95 % interval over seeds; differences are paired by seed."


class BySeed(NamedTuple):
    """The primary comparison in one context, seed by seed and class by class."""

    context: str
    crossed: Crossed
    interval: Interval  # over new seeds and new images
    seeds: pd.DataFrame  # accuracies, their difference and McNemar's test
    classes: pd.DataFrame  # accuracies and their difference
    moved: pd.DataFrame  # what the treatment says more often of each class; empty of many classes
    only: list[tuple[str, list[str]]]  # images that an arm alone gets right in every seed


def make(experiment: Experiment, store: Store, folder: Path, *, pdf: bool = False) -> made.Report:
    """Write the report of an experiment, finished or not, into `folder`.

    Files: table.csv (a row per arm, context and seed), summary.csv (a row per arm and context, as
    numbers), results.csv and results.tex (the table of the page), short.tex (for a paper),
    answer.md (the answer alone), report.md, report.html (complete in itself) and figures/*.svg.

    Args:
        pdf: write each figure as PDF, too.
    """
    evidence = gather(experiment, store)
    stamp = made.stamp(experiment, store)
    (folder / made.STAMP).unlink(missing_ok=True)
    drawings = draw(evidence)
    write(evidence, drawings, folder)
    for drawn in drawings.values() if pdf else ():
        (folder / "figures" / f"{drawn.name}.pdf").write_bytes(drawn.pdf)
    write_whole(folder / made.STAMP, f"{stamp} {made.COMPLETE if evidence.complete else 'open'}")
    return made.Report(answer.in_words(evidence), folder, evidence.complete)


def write(evidence: Evidence, drawings: dict[str, Drawing], folder: Path) -> None:
    """Put the report into `folder`, each file whole."""
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    for drawn in drawings.values():
        write_whole(folder / "figures" / f"{drawn.name}.svg", drawn.file)
    for old in (folder / "figures").glob("*.svg"):
        if old.stem not in drawings:
            old.unlink()
    first = next((drawings[name] for name in FIRST if name in drawings), None)
    shown = (first.name, first.alt) if first else ()
    summary, results = summarised(evidence, *shown), table.results(evidence)
    write_whole(folder / "table.csv", evidence.table.to_csv(index=False))
    write_whole(folder / "results.csv", results.to_csv(index=False))
    write_whole(folder / "results.tex", table.latex(results))
    write_whole(folder / "summary.csv", numbers(evidence).to_csv(index=False))
    caption = f"{summary.question} {summary.scope} {CAPTION}"
    write_whole(folder / "short.tex", table.latex(table.short(evidence), caption))
    write_whole(folder / "answer.md", answer.in_words(evidence) + "\n")
    lesson = learnt(folder, summary.name)
    text = markdown(evidence, summary, results, drawings, links(evidence, folder), lesson)
    colours = {name: style.colour for name, style in arm_styles(evidence.arms.values()).items()}
    write_whole(folder / "report.md", text)
    write_whole(folder / "report.html", render.html(text, summary.question, drawings, colours))
    save_summary(summary, folder)


def markdown(
    evidence: Evidence,
    summary: Summary,
    results: pd.DataFrame,
    drawings: dict[str, Drawing],
    links: Mapping[str, str],
    learnt: str = "",
) -> str:
    """The page as text, of all that its template says."""
    return render.markdown(
        "report.md.j2",
        experiment=evidence.experiment,
        spec=evidence.experiment.spec,
        about=summary,
        controls=[(one.at, _controls(evidence, one)) for one in summary.answers if one.controls],
        drawings=drawings,
        warnings=environment.warnings(evidence),
        timed=bool(evidence.timings),
        results=results,
        reasons=table.reasons(evidence),
        problems=table.problems(evidence),
        measured=table.costs(evidence),
        by_axis=[name for name in drawings if name.startswith("by-")],
        about_axes=any(axis != "dataset" for axis in evidence.axes),
        tuning=tuning(evidence),
        by_seed=_by_seed(evidence),
        arms=_arms(evidence),
        matched=_matched(evidence),
        recipe=_recipe(evidence),
        environment=environment.table(evidence),
        links=links,
        learnt=learnt,
        references=_references(evidence),
    )


def links(evidence: Evidence, folder: Path) -> dict[str, str]:
    """What stands beside the page, and where it comes from: addresses by what they are called."""
    found = {"all experiments": "../index.html", "results.csv": "results.csv"}
    found |= {"summary.csv": "summary.csv", "every trial": "table.csv", "LaTeX": "results.tex"}
    found |= {"five columns for a paper": "short.tex", "this page as text": "report.md"}
    file = evidence.experiment.file
    found["the question's file"] = os.path.relpath(file, folder)
    if (folder / "trials").exists():
        found["records"] = "trials"
    if entry := _entry(folder, evidence.experiment.name):
        heading = entry.splitlines()[0].removeprefix("## ")
        found["log"] = f"../../LOG.md#{render.slug(heading)}"
    return found


def _entry(folder: Path, name: str) -> str:
    """The newest entry of the log about a published experiment; "" of another."""
    log = folder.parent.parent / "LOG.md"
    if folder.parent != PUBLISHED or not log.exists():
        return ""
    entries = [f"## {entry}" for entry in log.read_text().split("\n## ")[1:]]
    return next((one for one in entries if one.splitlines()[0].endswith(f"· {name}")), "")


def learnt(folder: Path, name: str) -> str:
    """What the log says was learnt from a published experiment, in Markdown; "" without a word."""
    wanted = r"- \*\*Learnt:\*\* (.*?)(?=\n- \*\*|\n\n|\Z)"
    found = re.search(wanted, _entry(folder, name), re.DOTALL)
    text = " ".join(found[1].split()) if found else ""
    return text[:1].upper() + text[1:]


def _references(evidence: Evidence) -> pd.DataFrame:
    lines = [
        (one.name, words.points(one.top1_pct), one.source)
        for one in evidence.experiment.spec.reference
    ]
    return pd.DataFrame(lines, columns=["what others reach", words.TOP1, "source"])


def _controls(evidence: Evidence, one: answer.Answer) -> pd.DataFrame:
    treatment = (evidence.experiment.spec.primary or ("",))[0]
    difference = f"{treatment} {words.MINUS} control"
    lines = [(line.control, line.difference, line.says) for line in one.controls]
    return pd.DataFrame(lines, columns=["control", difference, "what it says"])


def _by_seed(evidence: Evidence) -> list[BySeed]:
    found = []
    for row, verdict in evidence.judged:
        if verdict.crossed and verdict.new_images:
            told = classes(evidence, row)
            place = words.place(row.context, evidence.axes)
            parts = (_classes(told), _moved(told), _only(told)) if told else (NOTHING, NOTHING, [])
            seeds = _seeds(evidence, row, verdict.crossed)
            found.append(BySeed(place, verdict.crossed, verdict.new_images, seeds, *parts))
    return found


NOTHING = pd.DataFrame()


def _seeds(evidence: Evidence, row: Row, crossed: Crossed) -> pd.DataFrame:
    arms = [row.arm.name, evidence.experiment.baseline]
    pairs = evidence.pairs(row.label)[arms].dropna()
    shown = pairs.map(words.points).add_suffix(", %")
    gain = pairs[arms[0]] - pairs[arms[1]]
    shown["difference, points"] = [words.points(one, signed=True) for one in gain]
    for i, arm in enumerate(arms):
        shown[f"only {arm} right"] = [str(of[i]) for of in crossed.discordant]
    shown["p (McNemar)"] = [f"{p:.2g}" for p in crossed.p_values]
    return shown.reset_index().astype(str)


def _classes(found: Classes) -> pd.DataFrame:
    shown = found.accuracy.map(words.points).add_suffix(", %")
    shown["difference, points"] = [
        words.difference(one).replace(" points", "") for one in found.difference
    ]
    order = sorted(range(len(shown)), key=lambda i: -found.difference[i].mean)
    return shown.rename_axis("class").reset_index().iloc[order]


def _moved(found: Classes) -> pd.DataFrame:
    if len(found.moved) > MOST_CLASSES:
        return NOTHING
    shown = found.moved.map(lambda one: words.points(one, signed=True))
    return shown.rename_axis("class").reset_index()


def _only(found: Classes) -> list[tuple[str, list[str]]]:
    return list(zip(found.accuracy.columns, found.only, strict=True))


def _arms(evidence: Evidence) -> pd.DataFrame:
    lines = [
        {
            "arm": arm.name,
            "role": arm.role,
            "sets": ", ".join(f"{name} = {value}" for name, value in arm.fields.items()),
            "isolates": arm.isolates or words.NONE,
        }
        for arm in evidence.arms.values()
    ]
    return pd.DataFrame(lines)


def _matched(evidence: Evidence) -> list[str]:
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


def _recipe(evidence: Evidence) -> pd.DataFrame:
    """The fields of the trials with the values that they take."""
    dumped = [trial.model_dump(exclude_none=True) for trial in evidence.experiment.trials.values()]
    names = dict.fromkeys(name for fields in dumped for name in fields)
    lines = [
        (name, words.join(dict.fromkeys(str(f[name]) for f in dumped if name in f)))
        for name in names
    ]
    return pd.DataFrame(lines, columns=["field", "value"])
