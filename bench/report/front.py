"""The front page of many reports: an answer in a sentence and a figure, then each experiment."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import get_args

import pandas as pd

from bench.analysis.overview import Line, Overview, overview, settling
from bench.analysis.verdicts import as_table
from bench.records import write_whole
from bench.report import render, words
from bench.report.answer import headline
from bench.report.figures.intervals import overview as draw
from bench.report.figures.style import Drawing
from bench.report.render import Markdown
from bench.report.summary import Group, Summary, read_summary
from bench.report.words import MINUS, NONE, TIMES

QUESTION = "Does a learned image resizer help a vision model, and is it worth what it costs?"

Address = Callable[[str], str]
"""Where an experiment's report is."""


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
    """The page of all these reports, in Markdown.

    Args:
        page: the name of a report's page.
        drawings: `figures` of the reports.
    """
    newest = sorted(found, key=lambda one: (one.date, one.name), reverse=True)

    def address(name: str) -> str:
        return f"{name}/{page}"

    whole = overview(as_table(v for one in newest for v in one.verdicts))
    groups = {name: [one for one in newest if one.group == name] for name in get_args(Group)}
    return render.markdown(
        "index.md.j2",
        question=QUESTION,
        address=address,
        first_screen=first_screen(newest, address, [render.figure(one, "") for one in drawings]),
        groups={name: of for name, of in groups.items() if of},
        comparisons=comparisons(whole.lines, address),
        whole=whole,
        headline=headline,
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
    whole = overview(settling(as_table(v for one in found for v in one.verdicts))[0])
    text = render.markdown(
        "front.md.j2",
        answer=in_short(whole),
        figures=figures,
        whole=whole,
        costs={one.name: one.answers[0].sentence for one in found if one.group == "costs"},
        address=address,
        pictures=pictures,
        not_run=not_run,
        took=took,
    )
    return Markdown(text)


def in_short(whole: Overview) -> str:
    """The answer of all that was compared on real images, with its scale; "" without any."""
    real, together = whole.real, whole.together
    if real.empty:
        return ""
    found, average = "not settled", f"{words.points_span(real['difference'])} points"
    if together:
        average = f"{words.difference(together.mean)} on average"
        if together.mean.low > 0 or together.mean.high < 0:
            found = "yes" if together.mean.low > 0 else "no"
    text = f"So far, {found}: top-1 accuracy changes by {average}, at "
    text += f"{words.span(real['input_size'], str)} px"
    if epochs := [n for n, unit in real["length"] if unit == "epochs"]:
        text += f" and {words.span(epochs, str)} epochs"
    matched = real["equal_time_over_treatment"].dropna()
    if len(matched) and (matched > 0).all():
        text += "; a larger plain image is the better buy"
    return f"{text}."


def comparisons(lines: Sequence[Line], address: Address) -> pd.DataFrame:
    """A line for each of the overview's, as texts."""
    return pd.DataFrame([_line(line, address) for line in lines], dtype=object)


def _line(line: Line, address: Address) -> dict[str, str]:
    first, group, n = line.first, line.verdicts, len(line.verdicts)
    margin = "" if first["margin_pct"] == 1 else f" (margin {first['margin_pct']:g})"
    pair, answer = f"{first['treatment']} {MINUS} {first['baseline']}", first["answer"]
    difference = words.difference(line.difference)
    if line.several:
        pair += f", {n} times"
        average = f"{difference} on average; " if line.difference else ""
        difference = f"{average}each {words.points_span(group['difference'])}"
        counts = group["answer"].value_counts().items()
        answer = words.join(f"{name} in {count}" for name, count in counts)
    return {
        "difference": pair,
        "on": f"{words.holds_for(group)}, {words.count(first['seeds'], 'seed')}",
        "baseline, %": words.span(group["baseline_top1_pct"], words.points),
        "points [95 % interval]": difference,
        "verdict (margin 1 point)": answer + margin,
        "training step": _step(group),
        "plain image of equal training time": _equal_time(group),
        "report": render.link(first["experiment"], address(first["experiment"])),
    }


def _step(group: pd.DataFrame) -> str:
    steps = group["step_ratio"].dropna()
    if steps.empty:
        return NONE
    noise = len(group) == 1 and group.iloc[0]["step_beyond_noise"] is False
    return f"{words.span(steps)} {TIMES}{' (within noise)' if noise else ''}"


def _equal_time(group: pd.DataFrame) -> str:
    matched = group.dropna(subset=["equal_time_px"])
    if matched.empty:
        return NONE
    px = words.join(dict.fromkeys(f"{px:.0f}" for px in matched["equal_time_px"]))
    times = matched["equal_time_step_ratio"].dropna()
    at = f" at {words.span(times)} {TIMES} the time" if len(times) else ""
    gain = f"{words.points_span(matched['equal_time_difference'])} points"
    if len(matched) == 1:
        one = matched.iloc[0]
        ends = (words.points(one[f"equal_time_{end}"], signed=True) for end in ("low", "high"))
        gain += f" [{', '.join(ends)}]"
    return f"{px} px{at}: {gain}"
