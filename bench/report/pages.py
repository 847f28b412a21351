"""The page of one experiment, and the files beside it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pandas as pd

from bench.analysis.crossed import Crossed
from bench.analysis.evidence import Evidence, gather
from bench.analysis.statistics import Interval
from bench.records import write_whole
from bench.report import answer, environment, made, render, table, words
from bench.report.figures.draw import draw
from bench.report.figures.style import Drawing, arm_styles
from bench.report.summary import Summary, save_summary
from bench.report.summary import summary as summarised
from bench.report.tuning import tuning
from bench.spec.experiment import Experiment
from bench.store import Store

FIRST = ("differences", "components", "tuning-history", "learning-curves")
"""The figures that may answer, the best one first: it stands behind the verdict."""


class BySeed(NamedTuple):
    """The primary comparison in one context, seed by seed."""

    context: str
    crossed: Crossed
    interval: Interval  # over new seeds and new images
    tests: pd.DataFrame  # McNemar's, a line for each pair


def make(experiment: Experiment, store: Store, folder: Path) -> made.Report:
    """Write the report of an experiment, finished or not, into `folder`.

    Files: table.csv (a row per arm, context and seed), results.csv and results.tex (the table of
    the page), answer.md (the answer alone), report.md, report.html (complete in itself) and
    figures/*.svg.
    """
    evidence = gather(experiment, store)
    stamp = made.stamp(experiment, store)
    (folder / made.STAMP).unlink(missing_ok=True)
    write(evidence, draw(evidence), folder)
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
    write_whole(folder / "answer.md", answer.in_words(evidence) + "\n")
    text = markdown(evidence, summary, results, drawings)
    colours = {name: style.colour for name, style in arm_styles(evidence.arms.values()).items()}
    write_whole(folder / "report.md", text)
    write_whole(folder / "report.html", render.html(text, summary.question, drawings, colours))
    save_summary(summary, folder)


def markdown(
    evidence: Evidence,
    summary: Summary,
    results: pd.DataFrame,
    drawings: dict[str, Drawing],
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
    )


def _controls(evidence: Evidence, one: answer.Answer) -> pd.DataFrame:
    treatment = (evidence.experiment.spec.primary or ("",))[0]
    difference = f"{treatment} {words.MINUS} control"
    lines = [(line.control, line.difference, line.says) for line in one.controls]
    return pd.DataFrame(lines, columns=["control", difference, "what it says"])


def _by_seed(evidence: Evidence) -> list[BySeed]:
    arms, found = evidence.experiment.spec.primary or (), []
    for row, verdict in evidence.judged:
        if verdict.crossed and verdict.new_images:
            told = verdict.crossed
            tests = pd.DataFrame(told.discordant, columns=[f"only {arm} right" for arm in arms])
            tests = tests.astype(str)
            tests.insert(0, "pair", [str(i + 1) for i in range(len(tests))])
            tests["p (McNemar)"] = [f"{p:.2g}" for p in told.p_values]
            place = words.place(row.context, evidence.axes)
            found.append(BySeed(place, told, verdict.new_images, tests))
    return found


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
