"""The front page of many reports: an answer in a sentence and a figure, then each experiment."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_args

import pandas as pd

from bench.analysis.overview import Line, Overview, overview, settling
from bench.analysis.verdicts import as_table
from bench.records import write_whole
from bench.report import render, words
from bench.report.figures.overview import overview as draw
from bench.report.figures.style import Drawing
from bench.report.render import Markdown
from bench.report.summary import Group, Summary, read_summary
from bench.report.words import MINUS, NONE, TIMES

QUESTION = "Does a learned image resizer help a vision model, and is it worth what it costs?"
HEADINGS = (
    "difference", "on", "baseline, %", "points [95 % interval]", "verdict (margin 1 point)",
    "training step", "plain image of equal training time", "report",
)  # fmt: skip

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

    verdicts = as_table(v for one in newest for v in one.verdicts)
    whole = overview(verdicts)
    groups = {name: [one for one in newest if one.group == name] for name in get_args(Group)}
    return render.markdown(
        "index.md.j2",
        question=QUESTION,
        page=page,
        first_screen=first_screen(newest, address, list(map(render.figure_file, drawings))),
        groups={name: of for name, of in groups.items() if of},
        comparisons=comparisons(whole.lines, address),
        together=together(whole),
    )


def figures(found: Iterable[Summary]) -> list[Drawing]:
    """The overview of what was made to settle the question, and of what came before it."""
    verdicts = as_table(v for one in found for v in one.verdicts)
    drawn = zip(settling(verdicts), ("overview", "overview-early"), strict=True)
    return [made for table, name in drawn if (made := draw(overview(table).lines, name))]


class Bullet(NamedTuple):
    """A question, its short answer, and the experiments that tell more."""

    question: str
    text: str
    experiments: list[str]


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
    costs = [o for o in found if o.group == "costs"]
    text = render.markdown(
        "front.md.j2",
        answer=in_short(whole),
        figures=figures,
        bullets=bullets(whole, {o.name: o.answers[0].sentence for o in costs}, not_run),
        address=address,
        pictures=pictures,
        took=took,
    )
    return Markdown(text)


def in_short(whole: Overview) -> str:
    """The answer of all that was compared on real images, with its scale; "" without any."""
    real, mean = whole.real, whole.together
    if real.empty:
        return ""
    found = "not settled"
    if mean and mean.mean.low > 0:
        found = "yes"
    elif mean and mean.mean.high < 0:
        found = "no"
    average = words.difference(mean.mean) if mean else f"{_points(real['difference'])} points"
    text = f"So far, {found}: top-1 accuracy changes by {average}{' on average' * bool(mean)}, "
    text += _scale(real)
    matched = real["equal_time_over_treatment"].dropna()
    if len(matched) and (matched > 0).all():
        return f"{text}; a larger plain image is the better buy."
    return f"{text}."


def _scale(real: pd.DataFrame) -> str:
    epochs = [n for n, unit in real["length"] if unit == "epochs"]
    lasting = f" and {words.span(epochs, _whole)} epochs" if epochs else ""
    return f"at {words.span(real['input_size'], _whole)} px{lasting}"


def bullets(whole: Overview, costs: Mapping[str, str], not_run: str = "") -> list[Bullet]:
    """Does it help, what does it cost, can it help at all, how far does this reach.

    What is not measured is left out.

    Args:
        costs: what experiments that train nothing say of the price, by name.
    """
    alike = list(dict.fromkeys(whole.alike["experiment"]))
    asked = [
        Bullet("Does it help?", _helps(whole), alike),
        Bullet("What does it cost?", _costs(whole.real, costs), list(costs)),
        Bullet("Can it help at all?", _can(whole), list(dict.fromkeys(_first(whole)))),
        Bullet("How far does this reach?", _reaches(whole.real, not_run), []),
    ]
    return [one for one in asked if one.text]


def _helps(whole: Overview) -> str:
    """How the comparisons came out; those of arms that were tuned alike, by themselves."""
    real = whole.real
    if real.empty:
        return ""
    counts = real["answer"].value_counts()
    better, worse = counts.get("better", 0), counts.get("worse", 0)
    lines = [
        f"Better in {better or 'none'} of {words.count(len(real), 'comparison')} on real images, "
        f"worse in {worse or 'none'}; differences of {_points(real['difference'])} points."
    ]
    alike = [Line(whole.alike.loc[[i]]).difference for i in whole.alike.index]
    return " ".join([*lines, *(f"Tuned alike: {words.difference(d)}." for d in alike if d)])


def _costs(real: pd.DataFrame, costs: Mapping[str, str]) -> str:
    """What a training step costs, and what a plain image brings in that time."""
    steps, matched = real["step_ratio"].dropna(), real["equal_time_over_treatment"].dropna()
    lines = []
    if len(steps):
        lines.append(f"A training step takes {words.span(steps)} {TIMES} as long as plain's.")
    if len(matched):
        of = words.count(len(matched), "comparison")
        took = real["equal_time_step_ratio"].dropna()
        its = f"{words.span(took)} {TIMES} its time" if len(took) else "its time"
        more = f"A plain image of {its} reaches more in {sum(matched > 0)} of {of}"
        lines.append(f"{more} ({_points(matched)} points).")
    return " ".join(lines or costs.values())


def _first(whole: Overview) -> pd.Series[str]:
    """The experiments of the settled verdicts on generated images: first those with a gain."""
    return whole.generated.sort_values("difference", ascending=False)["experiment"]


def _can(whole: Overview) -> str:
    """The settled verdicts on images of which it is known what they show."""
    lines = [
        f"{one['answer'].capitalize()} where {one['subject'] or one['dataset']}: "
        f"{words.points(one['difference'], signed=True)} points."
        for _, one in whole.generated.sort_values("difference", ascending=False).iterrows()
    ]
    return " ".join(lines)


def _reaches(real: pd.DataFrame, not_run: str) -> str:
    """Data, sizes, backbones and seeds of what was compared."""
    if real.empty:
        return ""
    sizes = real["output_size"].fillna(real["input_size"])
    parts = [
        words.join(dict.fromkeys(real["dataset"])),
        f"{words.span(sizes, _whole)} px for the backbone",
        words.count(real["backbone"].nunique(), "small backbone"),
        f"{words.span(real['seeds'], _whole)} seeds",
    ]
    return f"{', '.join(parts)}. {not_run}".rstrip()


def together(whole: Overview) -> list[str]:
    """Random effects over distinct comparisons, and whose recipe the comparisons used."""
    lines, found = [], whole.together
    if found and found.prediction:
        low, high = (words.points(end, signed=True) for end in found.prediction)
        lines = [
            f"On average {words.difference(found.mean)}, over {found.mean.n} comparisons that "
            "share no runs (random effects).",
            f"True differences spread by {words.points(found.tau)} points (τ), and that of a new "
            f"comparison is expected between {low} and {high}.",
        ]
    if share := whole.recovered:
        value, low, high = (
            f"{100 * end:.0f}".replace("-", MINUS) for end in (share.value, share.low, share.high)
        )
        lines.append(
            f"Where all the pixels bring more, {value} % [{low}, {high}] of it is recovered "
            f"({words.count(share.n, 'comparison')})."
        )
    for arm, n in whole.real["recipe_for"].value_counts().items():
        of = len(whole.real)
        lines.append(f"In {n} of {of}, all arms train by a recipe tuned for {arm} alone.")
    return lines


def comparisons(lines: Sequence[Line], address: Address) -> pd.DataFrame:
    """The lines of the overview under `HEADINGS`."""
    names = [line.first["experiment"] for line in lines]
    links = [render.link(name, address(name)) for name in names]
    told = [[*_line(line), link] for line, link in zip(lines, links, strict=True)]
    return pd.DataFrame(told, columns=list(HEADINGS), dtype=object)


def _line(line: Line) -> list[str]:
    first, group, mean = line.first, line.verdicts, line.difference
    counts = group["answer"].value_counts()
    answer = words.join(f"{name} in {n}" for name, n in counts.items())
    margin = "" if first["margin_pct"] == 1 else f" (margin {first['margin_pct']:g})"
    shown = words.difference(mean) if mean else ""
    if line.several:
        shown = f"{shown} on average; " * bool(mean) + f"each {_points(group['difference'])}"
    pair = f"{first['treatment']} {MINUS} {first['baseline']}"
    return [
        pair + (f", {len(group)} times" if line.several else ""),
        f"{words.holds_for(group)}, {words.count(first['seeds'], 'seed')}",
        words.span(group["baseline_top1_pct"], words.points),
        shown,
        (answer if line.several else first["answer"]) + margin,
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


def _points(values: pd.Series[Any]) -> str:
    return words.span(values, lambda value: words.points(value, signed=True))


def _whole(value: float) -> str:
    return f"{value:.0f}"
