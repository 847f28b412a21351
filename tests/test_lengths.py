"""The time to an accuracy is told between two lengths of training, or it is said which side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.analysis.evidence import Evidence, gather
from bench.analysis.lengths import Reached, lines, reached, together_with
from bench.errors import InputError
from bench.paths import PUBLISHED
from bench.records import write_record
from bench.report import details
from bench.report.answer import answers
from bench.report.pages import draw, make
from bench.report.words import NONE, TIMES
from bench.spec.files import load
from bench.spec.trial import Trial
from bench.store import Store
from tests.fakes import NARROW, experiment, fill, time_all

LONG = f"{NARROW}\nepochs = [4, 16]"
STEPS_PER_EPOCH = 10


def doubled(trial: Trial) -> float:
    """Plain gains 10 points with each doubling from 40, learned from 45; a seed adds a point."""
    epochs = trial.epochs or trial.length[0] / STEPS_PER_EPOCH
    start = 45.0 if trial.resizer == "learned" else 40.0
    return start + 10 * float(np.log2(epochs / 4)) + trial.seed


LEARNED = 'resizer = "learned"\n'
TURNS = f"{LEARNED}num_kernels = {{ in_turn = [8, 32] }}\n"


def evidence(
    folder: Path, targets: str = "[50]", *, axes: str = LONG, seeds: int = 3, learned: str = LEARNED
) -> Evidence:
    top = f"targets_pct = {targets}\n"
    asked = experiment(folder, axes, seeds, top=top, but={LEARNED: learned})
    store = Store(folder / "store")
    fill(asked, store, doubled)
    for key, trial in asked.trials.items():
        record = store.trial(key)
        assert record
        record["steps"] = trial.steps or STEPS_PER_EPOCH * trial.length[0] * 64 // trial.batch_size
        write_record(store.trial_folder(key), record)
    time_all(asked, store)
    return gather(asked, store)


def of(found: Evidence, arm: str) -> Reached:
    return next(one for one in reached(found) if one.line.arm == arm)


def test_seconds_are_images_over_the_measured_speed(tmp_path: Path) -> None:
    found = evidence(tmp_path)
    plain = next(line for line in lines(found) if line.arm == "plain")
    assert plain.seconds == pytest.approx([4 * 10 * 64 / 200, 16 * 10 * 64 / 200])


def test_a_target_is_reached_where_the_logarithm_of_the_time_says(tmp_path: Path) -> None:
    found = evidence(tmp_path)
    plain, learned = of(found, "plain"), of(found, "learned")
    epochs = [2 ** (2 + (10 - seed) / 10) for seed in range(3)]
    assert plain.seconds
    assert plain.seconds.value == pytest.approx(np.prod(epochs) ** (1 / 3) * 10 * 64 / 200)
    assert plain.ratio is None
    assert learned.ratio  # half a doubling sooner, at half the speed
    assert learned.ratio.value == pytest.approx(2 * 2**-0.5)
    assert learned.ratio.low == pytest.approx(learned.ratio.high)  # seeds and rounds agree


def test_the_ratio_holds_what_the_rounds_of_the_timing_may_be_wrong_by(tmp_path: Path) -> None:
    found = evidence(tmp_path)
    label = lines(found)[0].rows[0].label
    key = of(found, "learned").line.rows[0].trial.speed_key
    found.timings[label]["subjects"][key]["seconds"]["train"] = [1.8, 4.0, 6.7]
    ratio = of(found, "learned").ratio
    assert ratio
    logs = np.log(np.array([1.8, 4.0, 6.7]) / [1.0, 2.0, 3.0])
    half = 4.302653 * logs.std(ddof=1) / 3**0.5
    assert np.log(ratio.high / ratio.value) == pytest.approx(half, rel=1e-5)


def test_each_seed_takes_the_time_of_its_own_recipe(tmp_path: Path) -> None:
    found = evidence(tmp_path, seeds=4, learned=TURNS)
    line = of(found, "learned").line
    slow = line.rows[0].trials[1].speed_key
    timed = found.timings[line.rows[0].label]["subjects"][slow]
    timed["seconds"]["train"] = [4.0, 8.0, 12.0]
    timed["metrics"]["train_images_per_s"]["value"] = 50.0
    again = of(gather(found.experiment, found.store), "learned")
    told = of(found, "learned")
    assert told.seconds
    assert again.seconds
    assert told.ratio
    assert again.ratio
    assert told.seconds.value == pytest.approx(again.seconds.value * 2**0.5)
    assert told.ratio.value == pytest.approx(again.ratio.value * 2**0.5)


def test_a_step_of_half_the_batch_is_half_the_images_of_the_time_to_an_accuracy(
    tmp_path: Path,
) -> None:
    halved = f"{LEARNED}batch_size = 32\n"
    for folder in (whole := tmp_path / "whole", half := tmp_path / "half"):
        folder.mkdir()
    same, smaller = of(evidence(whole), "learned"), of(evidence(half, learned=halved), "learned")
    assert same.ratio
    assert smaller.ratio  # its step takes as long, and it takes twice as many
    assert smaller.ratio.value == pytest.approx(2 * same.ratio.value)


def test_each_seed_has_the_images_of_its_own_batch_where_lengths_are_steps(tmp_path: Path) -> None:
    turns = f"{LEARNED}batch_size = {{ in_turn = [64, 128] }}\n"
    axes = f"{NARROW}\nsteps = [40, 160]"
    found = evidence(tmp_path, axes=axes, learned=turns)
    line = of(found, "learned").line
    assert line.images.loc[0].tolist() == [40 * 64, 160 * 64]
    assert line.images.loc[1].tolist() == [40 * 128, 160 * 128]
    assert line.seconds == pytest.approx([40 * (64 + 128 + 64) / 3 / 100, 160 * 256 / 3 / 100])


def test_an_arm_none_of_whose_seeds_has_every_length_has_no_line(tmp_path: Path) -> None:
    found = evidence(tmp_path)
    for key, trial in found.experiment.trials.items():
        if trial.resizer == "learned" and (trial.epochs == 4) == (trial.seed == 0):
            (found.store.trial_folder(key) / "record.json").unlink()
    assert {line.arm for line in lines(gather(found.experiment, found.store))} == {"plain", "fixed"}


def test_seeds_that_are_there_sooner_or_never_are_counted_and_no_seconds_told(
    tmp_path: Path,
) -> None:
    found = evidence(tmp_path, "[46, 61.5]")
    table = details.targets(found).set_index(["accuracy, %", "arm"])["training, s"]
    assert table["46", "learned"] == "of 3 seeds, 2 within 4 epochs"
    assert table["61.5", "plain"] == "of 3 seeds, 2 not in 16 epochs"
    ratios = details.targets(found).set_index(["accuracy, %", "arm"])["over plain's"]
    assert ratios["46", "learned"] == NONE


def test_the_answer_tells_how_much_longer_the_treatment_takes() -> None:
    asked = load("time-to-accuracy")
    (told,) = answers(gather(asked, Store(PUBLISHED / asked.name)))
    longer = f"To 60, 65 and 70 % learned takes 1.9 to 2.1 {TIMES} plain's time."
    assert told.sentence.endswith(f" on average. {longer}")


def test_one_seed_has_no_interval(tmp_path: Path) -> None:
    table = details.targets(evidence(tmp_path, seeds=1)).set_index("arm")
    assert "[" not in table.loc["plain", "training, s"]
    assert table.loc["learned", "over plain's"] == f"1.41 {TIMES}"


def test_every_context_is_compared_with_the_baseline_that_answers_it(tmp_path: Path) -> None:
    table = details.targets(evidence(tmp_path, axes=LONG + "\nnum_kernels = [8, 16]"))
    learned = table[table["arm"] == "learned"]
    assert list(learned["num_kernels"]) == ["8", "16"]
    assert len(set(learned["over plain's"])) == 1
    assert NONE not in set(learned["over plain's"])


def test_every_panel_has_the_arms_that_do_not_use_what_sets_it_apart(tmp_path: Path) -> None:
    found = evidence(tmp_path, axes=LONG + "\nnum_kernels = [8, 16]")
    there = lines(found)
    panels = {str(line.context): line for line in there}.values()
    drawn = [[one.arm for one in together_with(found, line, there)] for line in panels]
    assert drawn == [["plain", "fixed", "learned"]] * 2


def test_the_page_leads_with_the_time_and_has_its_table(tmp_path: Path) -> None:
    found = evidence(tmp_path)
    page = make(found.experiment, found.store, tmp_path / "out").markdown.read_text()
    assert page.index("figures/training-time.svg") < page.index("## Time to an accuracy")
    assert "| 50 | learned | 64 → 32 |" in page


def test_lengths_that_were_not_timed_yet_have_no_line(tmp_path: Path) -> None:
    asked = experiment(tmp_path, LONG, top="targets_pct = [50]\n")
    store = Store(tmp_path / "store")
    fill(asked, store, doubled)
    found = gather(asked, store)
    assert lines(found) == []
    assert "training-time" not in draw(found)


def test_targets_need_several_lengths(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"targets_pct: \[axes\] has no several epochs or steps"):
        experiment(tmp_path, f"{NARROW}\nepochs = [4]", top="targets_pct = [50]\n")
