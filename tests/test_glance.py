"""The README's first screen, of made-up records."""

from __future__ import annotations

from pathlib import Path

from bench.experiment import Trial
from bench.loading import load
from bench.report.evidence import gather
from bench.report.glance import Shown, short, table
from bench.report.words import TIMES
from bench.store import Store
from tests.fakes import NARROW, WIDE, experiment, fill, time_all, top1


def shown(folder: Path, axes: str, *, controls: bool = False) -> Shown:
    folder.mkdir()
    asked = experiment(folder, axes)
    if controls:
        text = asked.file.read_text() + 'controls = "standard"\n'
        asked.file.write_text(text.replace('resizer = "fixed"', 'resizer = "muller"'))
        asked = load(str(asked.file))
    store = Store(folder)
    fill(asked, store, top1)
    time_all(asked, store)
    return Shown(gather(asked, store), f"{folder.name}/report.md")


def test_the_first_screen_answers_four_questions_from_the_records(tmp_path: Path) -> None:
    found = [shown(tmp_path / "one", NARROW, controls=True), shown(tmp_path / "two", WIDE)]
    helps, when, why, price = short(found)
    assert helps == (
        "- **Does it help?** On real images, in 5 comparisons with the plain pipeline: "
        "better in 3 and no difference in 2. The differences lie between +0.01 and +51.0 "
        "points."
    )
    assert when == (
        "- **When?** Better on fine (64 → 32 px, resnet10t): +51.0 points. "
        "No difference on coarse (64 → 32 px, resnet10t): +0.01 points."
    )
    assert "over plain, each with its own 95 % interval: learned +51.0 ± 2.5; " in why
    assert "the same image plainly resized 0.0 ± 0.0; " in why
    assert "64 px" not in why.partition("):")[2]
    assert why.endswith("([toy](one/report.md)).")
    assert f"a training step takes 2.0 {TIMES} as long as plain's; " in price
    assert "the plain pipeline at 64 px (the whole image) 0.0 ± 0.0 ([toy](one/" in price


def test_what_is_not_measured_is_not_answered(tmp_path: Path) -> None:
    asked = experiment(tmp_path, NARROW)
    assert short([Shown(gather(asked, Store(tmp_path)), "")]) == []
    assert table([Shown(gather(asked, Store(tmp_path)), "")]) == []
    found = [shown(tmp_path / "two", NARROW)]
    assert [line.partition("?")[0] for line in short(found)] == ["- **Does it help", "- **When"]


def test_generated_images_tell_when_but_not_whether_it_helps(tmp_path: Path) -> None:
    asked = experiment(tmp_path, 'dataset = ["synthetic-fine"]')

    def better(trial: Trial) -> float:
        return 99.0 + trial.seed / 10 if trial.resizer == "learned" else 10.0

    fill(asked, Store(tmp_path), better)
    of = [Shown(gather(asked, Store(tmp_path)), "")]
    (when,) = short(of)
    assert when == (
        "- **When?** Better on synthetic-fine (64 → 32 px, resnet10t; the class is only in detail "
        "that a 2x reduction erases): +89.1 points."
    )
    assert table(of) == []
