"""Reports of experiments that nobody would wish for: every number they print is finite and sane."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from bench.analysis.evidence import gather
from bench.records import write_record
from bench.report import details, pages, render
from bench.report.answer import answers, in_words
from bench.report.figures.style import arm_styles
from bench.report.front import figures, listing
from bench.report.pages import make
from bench.report.summary import SUMMARIES
from bench.report.summary import summary as summarised
from bench.report.words import MINUS
from bench.spec.experiment import Experiment
from bench.spec.files import load
from bench.spec.trial import Trial
from bench.store import Store
from tests.fakes import NARROW, experiment, fill, page_text, result, time_all

NUMBER = rf"[+{MINUS}]?\d[\d,]*(?:\.\d+)?"
INTERVAL = re.compile(rf"({NUMBER}) points \\?\[({NUMBER}), ({NUMBER})")
Labels = NDArray[np.int64]
Arm = Callable[[np.random.Generator, Labels, int], Labels]

ARMS: dict[str, Arm] = {
    "one class": lambda _stream, labels, _seed: np.zeros_like(labels),
    "perfect": lambda _stream, labels, _seed: labels,
    "always wrong": lambda _stream, labels, _seed: labels + 1,
    "the same guesses": lambda _stream, labels, _seed: labels % 2,
    "by chance": lambda stream, labels, _seed: stream.integers(0, 10, len(labels)),
    "one image apart": lambda _stream, labels, seed: labels + (np.arange(len(labels)) == seed),
    "three of four": lambda stream, labels, _seed: labels + (stream.random(len(labels)) < 0.25),
}
"""What a model says of the labels."""


def number(text: str) -> float:
    return float(text.replace(MINUS, "-").replace(",", ""))


def hostile(folder: Path, stream: np.random.Generator) -> tuple[Experiment, Store]:
    """Up to six seeds, up to 400 images, arms of `ARMS`, some trials lost."""
    folder.mkdir()
    seeds, images = int(stream.integers(1, 7)), int(stream.choice([1, 2, 16, 100, 400]))
    asked, store = experiment(folder, NARROW, seeds), Store(folder / "store")
    classes = int(stream.choice([1, 2, 10]))
    labels = stream.integers(0, classes, images)
    arms = {arm.name: str(stream.choice(list(ARMS))) for arm in asked.spec.arm}
    for cell in asked.cells:
        lost = stream.random() < 0.1
        predicted = ARMS[arms[cell.arm]](stream, labels, cell.trial.seed)
        save(
            store,
            cell.trial,
            labels,
            predicted,
            str(stream.choice(["failed", "ok"])) if lost else "ok",
        )
    return asked, store


def save(store: Store, trial: Trial, labels: Labels, predicted: Labels, status: str) -> None:
    """A trial's record and predictions."""
    folder = store.trial_folder(trial.key)
    folder.mkdir(parents=True)
    table = {"image": range(len(labels)), "label": labels, "predicted": predicted}
    frame = pd.DataFrame(table).assign(probability=0.5)
    frame.to_parquet(folder / "predictions.parquet")
    record = result(trial, 100.0 * float((labels == predicted).mean()), status=status, curve=[])
    record["data"] |= {"train_images": 20, "val_images": len(labels)}
    write_record(folder, record | ({} if status == "ok" else {"metrics": {}}))


def check(text: str) -> int:
    """That a text has no number that is none, and only sane intervals; how many it has.

    Nor has it a noun that its number does not fit.
    """
    assert not re.search(r"\b(nan|inf|None)\b", text), text
    assert not re.search(r"(?<![\d.,-])1 (trial|seed|round|verdict|sitting|image|point)s", text), (
        text
    )
    intervals = [[number(end) for end in found] for found in INTERVAL.findall(text)]
    for mean, low, high in intervals:
        assert -100 <= low <= mean <= high <= 100, text
    return len(intervals)


def test_every_interval_of_a_hostile_experiment_is_finite_and_sane_wherever_it_is_told(
    tmp_path: Path,
) -> None:
    stream, intervals, badges, reasons = np.random.default_rng(20261126), 0, set(), set()
    for i in range(30):
        asked, store = hostile(tmp_path / str(i), stream)
        evidence = gather(asked, store)
        summary = summarised(evidence)
        intervals += check(in_words(evidence))
        intervals += check(page_text(evidence))
        drawn = figures([summary])
        assert len(drawn) == bool(summary.verdicts)
        page = render.html(listing([summary], "report.html", drawn), "", {})
        check(re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL))
        kept = SUMMARIES.validate_json(SUMMARIES.dump_json(summary))
        assert kept == summary
        (told,) = answers(evidence)
        ((_, verdict),) = evidence.judged
        assert told.badge == verdict.answer
        badges.add(told.badge)
        reasons.add(verdict.reason)
        settled = verdict.answer in ("better", "worse", "no difference")
        assert not settled or verdict.difference.low < verdict.difference.high
    assert intervals > 30
    assert "no verdict" in badges
    assert badges & {"better", "worse"}
    assert len(reasons) >= 5


def test_a_hostile_experiments_whole_report_is_made(tmp_path: Path) -> None:
    stream = np.random.default_rng(1)
    for i in range(3):
        asked, store = hostile(tmp_path / str(i), stream)
        time_all(asked, store)
        check(make(asked, store, tmp_path / str(i) / "out").markdown.read_text())


def test_seeds_that_stand_in_any_order_keep_what_is_theirs(tmp_path: Path) -> None:
    seeds = {"seed = [0, 1, 2]": "seed = [2, 0, 1]"}
    asked, store = experiment(tmp_path, NARROW, but=seeds), Store(tmp_path / "store")
    labels = np.arange(100) % 10
    for cell in asked.cells:
        wrong = (cell.trial.seed + 1) * (3 if cell.arm == "plain" else 1)
        save(store, cell.trial, labels, labels + (np.arange(100) < wrong), "ok")
    evidence = gather(asked, store)
    ((row, verdict),) = evidence.judged
    assert verdict.crossed
    table = details.seeds(evidence, row, verdict.crossed)
    assert list(table["only learned right"]) == ["2", "4", "6"]


@pytest.mark.parametrize("other", [np.arange(90) % 10, np.arange(100) % 5], ids=["fewer", "other"])
def test_seeds_that_were_judged_by_other_images_are_not_compared_image_by_image(
    tmp_path: Path, other: Labels
) -> None:
    asked, store = experiment(tmp_path, NARROW), Store(tmp_path / "store")
    stream = np.random.default_rng(0)
    for cell in asked.cells:
        labels = other if cell.trial.seed == 1 else np.arange(100) % 10
        save(store, cell.trial, labels, ARMS["three of four"](stream, labels, 0), "ok")
    evidence = gather(asked, store)
    ((_, verdict),) = evidence.judged
    assert (verdict.crossed, verdict.images) == (None, None)
    check(page_text(evidence))


def test_arms_without_any_spread_have_a_figure_of_their_cost(tmp_path: Path) -> None:
    asked, store = experiment(tmp_path, NARROW), Store(tmp_path / "store")
    fill(asked, store, lambda _: 50.0)
    time_all(asked, store)
    assert "cost" in pages.draw(gather(asked, store))


def test_an_arm_has_one_colour_in_all_figures_whether_or_not_the_others_ended_well(
    tmp_path: Path,
) -> None:
    strided = '[[arm]]\nname = "strided"\nresizer = "strided"\n'
    asked, store = experiment(tmp_path, NARROW, rest=strided), Store(tmp_path / "store")
    fill(asked, store, lambda trial: None if trial.resizer == "fixed" else 50.0)
    evidence = gather(asked, store)
    colour = arm_styles(evidence.arms.values())["strided"].colour
    assert colour in pages.draw(evidence)["spectra"].source


@pytest.mark.parametrize(
    ("ours", "theirs", "images", "clause"),
    [
        ("one class", "one class", 400, "a model predicts one class for every image"),
        ("by chance", "by chance", 400, "both arms are at chance"),
        ("always wrong", "perfect", 400, "every seed has the same difference"),
        ("perfect", "by chance", 16, "16 validation images cannot resolve 1 point"),
    ],
)
def test_there_is_no_verdict_from_models_or_images_that_tell_nothing_and_the_reason_is_said(
    tmp_path: Path, ours: str, theirs: str, images: int, clause: str
) -> None:
    stream = np.random.default_rng(2)
    asked, store = experiment(tmp_path, NARROW), Store(tmp_path / "store")
    labels = np.arange(images) % 10
    arms = {"learned": ours, "plain": theirs, "fixed": "three of four"}
    for cell in asked.cells:
        predicted = ARMS[arms[cell.arm]](stream, labels, cell.trial.seed)
        save(store, cell.trial, labels, predicted, "ok")
    (told,) = answers(gather(asked, store))
    assert told.badge == "no verdict"
    assert told.sentence.endswith(f"; {clause}.")


@pytest.mark.parametrize(
    ("looks", "seeds", "clause"),
    [
        ("[4, 8]", 3, "; 3 seeds so far, and a verdict is due at 4."),
        ("[4, 8]", 5, "; 5 seeds so far, and a verdict is due at 8."),
        ("[4]", 5, "; exploratory: 5 seeds, where looks were declared at 4."),
        ("[4, 8]", 8, ", 8 seeds."),
    ],
)
def test_a_verdict_is_given_at_declared_looks_alone(
    tmp_path: Path, looks: str, seeds: int, clause: str
) -> None:
    asked = experiment(tmp_path, NARROW, 8)
    asked.file.write_text(f"looks = {looks}\n" + asked.file.read_text())
    asked, store = load(str(asked.file)), Store(tmp_path / "store")

    def top1(trial: object) -> float | None:
        seed, resizer = trial.seed, trial.resizer  # type: ignore[attr-defined]
        spread = (7 * seed + len(resizer)) % 5
        return 50.0 + spread + (20 if resizer == "learned" else 0) if seed < seeds else None

    fill(asked, store, top1)
    (told,) = answers(gather(asked, store))
    assert clause in told.sentence
