"""The front page of many reports: short answers, a line a verdict, and each with its answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from pydantic import TypeAdapter

from bench.analysis import meta
from bench.analysis.effects import average
from bench.analysis.evidence import Evidence
from bench.analysis.judging import SETTLED
from bench.analysis.statistics import Interval, t_interval
from bench.analysis.verdicts import VerdictRow, as_table, is_generated, verdict_rows
from bench.records import write_whole
from bench.report import render, words
from bench.report.answer import ONE_BY_ONE, Answer, answers, progress, scope
from bench.report.words import MINUS, NONE, TIMES

SUMMARY = "summary.json"
SCHEMA = 2
"""Raised when answers or verdicts change their fields."""

HEADINGS = (
    "difference", "on", "baseline, %", "points [95 % interval]", "verdict (margin 1 point)",
    "training step", "plain image of equal training time", "report",
)  # fmt: skip
CAPTION = (
    "Every comparison on real images; the many of one experiment are one line. Experiments share "
    "some of them."
)


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
    timed = [one.get("environment", {}) for one in evidence.sittings]
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
            "timing": dict(timed[-1]) if timed else {},
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


class Bullet(NamedTuple):
    """A question, its short answer, and the experiments that tell more."""

    question: str
    text: str
    experiments: list[str]


def bullets(verdicts: pd.DataFrame, costs: Mapping[str, str]) -> list[Bullet]:
    """Does it help, what does it cost, can it help at all, how far does this reach.

    What is not measured is left out.

    Args:
        verdicts: of many experiments, as `bench.analysis.verdicts` gives them.
        costs: what experiments that train nothing say of the price, by name.
    """
    found = distinct(verdicts)
    generated = found["generated"].astype(bool)
    asked = [
        Bullet("Does it help?", *_helps(found[~generated])),
        Bullet("What does it cost?", *_costs(found[~generated], costs)),
        Bullet("Can it help at all?", *_can(found[generated])),
        Bullet("How far does this reach?", _reaches(found[~generated]), []),
    ]
    return [one for one in asked if one.text]


def first_screen(found: Sequence[Summary], address: Callable[[str], str]) -> render.Markdown:
    """The short answers of these reports, and a line for each comparison.

    Args:
        address: where an experiment's report is.
    """
    real = [one for one in found if not one.generated]
    costs = {o.name: a.sentence for o in real for a in o.answers if a.badge == "cost"}
    verdicts = as_table(v for one in found for v in one.verdicts)
    text = render.markdown(
        "front.md.j2",
        bullets=bullets(verdicts, costs),
        comparisons=comparisons(verdicts, address),
        address=address,
        caption=CAPTION,
    )
    return render.Markdown(text)


def distinct(verdicts: pd.DataFrame) -> pd.DataFrame:
    """Each comparison once, as the experiment has it that asked the fewest at a time."""
    return verdicts.sort_values(["level", "experiment"], kind="stable").drop_duplicates("trials")


def _helps(real: pd.DataFrame) -> tuple[str, list[str]]:
    """How the comparisons came out; those of arms that were tuned alike, by themselves."""
    if real.empty:
        return "", []
    counts = real["answer"].value_counts().to_dict()
    better, many = counts.pop("better", 0), words.count(len(real), "comparison")
    others = words.join(f"{answer} in {n}" for answer, n in counts.items())
    gained = f"Better in {better} of {many}" if better else f"No gain was found in {many}"
    lines = [
        *_on_average(real),
        f"{gained} on real images.",
        *([f"{others.capitalize()}."] if others else []),
        f"Differences: {_points(real['difference'])} points, over "
        f"{words.count(real['baseline_trials'].nunique(), 'set')} of baseline runs.",
    ]
    alike = real[real["tuned"].astype(bool)]
    lines += [f"Tuned alike, {_pair(one)} = {_difference(one)}." for one in _each(alike)]
    return " ".join(lines), list(dict.fromkeys(alike["experiment"]))


def _on_average(real: pd.DataFrame) -> list[str]:
    """Random effects over distinct comparisons, and the share of headroom that is recovered."""
    found = meta.summary(_compared(real, "by_seed"))
    if found is None or found.prediction is None:
        return []
    low, high = (words.points(end, signed=True) for end in found.prediction)
    return [
        f"On average {words.difference(found.mean)}, over {found.mean.n} distinct comparisons on "
        "real images (random effects).",
        f"True differences spread by {words.points(found.tau)} points (τ), and that of a new "
        f"comparison is expected between {low} and {high}.",
        *_recovered(real),
    ]


def _recovered(real: pd.DataFrame) -> list[str]:
    """How much of what all the pixels bring the treatment brings, where they surely bring some."""
    known = real[[t_interval(list(one.values())).low > 0 for one in real["headroom"]]]
    gains, headrooms = (
        [one.mean for one in meta.distinct(_compared(known, column))]
        for column in ("by_seed", "headroom")
    )
    share = meta.share_of_headroom(gains, headrooms)
    if not isinstance(share, meta.Share):
        return []
    value, low, high = (
        f"{100 * end:.0f}".replace("-", MINUS) for end in (share.value, share.low, share.high)
    )
    of = words.count(share.n, "comparison")
    return [
        f"Where all the pixels bring more, {value} % [{low}, {high}] of it is recovered ({of})."
    ]


def _compared(real: pd.DataFrame, column: str) -> list[meta.Comparison]:
    return [
        meta.Comparison(one["experiment"], one[column], frozenset(one["baseline_trials"]))
        for one in _each(real)
    ]


def _costs(real: pd.DataFrame, costs: Mapping[str, str]) -> tuple[str, list[str]]:
    """What a training step costs, and what a plain image brings in that time."""
    steps, matched = real["step_ratio"].dropna(), real["equal_time_over_treatment"].dropna()
    lines = []
    if len(steps):
        lines.append(
            f"A training step takes {words.span(steps)} {TIMES} as long as the baseline's."
        )
    if len(matched):
        of = words.count(len(matched), "comparison")
        more = f"A plain image of the same training time reaches more in {sum(matched > 0)} of {of}"
        lines.append(f"{more} ({_points(matched)} points).")
    return " ".join([*lines, *costs.values()]), list(costs)


def _can(generated: pd.DataFrame) -> tuple[str, list[str]]:
    """The settled verdicts on images of which it is known what they show."""
    found = generated[generated["answer"].isin(SETTLED)].drop_duplicates("dataset")
    lines = [
        f"{one['answer'].capitalize()} on {one['dataset']}"
        f"{' (' + one['subject'] + ')' if one['subject'] else ''}: {_difference(one)}."
        for one in _each(found)
    ]
    return " ".join(lines), list(dict.fromkeys(found["experiment"]))


def _reaches(real: pd.DataFrame) -> str:
    """Data, sizes, backbones, length and seeds of what was compared, and whose recipe it was."""
    if real.empty:
        return ""
    sizes = real["output_size"].fillna(real["input_size"])
    parts = [
        words.join(dict.fromkeys(real["dataset"])),
        f"{words.span(sizes, _whole)} px",
        words.join(dict.fromkeys(real["backbone"])),
        f"{words.span(real['seeds'], _whole)} seeds",
    ]
    lines = [f"{'; '.join(parts)}."]
    for arm, n in real["recipe_for"].value_counts().items():
        lines.append(f"In {n} of {len(real)}, all arms train by a recipe tuned for {arm} alone.")
    return " ".join(lines)


def comparisons(verdicts: pd.DataFrame, address: Callable[[str], str]) -> pd.DataFrame:
    """A line for each distinct verdict on real images, under `HEADINGS`.

    The verdicts of an experiment that has too many to tell one by one are one line.

    Args:
        address: where an experiment's report is.
    """
    real = verdicts[~verdicts["generated"].astype(bool)]
    sizes = real.groupby("experiment")["experiment"].transform("size")
    alone, many = distinct(real[sizes <= ONE_BY_ONE]), real[sizes > ONE_BY_ONE]
    groups = [alone.loc[[i]] for i in alone.index]
    groups += [group for _, group in many.groupby("experiment", sort=False)]
    names = [group["experiment"].iloc[0] for group in groups]
    links = [render.link(name, address(name)) for name in names]
    lines = [[*_line(group), link] for group, link in zip(groups, links, strict=True)]
    return pd.DataFrame(lines, columns=list(HEADINGS), dtype=object)


def _line(group: pd.DataFrame) -> list[str]:
    """One verdict, or the many of one experiment: their average, and how far each is from it."""
    first, several = group.iloc[0], len(group) > 1
    gain = average(pd.DataFrame(list(group["by_seed"]))) if several else None
    counts = group["answer"].value_counts()
    answer = words.join(f"{name} in {n}" for name, n in counts.items())
    margin = "" if first["margin_pct"] == 1 else f" (margin {first['margin_pct']:g})"
    shown = f"{words.difference(gain.interval())} on average; each " if gain else ""
    return [
        _pair(first) + (f", {len(group)} times" if several else ""),
        f"{words.holds_for(group)}, {words.count(first['seeds'], 'seed')}",
        words.span(group["baseline_top1_pct"], words.points),
        f"{shown}{_points(group['difference'])}" if several else _difference(first),
        (answer if several else first["answer"]) + margin,
        _step(group),
        _equal_time(group),
    ]


def _step(group: pd.DataFrame) -> str:
    steps = group["step_ratio"].dropna()
    noise = len(group) == 1 and group.iloc[0]["step_beyond_noise"] is False
    return (
        f"{words.span(steps)} {TIMES}{' (within noise)' if noise else ''}" if len(steps) else NONE
    )


def _equal_time(group: pd.DataFrame) -> str:
    matched = group.dropna(subset=["equal_time_px"])
    if matched.empty:
        return NONE
    px = words.join(dict.fromkeys(map(_whole, matched["equal_time_px"])))
    times = matched["equal_time_step_ratio"].dropna()
    at = f" at {words.span(times)} {TIMES} the time" if len(times) else ""
    gain = f"{_points(matched['equal_time_difference'])} points"
    if len(matched) == 1:
        one = matched.iloc[0]
        ends = (words.points(one[f"equal_time_{end}"], signed=True) for end in ("low", "high"))
        gain += f" [{', '.join(ends)}]"
    return f"{px} px{at}: {gain}"


def _each(table: pd.DataFrame) -> list[pd.Series[Any]]:
    return [line for _, line in table.iterrows()]


def _pair(one: pd.Series[Any]) -> str:
    return f"{one['treatment']} {MINUS} {one['baseline']}"


def _difference(one: pd.Series[Any]) -> str:
    ends = ("difference", "low", "high", "seeds", "level", "sd")
    return words.difference(Interval(*(one[name] for name in ends)))


def _points(values: pd.Series[float]) -> str:
    return words.span(values, lambda value: words.points(value, signed=True))


def _whole(value: float) -> str:
    return f"{value:.0f}"
