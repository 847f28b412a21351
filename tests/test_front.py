"""The first screen of many experiments, of made-up records."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path

import pandas as pd

from bench.analysis.evidence import Evidence, gather
from bench.analysis.verdicts import VerdictRow, as_table, verdicts
from bench.report.answer import answers, scope
from bench.report.front import bullets, comparisons, first_screen, read_summary, summary
from bench.report.pages import make
from bench.report.words import MINUS, NONE, TIMES
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


def named(found: pd.DataFrame, name: str) -> pd.DataFrame:
    """The verdicts as another experiment's."""
    return found.assign(experiment=name)


def told(found: pd.DataFrame, **costs: str) -> dict[str, str]:
    return {one.question: one.text for one in bullets(found, costs)}


def lines(found: pd.DataFrame) -> list[list[str]]:
    return [list(line) for line in comparisons(found, str).itertuples(index=False)]


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
    assert found["equal_time_px"].isna().all()


def test_short_answers_come_from_the_table(tmp_path: Path) -> None:
    every = [evidence(tmp_path / "one", NARROW, controls=True), evidence(tmp_path / "two", WIDE)]
    found = told(verdicts(every), dear="It takes long.")
    assert found["Does it help?"] == (
        "Better in 2 of 4 comparisons on real images. No difference in 2. "
        "Differences: +0.01 to +51.0 points, over 2 sets of baseline runs."
    )
    assert found["What does it cost?"] == (
        f"A training step takes 2.0 {TIMES} as long as the baseline's. A plain image of the same "
        f"training time reaches more in 0 of 1 comparison ({MINUS}51.0 points). It takes long."
    )
    assert found["How far does this reach?"] == "fine and coarse; 32 px; resnet10t; 3 seeds."


def test_a_comparison_that_two_experiments_share_is_counted_once(tmp_path: Path) -> None:
    narrow = verdicts([evidence(tmp_path / "one", NARROW)])
    wide = named(verdicts([evidence(tmp_path / "two", WIDE)]), "wide")
    every = pd.concat([wide, narrow, named(narrow, "again")], ignore_index=True)
    assert "of 4 comparisons" in told(every)["Does it help?"]
    (line,) = lines(pd.concat([narrow, named(narrow, "again")], ignore_index=True))
    assert "+51.0 points [+49.3, +52.7]" in line


def test_comparisons_too_many_to_tell_one_by_one_are_one_line(tmp_path: Path) -> None:
    (line,) = lines(verdicts([evidence(tmp_path / "two", WIDE)]))
    assert line == [
        f"learned {MINUS} plain, 4 times",
        "fine and coarse, 64 → 32 px, resnet10t, num_resblocks 0 and 1, 2 epochs, 3 seeds",
        "10.0 to 90.1",
        "+25.5 points [+24.3, +26.8] on average; each +0.01 to +51.0",
        "better in 2 and no difference in 2",
        f"2.0 {TIMES}",
        NONE,
        "[toy](toy)",
    ]


def test_without_a_better_one_no_gain_was_found(tmp_path: Path) -> None:
    asked = experiment(tmp_path, NARROW)
    fill(asked, Store(tmp_path), lambda trial: 50.0 + 0.1 * len(trial.resizer) * trial.seed)
    found = told(verdicts([gather(asked, Store(tmp_path))]))
    assert found["Does it help?"].startswith(
        "No gain was found in 1 comparison on real images. No difference in 1."
    )


def test_the_recipe_of_one_arm_alone_is_told_and_the_length_where_it_is_an_axis_once(
    tmp_path: Path,
) -> None:
    asked = experiment(tmp_path, 'dataset = ["fine"]\nepochs = [2, 4, 8]')
    text = asked.file.read_text().replace("margin_pct = 1.0", 'recipe_for = "plain"')
    asked.file.write_text(text)
    asked = load(str(asked.file))
    fill(asked, Store(tmp_path), top1)
    found = gather(asked, Store(tmp_path))
    assert "recipe tuned for plain;" in scope(found)
    reach = told(verdicts([found]))["How far does this reach?"]
    assert "In 3 of 3, all arms train by a recipe tuned for plain alone." in reach
    (line,) = lines(verdicts([found]))
    assert line[1] == "fine, 64 → 32 px, resnet10t, 2 epochs, 4 epochs or 8 epochs, 3 seeds"
    assert answers(found)[0].place == line[1].removesuffix(", 3 seeds")


def test_what_the_same_training_time_buys_is_beside_the_verdict(tmp_path: Path) -> None:
    found = verdicts([evidence(tmp_path / "one", NARROW, more=TIME)])
    (line,) = lines(found)
    assert f"48 px at 0.50 {TIMES} the time: 0.0 points [0.0, 0.0]" in line
    assert (
        "A plain image of the same training time reaches more in 0 of 1 comparison "
        f"({MINUS}51.0 points)."
    ) in told(found)["What does it cost?"]


def test_the_first_screen_links_each_report(tmp_path: Path) -> None:
    kept = summary(evidence(tmp_path / "one", NARROW, controls=True), "")
    screen = first_screen([kept], lambda name: f"published/{name}.md")
    assert screen.splitlines()[-3].endswith("| [toy](published/toy.md) |")


def test_what_is_not_measured_is_not_answered(tmp_path: Path) -> None:
    nothing = verdicts([gather(experiment(tmp_path, NARROW), Store(tmp_path))])
    assert nothing.empty
    assert told(nothing) == {}
    assert lines(nothing) == []
    assert not first_screen([], str).strip()


def test_generated_images_tell_whether_it_can_help_but_not_whether_it_does(tmp_path: Path) -> None:
    asked = experiment(tmp_path, 'dataset = ["synthetic-fine"]')

    def better(trial: Trial) -> float:
        return 99.0 + trial.seed / 10 if trial.resizer == "learned" else 10.0

    fill(asked, Store(tmp_path), better)
    found = verdicts([gather(asked, Store(tmp_path))])
    assert told(found) == {
        "Can it help at all?": "Better on synthetic-fine (the class is only in detail that a 2x "
        "reduction erases): +89.1 points [+88.9, +89.3]."
    }
    assert lines(found) == []


def test_a_summary_reads_back_with_its_verdicts_and_answers(tmp_path: Path) -> None:
    asked, store = experiment(tmp_path, NARROW), Store(tmp_path / "store")
    fill(asked, store, top1)
    time_all(asked, store)
    folder = make(asked, store, tmp_path / "toy").folder
    kept = read_summary(folder)
    assert kept == summary(gather(asked, store), kept.figure if kept else "")
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
    make(asked, store, tmp_path / "new")
    page = read_page(tmp_path / "index.html")
    assert "2 experiments, the newest first" in page
    assert "a paragraph" not in page
    assert page.index("+51.0 points [+49.3, +52.7]") < page.index("toy/report.html")
    assert page.index("toy/results.csv") < page.index("old/results.csv")
    assert "<script>alert(1)" not in (tmp_path / "index.html").read_text()
    assert not re.search(r'(src|href)="(http|//)', page)
