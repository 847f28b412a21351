"""The numbers of a report follow from the records."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from bench.analysis.evidence import gather
from bench.records import TimingRecord, read_record, write_record
from bench.report.answer import answers
from bench.report.made import Report
from bench.report.pages import make
from bench.report.table import costs, price, results
from bench.report.words import MINUS, NONE, TIMES
from bench.spec.experiment import Experiment
from bench.spec.files import load
from bench.store import Store
from tests.fakes import (
    NARROW,
    WIDE,
    experiment,
    fill,
    page_text,
    read_page,
    shown,
    time_all,
    top1,
)
from tests.test_answer import controlled


def test_the_answer_says_over_which_verdicts_it_is_and_for_what_it_holds(
    whole: tuple[Report, Experiment, Store],
) -> None:
    answer = whole[0].answer
    assert answer.startswith(f"Mixed: learned {MINUS} plain = +")
    assert "on average over 4 comparisons" in answer
    assert "fine (2,000 training, 500 validation images)" in answer
    assert "cpu (Toy, 2 threads, fp32)" in answer


def test_the_table_has_the_numbers_of_the_records(
    whole: tuple[Report, Experiment, Store],
) -> None:
    table = shown(whole[0]).set_index(["dataset", "num_resblocks", "arm"])
    learned = table.loc[("fine", "1", "learned")]
    # by hand: 60, 61, 62 has a standard deviation of 1; t(0.975, 2) / sqrt(3) = 2.484
    assert learned["top-1 accuracy, %"] == "61.0 ± 2.5"
    # of four verdicts, 1.25 % of error each; the three other differences on these images lend
    # 3 degrees of freedom: t(0.99375, 5) / sqrt(3) = 2.20
    assert learned["difference to plain, points"] == "+51.0 ± 2.2"
    assert learned["training speed, images/s"] == "100"
    assert learned["seeds"] == "3 of 3"
    assert "24 of 24 trials finished" in whole[0].markdown.read_text()


def test_an_arm_that_does_not_use_an_axis_has_one_row(
    whole: tuple[Report, Experiment, Store],
) -> None:
    table = shown(whole[0])
    assert table["arm"].value_counts().to_dict() == {"learned": 4, "plain": 2, "fixed": 2}
    assert set(table.loc[table["arm"] == "plain", "num_resblocks"]) == {NONE}


def test_what_the_treatment_costs_is_a_multiple_of_the_baseline(
    whole: tuple[Report, Experiment, Store],
) -> None:
    page = read_page(whole[0].html)
    found = price(gather(*whole[1:]))
    assert set(found["arm"]) == {"learned"}  # of more than two contexts
    assert set(found["training step"]) == {f"2.00 {TIMES} [2.00, 2.00]"}
    assert set(found["multiply-adds per image"]) == {f"1.5 {TIMES}"}
    assert "As multiples of plain's" in page
    assert "two measurements of one arm's training step may be 2.5 % apart" in page
    assert "Other load disturbed 2 rounds, which are left out." in page


def test_an_arm_that_could_not_be_timed_is_told_with_the_reason(tmp_path: Path) -> None:
    asked, store = experiment(tmp_path, NARROW), Store(tmp_path / "store")
    fill(asked, store, top1)
    time_all(asked, store)
    (folder,) = set(store.timing_folders(asked).values())
    record = read_record(folder, TimingRecord)
    assert record
    for one in record["subjects"].values():
        if one["trial"]["resizer"] == "learned":
            one["reason"] = "out of memory"
    write_record(folder, record)
    page = page_text(gather(asked, store))
    assert page.count("- **learned not timed**: out of memory\n") == 1


def test_no_table_has_a_column_that_tells_nothing_of_any_row(tmp_path: Path) -> None:
    asked = experiment(tmp_path, NARROW, top="train = false\n")
    store = Store(tmp_path / "store")
    time_all(asked, store)
    evidence = gather(asked, store)
    for table in (results(evidence), price(evidence), costs(evidence)):
        assert not table.empty
        assert not table.isin([NONE, "ok"]).all().any()


def test_the_summary_has_the_numbers_of_the_page_as_numbers(
    whole: tuple[Report, Experiment, Store],
) -> None:
    table = pd.read_csv(whole[0].folder / "summary.csv")
    learned = table[(table["arm"] == "learned") & (table["dataset"] == "fine")].iloc[0]
    assert (learned["top1_pct_mean"], learned["top1_pct_n"]) == (61.0, 3)
    assert round(learned["top1_pct_low"], 1) == 58.5
    assert learned["difference_mean"] == 51.0
    assert learned["train_ratio"] == 2.0
    assert learned["verdict"] == "better"
    assert pd.isna(table.loc[table["arm"] == "plain", "difference_mean"]).all()


def test_what_others_reach_stands_beside_the_results(tmp_path: Path) -> None:
    told = 'reference = [{name = "a blog, 224 px", top1_pct = 65.2, source = "its table | 1"}]\n'
    asked, store = experiment(tmp_path, NARROW, top=told), Store(tmp_path / "store")
    fill(asked, store, top1)
    text = page_text(gather(asked, store))
    assert "| a blog, 224 px | 65.2 | its table \\| 1 |" in text
    assert "Under their own conditions, not compared with ours." in text


@pytest.mark.parametrize("seeds", [1, 2])
def test_there_is_no_verdict_below_three_seeds(tmp_path: Path, seeds: int) -> None:
    asked, store = experiment(tmp_path, NARROW, seeds), Store(tmp_path)
    fill(asked, store, top1)
    evidence = gather(asked, store)
    (answer,) = answers(evidence)
    assert answer.badge == "no verdict"
    assert answer.sentence.endswith(" of both arms ended well, and a verdict needs 3.")
    assert results(evidence)["verdict"].tolist() == [NONE, NONE, "no verdict: too few seeds"]


def test_no_verdict_is_promised_at_two_seeds(tmp_path: Path) -> None:
    asked, store = experiment(tmp_path, NARROW, 2), Store(tmp_path)
    fill(asked, store, lambda trial: None if trial.seed else top1(trial))
    (answer,) = answers(gather(asked, store))
    assert answer.sentence.endswith("; 1 seed so far, and a verdict is due at 3.")


def test_without_a_primary_comparison_the_table_has_no_verdict(tmp_path: Path) -> None:
    asked, store = experiment(tmp_path, WIDE, primary=False), Store(tmp_path)
    fill(asked, store, top1)
    assert "verdict" not in results(gather(asked, store))


def test_the_displayed_table_is_the_one_of_the_page(
    whole: tuple[Report, Experiment, Store],
) -> None:
    report, asked, store = whole
    assert results(gather(asked, store)).equals(shown(report))
    body = report.html.read_text().split('aria-label="Results">')[1].split("</table>")[0]
    assert body.count("<tr>") == len(shown(report)) + 1


def test_the_controls_stand_in_a_table_after_the_figure_and_before_the_price(
    tmp_path: Path,
) -> None:
    found = controlled(tmp_path, lambda trial: 50.0 if trial.resizer == "none" else 30.0)
    text = make(found.experiment, found.store, tmp_path / "out").markdown.read_text()
    order = ["# Why?", "<strong", "differences.svg", "## What the controls say", "## Price"]
    order += ["cost.svg", "## Results", "<details"]
    places = [text.index(mark) for mark in order]
    assert places == sorted(places)
    assert f"| control | learned {MINUS} control | what it says |" in text


def test_of_many_contexts_the_controls_are_folded_a_table_for_each(tmp_path: Path) -> None:
    backbones = ["resnet10t", "resnet18", "regnetx_002"]
    found = controlled(tmp_path, lambda _: 40.0, f"backbone = {backbones}")
    text = page_text(found)
    assert "## What the controls say" not in text
    told = text.split("<summary><h2>What the controls say</h2></summary>")[1].split("</details>")[0]
    for name in ("resnet10t", "resnet18", "regnetx\\_002"):
        assert f"**{name}**" in told
    assert told.count(f"| control | learned {MINUS} control | what it says |") == len(backbones)


def test_rows_of_other_settings_do_not_share_a_speed_column(tmp_path: Path) -> None:
    asked = experiment(tmp_path, "dataset = ['fine']\nbatch_size = [32, 64]", seeds=2)
    store = Store(tmp_path / "store")
    fill(asked, store, top1)
    time_all(asked, store)
    evidence = gather(asked, store)
    table = results(evidence).set_index(["batch_size", "arm"])
    small, large = (f"training speed (batch_size {n}), images/s" for n in (32, 64))
    assert (table.loc[("32", "plain"), small], table.loc[("32", "plain"), large]) == ("200", NONE)
    assert (table.loc[("64", "plain"), small], table.loc[("64", "plain"), large]) == (NONE, "200")
    assert "multiply-adds per image, GMAC" in table.columns
    assert all("train" in row.times for row in evidence.rows if row.arm.name == "learned")
    (file := tmp_path / "toy.toml").write_text(
        file.read_text().replace('resizer = "learned"', 'resizer = "learned"\nbatch_size = 16')
    )
    other = load(str(file))
    fill(other, store, top1)
    time_all(other, store)
    assert not any(r.times for r in gather(other, store).rows if r.arm.name == "learned")


def test_an_arm_that_starts_from_another_has_one_row_for_all_its_seeds(tmp_path: Path) -> None:
    warm = '[[arm]]\nname = "warm"\nresizer = "learned"\ninit_from = "plain"\nlr = 0.3\n'
    asked = experiment(tmp_path, "dataset = ['fine']\nlr = [0.1, 0.2]", rest=warm)
    store = Store(tmp_path / "store")
    fill(asked, store, top1)
    table = results(gather(asked, store)).set_index("arm")
    assert table.loc["warm", "seeds"].tolist() == ["3 of 3", "3 of 3"]  # plain's rates differ
    assert table.loc["warm", "starts from"].tolist() == ["plain", "plain"]
    assert len(table.loc["plain"]) == 2


def test_a_price_that_an_axis_does_not_change_is_told_once(tmp_path: Path) -> None:
    asked, store = experiment(tmp_path, WIDE), Store(tmp_path / "store")
    fill(asked, store, top1)
    time_all(asked, store)
    assert set(results(gather(asked, store))["dataset"]) == {"fine", "coarse"}
    assert list(price(gather(asked, store))["arm"]) == ["learned"]
    evidence = gather(asked, store)
    for label, sitting in evidence.timings.items():
        for arm in sitting["subjects"].values():
            if "num_resblocks 1" in label and arm["trial"]["resizer"] == "learned":
                arm["seconds"]["train"] = [9.0, 19.0, 28.0]
    assert list(price(evidence)["num_resblocks"]) == ["0", "1"]


def test_where_nothing_is_trained_the_answer_is_what_the_price_buys(tmp_path: Path) -> None:
    whole = '[[arm]]\nname = "whole"\nresizer = "none"\n'
    asked = experiment(tmp_path, NARROW, 1, top="train = false\n", rest=whole)
    store = Store(tmp_path / "store")
    time_all(asked, store)
    milliseconds = {"plain": 2.5, "learned": 4.0, "whole": 10.0}
    (folder,) = set(store.timing_folders(asked).values())
    lane = read_record(folder, TimingRecord)
    assert lane
    for cell in asked.cells:
        subject = lane["subjects"][cell.trial.speed_key]
        subject["seconds"]["train"] = [milliseconds.get(cell.arm, 3.0) * n for n in (1, 2, 3)]
    write_record(folder, lane)
    page = read_page(make(asked, store, tmp_path / "out").html)
    equal = price(gather(asked, store)).set_index("arm").loc["learned"]
    # 4 ms lie a fifth of the way from 2.5 ms at 32 px to 10 ms at 64 px: 32² + 0.2 · (64² - 32²)
    assert equal["plain image of equal training time, px"] == "40"
    told = f"Training steps of fixed and learned take 1.20 {TIMES} [1.20, 1.20] and 1.60 {TIMES} ["
    assert page.replace("\N{NO-BREAK SPACE}", " ").count(told) == 1
    assert "1 seed" not in page
