"""The page of a report: well formed, complete in itself, and it says what is not there."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from bench.analysis.evidence import gather
from bench.records import write_record
from bench.report import environment
from bench.report.answer import in_words
from bench.report.made import Report, saved
from bench.report.pages import make
from bench.report.table import is_numeric, results, short
from bench.report.words import NONE
from bench.spec.experiment import Experiment
from bench.spec.trial import Trial
from bench.store import Store
from tests.fakes import (
    NARROW,
    experiment,
    fill,
    page_text,
    read_page,
    shown,
    time_all,
    top1,
)


def page_of(folder: Path, answer: Callable[[Trial], float | str | None]) -> tuple[Report, str]:
    """The report of a small experiment, and its page."""
    asked, store = experiment(folder, NARROW), Store(folder / "store")
    fill(asked, store, answer)
    report = make(asked, store, folder / "out")
    return report, report.html.read_text()


def test_what_has_ended_badly_is_continued_by_a_retry(tmp_path: Path) -> None:
    asked, store = experiment(tmp_path, NARROW), Store(tmp_path / "store")
    fill(asked, store, lambda trial: "oom" if trial.seed == 0 else top1(trial))
    assert f"Continue with `{asked.command} --retry`." in page_text(gather(asked, store))


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


def test_a_paper_gets_five_columns_with_a_caption_and_figures_as_pdf(tmp_path: Path) -> None:
    asked, store = experiment(tmp_path, NARROW), Store(tmp_path / "store")
    fill(asked, store, top1)
    time_all(asked, store)
    folder = make(asked, store, tmp_path / "out", pdf=True).folder
    text = (folder / "short.tex").read_text()
    assert r"\begin{tabular}{lrrrr}" in text
    assert r"learned & 64 $\to$ 32 & 61.0 $\pm$ 2.5 & +51.0 $\pm$ 1.7 & 2.00 \\" in text
    assert r" seed. The difference of learned has its verdict's interval, of 95 \%.}" in text
    drawn = (folder / "figures" / "differences.pdf").read_bytes()
    assert drawn.startswith(b"%PDF")
    assert b"0.0039215686 0.0078431373 0.0117647059" not in drawn  # ink that is to be replaced


def test_no_two_rows_of_a_paper_s_table_have_one_name(tmp_path: Path) -> None:
    axes = (
        'dataset = ["fine", "coarse"]\nnum_resblocks = [0, 1]\ninterpolation = ["area", "bicubic"]'
    )
    asked, store = experiment(tmp_path, axes), Store(tmp_path / "store")
    fill(asked, store, top1)
    table = short(gather(asked, store))
    assert not table.duplicated(["arm", "image, px"]).any()
    assert len(table.columns) == 5
    assert {"plain (fine)", "fixed (fine, area)", "learned (coarse, num_resblocks 1, bicubic)"} <= {
        *table["arm"]
    }


def files_of(report: Report) -> dict[str, bytes]:
    """The bytes of all that a report wrote, by name."""
    folder = report.html.parent
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


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


def test_times_of_another_machine_than_the_trials_are_pointed_out(tmp_path: Path) -> None:
    asked, store = experiment(tmp_path, NARROW), Store(tmp_path / "store")
    fill(asked, store, top1)
    time_all(asked, store)
    assert not list(environment.warnings(gather(asked, store)))
    for key in asked.trials:
        record = store.trial(key)
        assert record
        record["environment"] |= {"device": "cuda", "device_name": "H200", "precision": "bf16"}
        write_record(store.trial_folder(key), record)
    told = "Times were taken on cpu (Toy, 2 threads, fp32); the trials ran elsewhere."
    assert list(environment.warnings(gather(asked, store))) == [told]
    assert in_words(gather(asked, store)).splitlines()[-1] == told


@pytest.mark.parametrize(("dataset", "told"), [("imagewoof-160", 1), ("of my own", 0)])
def test_that_weights_know_the_images_is_said_of_images_of_imagenet_alone(
    tmp_path: Path, dataset: str, told: int
) -> None:
    trained = {"epochs": "pretrained = true\nepochs"}
    asked = experiment(tmp_path, f'dataset = ["{dataset}"]', but=trained)
    warnings = list(environment.warnings(gather(asked, Store(tmp_path / "store"))))
    assert len([line for line in warnings if line.startswith("Published weights")]) == told


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


def test_a_report_writes_nothing_into_the_store(tmp_path: Path) -> None:
    asked, store = experiment(tmp_path, NARROW), Store(tmp_path / "store")
    fill(asked, store, top1)
    before = sorted(store.root.rglob("*"))
    make(asked, store, tmp_path / "out")
    assert sorted(store.root.rglob("*")) == before
