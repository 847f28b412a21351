"""Planning, resuming, retrying, killing: nothing that was finished is lost or run again."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from bench.cli.planning import cost_lines
from bench.errors import InputError
from bench.events import Begin, Event, Turn
from bench.metrics import Weight
from bench.records import RoundRecord, read_record, write_record
from bench.run import jobs, readiness, runner, timing
from bench.run.attempt import ended
from bench.run.plan import make_plan, published_pace
from bench.run.processes import DiedError, call, waited_for
from bench.spec.experiment import Experiment, Sitting
from bench.spec.trial import Trial
from bench.store import Store
from tests.conftest import WriteExperiment
from tests.fakes import result

pytestmark = pytest.mark.usefixtures("store")  # every job has the environment of the first


def go(experiment: Experiment, store: Store, **options: Any) -> tuple[runner.Outcome, list[str]]:
    """Run, and name the trials that were begun."""
    begun: list[str] = []

    def listen(event: Event) -> None:
        if isinstance(event, Begin):
            begun.append(event.trial.key)

    return runner.run(experiment, store, listen, **options), begun


def test_a_run_finishes_every_trial_and_times_every_arm(
    store: Store, write_experiment: WriteExperiment
) -> None:
    experiment = write_experiment()
    outcome, begun = go(experiment, store)
    assert len(begun) == 4
    assert outcome.plan.counts == {"ok": 4}
    assert not outcome.failures
    (timed,) = store.timings(experiment).values()
    assert timed is not None
    assert set(timed["subjects"]) == {t.speed_key for t in experiment.trials.values()}
    assert not outcome.untimed
    _, begun = go(experiment, store)
    assert begun == []  # again = resume: nothing is left to do


def test_only_what_where_asks_for_is_run(store: Store, write_experiment: WriteExperiment) -> None:
    experiment = write_experiment()
    outcome, begun = go(experiment, store, where={"resizer": "none", "seed": "1"})
    assert [experiment.trials[key].seed for key in begun] == [1]
    assert outcome.plan.counts == {"ok": 1, "missing": 3}
    assert not store.timings(experiment)
    with pytest.raises(InputError, match="--where: unknown field 'sed'; did you mean 'seed'"):
        go(experiment, store, where={"sed": "1"})
    with pytest.raises(InputError, match=r"--where: no trial has seed = '7'\. One of: 0, 1"):
        go(experiment, store, where={"seed": "7"})


def test_data_is_asked_for_only_of_the_trials_that_are_to_be_run(
    store: Store, write_experiment: WriteExperiment
) -> None:
    experiment = write_experiment(axes='dataset = ["toy", "imagewoof"]')
    outcome, begun = go(experiment, store, where={"dataset": "toy", "resizer": "NONE"})
    assert len(begun) == 2
    assert outcome.plan.counts["ok"] == 2


WARM = """
[[arm]]
name = "warm"
resizer = "learned"
num_kernels = 4
init_from = "plain"
epochs = 1

[[arm]]
name = "warmer"
resizer = "learned"
num_kernels = 4
backbone_from = "plain"
resizer_from = "learned"
frozen = ["backbone"]
epochs = 1

[[arm]]
name = "put together"
resizer = "learned"
num_kernels = 4
backbone_from = "plain"
resizer_from = "learned"
epochs = 0
"""


def test_a_parent_whose_weights_another_experiment_has_dropped_is_told_before_the_run(
    store: Store, write_experiment: WriteExperiment
) -> None:
    experiment = write_experiment(rest=WARM)
    parents = [key for trial in experiment.trials.values() for key in trial.parents]
    for key in dict.fromkeys(parents):
        write_record(store.trial_folder(key), result(experiment.trials[key]))
    with pytest.raises(InputError, match=r"4 finished trials that others start from kept no weigh"):
        go(experiment, store)
    assert len(store.kept()) == 4


def test_what_a_trial_starts_from_is_run_before_it(
    store: Store, write_experiment: WriteExperiment
) -> None:
    experiment = write_experiment(rest=WARM)
    outcome, begun = go(experiment, store, where={"seed": "0", "epochs": "0"})
    keys = {c.arm: c.trial.key for c in experiment.cells if c.trial.seed == 0}
    assert set(begun) == {keys[arm] for arm in ("plain", "learned", "put together")}
    assert begun[-1] == keys["put together"]
    assert outcome.plan.counts == {"ok": 3, "missing": 7}
    assert go(experiment, store)[0].plan.counts == {"ok": 10}
    record = store.trial(keys["put together"])
    assert record is not None
    assert (record["steps"], record["curve"]) == (0, [])


def test_a_trial_whose_parent_failed_is_skipped_with_the_reason_until_it_is_mended(
    store: Store, write_experiment: WriteExperiment
) -> None:
    experiment = write_experiment(rest=WARM)
    keys = {c.arm: c.trial.key for c in experiment.cells if c.trial.seed == 0}
    broken = experiment.trials[keys["learned"]]
    write_record(store.trial_folder(broken.key), ended(broken, "oom", "full"))
    outcome, begun = go(experiment, store, where={"seed": "0"})
    assert keys["learned"] not in begun
    states = {arm: outcome.plan.states[key] for arm, key in keys.items()}
    skipped = dict.fromkeys(("warmer", "put together"), "skipped")
    assert states == {"plain": "ok", "learned": "oom", "warm": "ok", **skipped}
    reason = f"it starts from {broken.key}, which ended as oom: full"
    assert outcome.failures[keys["warmer"]]["reason"] == reason
    outcome, _ = go(experiment, store, where={"seed": "0"}, retry=True)
    assert not outcome.failures


def test_a_failed_trial_is_a_row_the_grid_goes_on_and_retry_takes_it_up(
    store: Store, write_experiment: WriteExperiment
) -> None:
    experiment = write_experiment()
    broken, *_ = experiment.trials
    write_record(store.trial_folder(broken), ended(experiment.trials[broken], "failed", "once"))
    outcome, begun = go(experiment, store)
    assert broken not in begun
    assert {key: r["reason"] for key, r in outcome.failures.items()} == {broken: "once"}
    outcome, begun = go(experiment, store, retry=True)
    assert begun == [broken]
    assert not outcome.failures


def test_an_arm_that_cannot_be_timed_is_on_record_with_the_reason_and_the_others_are_timed(
    store: Store, write_experiment: WriteExperiment
) -> None:
    experiment = write_experiment()
    good = next(iter(experiment.trials.values()))
    broken = Trial(**{**good.model_dump(), "backbone": "test_resnett"})
    weights = [waited_for(timing.weigh(trial)) for trial in (good, broken)]
    assert not weights[0].reason
    assert weights[1].reason.startswith("unknown backbone 'test_resnett'")
    sitting = Sitting((good, broken), good, experiment.spec.timing)
    events: list[Event] = []
    call(jobs.take_round, store.root / "0", 0, sitting, {}, {"toy": 2}, listener=events.append)
    assert events == [Turn(), Turn(), Turn()]
    taken: Any = read_record(store.root / "0", RoundRecord)
    assert taken["failures"][broken.speed_key].startswith("unknown backbone")
    record = timing.assembled(sitting, [taken], [weights[0], Weight({}, None)])
    assert record["subjects"][good.speed_key]["metrics"]
    assert record["subjects"][broken.speed_key]["reason"].startswith("unknown backbone")
    assert record["subjects"][broken.speed_key]["seconds"] == {}


def test_an_arm_that_leaves_while_it_is_timed_does_not_take_the_others_with_it(
    store: Store, write_experiment: WriteExperiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leaving_front = "from torch import nn\nclass Front(nn.Identity):\n    def forward(self, x): "
    leaving_front += "raise SystemExit(7)"
    (tmp_path / "leaving_front.py").write_text(leaving_front)
    monkeypatch.chdir(tmp_path)
    experiment = write_experiment()
    good = next(iter(experiment.trials.values()))
    changed = {"resizer": "leaving_front:Front", "output_size": 8}
    leaving = Trial(**good.model_dump() | changed)
    sitting = Sitting((good, leaving), good, experiment.spec.timing)
    call(jobs.take_round, store.root / "0", 0, sitting, {}, {"toy": 2})
    taken: Any = read_record(store.root / "0", RoundRecord)
    assert taken["samples"].keys() == {good.speed_key}
    assert taken["failures"][leaving.speed_key] == "SystemExit: 7"
    assert waited_for(timing.weigh(leaving)).reason == "SystemExit: 7"


def test_a_timing_whose_process_dies_is_a_record_that_retry_takes_up(
    store: Store, write_experiment: WriteExperiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = write_experiment()
    real = timing.perform

    async def dying(job: Any, *arguments: Any, **options: Any) -> Any:
        if job is jobs.take_round:
            raise DiedError("out of luck")
        return await real(job, *arguments, **options)

    monkeypatch.setattr(timing, "perform", dying)
    outcome, _ = go(experiment, store)
    assert outcome.untimed == {"all arms": "out of luck"}
    assert not timing.unfinished(experiment, store, retry=False)
    monkeypatch.undo()
    assert timing.unfinished(experiment, store, retry=True)


def test_a_trial_that_takes_too_long_is_a_timeout_row(
    store: Store, write_experiment: WriteExperiment
) -> None:
    experiment = write_experiment(top="timeout_s = 0.01")
    outcome, _ = go(experiment, store)
    assert {r["status"] for r in outcome.failures.values()} == {"timeout"}
    assert "not finished within 0.01 s" in next(iter(outcome.failures.values()))["reason"]


def test_a_backbone_that_does_not_exist_stops_the_run_before_it_starts(
    store: Store, write_experiment: WriteExperiment
) -> None:
    experiment = write_experiment(axes='backbone = ["test_resnet", "test_resnett"]')
    with pytest.raises(InputError, match="unknown backbone 'test_resnett'; did you mean 'test_re"):
        go(experiment, store)
    assert not (store.root / "trials").exists()


@pytest.mark.parametrize(
    ("axes", "sentence"),
    [
        ('backbone = ["densenet121"]', r"backbone 'densenet121' cannot take 16 px: RuntimeError: "),
        (
            'backbone = ["vit_tiny_patch16_224"]\noutput_size = [8]',
            r"backbone 'vit_tiny_patch16_224' cannot take 8 px: ",
        ),
        (
            'backbone = ["vit_tiny_patch16_224"]\noutput_size = [16]\neval_size = [32]',
            r"backbone 'vit_tiny_patch16_224' cannot take 32 px: ",
        ),
    ],
)
def test_a_size_that_a_backbone_cannot_take_is_refused_before_the_run(
    store: Store, write_experiment: WriteExperiment, axes: str, sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        go(write_experiment(axes=axes), store)


def test_a_resizer_of_another_output_size_is_refused_before_the_run(
    store: Store,
    write_experiment: WriteExperiment,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "other_size.py").write_text(
        "from torch import nn\n"
        "class Front(nn.Module):\n"
        "    def __init__(self, *, output_size):\n"
        "        super().__init__()\n"
        "    def forward(self, x):\n"
        "        return x\n"
    )
    monkeypatch.chdir(tmp_path)
    arm = '[[arm]]\nname = "own"\nresizer = "other_size:Front"'
    with pytest.raises(InputError, match=r"gives \(1, 3, 32, 32\), not \(1, 3, 16, 16\)"):
        go(write_experiment(rest=arm), store)


def test_an_unknown_dataset_is_refused_with_the_nearest_name(
    store: Store, write_experiment: WriteExperiment
) -> None:
    experiment = write_experiment(axes='dataset = ["imagewof"]')
    with pytest.raises(InputError, match="unknown dataset 'imagewof'; did you mean 'imagewoof'"):
        make_plan(experiment, store)


def test_a_dataset_that_is_not_here_says_how_to_get_it(
    store: Store, write_experiment: WriteExperiment
) -> None:
    experiment = write_experiment(axes='dataset = ["imagewoof"]')
    assert make_plan(experiment, store).counts == {"missing": 4}
    with pytest.raises(InputError, match="resizer-bench data fetch imagewoof"):
        go(experiment, store)


def test_damaged_data_are_told_before_a_timing_is_announced(
    store: Store,
    write_experiment: WriteExperiment,
    tmp_path: Path,
    data_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shutil.copytree(data_folder, tmp_path / "data")
    monkeypatch.setenv("RESIZER_BENCH_DATA", str(tmp_path / "data"))
    (tmp_path / "data" / "toy" / "val.bin").write_bytes(b"")
    heard: list[Event] = []
    with pytest.raises(InputError, match=r"is damaged: val\.bin has 0 of"):
        runner.run(write_experiment(top="train = false"), store, heard.append)
    assert not heard


def test_other_files_under_the_same_name_are_not_mixed_with_finished_trials(
    store: Store, write_experiment: WriteExperiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = write_experiment()
    go(experiment, store, where={"seed": "0"})
    monkeypatch.setattr(readiness, "content", lambda _: {"fingerprint": "another"})
    with pytest.raises(InputError, match="was run on other files called 'toy'"):
        go(experiment, store)


def test_a_plan_estimates_from_what_was_measured(
    store: Store, write_experiment: WriteExperiment
) -> None:
    experiment = write_experiment()
    assert not make_plan(experiment, store).seconds
    events: list[Event] = []
    assert not runner.smoke(experiment, store, events.append, where={"resizer": "none"})
    assert sum(isinstance(event, Begin) for event in events) == 1
    assert not runner.smoke(experiment, store, lambda _: None, where={})
    plan = make_plan(experiment, store)
    assert set(plan.seconds) == set(experiment.trials)
    assert all(seconds > 0 for seconds in plan.seconds.values())
    assert plan.counts == {"missing": 4}  # a smoke run leaves no result behind


def test_a_plan_tells_hours_and_price_of_several_devices(
    store: Store, write_experiment: WriteExperiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.run.plan.cores", lambda: 2)
    experiment = write_experiment(rest=WARM)
    lender = Store(store.root / "published" / "toy")
    for key, trial in experiment.trials.items():
        record = result(trial, steps=10, wall_s=7200.0)
        record["environment"] |= {"threads": 1}
        write_record((lender if trial.seed else store).trial_folder(key), record)
    pace = published_pace(lender.root.parent)
    here, both = make_plan(experiment, store), make_plan(experiment, store, pace)
    assert both.seconds == here.seconds
    assert not both.lent
    elsewhere = make_plan(experiment, Store(store.root / "empty"), pace)
    assert elsewhere.lent == ["Toy"]
    per_step = 7200 / 10 / 2  # a half of the processor
    steps = {arm: total_steps(experiment, arm) for arm in ("plain", "learned", "warmer")}
    each_s = {arm: per_step * number for arm, number in steps.items()}
    assert here.elapsed_s(1) == pytest.approx(sum(here.seconds.values()))
    assert here.elapsed_s(99) == pytest.approx(each_s["learned"] + each_s["warmer"])
    lines = list(cost_lines(elsewhere, 99, 2.0))
    assert lines[0].startswith("on 99 devices: ")
    assert lines[0].endswith(" at 2 an hour; timing comes on top")
    assert lines[1] == "by the published pace of Toy"
    assert make_plan(experiment, Store(store.root / "empty")).elapsed_s(2) is None
    for key in lender.kept():
        record = lender.trial(key)
        assert record
        record["environment"] |= {"device": "cuda"}  # which may have had 18 of them at once
        write_record(lender.trial_folder(key), record)
    assert not published_pace(lender.root.parent)


def total_steps(experiment: Experiment, arm: str) -> int:
    return next(cell.trial.total_steps(20) for cell in experiment.cells if cell.arm == arm)


def test_a_users_own_resizer_runs_in_a_grid(
    store: Store,
    write_experiment: WriteExperiment,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "elsewhere.py").write_text(
        "from torch import nn\n"
        "class Front(nn.Module):\n"
        "    def __init__(self, *, output_size, num_kernels):\n"
        "        super().__init__()\n"
        "        self.body = nn.Sequential(nn.Conv2d(3, num_kernels, 1),\n"
        "            nn.AdaptiveAvgPool2d(output_size), nn.Conv2d(num_kernels, 3, 1))\n"
        "    def forward(self, x):\n"
        "        return self.body(x)\n"
    )
    monkeypatch.chdir(tmp_path)
    arm = '[[arm]]\nname = "own"\nresizer = "elsewhere:Front"\nnum_kernels = 2'
    outcome, _ = go(write_experiment(rest=arm), store)
    assert outcome.plan.counts == {"ok": 6}
