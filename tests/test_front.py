"""The first screen of many experiments, of made-up records."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bench.analysis.evidence import Evidence, gather
from bench.analysis.overview import overview
from bench.analysis.verdicts import VerdictRow, as_table, verdict_rows
from bench.report.answer import answers, scope
from bench.report.front import (
    comparisons,
    figures,
    first_screen,
    in_short,
    listing,
    write_index,
)
from bench.report.pages import make
from bench.report.render import figure, markdown
from bench.report.summary import read_summary, summary
from bench.report.words import MINUS, NONE, TIMES, difference
from bench.spec.files import load
from bench.spec.trial import Trial
from bench.store import Store
from tests.fakes import NARROW, WIDE, experiment, fill, read_page, time_all, top1

TIME = '[[arm]]\nname = "longer"\nresizer = "none"\ninput_size = "equal_time"\nmatch = "learned"\n'


def evidence(folder: Path, axes: str, *, controls: bool = False, more: str = "") -> Evidence:
    folder.mkdir()
    asked = experiment(folder, axes)
    store = Store(folder)
    text = asked.file.read_text() + ('controls = "standard"\n' if controls else "") + more
    if controls:
        text = text.replace('resizer = "fixed"', 'resizer = "muller"')
    asked.file.write_text(text)
    asked = load(str(asked.file))
    sizes = dict.fromkeys(asked.sizes, 48)
    asked = load(str(asked.file), sizes=sizes)
    fill(asked, store, top1)
    time_all(asked, store)
    return gather(asked, store)


def verdicts(evidences: Iterable[Evidence]) -> pd.DataFrame:
    return as_table(row for one in evidences for row in verdict_rows(one))


def named(found: pd.DataFrame, name: str) -> pd.DataFrame:
    """The verdicts as another experiment's."""
    return found.assign(experiment=name)


def told(found: pd.DataFrame, **costs: str) -> dict[str, str]:
    """The answers of the first screen by their questions, links left out."""
    content: dict[str, Any] = {
        "answer": "",
        "figures": [],
        "pictures": [],
        "took": "",
        "not_run": "",
    }
    content["timed_on"] = "CPU"
    content |= {"whole": overview(found), "others": found[:0]}
    text = markdown("front.md.j2", costs=costs, address=str, **content)
    plain = re.sub(r"\\(.)", r"\1", re.sub(r" \[[^]]*\]\([^)]*\)", "", text))
    return dict(re.findall(r"- \*\*(.*)\*\* (.*)", plain))


def lines(found: pd.DataFrame) -> list[list[str]]:
    return [list(row) for row in comparisons(overview(found).real, str).itertuples(index=False)]


def test_the_verdicts_of_many_experiments_are_one_table(tmp_path: Path) -> None:
    every = [evidence(tmp_path / "one", NARROW), evidence(tmp_path / "two", WIDE)]
    found = verdicts(every)
    assert list(found) == [field.name for field in fields(VerdictRow)]
    assert found["answer"].value_counts().to_dict() == {"better": 3, "no difference": 2}
    first = found.iloc[0]
    assert first["difference"] == 51.0
    assert first["by_seed"] == {0: 50.0, 1: 51.0, 2: 52.0}
    assert first["step_ratio"] == 2.0
    assert first["length"] == (2, "epochs")
    assert found["others"].tolist()[1:] == [{"num_resblocks": n} for n in (0, 1, 0, 1)]
    assert found["equal_time_difference"].isna().all()


def test_short_answers_come_from_the_table(tmp_path: Path) -> None:
    every = [evidence(tmp_path / "one", NARROW, controls=True), evidence(tmp_path / "two", WIDE)]
    found = told(verdicts(every), dear="It takes long.")
    assert found["Does it help?"] == (
        "Better in 2 of 4 comparisons on real images, worse in none; differences of +0.01 to +51.0 "
        "points."
    )
    assert found["What does it cost?"] == (
        f"On CPU a training step takes 2.0 {TIMES} plain's time. A plain image of that time "
        f"would reach more in 0 of 1 comparison ({MINUS}51.0 points)."
    )
    assert found["How far does this reach?"] == (
        "fine and coarse, 32 px for the backbone, 1 backbone, 3 seeds."
    )


def test_where_nothing_was_trained_the_price_is_that_of_the_cost_experiments(
    tmp_path: Path,
) -> None:
    nothing = verdicts([gather(experiment(tmp_path, NARROW), Store(tmp_path))])
    assert told(nothing, dear="It takes long.") == {"What does it cost?": "It takes long."}


@pytest.mark.parametrize(
    ("baseline", "again"),
    [("plain", 'resizer = "none"'), ("learned", 'resizer = "learned"\nnum_resblocks = 0')],
)
def test_arms_of_one_front_end_are_no_comparison_of_the_front_page(
    tmp_path: Path, baseline: str, again: str
) -> None:
    compared = {'["learned", "plain"]': f'["again", "{baseline}"]'}
    rest = f'[[arm]]\nname = "again"\n{again}\n'
    asked = experiment(tmp_path, NARROW, but=compared, rest=rest)
    fill(asked, Store(tmp_path), top1)
    found = verdicts([gather(asked, Store(tmp_path))])
    assert len(found) == 1
    assert overview(found).real.empty


def test_a_question_about_the_harness_stands_under_its_own_heading(tmp_path: Path) -> None:
    asked = experiment(tmp_path, NARROW)
    fill(asked, Store(tmp_path), top1)
    about = summary(gather(asked, Store(tmp_path)))
    groups = [replace(about, name=name).group for name in ("toy", "check-toy", "answer-toy")]
    assert groups == ["single questions", "checks of the harness", "answers"]


def test_the_answer_in_short_has_its_average_and_its_scale(tmp_path: Path) -> None:
    asked = experiment(tmp_path, 'dataset = ["fine", "coarse", "third"]')

    def worse(trial: Trial) -> float:
        return 50.0 - (2.5 + trial.seed / 5 + len(trial.dataset) / 20) * (
            trial.resizer == "learned"
        )

    fill(asked, Store(tmp_path), worse)
    toy = gather(asked, Store(tmp_path))
    found = overview(verdicts([toy]))
    assert in_short(found, "CPU").startswith(
        f"So far, no: top-1 accuracy changes by {MINUS}3.0 points ["
    )
    assert in_short(found, "CPU").endswith(
        "] on average on these images; at 64 → 32 px and 2 epochs."
    )
    assert f"On average {MINUS}3.0 points \\[" in listing([summary(toy)], "report.md", [])
    assert in_short(overview(as_table([])), "CPU") == ""


def test_the_answer_in_short_is_of_the_price_where_a_plain_image_of_it_is_known(
    tmp_path: Path,
) -> None:
    found = verdicts([evidence(tmp_path / "toy", NARROW, controls=True)])
    assert in_short(overview(found), "CPU").startswith(
        "So far, not settled: top-1 accuracy changes by +51.0 points, against a plain image of "
        "the same training time by +51.0 points; at"
    )
    unsure, less = (
        found.assign(equal_time_difference=-1.0, equal_time_high=high) for high in (0.1, -0.1)
    )
    assert in_short(overview(unsure), "CPU").startswith("So far, not settled: top-1")
    reached = (told(of)["What does it cost?"].partition("would reach ")[2] for of in (unsure, less))
    assert [one[:9] for one in reached] == ["more in 0", "more in 1"]
    assert in_short(overview(less), "CPU").startswith("So far, not worth its price on CPU: top-1")
    assert f"of the same training time by {MINUS}1.0 points; at" in in_short(overview(less), "CPU")
    other = less.assign(trials=[("others",)], equal_time_difference=None)
    two = in_short(overview(pd.concat([less, other], ignore_index=True)), "CPU")
    assert f"by {MINUS}1.0 points where that is known; at 64 → 32 px" in two


def test_experiments_that_were_made_to_settle_the_question_lead_and_fold_the_earlier_ones(
    tmp_path: Path,
) -> None:
    early = replace(summary(evidence(tmp_path / "one", NARROW)), name="toy")
    rows = [replace(one, experiment="answer-toy", difference=7.0) for one in early.verdicts]
    settling = replace(early, name="answer-toy", verdicts=rows)
    shown = [figure(one, "") for one in figures([early, settling])]
    screen = first_screen([early, settling], str, shown)
    assert "+7.0 points" in screen
    assert "+51.0 points" not in screen
    assert "Of 1 other: better in 1, worse in none." in screen
    assert "Of 1 other" not in first_screen([settling], str, shown[:1])
    folded = screen.partition("<summary>The other experiments</summary>")
    assert "overview.svg" in folded[0]
    assert "overview-early.svg" in folded[2]
    assert f"On CPU a training step takes 2.0 {TIMES} plain's time." in screen
    timing = early.environments["timing"] | {"device": "cuda"}
    on_gpu = replace(settling, environments=early.environments | {"timing": timing})
    assert "On GPU a training step takes" in first_screen([early, on_gpu], str, shown)
    assert [one.group for one in (early, settling)] == ["single questions", "answers"]
    made = [replace(one, generated=True, trials=("others",)) for one in early.verdicts]
    both = first_screen([replace(early, verdicts=made), settling], str, shown)
    assert "- **Can it help?** Generated images: better where" in both
    assert len(figures([early])) == 1


def test_a_comparison_that_two_experiments_share_is_counted_once(tmp_path: Path) -> None:
    narrow = verdicts([evidence(tmp_path / "one", NARROW)])
    wide = named(verdicts([evidence(tmp_path / "two", WIDE)]), "wide")
    every = pd.concat([wide, narrow, named(narrow, "again")], ignore_index=True)
    assert "in 2 of 4 comparisons" in told(every)["Does it help?"]
    (line,) = lines(pd.concat([narrow, named(narrow, "again")], ignore_index=True))
    assert "+51.0 points [+49.3, +52.7]" in line
    fewer = named(narrow, "a part").assign(trials=[narrow["trials"][0][1:]])
    (line,) = lines(pd.concat([fewer, narrow], ignore_index=True))
    assert "[toy](toy)" in line


def test_each_comparison_is_a_line_and_those_too_many_for_a_figure_are_one_average(
    tmp_path: Path,
) -> None:
    found = verdicts([wide := evidence(tmp_path / "two", WIDE)])
    first, *others = lines(found)
    assert len(others) == 3
    assert first == [
        f"learned {MINUS} plain",
        "fine, 64 → 32 px, resnet10t, num_resblocks 0, 2 epochs, 3 seeds",
        "10.0",
        "+51.0 points [+48.8, +53.2; 98.8 %]",
        "better",
        f"2.0 {TIMES}",
        NONE,
        "[toy](toy)",
    ]
    (drawn,) = figures([summary(wide)])
    assert "those of means leave new images out" in drawn.caption
    (line,) = overview(found).lines
    assert line.difference
    assert difference(line.difference) == "+25.5 points [+24.3, +26.8]"


def test_the_recipe_of_one_arm_alone_is_told_and_the_length_where_it_is_an_axis_once(
    tmp_path: Path,
) -> None:
    axes = 'dataset = ["fine"]\nepochs = [2, 4, 8]'
    asked = experiment(tmp_path, axes, top='recipe_for = "plain"\n')
    fill(asked, Store(tmp_path), top1)
    found = gather(asked, Store(tmp_path))
    assert "recipe tuned for plain;" in scope(found)
    page = listing([summary(found)], "report.md", [])
    assert "In 3 of 3, all arms train by a recipe tuned for plain alone." in page
    assert lines(verdicts([found]))[0][1] == "fine, 64 → 32 px, resnet10t, 2 epochs, 3 seeds"
    wanted = "fine, 64 → 32 px, resnet10t, 2, 4 or 8 epochs"
    assert answers(found)[0].place == wanted


def test_what_the_same_training_time_buys_is_beside_the_verdict(tmp_path: Path) -> None:
    found = verdicts([evidence(tmp_path / "one", NARROW, more=TIME)])
    (line,) = lines(found)
    assert "+51.0 [+49.5, +52.5]" in line
    assert (
        f"A plain image of that time would reach more in 0 of 1 comparison ({MINUS}51.0 points)."
    ) in told(found)["What does it cost?"]


def test_the_page_links_each_report_under_its_kind_with_its_figure(tmp_path: Path) -> None:
    kept = summary(evidence(tmp_path / "one", NARROW, controls=True), "differences", "a [figure]")
    page = listing([kept], "report.md", [])
    assert "| [toy](toy/report.md) |" in page
    assert page.index("[Single questions](#single-questions) (1)") < page.index(
        "## Single questions"
    )
    assert "[![a \\[figure\\]](toy/figures/differences.svg)](toy/report.md)" in page
    assert page.count("+51.0 points \\[") == 2  # in the table, and on its card


def test_what_is_not_measured_is_not_answered(tmp_path: Path) -> None:
    nothing = verdicts([gather(experiment(tmp_path, NARROW), Store(tmp_path))])
    assert nothing.empty
    assert told(nothing) == {}
    assert lines(nothing) == []
    assert not first_screen([], str, []).strip()


def test_generated_images_tell_whether_it_can_help_but_not_whether_it_does(tmp_path: Path) -> None:
    asked = experiment(tmp_path, 'dataset = ["synthetic-fine"]')

    def better(trial: Trial) -> float:
        return 99.0 + trial.seed / 10 if trial.resizer == "learned" else 10.0

    fill(asked, Store(tmp_path), better)
    found = verdicts([gather(asked, Store(tmp_path))])
    assert told(found) == {
        "Can it help?": "Generated images: better where the class is only in detail "
        "that a 2x reduction erases, +89.1 points."
    }
    assert lines(found) == []


def test_a_summary_reads_back_with_its_verdicts_and_answers(tmp_path: Path) -> None:
    asked, store = experiment(tmp_path, NARROW), Store(tmp_path / "store")
    fill(asked, store, top1)
    time_all(asked, store)
    folder = make(asked, store, tmp_path / "toy").folder
    kept = read_summary(folder)
    assert kept
    assert kept.figure == "differences"
    assert kept == summary(gather(asked, store), kept.figure, kept.alt)
    assert as_table(kept.verdicts)["difference"].tolist() == [51.0]


def test_a_report_of_other_code_stays_on_the_front_page_without_its_verdicts(
    tmp_path: Path,
) -> None:
    asked, store = experiment(tmp_path, NARROW), Store(tmp_path / "store")
    fill(asked, store, top1)
    for name in ("old", "new"):
        make(asked, store, tmp_path / name)
    path = tmp_path / "old" / "summary.json"
    kept = json.loads(path.read_text())
    kept |= {"name": "old", "schema": 0, "answers": ["a paragraph"], "verdicts": {"x": 1}}
    path.write_text(json.dumps(kept | {"date": "2020-01-02T03:04:05"}))
    write_index(tmp_path)
    page = read_page(tmp_path / "index.html")
    assert "2 experiments, the newest of each kind first" in page
    assert "a paragraph" not in page
    assert page.index("+51.0 points [+49.3, +52.7]") < page.index("toy/report.html")
    assert page.index("toy/report.html") < page.index("old/report.html")
    assert "<script>alert(1)" not in (tmp_path / "index.html").read_text()
    assert not re.search(r'(src|href)="(http|//)', page)
    _, _, dark = page.partition("@media (prefers-color-scheme: dark) {")
    assert ".card img { filter: invert" in dark.partition("\n}\n")[0]  # its files are light
