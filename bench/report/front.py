"""The front page of many reports: an answer in a sentence and a figure, then each experiment."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import get_args

import pandas as pd

from bench.analysis.judging import ONE_BY_ONE
from bench.analysis.overview import Line, Overview, overview, settling
from bench.analysis.verdicts import as_table
from bench.errors import counted
from bench.records import write_whole
from bench.report import render, words
from bench.report.figures.intervals import overview as draw
from bench.report.figures.style import Drawing
from bench.report.render import Markdown
from bench.report.summary import Group, Summary, read_summary
from bench.report.words import MINUS, NONE, TIMES

QUESTION = "Does a learned image resizer help a vision model, and is it worth what it costs?"

Address = Callable[[str], str]  # of an experiment's report, by its name


def write_index(root: Path) -> None:
    """Write `index.html` in the folder that holds the reports' folders."""
    found = [summary for path in root.iterdir() if (summary := read_summary(path))]
    write_whole(root / "index.html", front_page(found))


def front_page(found: Iterable[Summary]) -> str:
    """The page of all these reports, in HTML."""
    found = list(found)
    drawings = {drawn.name: drawn for drawn in figures(found)}
    return render.html(listing(found, "report.html", drawings.values()), QUESTION, drawings)


def listing(found: Iterable[Summary], page: str, drawings: Iterable[Drawing]) -> str:
    """The page of all these reports, in Markdown, with their `figures` and links to each `page`."""
    newest = sorted(found, key=lambda one: (one.date, one.name), reverse=True)
    address = f"{{}}/{page}".format
    verdicts = as_table(v for one in newest for v in one.verdicts)
    whole, answers = overview(verdicts), overview(settling(verdicts)[0])
    groups = {name: [one for one in newest if one.group == name] for name in get_args(Group)}
    return render.markdown(
        "index.md.j2",
        question=QUESTION,
        address=address,
        first_screen=first_screen(newest, address, [render.figure(one, "") for one in drawings]),
        groups={name: of for name, of in groups.items() if of},
        comparisons=comparisons(whole.real, address),
        whole=whole,
        answers=answers,
    )


def figures(found: Iterable[Summary]) -> list[Drawing]:
    """The overview of what was made to settle the question, and of what came before it."""
    verdicts = as_table(v for one in found for v in one.verdicts)
    drawn = zip(settling(verdicts), ("overview", "overview-early"), strict=True)
    return [made for table, name in drawn if (made := draw(overview(table).lines, name))]


def first_screen(
    found: Sequence[Summary],
    address: Address,
    figures: Sequence[Markdown],
    pictures: Sequence[Markdown] = (),
    *,
    not_run: str = "",
    took: str = "",
) -> Markdown:
    """An answer in a sentence, its figure, and what a reader asks next.

    Args:
        figures: as the page shows them, that of early experiments last, where there is one.
        pictures: what else is shown behind them.
        not_run: which questions are not asked yet, a sentence.
        took: how long `make bench` takes; where the project is not, the command is left out.
    """
    ours, others = settling(as_table(v for one in found for v in one.verdicts))
    whole = overview(ours)
    priced = set(whole.real.loc[whole.real["step_ratio"].notna(), "experiment"])
    timed = [str(one.environments["timing"].get("device")) for one in found if one.name in priced]
    timed_on = words.join(dict.fromkeys(words.DEVICES.get(one, one) for one in timed))
    return render.markdown(
        "front.md.j2",
        answer=in_short(whole, timed_on),
        figures=figures,
        whole=whole,
        others=overview(others).real,
        timed_on=timed_on,
        costs={one.name: one.answers[0].sentence for one in found if one.group == "costs"},
        address=address,
        pictures=pictures,
        not_run=not_run,
        took=took,
    )


def in_short(whole: Overview, timed_on: str) -> str:
    """The answer of all that was compared on real images, with its scale; "" without any."""
    real = whole.real
    if real.empty:
        return ""
    mean = whole.together.mean if whole.together else None
    found, change = "not settled", f"{words.points_span(real['difference'])} points"
    if mean and (mean.low > 0 or mean.high < 0):
        found, change = ("yes" if mean.low > 0 else "no"), words.difference(mean)
        change += " on average on these images"
    matched = real[real["equal_time_difference"].notna()]
    if len(matched) and (matched["equal_time_high"] < 0).all():
        found = f"not worth its price on {timed_on}"
    text = f"So far, {found}: top-1 accuracy changes by {change}"
    if len(matched):
        less = words.points_span(matched["equal_time_difference"])
        text += f", against a plain image of the same training time by {less} points"
        text += " where that is known" if len(matched) < len(real) else ""
    sizes = real["size"].unique()  # few are named each, many by their span
    shown = words.span(real["input_size"], str) if len(sizes) > ONE_BY_ONE else words.join(sizes)
    text += f"; at {shown} px"
    if epochs := [n for n, unit in real["length"] if unit == "epochs"]:
        unit = "epoch" if max(epochs) == 1 else "epochs"
        text += f" and {words.span(epochs, str)} {unit}"
    return f"{text}."


def comparisons(real: pd.DataFrame, address: Address) -> pd.DataFrame:
    """A line for each comparison, as texts."""
    return pd.DataFrame([_line(real.loc[[i]], address) for i in real.index], dtype=object)


def _line(one: pd.DataFrame, address: Address) -> dict[str, str]:
    row = one.iloc[0]
    margin = "" if row["margin_pct"] == 1 else f" (margin {row['margin_pct']:g})"
    step = "" if row["step_beyond_noise"] else " (within noise)"
    known, line = row["step_ratio"] == row["step_ratio"], Line(one)
    return {
        "difference": f"{row['treatment']} {MINUS} {row['baseline']}",
        "on": f"{words.holds_for(one)}, {counted(row['seeds'], 'seed')}",
        "baseline, %": words.points(row["baseline_top1_pct"]),
        "points [95 % interval]": words.difference(line.difference),
        "verdict (margin 1 point)": row["answer"] + margin,
        "training step": f"{words.number(row['step_ratio'], 2)} {TIMES}{step}" if known else NONE,
        "points over a plain image of equal training time": words.difference(line.equal_time, ""),
        "report": render.link(row["experiment"], address(row["experiment"])),
    }
