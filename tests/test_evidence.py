"""The rows of an experiment: what one arm is, whatever recipes its seeds have."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.analysis import pooled, verdicts
from bench.analysis.drawn import numbers
from bench.analysis.evidence import gather
from bench.errors import InputError
from bench.report import details, environment, table
from bench.report.answer import answers
from bench.report.words import MINUS, NONE, TIMES
from bench.spec.trial import Trial
from bench.store import Store
from tests.fakes import NARROW, QUIET, WIDE, experiment, fill, time_all, top1

SECONDARY = 'secondary = ["learned", "fixed"]\n'


def test_an_arm_whose_seeds_have_recipes_in_turn_is_one_row_with_the_price_of_both(
    tmp_path: Path,
) -> None:
    turns = "num_kernels = { in_turn = [8, 32] }\n"
    asked, store = experiment(tmp_path, NARROW, 4, rest=turns), Store(tmp_path / "store")
    fill(asked, store, top1)
    time_all(asked, store)
    (row,) = [row for row in gather(asked, store).rows if row.arm.name == "learned"]
    assert row.accuracy.n == 4
    assert set(row.seeds["num_kernels"]) == {8, 32}
    assert row.times["train"].n == 3  # rounds, each with the mean of both recipes
    assert row.times["train"].value == pytest.approx(2.0)
    assert row.speed["train_images_per_s"] == 100.0
    by_recipe = gather(asked, store).gain_by_recipe(row)
    assert [gain.to_dict() for gain in by_recipe] == [{0: 50.0, 2: 52.0}, {1: 51.0, 3: 53.0}]
    (line,) = details.verdicts(gather(asked, store)).to_dict("records")
    assert line["with each recipe that seeds take in turn"] == "+51.0 and +52.0"
    slow, _ = {trial.speed_key for trial in asked.trials.values() if trial.num_kernels}
    unequal = gather(asked, store)
    unequal.timings[row.label]["subjects"][slow]["seconds"]["train"] = [4.0, 8.0, 12.0]
    (dear,) = [one for one in unequal.rows if one.arm.name == "learned"]
    assert dear.times["train"].value == pytest.approx((2 * 4) ** 0.5)


def test_speeds_of_an_arm_that_takes_batches_in_turn_have_a_column_of_their_own(
    tmp_path: Path,
) -> None:
    turns = "batch_size = { in_turn = [64, 128] }\n"
    asked, store = experiment(tmp_path, NARROW, 4, rest=turns), Store(tmp_path / "store")
    fill(asked, store, top1)
    time_all(asked, store)
    shown = table.results(gather(asked, store)).set_index("arm")
    speeds = shown.loc[:, ["images/s" in name for name in shown]]
    apart = [name.partition("(")[2].partition(")")[0] for name in speeds]
    assert sorted(set(apart)) == ["batch_size 64", "batch_size 64 and 128"]
    assert not ((speeds.loc["plain"] != NONE) & (speeds.loc["learned"] != NONE)).any()


def test_an_answer_holds_for_all_the_sizes_that_seeds_take_in_turn(tmp_path: Path) -> None:
    sizes = {"input_size = 64": "input_size = { in_turn = [64, 96] }"}
    asked, store = experiment(tmp_path, NARROW, 4, but=sizes), Store(tmp_path / "store")
    fill(asked, store, top1)
    (told,) = answers(gather(asked, store))
    assert ", 64 → 32, 96 → 32 px, " in told.place
    summary = numbers(gather(asked, store)).set_index("arm")
    assert summary["output_size"].dropna().to_dict() == {"fixed": 32, "learned": 32}
    assert summary["input_size"].isna().to_dict() == {
        "plain": False,
        "fixed": True,
        "learned": True,
    }


def test_the_differences_of_a_treatment_are_gathered_once_for_all_that_is_said_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, init = [], pooled.Peers.__init__
    monkeypatch.setattr(
        pooled.Peers, "__init__", lambda self, *of: (made.append(self), init(self, *of))[1]
    )
    asked, store = experiment(tmp_path, NARROW, top=SECONDARY), Store(tmp_path / "store")
    fill(asked, store, top1)
    found = gather(asked, store)
    assert len(details.verdicts(found)) == 2
    assert len(found.secondary) == len(made) == 1


def test_an_arm_of_which_one_recipe_could_not_be_timed_has_no_price(tmp_path: Path) -> None:
    turns = "num_kernels = { in_turn = [8, 32] }\n"
    asked, store = experiment(tmp_path, NARROW, 4, rest=turns), Store(tmp_path / "store")
    fill(asked, store, top1)
    time_all(asked, store)
    found = gather(asked, store)
    (second,) = {trial.speed_key for trial in asked.trials.values() if trial.num_kernels == 32}
    arm = next(iter(found.timings.values()))["subjects"][second]
    arm |= {"reason": "out of memory", "metrics": {}, "seconds": {}}
    (row,) = [row for row in found.rows if row.arm.name == "learned"]
    assert (row.speed, row.times) == ({}, {})
    assert list(table.untimed(found)) == [("learned", "out of memory")]


def test_of_one_round_no_interval_and_no_noise_floor_is_told(tmp_path: Path) -> None:
    asked, store = experiment(tmp_path, NARROW), Store(tmp_path / "store")
    fill(asked, store, top1)
    time_all(asked, store)
    found = gather(asked, store)
    (sitting,) = found.sittings
    for arm in sitting["subjects"].values():
        arm["seconds"]["train"] = arm["seconds"]["train"][:1]
    sitting |= {"again": {"train": [1.01]}, "rounds_used": [0], "disturbances": [QUIET]}
    assert environment.timing(found) == "Times are of 1 interleaved round, 1 sitting."
    assert not any(row.times for row in found.rows)
    (line,) = verdicts.verdict_rows(found)
    assert line.equal_time_difference is None


@pytest.mark.parametrize(
    ("quiet", "used", "told"),
    [
        (3, [0, 1, 2], "1 round, which is left out."),
        (2, [0, 1], "2 rounds, which are left out."),
        (1, [0, 1, 2, 3], "3 rounds, used all the same."),
    ],
)
def test_of_disturbed_rounds_it_is_told_what_became_of_them(
    tmp_path: Path, quiet: int, used: list[int], told: str
) -> None:
    asked, store = experiment(tmp_path, NARROW), Store(tmp_path / "store")
    fill(asked, store, top1)
    time_all(asked, store)
    found = gather(asked, store)
    (sitting,) = found.sittings
    rounds = [QUIET | {"disturbed": n >= quiet} for n in range(4)]
    sitting |= {"rounds_used": used, "disturbances": rounds}
    assert environment.timing(found).endswith(f" Other load disturbed {told}")
    found.sittings.append(sitting | {"rounds_used": [0], "disturbances": rounds[:1]})
    assert environment.timing(found).endswith(f" Other load disturbed {told}")


def test_the_noise_floor_of_several_contexts_is_told_from_the_least_to_the_largest(
    tmp_path: Path,
) -> None:
    asked, store = experiment(tmp_path, WIDE), Store(tmp_path / "store")
    fill(asked, store, top1)
    time_all(asked, store)
    found = gather(asked, store)
    assert "training step may be 2.5 % apart (noise floor)" in environment.timing(found)
    found.sittings[-1]["again"]["train"][1] *= 2  # one turn of one context
    assert "training step may be 2.5 to 233 % apart (noise floor)" in environment.timing(found)


def test_a_verdict_has_the_difference_at_equal_training_time_beside_it(tmp_path: Path) -> None:
    """Between the plain images that are dearer and cheaper, whose sizes seeds take in turn."""
    second = 'secondary = ["learned", "larger"]\n'
    larger = '[[arm]]\nname = "larger"\nresizer = "none"\ninput_size = { in_turn = [56, 48] }\n'
    asked = experiment(tmp_path, NARROW, 4, top=second, rest=larger)
    store = Store(tmp_path / "store")
    fill(asked, store, lambda trial: top1(trial) + trial.input_size + trial.seed % 2)
    time_all(asked, store)
    sizes = {row.arm.name: row.size for row in gather(asked, store).rows}
    assert sizes == {"plain": "32", "fixed": "64 → 32", "learned": "64 → 32", "larger": "56, 48"}
    (line,) = verdicts.verdict_rows(gather(asked, store))
    shares = [(2 - 1) / ((side / 32) ** 2 - 1) for side in (56, 48)]  # a step takes 2; 1 at 32 px
    gains = [share * (side - 32) for share, side in zip(shares, (56, 48), strict=True)]
    assert line.equal_time_difference == pytest.approx(82 + 1.5 - sum(gains) / 2)
    assert line.equal_time_low < line.equal_time_difference < line.equal_time_high


def test_where_a_network_starts_trained_its_place_says_so(tmp_path: Path) -> None:
    trained = {"[axes]": "pretrained = true\n[axes]"}
    asked, store = experiment(tmp_path, NARROW, but=trained), Store(tmp_path / "store")
    fill(asked, store, top1)
    (answer,) = answers(gather(asked, store))
    assert answer.place == "fine, 64 → 32 px, pretrained resnet10t, 2 epochs"


def test_a_verdict_names_the_runs_that_another_may_share_with_it(tmp_path: Path) -> None:
    start = 'init_from = "fixed"\n'
    asked, store = experiment(tmp_path, NARROW, rest=start), Store(tmp_path / "store")
    fill(asked, store, top1)
    (line,) = verdicts.verdict_rows(gather(asked, store))
    shared = {key for key, of in asked.trials.items() if of.resizer in ("none", "fixed")}
    assert set(line.base_runs) == shared


@pytest.mark.parametrize(("plain", "answer"), [(10.0, "worse"), (61.0, "no verdict")])
def test_the_secondary_comparison_waits_until_the_primary_is_settled(
    tmp_path: Path, plain: float, answer: str
) -> None:
    """Learned is 62 ± 2; fixed 70.5 ± 0.5: settled, where plain is far below alone."""
    asked, store = experiment(tmp_path, NARROW, top=SECONDARY), Store(tmp_path / "store")

    def accuracy(trial: Trial) -> float:
        means = {"none": plain, "fixed": 70.0 + 0.5 * trial.seed, "learned": 60.0}
        return means[trial.resizer] + (2.0 * trial.seed if trial.resizer == "learned" else 0.0)

    fill(asked, store, accuracy)
    (row,) = [row for row in gather(asked, store).rows if row.verdict]
    assert row.verdict
    assert row.verdict.answer == ("better" if plain == 10 else "not settled")
    (given,) = gather(asked, store).secondary.values()
    assert given.answer == answer
    assert given.reason == (None if answer == "worse" else "primary not settled")
    first, second = details.verdicts(gather(asked, store)).to_dict("records")
    assert first["comparison"] == f"learned {MINUS} plain"
    assert second["comparison"] == f"learned {MINUS} fixed"
    assert second["verdict"].startswith(answer)
    assert details.controls(gather(asked, store)) == []
    time_all(asked, store)
    told = {one.badge: one.sentence for one in answers(gather(asked, store))}
    assert list(told) == (["better", "worse"] if answer == "worse" else ["not settled"])
    if answer == "worse":
        assert told["worse"].startswith(f"learned {MINUS} fixed = {MINUS}8.5 points [")
        assert told["worse"].endswith(f"; fixed's step takes 0.50 {TIMES} learned's.")


def test_a_control_of_ones_own_is_told_with_what_it_isolates(tmp_path: Path) -> None:
    told = {'resizer = "fixed"': 'resizer = "fixed"\nisolates = "learning"'}
    asked, store = experiment(tmp_path, NARROW, but=told), Store(tmp_path / "store")
    fill(asked, store, top1)
    ((_, lines),) = details.controls(gather(asked, store))
    assert lines["control"].tolist() == ["fixed (learning)"]
    assert lines["what it says"].tolist() == ["learned is better"]


def test_the_plain_image_at_full_size_has_one_title_whatever_it_is_called(tmp_path: Path) -> None:
    whole = '[[arm]]\nname = "every pixel"\nisolates = "pixels"\nresizer = "none"\n'
    asked, store = experiment(tmp_path, NARROW, rest=whole), Store(tmp_path / "store")
    fill(asked, store, top1)
    ((_, lines),) = details.controls(gather(asked, store))
    assert lines["control"].tolist() == ["fixed", "every pixel (plain at 64 px: the whole image)"]


def test_an_arm_of_another_backbone_is_no_control(tmp_path: Path) -> None:
    other = {'resizer = "fixed"': 'resizer = "fixed"\nbackbone = "resnet18"'}
    asked, store = experiment(tmp_path, NARROW, but=other), Store(tmp_path / "store")
    fill(asked, store, top1)
    assert details.controls(gather(asked, store)) == []


@pytest.mark.parametrize(
    ("gain", "spread", "says"),
    [
        (0.0, 0.1, "no difference"),
        (0.0, 3.0, "not settled whether learned is better"),
        (0.6, 0.1, "learned is better, within the margin"),
        (-0.6, 0.1, "the control is better, within the margin"),
        (9.0, 0.1, "learned is better"),
    ],
)
def test_what_a_control_says_heeds_the_margin(
    tmp_path: Path, gain: float, spread: float, says: str
) -> None:
    asked, store = experiment(tmp_path, NARROW), Store(tmp_path / "store")

    def accuracy(trial: Trial) -> float:
        return 50.0 + (trial.seed - 1) * spread + gain if trial.resizer == "learned" else 50.0

    fill(asked, store, accuracy)
    ((_, lines),) = details.controls(gather(asked, store))
    assert lines["what it says"].tolist() == [says]


def test_rows_say_how_long_they_train_where_that_differs_and_what_is_not_trained_has_no_step(
    tmp_path: Path,
) -> None:
    more = ""
    for name, epochs in (("continued", 1), ("kept", 0)):
        more += f'[[arm]]\nname = "{name}"\nresizer = "none"\ninput_size = 32\n'
        more += f'init_from = "plain"\nepochs = {epochs}\n'
    asked, store = experiment(tmp_path, NARROW, rest=more), Store(tmp_path / "store")
    fill(asked, store, top1)
    time_all(asked, store)
    found = gather(asked, store)
    trained = table.results(found).set_index("arm")["trained for"]
    assert trained.to_dict() == {
        **dict.fromkeys(["plain", "fixed", "learned"], "2 epochs"),
        "continued": "2 epochs, then 1 epoch",
        "kept": "2 epochs",
    }
    steps = table.price(found).set_index("arm")["training step"]
    assert (steps["kept"], steps["continued"]) == (NONE, f"1.00 {TIMES} [1.00, 1.00]")
    fill(asked := experiment(tmp_path, NARROW), store, top1)
    assert "trained for" not in table.results(gather(asked, store))


@pytest.mark.parametrize(
    ("secondary", "said"),
    [
        ('["learned", "learned"]', "secondary compares 'learned' with itself"),
        ('["fixed", "plain"]', "secondary compares the treatment of primary with another arm"),
        ('["learned", "plian"]', "secondary names the arm 'plian', which is not there; did you"),
    ],
)
def test_a_secondary_comparison_that_makes_no_sense_is_refused(
    tmp_path: Path, secondary: str, said: str
) -> None:
    with pytest.raises(InputError, match=said):
        experiment(tmp_path, NARROW, top=f"secondary = {secondary}\n")
