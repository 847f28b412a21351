"""Two reports side by side, and the front page of a folder of reports."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pandas as pd
import pytest

from bench.errors import InputError
from bench.paths import PUBLISHED
from bench.records import TimingRecord, read_record, write_record
from bench.report.compare import Comparison, compare, side, write
from bench.report.front import write_index
from bench.report.pages import make
from bench.report.summary import read_summary
from bench.store import Store
from tests.fakes import NARROW, experiment, fill, read_page, time_all, top1

Made = Callable[..., Path]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A report and its store: accuracies shifted, the timing's environment changed."""

    @cache
    def once(shift: float, **changed: object) -> Path:
        folder = tmp_path_factory.mktemp("kept")
        asked, store = experiment(folder, NARROW), Store(folder / "store")
        fill(asked, store, lambda trial: top1(trial) + shift)
        time_all(asked, store)
        (lane,) = set(store.timing_folders(asked).values())
        record = read_record(lane, TimingRecord)
        assert record
        write_record(lane, record | {"environment": record["environment"] | changed})
        make(asked, store, folder / "report")
        return folder

    return once


@pytest.fixture
def made(tmp_path: Path, kept: Made) -> Made:
    """Such a report's folder under a name, to be changed."""

    def copied(name: str, shift: float = 0.0, **changed: object) -> Path:
        return Path(shutil.copytree(kept(shift, **changed) / "report", tmp_path / name))

    return copied


def compared(ours: Path, theirs: Path) -> Comparison:
    return compare(side(ours, "before"), side(theirs, "after"))


def cells(found: Comparison, row: str) -> dict[str, str]:
    (line,) = [line for line in found.table.to_dict("records") if line["row"].startswith(row)]
    return {str(heading): str(text) for heading, text in line.items()}


def test_two_runs_of_one_experiment_are_compared_seed_by_seed(made: Made) -> None:
    found = compared(made("one"), made("two", shift=1.5))
    learned = cells(found, "learned")
    assert learned["top-1 of A, %"].startswith("61.0")
    assert learned["difference, points"] == "+1.5 ± 0.0"
    assert learned["shared seeds"] == "3"
    assert learned["training speed, ratio"] == "1.00"
    assert not found.apart


def test_a_run_and_itself_are_identical(made: Made) -> None:
    one = made("one")
    assert cells(compared(one, one), "plain")["difference, points"] == "identical"


def test_speeds_of_other_machines_are_compared_as_multiples_of_their_baselines(made: Made) -> None:
    found = compared(made("one"), made("two", threads=8))
    heading = "training speed, ratio over own baseline"
    assert cells(found, "learned")[heading] == "1.00"
    assert dict(found.apart)["speeds and memory as they are"] == (
        "the timings ran under threads 2 and 8"
    )
    assert ["timing: threads", "2", "8"] in found.differing.to_numpy().tolist()


def test_a_multiple_of_the_baseline_is_of_the_same_sitting(tmp_path: Path, made: Made) -> None:
    """That of another context may have run at another pace."""
    one = made("one")
    table = pd.read_csv(one / "table.csv")
    later = table.assign(context="later", epochs=3)
    later["train_images_per_s"] *= [2.0 if arm == "plain" else 1.0 for arm in later["arm"]]
    (two := tmp_path / "two").mkdir()
    (two / "summary.json").write_text((one / "summary.json").read_text())
    pd.concat([table, later]).to_csv(two / "table.csv", index=False)
    speeds = side(two, "both").trials.measured("train_images_per_s", relative=True)
    names = side(two, "both").trials.rows["name"]
    by_name = dict(zip(names, speeds[names.index], strict=True))
    assert by_name["learned (dataset fine)"] == 0.5
    assert by_name["learned (later)"] == 0.25


def test_recipes_that_seeds_take_in_turn_are_rows_of_their_own(made: Made) -> None:
    one, two = made("one"), made("two")
    for folder, lr in ((one, 0.3), (two, 0.4)):
        table = pd.read_csv(folder / "table.csv")
        table.loc[(table["arm"] == "learned") & (table["seed"] == 1), "lr"] = lr
        table.to_csv(folder / "table.csv", index=False)
    found = compared(one, two)
    assert dict(found.apart) == {
        "learned (dataset fine), recipe 2": "A and B have lr 0.300 and 0.400"
    }
    assert cells(found, "learned (dataset fine), recipe 1")["shared seeds"] == "2"


def test_rows_that_only_one_has_are_listed_with_what_differs(made: Made) -> None:
    one, two = made("one"), made("two")
    table = pd.read_csv(two / "table.csv")
    table.assign(epochs=3).to_csv(two / "table.csv", index=False)
    found = compared(one, two)
    assert found.table.empty
    assert len(found.apart) == len(dict(found.apart))
    assert "A and B have epochs 2 and 3" in dict(found.apart)["learned (dataset fine)"]


def test_a_column_with_a_gap_has_the_same_values_as_one_without(made: Made) -> None:
    """Beside an arm that does not use a size, pandas writes the others' as 32.0."""
    one, two = made("one"), made("two")
    table = pd.read_csv(two / "table.csv")
    learned = table[table["arm"] == "learned"]
    whole = {"output_size": int, "num_resblocks": int, "num_kernels": int, "antialias": bool}
    learned.astype(whole).to_csv(two / "table.csv", index=False)
    assert ",32.0," in (one / "table.csv").read_text()
    assert ",32.0," not in (two / "table.csv").read_text()
    assert cells(compared(one, two), "learned")["difference, points"] == "identical"


def test_a_report_without_a_timing_lane_is_said_to_have_none(made: Made) -> None:
    one, two = made("one"), made("two")
    summary = two / "summary.json"
    told = json.loads(summary.read_text())
    told["environments"]["timing"] = {}
    summary.write_text(json.dumps(told))
    assert dict(compared(one, two).apart)["speeds and memory"] == "not timed: B"


def test_other_files_under_one_name_are_not_compared(made: Made) -> None:
    one, two = made("one"), made("two")
    summary = two / "summary.json"
    summary.write_text(summary.read_text().replace("f" * 64, "e" * 64))
    found = compared(one, two)
    assert cells(found, "learned")["shared seeds"] == "0"
    assert "other files under that name" in dict(found.apart)["accuracy on fine"]


def test_a_folder_without_a_report_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"no report in {tmp_path}"):
        side(tmp_path, "nothing")


def test_a_comparison_is_written_as_page_text_and_table(tmp_path: Path, made: Made) -> None:
    found = compared(made("one"), made("two", threads=8, shift=2.0))
    page = write(found, tmp_path / "pages")
    assert "<script>alert(1)" not in page.read_text()
    assert "+2.0 ± 0.0" in read_page(page)
    text = (tmp_path / "pages" / "comparison.md").read_text()
    assert "+2.0 ± 0.0" in text
    assert "## Not compared" in text
    assert (tmp_path / "pages" / "comparison.csv").read_text().startswith("row,")


def of_other_code(folder: Path) -> str:
    """A report's summary whose answers have other fields than today's."""
    kept = json.loads((folder / "summary.json").read_text())
    return json.dumps(kept | {"name": "older", "schema": 0, "answers": [{"verdict": "better"}]})


def test_the_front_page_has_question_and_answer_of_every_report_the_newest_first(
    tmp_path: Path, made: Made, kept: Made
) -> None:
    one, two = made("one"), made("two")
    summary = read_summary(two)
    assert summary
    older = (two / "summary.json").read_text().replace("2026-01-02", "2025-01-02")
    (two / "summary.json").write_text(older.replace('"name": "toy"', '"name": "old"'))
    (made("three") / "summary.json").write_text(of_other_code(two))
    make(experiment(tmp_path, NARROW), Store(kept(0.0) / "store"), one)
    write_index(tmp_path)
    page = read_page(tmp_path / "index.html")
    headings = re.findall(r'<h3 id="([^"]*)"><a href="([^"]*)">', page)
    assert [link for _, link in headings] == [
        f"{name}/report.html" for name in ("toy", "older", "old")
    ]
    assert len({name for name, _ in headings}) == 3
    assert "<strong>Does it help?</strong>" in page
    assert page.index("+51.0 points [+49.3, +52.7]") < page.index(f'<h3 id="{headings[0][0]}"')
    assert page.count(summary.answers[0].sentence) == 2
    assert page.count('<strong class="badge better">better</strong>') == 2
    assert "<script>alert(1)" not in (tmp_path / "index.html").read_text()
    assert not re.search(r'(src|href)="(http|//)', page)


def test_arms_that_differ_in_what_they_start_from_are_rows_of_their_own() -> None:
    ours = side(PUBLISHED / "transfer-backbone-small", "published")
    table = compare(ours, ours).table
    assert set(table["row"]) == set(
        pd.read_csv(PUBLISHED / "transfer-backbone-small/table.csv")["arm"]
    )
