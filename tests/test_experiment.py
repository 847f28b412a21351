"""Experiments: crossing, collapsing, and keys."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from bench.errors import InputError
from bench.paths import EXPERIMENTS, PROJECT
from bench.run.plan import make_plan
from bench.run.search import open_search
from bench.spec.files import load, read, shipped
from bench.spec.trial import RESIZER_OPTIONS, Trial
from bench.store import Store
from tests.conftest import WriteExperiment

FIELDS: dict[str, Any] = {
    "dataset": "toy",
    "backbone": "resnet18",
    "input_size": 64,
    "output_size": 32,
    "epochs": 1,
}


def test_a_plain_arm_is_one_trial_whatever_the_resizers_options() -> None:
    keys = {
        Trial(**FIELDS, resizer="none", num_resblocks=n, interpolation=i).key
        for n in (1, 2)
        for i in ("area", "bicubic")
    }
    assert len(keys) == 1


def test_a_fixed_arm_ignores_the_options_of_the_learned_one() -> None:
    a, b = (Trial(**FIELDS, resizer="fixed", num_kernels=n) for n in (8, 16))
    assert a == b
    assert a.num_kernels is None


def test_a_default_that_is_written_out_does_not_change_the_key() -> None:
    plain = Trial(**FIELDS, resizer="learned")
    assert Trial(**FIELDS, resizer="learned", num_resblocks=1, antialias=False).key == plain.key
    assert Trial(**FIELDS, resizer="learned", num_resblocks=2).key != plain.key


def test_every_field_that_is_used_enters_the_key() -> None:
    base = {**FIELDS, "resizer": "learned", "optimizer": "sgd", "schedule": "step"}
    other: dict[str, Any] = {
        **{"dataset": "x", "seed": 1, "backbone": "x", "resizer": "fixed", "input_size": 65},
        **{"output_size": 33, "num_resblocks": 2, "num_kernels": 8, "interpolation": "area"},
        **{"antialias": True, "batch_size": 32, "optimizer": "adamw", "lr": 0.1, "momentum": 0.5},
        **{"weight_decay": 0.1, "schedule": "one_cycle", "decay_every_epochs": 7},
        **{"decay_factor": 0.5, "label_smoothing": 0.2, "clip_norm": 2.0, "crop": "squash"},
        **{"crop_min_area": 0.08, "flip": False, "eval_fit": "squash", "resample": "box"},
        **{"precision": "bf16", "channels_last": False, "deterministic": True},
        **{"compile": "default"},
        **{"eval_every_epochs": 2, "epochs": 2, "zero_init": True, "negative_slope": 0.1},
        **{"pretrained": True, "resizer_from": "k", "backbone_from": "k", "frozen": ["resizer"]},
        **{"replicate": 1, "micro_batch": 8, "holdout": 0.2, "resizer_lr_factor": 0.5},
        **{"load_antialias": False, "eval_resample": "nearest", "eval_size": 8},
        **{"eval_antialias": False},
    }
    elsewhere = {"steps", "warmup_fraction", "frozen_resizer_norm"}
    assert set(other) == set(Trial.model_fields) - elsewhere
    keys = {Trial(**{**base, name: value}).key for name, value in other.items()}
    assert len(keys | {Trial(**base).key}) == len(other) + 1


def test_a_model_that_is_not_compiled_has_the_keys_it_always_had() -> None:
    plain, off = Trial(**FIELDS), Trial(**FIELDS, compile="off")
    compiled = Trial(**FIELDS, compile="reduce-overhead")
    assert (off.key, off.speed_key) == (plain.key, plain.speed_key)
    assert compiled.speed_key != plain.speed_key
    assert compiled.setting != plain.setting


def test_a_batch_in_one_part_is_a_batch() -> None:
    whole = Trial(**FIELDS)
    for part in (64, 100):
        same = Trial(**FIELDS, micro_batch=part)
        assert (same.key, same.speed_key) == (whole.key, whole.speed_key)
    assert Trial(**FIELDS, micro_batch=32).key != whole.key


def test_fields_of_a_resizer_that_learns_or_is_frozen_enter_the_key_where_they_are_used() -> None:
    frozen = {**FIELDS, "resizer": "learned", "frozen": ["resizer"]}
    assert Trial(**frozen, frozen_resizer_norm="batch").key != Trial(**frozen).key
    assert Trial(**frozen, resizer_lr_factor=0.1).key == Trial(**frozen).key
    for fields in (FIELDS, {**FIELDS, "resizer": "fixed"}, {**FIELDS, "resizer": "learned"}):
        assert Trial(**fields, frozen_resizer_norm="batch").key == Trial(**fields).key
        assert Trial(**fields, resizer_lr_factor=1).key == Trial(**fields).key


def test_options_that_came_later_leave_older_keys_as_they_were() -> None:
    plain = Trial(**FIELDS, resizer="learned")
    written = {"zero_init": False, "negative_slope": 0.2, "pretrained": False, "frozen": []}
    assert Trial(**FIELDS, resizer="learned", **written) == plain
    assert "zero_init" not in plain.model_dump(exclude_none=True)
    assert Trial(**FIELDS, resizer="fixed", frozen=["resizer"]).frozen is None


def test_a_way_of_validating_enters_the_key_where_it_is_not_that_of_training() -> None:
    base: dict[str, Any] = {"dataset": "toy", "backbone": "b", "input_size": 32, "epochs": 1}
    same = {"eval_resample": "bilinear", "eval_antialias": True, "eval_size": 32}
    assert Trial(**base, **same, load_antialias=True).key == Trial(**base).key
    others = ({"eval_resample": "box"}, {"eval_antialias": False}, {"eval_size": 24})
    others += ({"load_antialias": False}, {"load_antialias": False, "eval_antialias": True})
    assert len({Trial(**base, **of).key for of in others} | {Trial(**base).key}) == 6
    nearest = base | {"resample": "nearest"}
    assert Trial(**nearest, load_antialias=False).key == Trial(**nearest).key
    with pytest.raises(ValueError, match="eval_size"):
        Trial(**base, eval_size=32.0)
    with pytest.raises(ValueError, match="'box' averages: only 'bilinear'"):
        Trial(**base, eval_resample="box", eval_antialias=False)


def test_validation_averages_or_samples_by_its_own_filter() -> None:
    base: dict[str, Any] = {"dataset": "toy", "backbone": "b", "input_size": 32, "epochs": 1}
    sampled = Trial(**base, resample="nearest", load_antialias=False, eval_resample="bilinear")
    assert (sampled.evaluated.resample, sampled.evaluated.load_antialias) == ("bilinear", False)
    boxes = Trial(**base, resample="box", eval_resample="bilinear", eval_antialias=False)
    assert (boxes.load_antialias, boxes.evaluated.load_antialias) == (None, False)
    cubic = {"eval_resample": "bicubic", "load_antialias": False}
    assert Trial(**base, **cubic, eval_antialias=True).evaluated.load_antialias is None
    with pytest.raises(ValueError, match="'bicubic' averages: only 'bilinear'"):
        Trial(**base, **cubic)


def test_the_content_of_a_checkpoint_enters_the_key_not_its_name(tmp_path: Path) -> None:
    keys = set()
    for name, content in (("a", b"1"), ("b", b"1"), ("c", b"2")):
        (tmp_path / name).write_bytes(content)
        keys.add(Trial(**FIELDS, pretrained=str(tmp_path / name)).key)
    assert len(keys) == 2


def test_what_costs_the_same_shares_a_speed_key() -> None:
    one = Trial(**FIELDS, resizer="learned")
    same = [one.model_copy(update={"seed": 1}), Trial(**FIELDS, resizer="learned", lr=0.1)]
    assert {trial.speed_key for trial in same} == {one.speed_key}
    frozen = Trial(**FIELDS, resizer="learned", frozen=["backbone"])
    assert frozen.speed_key != one.speed_key


@pytest.mark.parametrize("loaded", [{"eval_size": 24}, {"load_antialias": False}])
def test_an_arm_that_is_loaded_otherwise_has_a_cost_of_its_own(loaded: dict[str, Any]) -> None:
    one = Trial(**FIELDS)
    assert Trial(**FIELDS, **loaded).speed_key != one.speed_key
    assert Trial(**FIELDS, resample="nearest").speed_key != one.speed_key
    assert Trial(**FIELDS, eval_antialias=False).speed_key == one.speed_key


def test_an_edited_class_of_the_users_own_is_another_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    file = tmp_path / "own_front.py"
    keys = []
    for text in ("class A: ...", "class A: '''changed'''"):
        file.write_text(text)
        keys.append(Trial(**FIELDS, resizer="own_front:A").key)
    assert keys[0] != keys[1]


def test_arms_are_crossed_with_axes_and_shared_trials_counted_once(
    write_experiment: WriteExperiment,
) -> None:
    experiment = write_experiment(axes="num_resblocks = [0, 1, 2]")
    assert len(experiment.cells) == 2 * 2 * 3
    assert len(experiment.trials) == 2 + 2 * 3  # a plain trial a seed, learned in every cell
    assert [c["num_resblocks"] for c in experiment.contexts] == [0, 1, 2]


def test_trials_come_seed_by_seed(write_experiment: WriteExperiment) -> None:
    assert [t.seed for t in write_experiment().trials.values()] == [0, 0, 1, 1]


def test_input_size_may_be_the_cells_output_size(write_experiment: WriteExperiment) -> None:
    experiment = write_experiment(axes="output_size = [16, 24]")
    plain = {c.trial.input_size for c in experiment.cells if c.arm == "plain"}
    assert plain == {16, 24}


def test_seeds_take_recipes_in_turn(write_experiment: WriteExperiment) -> None:
    cells = write_experiment(trial="lr = { in_turn = [0.01, 0.02] }").cells
    assert {(cell.trial.seed, cell.trial.lr) for cell in cells} == {(0, 0.01), (1, 0.02)}
    with pytest.raises(InputError, match="in_turn = 1: it takes a list of two values or more"):
        write_experiment(trial="lr = { in_turn = 1 }")


def test_small_lies_over_the_trial_and_the_axes(write_experiment: WriteExperiment) -> None:
    small = "[small]\nepochs = 1\naxes = { seed = [7] }\ntiming = { rounds = 2 }"
    experiment = write_experiment(small=True, rest=small)
    assert experiment.name == "toy-small"
    assert {(t.epochs, t.seed) for t in experiment.trials.values()} == {(1, 7)}
    assert experiment.spec.timing.rounds == 2
    assert experiment.command.endswith("toy.toml --small")


def test_what_runs_an_experiment_again_can_be_typed_whatever_its_file_is_called(
    tmp_path: Path, write_experiment: WriteExperiment
) -> None:
    file = write_experiment().file.rename(tmp_path / "what's new, 日本.toml")
    assert shlex.split(load(str(file)).command) == ["resizer-bench", "run", str(file)]


def test_the_length_that_is_laid_over_another_is_the_one_that_counts(
    write_experiment: WriteExperiment,
) -> None:
    small = "[[arm]]\nname = 'short'\nepochs = 1\n[small]\nsteps = 5"
    cells = write_experiment(small=True, rest=small).cells
    lengths = {cell.arm: cell.trial.length for cell in cells}
    assert lengths == {"plain": (5, "steps"), "learned": (5, "steps"), "short": (1, "epochs")}
    swept = write_experiment(axes="steps = [5, 10]").trials.values()
    assert {trial.length for trial in swept} == {(5, "steps"), (10, "steps")}


@pytest.mark.parametrize("small", [False, True], ids=["full", "small"])
@pytest.mark.parametrize("name", shipped())
def test_every_shipped_experiment_can_be_planned(name: str, small: bool, tmp_path: Path) -> None:
    spec = read(name).spec
    if small and not spec.small:
        pytest.skip("has no [small] table")
    if spec.search:
        experiment = open_search(name, small=small).example
        assert len(experiment.trials) == len(spec.search.arms)
        return
    experiment = load(name, small=small)
    planned = make_plan(experiment, Store(tmp_path))
    assert planned.counts == Counter(missing=len(experiment.runs))
    order = list(experiment.trials)
    for key, trial in experiment.trials.items():
        assert all(order.index(parent) < order.index(key) for parent in trial.parents)
    for told in ("source", "expect", "cost") if name not in ("quick",) else ("source", "expect"):
        assert getattr(experiment.spec, told)


OWN = str(EXPERIMENTS / "own" / "front-ends.toml")
DECLARED = "answer-"  # begins the names of files that do not change once their trials are run


@pytest.mark.parametrize("name", [OWN, *(n for n in shipped() if not n.startswith(DECLARED))])
def test_what_has_all_the_pixels_is_the_whole_image_whatever_the_arm_is_called(name: str) -> None:
    arms = [one for one in read(name).spec.arm if one.role == "control"]
    plain = [one for one in arms if one.fields.get("resizer") == "none"]
    whole = [one for one in plain if "input_size" not in one.fields]
    assert not [one.name for one in whole if "the whole image" not in one.isolates]


def test_loading_an_experiment_does_not_import_torch() -> None:
    code = "import sys, bench.spec.files as e; e.load('quick'); sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, check=False)
    assert done.returncode == 0


def test_the_fields_that_are_a_resizers_options_are_these_alone() -> None:
    """They are read off the table of resizers; one more field would enter the keys of speeds."""
    options = ("num_resblocks", "num_kernels", "interpolation", "antialias", "zero_init")
    assert set(RESIZER_OPTIONS) == {*options, "negative_slope"}
