"""The report: what it says follows from the records, and it says what is not there."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from html.parser import HTMLParser
from io import BytesIO
from itertools import combinations
from pathlib import Path

import matplotlib as mpl
import pandas as pd
import pytest

from bench.analysis.evidence import gather
from bench.records import TimingRecord, read_record, write_record
from bench.report import environment
from bench.report.answer import answers
from bench.report.figures import style
from bench.report.figures.intervals import differences
from bench.report.figures.style import arm_styles
from bench.report.front import write_index
from bench.report.made import Report, saved
from bench.report.pages import draw, make
from bench.report.table import costs, is_numeric, price, results
from bench.report.words import MINUS, NONE, TIMES
from bench.spec.experiment import Experiment
from bench.spec.files import load
from bench.spec.trial import Trial
from bench.store import Store
from tests.fakes import (
    NARROW,
    WIDE,
    experiment,
    fill,
    read_page,
    time_all,
    top1,
)
from tests.test_answer import controlled


def page_of(folder: Path, answer: Callable[[Trial], float | str | None]) -> tuple[Report, str]:
    """The report of a small experiment, and its page."""
    asked, store = experiment(folder, NARROW), Store(folder / "store")
    fill(asked, store, answer)
    report = make(asked, store, folder / "out")
    return report, report.html.read_text()


def shown(report: Report) -> pd.DataFrame:
    """The results table of a report."""
    return pd.read_csv(report.results, dtype=str, keep_default_na=False)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Report, Experiment, Store]:
    folder = tmp_path_factory.mktemp("whole")
    asked, store = experiment(folder, WIDE), Store(folder / "store")
    fill(asked, store, top1)
    time_all(asked, store)
    report = make(asked, store, folder / "out")
    write_index(folder)
    return report, asked, store


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
    assert "Other load disturbed 2 rounds, 2 of them left out." in page


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
    page = make(asked, store, tmp_path / "out").markdown.read_text()
    assert page.count("- **learned not timed**: out of memory\n") == 1


def test_what_has_ended_badly_is_continued_by_a_retry(tmp_path: Path) -> None:
    asked, store = experiment(tmp_path, NARROW), Store(tmp_path / "store")
    fill(asked, store, lambda trial: "oom" if trial.seed == 0 else top1(trial))
    page = make(asked, store, tmp_path / "out").markdown.read_text()
    assert f"Continue with `{asked.command} --retry`." in page


def test_no_table_has_a_column_that_tells_nothing_of_any_row(tmp_path: Path) -> None:
    asked, store = experiment(tmp_path, NARROW), Store(tmp_path / "store")
    asked.file.write_text("train = false\n" + asked.file.read_text())
    asked = load(str(asked.file))
    time_all(asked, store)
    evidence = gather(asked, store)
    for table in (results(evidence), price(evidence), costs(evidence)):
        assert not table.empty
        assert not table.isin([NONE, "ok"]).all().any()


def test_the_time_of_a_step_is_shown_by_component(
    whole: tuple[Report, Experiment, Store],
) -> None:
    drawn = draw(gather(*whole[1:]))["components"]
    assert "num_resblocks 1, learned, 64 → 32 px: the resizer takes 25 %" in drawn.alt
    assert (whole[0].folder / "figures" / "components.svg").read_text() == drawn.file


def test_the_page_is_complete_in_itself_and_links_only_to_what_is_beside_it(
    whole: tuple[Report, Experiment, Store],
) -> None:
    page = whole[0].html.read_text()
    sources = re.findall(r"""src=["']?([^"'> ]*)|url\(([^)]*)\)|@import""", page)
    assert all((source or url).startswith(("#", "data:image/png")) for source, url in sources)
    assert "data:image/png" in page
    assert "http" not in page
    linked = re.findall(r'<a href="([^"]*)"', page)
    assert "results.csv" in linked
    assert all((whole[0].folder / link).exists() for link in linked)


def test_the_page_is_well_formed_with_headings_in_order_and_ids_once(
    whole: tuple[Report, Experiment, Store],
) -> None:
    page = whole[0].html.read_text()
    reader = Reader()
    reader.feed(page)
    assert not reader.open
    assert reader.headings[0] == 1
    assert set(reader.headings[1:]) == {2}
    assert len(reader.ids) == len(set(reader.ids))
    assert page.count("<svg ") == page.count('<svg role="img" aria-label="') > 4
    assert "![" not in page


def test_every_section_has_an_id_and_every_table_the_name_of_its_section(
    whole: tuple[Report, Experiment, Store],
) -> None:
    page = whole[0].html.read_text()
    headings = re.findall(r"<h2[^>]*>|<details[^>]*>", page)
    assert all(' id="' in tag for tag in headings if tag != "<h2>")
    assert page.count("<details ") == page.count("<summary><h2>") == page.count("<h2>")
    assert 'aria-label="Results"><table class="sortable">' in page


def test_the_page_says_what_its_markdown_says(whole: tuple[Report, Experiment, Store]) -> None:
    reader = Text()
    reader.feed(read_page(whole[0].html))
    shown = " ".join(" ".join(reader.text).split())
    for line in whole[0].markdown.read_text().splitlines():
        if line.startswith("| ") and "---" not in line:
            cells = [re.sub(r"\\(.)", r"\1", cell) for cell in re.split(r" *(?<!\\)\| *", line)]
            assert all(cell in shown for cell in cells), line


def test_at_most_forty_words_stand_before_the_first_figure(tmp_path: Path) -> None:
    report, _ = page_of(tmp_path, top1)
    _, begin = report.markdown.read_text().split("\n", maxsplit=1)
    words = re.sub(r"<[^>]*>", "", begin[: begin.index("![")]).split()
    assert 5 < len(words) <= 40


def test_a_number_stays_on_one_line_with_its_sign_and_unit(
    whole: tuple[Report, Experiment, Store],
) -> None:
    page = whole[0].html.read_text()
    assert "61.0\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}2.5" in page
    assert "64\N{NO-BREAK SPACE}→\N{NO-BREAK SPACE}32\N{NO-BREAK SPACE}px" in page
    assert "\N{NO-BREAK SPACE}" not in whole[0].markdown.read_text()


def test_only_columns_of_numbers_are_set_to_the_right(tmp_path: Path) -> None:
    axes = 'dataset = ["fine"]\ninterpolation = ["bilinear", "bicubic"]'
    asked, store = experiment(tmp_path, axes), Store(tmp_path / "store")
    fill(asked, store, top1)
    table = results(gather(asked, store))
    right = {name: is_numeric(table[name]) for name in table}
    assert table["interpolation"][0] == NONE
    assert not right["interpolation"]
    assert right["seeds"]
    assert right["image, px"]


class Text(HTMLParser):
    """Collect the text of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.text: list[str] = []

    def handle_data(self, data: str) -> None:
        self.text.append(data)


class Reader(HTMLParser):
    """Collect headings and ids, and the elements that are not closed."""

    VOID = ("meta", "br", "img", "link", "hr")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.headings: list[int] = []
        self.ids: list[str | None] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in self.VOID:
            self.open.append(tag)
        if re.fullmatch(r"h\d", tag):
            self.headings.append(int(tag[1]))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_text_from_data_is_escaped(whole: tuple[Report, Experiment, Store]) -> None:
    page, text = whole[0].html.read_text(), whole[0].markdown.read_text()
    assert "<script>alert" not in page
    assert ">Is &lt;script&gt;alert(1)&lt;/script&gt; | escaped?</h1>" in page
    assert "<title>Is &lt;script&gt;alert(1)&lt;/script&gt; | escaped?</title>" in page
    assert text.startswith(r"# Is \<script\>alert(1)\</script\> \| escaped?")


def test_two_reports_of_the_same_records_are_the_same_bytes(
    whole: tuple[Report, Experiment, Store], tmp_path: Path
) -> None:
    asked, store = experiment(tmp_path, NARROW), whole[2]  # the same trials, fewer of them
    first, second = (files_of(make(asked, store, tmp_path / name)) for name in "ab")
    assert first == second
    assert set(first) >= {
        "report.html",
        "report.md",
        "table.csv",
        "results.csv",
        "results.tex",
        "summary.csv",
        "short.tex",
        "figures/differences.svg",
        "figures/learning-curves.svg",
        "figures/images.svg",
        "figures/spectra.svg",
    }


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


def test_a_paper_gets_five_columns_with_a_caption_and_figures_as_pdf(tmp_path: Path) -> None:
    asked, store = experiment(tmp_path, NARROW), Store(tmp_path / "store")
    fill(asked, store, top1)
    time_all(asked, store)
    folder = make(asked, store, tmp_path / "out", pdf=True).folder
    text = (folder / "short.tex").read_text()
    assert r"\begin{tabular}{lrrrr}" in text
    assert r"learned & 64 $\to$ 32 & 61.0 $\pm$ 2.5 & +51.0 $\pm$ 1.7 & 2.00 \\" in text
    assert r"differences are paired by seed. That of learned is its verdict's.}" in text
    drawn = (folder / "figures" / "differences.pdf").read_bytes()
    assert drawn.startswith(b"%PDF")
    assert b"0.0039215686 0.0078431373 0.0117647059" not in drawn  # ink that is to be replaced


def test_what_others_reach_stands_beside_the_results(tmp_path: Path) -> None:
    asked, store = experiment(tmp_path, NARROW), Store(tmp_path / "store")
    told = 'reference = [{name = "a blog, 224 px", top1_pct = 65.2, source = "its table | 1"}]\n'
    asked.file.write_text(told + asked.file.read_text())
    asked = load(str(asked.file))
    fill(asked, store, top1)
    text = make(asked, store, tmp_path / "out").markdown.read_text()
    assert "| a blog, 224 px | 65.2 | its table \\| 1 |" in text
    assert "Under their own conditions, not compared with ours." in text


def files_of(report: Report) -> dict[str, bytes]:
    """The bytes of all that a report wrote, by name."""
    folder = report.html.parent
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_an_arm_has_one_colour_in_every_figure_and_in_the_table(
    whole: tuple[Report, Experiment, Store],
) -> None:
    report, asked, _ = whole
    styles = arm_styles(asked.spec.arm)
    assert len({style.colour for style in styles.values()}) == len(asked.spec.arm)
    for name in ("differences", "cost", "learning-curves", "spectra"):
        drawn = (report.html.parent / "figures" / f"{name}.svg").read_text()
        assert styles["learned"].colour in drawn
        assert styles["fixed"].colour in drawn
    assert f"--arm: {styles['learned'].colour}" in report.html.read_text()


def test_an_arm_stands_at_the_values_of_an_axis_that_its_trials_answer(tmp_path: Path) -> None:
    axes = 'dataset = ["fine"]\noutput_size = [16, 32]\nnum_resblocks = [0, 1]'
    asked, store = experiment(tmp_path, axes), Store(tmp_path)
    fill(asked, store, top1)
    drawn = draw(gather(asked, store))
    assert f">{NONE}<" not in drawn["by-output-size"].file
    assert f">{NONE}<" in drawn["by-num-resblocks"].file


def test_differences_over_backbones_and_sizes_are_a_map_with_their_means(tmp_path: Path) -> None:
    axes = 'dataset = ["fine"]\nbackbone = ["resnet10t", "resnet18"]\noutput_size = [16, 32]'
    asked, store = experiment(tmp_path, axes), Store(tmp_path)

    def gained(trial: Trial) -> float:
        gain = (trial.output_size or 0) / 16 + (trial.backbone == "resnet18")
        return 50.0 + (gain if trial.resizer == "learned" else 0.0)

    fill(asked, store, gained)
    drawn = draw(gather(asked, store))["by-backbone-and-size"].file
    assert [drawn.count(f">{number}<") for number in ("+1.0", "+2.0", "+3.0")] == [1, 2, 1]
    begun = Store(tmp_path / "begun")
    fill(
        asked,
        begun,
        lambda one: None if one.backbone_size == 32 and one.backbone == "resnet18" else gained(one),
    )
    assert "nan" not in draw(gather(asked, begun))["by-backbone-and-size"].file
    narrow = experiment(tmp_path, 'dataset = ["fine"]\noutput_size = [16, 32]')
    fill(narrow, store, gained)
    assert "by-backbone-and-size" not in draw(gather(narrow, store))


def test_numbers_and_names_of_a_map_of_many_sizes_do_not_touch(tmp_path: Path) -> None:
    axes = 'dataset = ["fine", "coarse"]\nbackbone = ["resnet10t", "vit_small_patch16_224"]\n'
    asked = experiment(tmp_path, axes + "input_size = [320, 448]\noutput_size = [160, 224]")
    fill(asked, store := Store(tmp_path), top1)
    figure = draw(gather(asked, store))["by-backbone-and-size"].figure
    assert figure
    for ax in figure.axes:
        for texts in (ax.texts, ax.get_xticklabels(), ax.get_yticklabels()):
            boxes = [text.get_window_extent() for text in texts]
            assert len(boxes) in (2, 4, 8)
            assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))


def test_long_names_of_backbones_leave_the_panels_their_room_and_are_whole(tmp_path: Path) -> None:
    named = '["vit_base_patch16_clip_224.openai_ft_in12k_in1k", "resnet18"]'
    axes = f'dataset = ["fine", "coarse"]\nbackbone = {named}\noutput_size = [16, 32]'
    asked = experiment(tmp_path, axes)
    fill(asked, store := Store(tmp_path), top1)
    drawings = draw(gather(asked, store))
    for name in ("by-backbone-and-size", "by-backbone"):
        figure = drawings[name].figure
        assert figure
        for ax in figure.axes:
            assert ax.get_position().width > 0.2
            labels = [*ax.get_xticklabels(), *ax.get_yticklabels()]
            assert all(label.get_window_extent().x0 >= 0 for label in labels)


def test_values_of_an_axis_are_joined_by_lines_where_they_are_numbers_alone(tmp_path: Path) -> None:
    axes = 'dataset = ["fine"]\nbackbone = ["resnet10t", "resnet18"]\noutput_size = [16, 32]'
    asked, store = experiment(tmp_path, axes), Store(tmp_path)
    fill(asked, store, top1)
    drawn = draw(gather(asked, store))
    for name, style_ in (("by-backbone", "None"), ("by-output-size", "-")):
        figure = drawn[name].figure
        assert figure
        assert {line.get_linestyle() for line in figure.axes[0].get_lines()} == {style_}


def test_no_two_of_many_arms_look_the_same(whole: tuple[Report, Experiment, Store]) -> None:
    first = whole[1].spec.arm[1]
    arms = [first.model_copy(update={"name": f"arm {i}"}) for i in range(40)]
    assert len(set(arm_styles(arms).values())) == 40


def test_failed_and_missing_trials_are_visible_with_their_reasons(tmp_path: Path) -> None:
    def answer(trial: Trial) -> float | str | None:
        if trial.resizer == "learned":
            return "failed" if trial.seed == 0 else None
        return "oom" if trial.resizer == "fixed" else top1(trial)

    report, page = page_of(tmp_path, answer)
    status = shown(report).set_index("arm")["status"]
    assert status["learned"] == "1 failed, 2 missing"
    assert status["fixed"] == "3 oom"
    escaped = "RuntimeError: &lt;b&gt;nan&lt;/b&gt; | at step 3"
    assert f"<strong>1 trial failed</strong>: {escaped}" in page
    assert f"<strong>3 trials oom</strong>: {escaped}" in page
    assert "<strong>2 trials missing</strong>: not run yet" in page
    text = report.markdown.read_text()
    assert r"- **1 trial failed**: RuntimeError: \<b\>nan\</b\> \| at" in text


def test_an_unfinished_experiment_says_so(tmp_path: Path) -> None:
    report, page = page_of(tmp_path, lambda trial: top1(trial) if trial.seed else None)
    assert "6 of 9 trials finished" in report.markdown.read_text()
    assert "6 of 9 trials finished." in page
    assert "Not finished" in page
    assert "**Not finished**" in report.markdown.read_text()
    assert "Speed, memory and multiply-adds are not measured yet." in page


@pytest.mark.parametrize("seeds", [1, 2])
def test_there_is_no_verdict_below_three_seeds(tmp_path: Path, seeds: int) -> None:
    asked, store = experiment(tmp_path, NARROW, seeds), Store(tmp_path)
    fill(asked, store, top1)
    evidence = gather(asked, store)
    (answer,) = answers(evidence)
    assert answer.badge == "no verdict"
    assert answer.sentence.endswith(" of both arms ended well, and a verdict needs 3.")
    assert results(evidence)["verdict"].tolist() == [NONE, NONE, "no verdict: too few seeds"]


@pytest.mark.parametrize(("axes", "seeds", "cut"), [(NARROW, 3, False), (WIDE, 2, True)])
def test_an_interval_that_the_figure_cuts_off_has_an_arrow(
    tmp_path: Path, axes: str, seeds: int, cut: bool
) -> None:
    """Four comparisons that share one error have intervals far wider than their two seeds."""
    asked, store = experiment(tmp_path, axes, seeds), Store(tmp_path)
    fill(asked, store, lambda trial: 5.0 * trial.seed * (trial.resizer == "learned"))
    drawn = differences(gather(asked, store))
    assert drawn
    assert drawn.caption.endswith("An arrow: the interval goes on.") == cut


def test_without_a_primary_comparison_the_table_has_no_verdict(tmp_path: Path) -> None:
    asked, store = experiment(tmp_path, WIDE, primary=False), Store(tmp_path)
    fill(asked, store, top1)
    assert "verdict" not in results(gather(asked, store))


@pytest.mark.parametrize("answer", [lambda _: None, lambda _: "failed"], ids=["none", "failed"])
def test_a_report_can_be_made_of_nothing(
    tmp_path: Path, answer: Callable[[Trial], str | None]
) -> None:
    report, page = page_of(tmp_path, answer)
    assert "0 of " in report.markdown.read_text()
    assert len(shown(report)) == 3
    assert "0 of 9 trials finished" in page


def test_trials_of_different_machines_are_pointed_out(tmp_path: Path) -> None:
    asked, store = experiment(tmp_path, NARROW), Store(tmp_path / "store")
    fill(asked, store, top1)
    key = next(iter(asked.trials))
    record = store.trial(key)
    assert record
    record["environment"]["precision"] = "bf16"
    write_record(store.trial_folder(key), record)
    evidence = gather(asked, store)
    told = "The trials differ in precision: bf16 (1 trial) and fp32 (8 trials)."
    assert list(environment.warnings(evidence)) == [told]
    assert ["novelty", "shown", NONE] in environment.table(evidence).to_numpy().tolist()


def test_a_report_is_read_back_only_while_all_that_it_was_made_of_is_as_it_was(
    tmp_path: Path,
) -> None:
    asked, store = experiment(tmp_path, NARROW), Store(tmp_path / "store")
    fill(asked, store, top1)
    out = tmp_path / "out"
    assert saved(asked, store, out) is None
    made = make(asked, store, out)
    again = saved(asked, store, out)
    assert again is not None
    assert again.answer == made.answer
    assert not again.complete  # the arms are not timed
    assert shown(again).equals(shown(made))
    time_all(asked, store)
    assert saved(asked, store, out) is None
    make(asked, store, out)
    again = saved(asked, store, out)
    assert again is not None
    assert again.complete
    assert saved(experiment(tmp_path, NARROW, seeds=2), store, out) is None


def test_pictures_are_shown_of_arms_with_a_resizer_alone(
    whole: tuple[Report, Experiment, Store],
) -> None:
    alt = re.search(r"One validation image as it is loaded[^\"]*", whole[0].html.read_text())
    assert alt
    assert alt.group().endswith("for fixed and learned.")


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
    text = make(found.experiment, found.store, tmp_path / "out").markdown.read_text()
    assert "## What the controls say" not in text
    told = text.split("<summary><h2>What the controls say</h2></summary>")[1].split("</details>")[0]
    for name in ("resnet10t", "resnet18", "regnetx\\_002"):
        assert f"**{name}**" in told
    assert told.count(f"| control | learned {MINUS} control | what it says |") == len(backbones)


def test_a_report_writes_nothing_into_the_store(tmp_path: Path) -> None:
    asked, store = experiment(tmp_path, NARROW), Store(tmp_path / "store")
    fill(asked, store, top1)
    before = sorted(store.root.rglob("*"))
    make(asked, store, tmp_path / "out")
    assert sorted(store.root.rglob("*")) == before


@pytest.mark.parametrize("length", [4, 12, 25, 60])
def test_a_legend_of_many_arms_fits_its_figure_and_leaves_the_panel_its_height(length: int) -> None:
    names = [f"{'arm' * length} {n}"[-length:] for n in range(13)]
    figure, axes = style.panels(1, dict.fromkeys(names, style.ArmStyle("#000000", "s")))
    with mpl.rc_context(style.STYLE):
        figure.savefig(BytesIO(), format="svg")
    assert figure.legends[0].get_window_extent().x1 <= figure.bbox.x1
    assert axes[0].get_window_extent().height > 150


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
    experiment(tmp_path, "dataset = ['fine']\nlr = [0.1, 0.2]")
    warm = '[[arm]]\nname = "warm"\nresizer = "learned"\ninit_from = "plain"\nlr = 0.3\n'
    (file := tmp_path / "toy.toml").write_text((tmp_path / "toy.toml").read_text() + warm)
    asked, store = load(str(file)), Store(tmp_path / "store")
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
    asked = experiment(tmp_path, NARROW, seeds=1)
    whole = '[[arm]]\nname = "whole"\nresizer = "none"\n'
    asked.file.write_text("train = false\n" + asked.file.read_text() + whole)
    asked, store = load(str(asked.file)), Store(tmp_path / "store")
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
    assert page.count("A training step of learned takes") == 1
    assert "1 seed" not in page


def test_a_dollar_in_a_name_is_a_dollar_in_every_figure(tmp_path: Path) -> None:
    asked = experiment(tmp_path, NARROW)
    file = asked.file
    file.write_text(file.read_text().replace('name = "fixed"', 'name = "$5 \\\\frac{$"'))
    asked, store = load(str(file)), Store(tmp_path / "store")
    fill(asked, store, top1)
    time_all(asked, store)
    drawn = draw(gather(asked, store))
    assert drawn
    assert any(r"$5 \frac{$" in html.unescape(one.file) for one in drawn.values())
