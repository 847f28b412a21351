"""The standard controls: which arms they are, what they start from, which sizes they get."""

from __future__ import annotations

from typing import Any

import pytest

from bench.errors import InputError
from bench.events import Event, SizeMatched
from bench.lab import backbones, matching, models
from bench.lab.backbones import SizeRefusedError
from bench.run import runner
from bench.spec.experiment import Experiment, SizeRequest
from bench.spec.trial import Trial, enlarged
from bench.store import Store
from tests.conftest import WriteExperiment

WITH_CONTROLS = """
[[arm]]
name = "treated"
resizer = "learned"
num_kernels = 4
controls = "standard"
"""


def only(experiment: Experiment, arm: str) -> Trial:
    """The arm's trial of seed 0."""
    return next(c.trial for c in experiment.cells if c.arm == arm and c.trial.seed == 0)


def every_size(experiment: Experiment) -> dict[str, int]:
    return dict.fromkeys(experiment.sizes, 24)


def test_the_standard_controls_differ_from_the_treatment_in_what_they_isolate(
    write_experiment: WriteExperiment,
) -> None:
    open_sizes = write_experiment(rest=WITH_CONTROLS)
    assert {request.arm for request in open_sizes.sizes.values()} == {"arithmetic", "time"}
    assert len(open_sizes.sizes) == 2  # shared by the seeds
    experiment = write_experiment(rest=WITH_CONTROLS, sizes=every_size(open_sizes))
    assert not experiment.sizes
    treated = only(experiment, "treated")
    differences = {
        arm.name: {
            name: value
            for name, value in only(experiment, arm.name).model_dump().items()
            if value != getattr(treated, name) and value is not None
        }
        for arm in experiment.spec.arm
        if arm.control
    }
    assert differences == {
        "pixels": {"resizer": "fixed"},
        "pixels-antialiased": {"resizer": "fixed", "antialias": True},
        "capacity": {"input_size": 16},
        "learning": {"frozen": ["resizer"], "frozen_resizer_norm": "batch"},
        "zero_init": {"zero_init": True},
        "muller": {"resizer": "muller"},
        "arithmetic": {"resizer": "none", "input_size": 24},
        "time": {"resizer": "none", "input_size": 24},
        "ceiling": {"resizer": "none"},
    }
    assert only(experiment, "pixels").interpolation == "bilinear"


@pytest.mark.parametrize(
    "treatment",
    ['resizer = "learned"\nzero_init = true', 'resizer = "muller"', 'resizer = "fixed"'],
)
def test_a_plain_start_is_no_control_of_what_has_it_or_cannot(
    write_experiment: WriteExperiment, treatment: str
) -> None:
    file = f'[[arm]]\nname = "treated"\n{treatment}\ncontrols = "standard"\n'
    assert "zero_init" not in [arm.name for arm in write_experiment(rest=file).spec.arm]


@pytest.mark.parametrize(
    "asked",
    [
        {"rest": WITH_CONTROLS + "zero_init = true"},
        {"rest": WITH_CONTROLS, "axes": "zero_init = [true, false]"},
    ],
)
def test_a_module_that_begins_as_a_plain_resize_is_frozen_at_random_weights_all_the_same(
    write_experiment: WriteExperiment, asked: dict[str, str]
) -> None:
    experiment = write_experiment(**asked)
    assert only(experiment, "treated").zero_init
    learning = [cell.trial for cell in experiment.cells if cell.arm == "learning"]
    assert {(trial.frozen, trial.zero_init) for trial in learning} == {(("resizer",), None)}


@pytest.mark.parametrize("place", ["rest", "trial"])
def test_a_control_of_another_size_is_validated_at_that_size(
    write_experiment: WriteExperiment, place: str
) -> None:
    pinned = "control_px = { arithmetic = [24], time = [40] }\nepochs = 1\n"
    asked = {"rest": WITH_CONTROLS + pinned}
    asked[place] = asked.get(place, "") + "eval_size = 48"
    experiment = write_experiment(**asked)
    sizes = {"budget": 16, "capacity": 16, "arithmetic": 24, "time": 40, "ceiling": 48}
    assert {arm: only(experiment, arm).evaluated_size for arm in sizes} == sizes


def test_a_size_in_the_file_is_matched_on_no_machine(write_experiment: WriteExperiment) -> None:
    pinned = WITH_CONTROLS + "control_px = { arithmetic = [24], time = [40] }"
    experiment = write_experiment(rest=pinned)
    assert not experiment.sizes
    assert only(experiment, "arithmetic").input_size == 24
    assert only(experiment, "time").input_size == 40


SIZES = """
[[arm]]
name = "longer"
resizer = "none"
input_size = "equal_time"
match = "treated"
"""


def test_each_context_has_its_size_in_the_order_of_the_axes(
    write_experiment: WriteExperiment,
) -> None:
    axes = "output_size = [8, 16]\nnum_resblocks = [1]\n"
    treated = WITH_CONTROLS.replace('controls = "standard"', "")
    rest = treated + SIZES + "matched_px = [24, 32]"
    cells = write_experiment(rest=rest, axes=axes).cells
    found = {(c.axes["output_size"], c.trial.input_size) for c in cells if c.arm == "longer"}
    assert found == {(8, 24), (16, 32)}


def test_a_matched_arm_keeps_the_size_at_which_it_is_validated(
    write_experiment: WriteExperiment,
) -> None:
    asked = WITH_CONTROLS + SIZES + "matched_px = [24]\neval_size = 16"
    longer = only(write_experiment(rest=asked), "longer")
    assert (longer.input_size, longer.eval_size) == (24, 16)


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (SIZES + "matched_px = [24, 32]", "matched_px has 2 sizes: it takes one, or one for each"),
        (SIZES.replace('"equal_time"', "24") + "matched_px = [24]", "is for an input_size that is"),
        ("control_px = { tme = [24] }", "'tme' is no control of matched size; did you mean 'time'"),
        ('[[arm]]\nname = "a"\ncontrol_px = { time = [24] }', "are for an arm with controls"),
    ],
)
def test_sizes_that_do_not_fit_the_file_are_refused(
    write_experiment: WriteExperiment, more: str, reason: str
) -> None:
    with pytest.raises(InputError, match=reason):
        write_experiment(rest=WITH_CONTROLS + more)


def test_the_budget_control_is_left_out_where_the_baseline_is_it(
    write_experiment: WriteExperiment,
) -> None:
    names = [arm.name for arm in write_experiment(rest=WITH_CONTROLS).spec.arm]
    assert "budget" not in names
    warm = WITH_CONTROLS + 'init_from = "plain"\nepochs = 1'
    experiment = write_experiment(rest=warm)
    budget, plain = only(experiment, "budget"), only(experiment, "plain")
    assert (budget.resizer, budget.input_size, budget.epochs) == ("none", 16, 1)
    assert budget.backbone_from == plain.key
    assert budget.resizer_from is None


def test_controls_may_have_fewer_seeds_than_the_primary_comparison(
    write_experiment: WriteExperiment,
) -> None:
    cells = write_experiment(rest=WITH_CONTROLS + "control_seeds = 1").cells
    seeds = {name: [c.trial.seed for c in cells if c.arm == name] for name in ("plain", "treated")}
    assert seeds == {"plain": [0, 1], "treated": [0, 1]}
    assert [c.trial.seed for c in cells if c.arm == "ceiling"] == [0]
    assert "budget" not in {cell.arm for cell in cells}


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ("control_seeds = 3", r"\[arm 'treated'\] seeds: \[axes\] has 2 of them"),
        ("seeds = 3", r"\[arm 'treated'\] seeds: \[axes\] has 2 of them"),
        (
            'seeds = 1\n[[arm]]\nname = "more"\nresizer = "none"\ninit_from = "treated"',
            r"\[arm 'more'\] init_from = 'treated', which has fewer seeds",
        ),
    ],
)
def test_seeds_that_an_arm_cannot_have_are_refused(
    write_experiment: WriteExperiment, more: str, reason: str
) -> None:
    with pytest.raises(InputError, match=reason):
        write_experiment(rest=WITH_CONTROLS + more)


def test_controls_continue_from_what_the_treatment_continues_from(
    write_experiment: WriteExperiment,
) -> None:
    experiment = write_experiment(rest=WITH_CONTROLS + 'init_from = "plain"\nclip_norm = 2.0')
    plain = only(experiment, "plain")
    for arm in experiment.spec.arm:
        if arm.control and arm.control not in ("arithmetic", "time"):
            trial = only(experiment, arm.name)
            assert (trial.backbone_from, trial.clip_norm) == (plain.key, 2.0)


def test_no_control_starts_from_a_trained_resizer(write_experiment: WriteExperiment) -> None:
    experiment = write_experiment(rest=WITH_CONTROLS + 'init_from = "learned"')
    learned = only(experiment, "learned")
    assert only(experiment, "treated").resizer_from == learned.key
    for arm in ("learning", "capacity", "zero_init"):
        trial = only(experiment, arm)
        assert (trial.resizer_from, trial.backbone_from) == (None, learned.key)


def test_two_treatments_have_controls_under_their_names(write_experiment: WriteExperiment) -> None:
    second = WITH_CONTROLS.replace("treated", "second").replace("= 4", "= 8")
    names = [arm.name for arm in write_experiment(rest=WITH_CONTROLS + second).spec.arm]
    assert "treated capacity" in names
    assert "second capacity" in names


def request(plain: int = 32, **like: Any) -> SizeRequest:
    shared = {"dataset": "toy", "backbone": "test_resnet", "epochs": 1, "batch_size": 4}
    treated = {"input_size": 64, "output_size": 32, "resizer": "learned", **like}
    return SizeRequest(
        "a", "equal_gmacs", Trial(**shared, **treated), Trial(**shared, input_size=plain)
    )


@pytest.mark.parametrize("true", [33, 34, 47, 48, 64, 65, 100, 255, 256])
def test_the_smallest_multiple_of_eight_that_reaches_is_found(true: int) -> None:
    asked: list[int] = []

    def ratio(size: int) -> float:
        asked.append(size)
        return float(size >= true)

    assert matching.smallest(request(), ratio) == -(-true // 8) * 8
    assert len(asked) < 20


def test_sizes_that_the_backbone_refuses_count_as_too_small(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refusing(trial: Trial, **_: bool) -> None:
        if trial.input_size < 60:
            raise SizeRefusedError("a multiple of 60, please")

    monkeypatch.setattr(backbones, "check", refusing)
    assert matching.smallest(request(), lambda _: 1.0) == 64


@pytest.mark.parametrize(("wanted", "found"), [(57, 112), (112, 112), (150, 168), (280, 280)])
def test_sizes_that_the_backbone_takes_may_lie_far_apart(
    monkeypatch: pytest.MonkeyPatch, wanted: int, found: int
) -> None:
    def refusing(trial: Trial, **_: bool) -> None:
        if trial.input_size % 56:
            raise SizeRefusedError("a multiple of 56, please")

    monkeypatch.setattr(backbones, "check", refusing)
    assert matching.smallest(request(plain=56), lambda size: size / wanted) == found


def test_a_backbone_that_takes_no_larger_images_is_soon_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refusing(*_: object, **__: bool) -> None:
        raise SizeRefusedError("32 px, please")

    monkeypatch.setattr(backbones, "check", refusing)
    said = "test_resnet without a resizer takes no images of 40 to 72 px, where the size of 'a' is"
    with pytest.raises(InputError, match=said):
        matching.smallest(request(), lambda _: 1.0)


@pytest.mark.parametrize("error", [RuntimeError, AssertionError, InputError])
def test_whatever_else_fails_at_a_size_is_told(error: type[Exception]) -> None:
    def ratio(_: int) -> float:
        raise error("a defect of the loss")

    said = (
        r"test_resnet without a resizer fails at 40 px \(.*a defect of the loss\), where the size"
    )
    with pytest.raises(InputError, match=said):
        matching.smallest(request(), ratio)


def test_a_size_that_does_not_fit_in_memory_is_not_taken_for_a_small_one() -> None:
    def ratio(size: int) -> float:
        if size > 60:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return 0.5

    said = "test_resnet without a resizer does not fit in memory at 64 px, where the size of 'a'"
    with pytest.raises(InputError, match=said):
        matching.smallest(request(), ratio)


def test_a_cost_out_of_reach_is_one_sentence() -> None:
    far = request(num_kernels=512, input_size=256)
    said = "does not reach, at up to 1024 px, the cost that 'a' is matched to"
    with pytest.raises(InputError, match=said):
        matching.smallest(far, lambda _: 0.5)


def test_the_cost_of_an_enlarging_resizer_is_sought_beyond_the_plain_size() -> None:
    assert matching.smallest(request(input_size=4), lambda size: size / 48) == 48


def test_the_counted_size_is_the_first_whose_multiply_adds_reach_the_treatments() -> None:
    from bench.lab import timing

    asked = request()
    size, ratio = matching.counted(asked, 10)

    def gmacs(trial: Trial) -> float:
        return timing.cost(models.build(trial, 10), trial.input_size)["gmacs"]

    wanted = gmacs(asked.like)
    assert gmacs(enlarged(asked.plain, size)) == pytest.approx(ratio * wanted)
    assert gmacs(enlarged(asked.plain, size - 8)) < wanted <= ratio * wanted


def test_sizes_are_settled_once_saved_and_then_part_of_the_trials(
    store: Store, write_experiment: WriteExperiment
) -> None:
    events: list[Event] = []
    experiment = runner.match_sizes(write_experiment(rest=WITH_CONTROLS), store, events.append)
    assert sum(isinstance(event, SizeMatched) for event in events) == 2
    assert not experiment.sizes
    sizes = store.sizes()
    arms = {arm: only(experiment, arm).input_size for arm in ("arithmetic", "time")}
    assert set(sizes.values()) == set(arms.values())
    assert all(size > 16 for size in sizes.values())
    assert runner.match_sizes(experiment, store, events.append) is experiment


def test_a_control_that_is_the_treatment_itself_is_left_out(
    write_experiment: WriteExperiment,
) -> None:
    treated = '[[arm]]\nname = "treated"\nrole = "treatment"\nresizer = "muller"\n'
    asked = write_experiment(rest=treated + 'controls = "standard"\n')
    assert "muller" not in {arm.name for arm in asked.spec.arm}
    assert "pixels" in {arm.name for arm in asked.spec.arm}
