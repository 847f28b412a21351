"""Timing: what is counted, what is summarised, and in which order turns come."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from bench.analysis.evidence import gather
from bench.data.library import open_dataset
from bench.errors import InputError
from bench.events import Event, Round
from bench.lab import device, environment, matching, timing
from bench.lab.card import Card
from bench.metrics import Weight
from bench.records import RoundRecord, TimingRecord, read_record, write_record
from bench.report.environment import warnings
from bench.run import jobs
from bench.run import timing as sittings
from bench.run.processes import waited_for
from bench.spec.experiment import Sitting, SizeRequest, Timing
from bench.spec.trial import Trial
from bench.store import Store
from tests import fakes
from tests.conftest import WriteExperiment

CPU = torch.device("cpu")


def toy(**fields: Any) -> Trial:
    given = {"dataset": "toy", "backbone": "test_resnet", "input_size": 32, "output_size": 16}
    return Trial(**{**given, "epochs": 1, "batch_size": 4, **fields})


def test_a_round_times_every_subject_once_and_the_reference_twice_in_an_order_of_its_own(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    subjects = (*(toy(resizer="learned", num_kernels=n) for n in (2, 4)), toy())
    sitting = Sitting(subjects, subjects[2], Timing(rounds=2, seconds=0.001))
    data = {"toy": open_dataset("toy")}
    order: list[list[str]] = []
    real, measured = timing.turn, dict[str, timing.Samples]()

    def noted(subject: Trial, *more: Any) -> timing.Samples:
        order[-1].append(subject.speed_key)
        if subject.speed_key not in measured:
            measured[subject.speed_key] = real(subject, *more)
        return measured[subject.speed_key]

    monkeypatch.setattr(timing, "turn", noted)
    for number in range(3):
        order.append([])
        folder = store.root / str(number)
        timing.take_round(lambda _: None, folder, number, sitting, data, {"toy": 2})
        record = read_record(folder, RoundRecord)
        assert record
        assert set(record["samples"]) == {subject.speed_key for subject in subjects}
        assert set(record["again"]) == {*timing.PHASES, "data"} - {"resizer"}
        assert set(record["samples"][subjects[0].speed_key]) == {*timing.PHASES, "data"}
        assert not record["failures"]
    assert all(sorted(turns) == sorted(order[0]) for turns in order)
    assert all(turns.count(subjects[2].speed_key) == 2 for turns in order)
    assert len({tuple(turns) for turns in order}) > 1


def sitting_of(rounds: int) -> Sitting:
    return Sitting((toy(),), toy(), Timing(rounds=rounds, seconds=0.001))


def faked(monkeypatch: pytest.MonkeyPatch, facts: list[dict[str, Any]]) -> list[int]:
    """Rounds that measure nothing, disturbed and of threads as told; gives the numbers taken."""
    taken: list[int] = []

    async def take(
        job: Any, folder: Path, number: int, sitting: Sitting, *_: Any, **__: Any
    ) -> None:
        if job is jobs.weigh:
            return
        fact = facts[number]
        if fact.get("dies"):
            raise KeyboardInterrupt
        taken.append(number)
        phases = {name: [0.1 + number] for name in ("train", "infer", "latency", "backbone")}
        keys = [subject.speed_key for subject in sitting.subjects]
        disturbance = fakes.QUIET | {"disturbed": fact.get("disturbed", False), "share": 0.5}
        record: Any = {"status": "ok", "reason": "", "samples": dict.fromkeys(keys, phases)}
        record |= {"again": phases, "failures": {}, "disturbance": disturbance, "finished": ""}
        record |= {"environment": fakes.ENVIRONMENT | {"threads": fact.get("threads", 2)}}
        write_record(folder, record)

    async def weighed(*_: Any) -> Weight:
        return Weight({}, None)

    monkeypatch.setattr(sittings, "perform", take)
    monkeypatch.setattr(sittings, "weigh", weighed)
    return taken


def test_disturbed_rounds_are_marked_repeated_and_left_out(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    disturbed = [True, False, True, False, False]
    faked(monkeypatch, [{"disturbed": one} for one in disturbed])
    events: list[Event] = []
    waited_for(sittings.sit(store.root / "timed", sitting_of(3), events.append))
    record = read_record(store.root / "timed", TimingRecord)
    assert record is not None
    assert record["rounds_used"] == [1, 3, 4]
    assert [d["disturbed"] for d in record["disturbances"]] == disturbed
    rounds = [event for event in events if isinstance(event, Round)]
    assert [event.disturbed for event in rounds] == disturbed
    assert [event.quiet for event in rounds] == list(np.cumsum(np.logical_not(disturbed)))
    seconds = record["subjects"][toy().speed_key]["seconds"]["train"]
    assert seconds == pytest.approx([1.1, 3.1, 4.1])


def test_there_are_at_most_as_many_rounds_again_and_then_all_count() -> None:
    assert sittings.more_rounds([True] * 5, asked=3)
    assert not sittings.more_rounds([True] * 6, asked=3)
    assert sittings.rounds_to_use([True] * 6) == list(range(6))


def test_a_sitting_that_was_stopped_goes_on_behind_its_rounds(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = store.root / "timed"
    facts: list[dict[str, Any]] = [{}, {}, {"dies": True}]
    taken = faked(monkeypatch, facts)
    with pytest.raises(KeyboardInterrupt):
        waited_for(sittings.sit(folder, sitting_of(4), lambda _: None))
    assert read_record(folder, TimingRecord) is None
    facts[2:] = [{}, {}]
    waited_for(sittings.sit(folder, sitting_of(4), lambda _: None))
    assert taken == [0, 1, 2, 3]
    record = read_record(folder, TimingRecord)
    assert record
    assert record["rounds_used"] == [0, 1, 2, 3]


def test_what_is_only_counted_is_weighed_without_a_round_or_a_word(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def weighed(_: Trial) -> Weight:
        return Weight({"gmacs": 1.5}, None)

    monkeypatch.setattr(sittings, "weigh", weighed)
    heard: list[Event] = []
    counted = Sitting((toy(),), toy(), Timing().model_copy(update={"rounds": 0}))
    waited_for(sittings.sit(store.root, counted, heard.append))
    record = read_record(store.root, TimingRecord)
    assert record
    assert record["subjects"][toy().speed_key]["metrics"]["gmacs"]["value"] == 1.5
    assert not heard
    assert not (store.root / "rounds").exists()


def test_rounds_of_another_machine_do_not_count_with_those_of_this_one(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    faked(monkeypatch, [{"threads": 2}, {"threads": 1}, {"threads": 1}])
    waited_for(sittings.sit(store.root / "timed", sitting_of(2), lambda _: None))
    record = read_record(store.root / "timed", TimingRecord)
    assert record
    seconds = record["subjects"][toy().speed_key]["seconds"]["train"]
    assert seconds == pytest.approx([1.1, 2.1])
    assert record["environment"]["threads"] == 1


def test_what_subjects_weigh_is_measured_after_a_first_step() -> None:
    subject = toy(resizer="learned", num_kernels=4)
    for use, metric in (("train", "peak_memory_mib"), ("infer", "infer_memory_mib")):
        weight = timing.weigh(subject, 2, use)  # type: ignore[arg-type]
        assert weight.metrics[metric] > 0
        assert ("gmacs" in weight.metrics) == (use == "train")


def test_what_a_gpu_takes_to_search_for_algorithms_is_not_in_its_peak(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    peaks = [0.0]
    needs = iter([900.0, 300.0, 310.0, 305.0])  # MiB at the peak of each step; the first searches

    def step() -> None:
        peaks[-1] = max(peaks[-1], next(needs))

    stepper = SimpleNamespace(model=SimpleNamespace(train=lambda _: None), infer_step=step)
    monkeypatch.setattr(timing, "Stepper", lambda *_: stepper)
    monkeypatch.setattr(device, "synchronise", lambda _: None)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda _: peaks.append(0.0))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda _: peaks[-1] * 2**20)
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda _: 1024 * 2**20)
    memory = device.PeakMemory(torch.device("cuda"))
    assert timing.measured_weight(toy(), 2, "infer", memory) == {"infer_memory_mib": 310}
    assert max(peaks) == 900
    assert memory.reserved_mib() == 1024
    assert device.PeakMemory(CPU).reserved_mib() is None


def test_what_others_take_of_the_processor_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = environment.Watch()
    busy = watch.busy
    if busy is None:
        pytest.skip("needs Linux's /proc/stat")
    time.sleep(0.05)
    wall = (os.cpu_count() or 1) * (time.perf_counter() - watch.began)
    monkeypatch.setattr(environment, "_busy_s", lambda: busy + wall)
    found = watch.disturbance()
    assert found["share"] == pytest.approx(1.0, abs=0.2)
    assert found["disturbed"]
    monkeypatch.setattr(environment, "_busy_s", lambda: busy)
    assert not watch.disturbance()["disturbed"]


def test_no_size_of_equal_time_is_sought_where_launches_bind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    request = SizeRequest("wider", "equal_time", toy(resizer="learned", num_kernels=4), toy())
    monkeypatch.setattr(timing.Stepper, "busy_share", lambda _: 0.31)
    with pytest.raises(InputError, match=r"keeps the GPU busy for 31 % of its time, under 80 %"):
        matching.timed(request, 2)


def test_busy_time_is_beside_the_wall_time_of_a_gpu_and_a_report_says_what_binds(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert timing.busy_samples(lambda: None, 0.1, CPU) == []
    monkeypatch.setattr(device, "busy_s", lambda *_: 0.07)
    assert timing.busy_samples(lambda: None, 0.1, CPU) == [0.07] * 3
    samples = timing.turn(toy(), 2, None, 0.001, Card(CPU))
    assert samples["train busy"] == samples["infer busy"] == [0.07] * 3
    assert set(samples) == {*timing.PHASES, "train busy", "infer busy"} - {"resizer"}

    asked, store = fakes.experiment(tmp_path, fakes.NARROW), Store(tmp_path)
    fakes.fill(asked, store, fakes.top1)
    fakes.time_all(asked, store)
    assert not [line for line in warnings(gather(asked, store)) if line.startswith("Bound")]
    for folder in set(store.timing_folders(asked).values()):
        record = read_record(folder, TimingRecord)
        assert record
        for arm, share in zip(record["subjects"].values(), (0.5, 0.81, 0.79), strict=True):
            arm["seconds"]["train busy"] = [share * s for s in arm["seconds"]["train"]]
        write_record(folder, record)
    told = [line for line in warnings(gather(asked, store)) if line.startswith("Bound")]
    assert told == [
        "Bound by launches: a training step of plain and learned keeps the GPU busy for less than "
        "80 % of its time, and so takes the processor's time."
    ]


def test_a_model_that_is_compiled_is_compiled_as_a_whole_and_has_no_parts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda _, **how: asked.append(how))
    one = toy(resizer="learned", num_kernels=4, compile="reduce-overhead")
    samples = timing.turn(one, 2, None, 0.001, Card(CPU))
    assert asked == [{"mode": "reduce-overhead", "dynamic": False}]
    assert set(samples) == {"train", "infer", "latency"}
    assert "resizer_ms" not in sittings.summarised([samples], 4)


def test_the_energy_of_a_round_becomes_that_of_an_image() -> None:
    subject = toy()
    key = subject.speed_key
    phases = {"train": [0.5], "infer": [0.1], "latency": [0.1], "backbone": [0.2]}
    card = {"clock_mhz": 1980, "throttled": []}
    rounds: Any = [
        {"samples": {key: phases}, "failures": {}, "again": {}, "finished": "", "environment": {}}
        | {"disturbance": {"disturbed": False}, "card": card, "watts": {key: watts}}
        for watts in (300.0, 320.0, 340.0)
    ]
    record = sittings.assembled(sitting_of(3), rounds, [Weight({}, None, reserved_mib=512.0)])
    assert record["subjects"][key]["reserved_mib"] == 512
    assert record["cards"] == [card] * 3
    assert record["subjects"][key]["joules_per_image"] == pytest.approx(320 * 0.5 / 4)
    for one in rounds:
        del one["card"], one["watts"]
    record = sittings.assembled(sitting_of(3), rounds, [Weight({}, None)])
    assert "cards" not in record
    assert "joules_per_image" not in record["subjects"][key]


def test_speeds_are_medians_of_the_raw_samples() -> None:
    latency = [0.001] * 9 + [0.9]
    first = {"train": [0.5, 9.0], "infer": [0.1], "latency": latency[:5], "backbone": [0.2]}
    second = {"train": [0.4], "infer": [0.2, 0.3], "latency": latency[5:], "backbone": [0.2]}
    found = sittings.summarised([first, second], batch=4)
    assert found["train_images_per_s"] == pytest.approx(4 / 0.5)
    assert found["infer_images_per_s"] == pytest.approx(4 / 0.2)
    assert found["latency_p50_ms"] == pytest.approx(1.0)
    assert found["latency_p95_ms"] == pytest.approx(1e3 * np.percentile(latency, 95))
    assert found["resizer_ms"] == 0


def test_each_context_has_a_sitting_and_those_whose_arms_cost_the_same_share_it(
    write_experiment: WriteExperiment, store: Store
) -> None:
    experiment = write_experiment(axes="num_resblocks = [0, 1]\nlr = [0.1, 0.2]")
    folders = store.timing_folders(experiment)
    assert len(folders) == 4
    assert len(set(folders.values())) == 2
    for sitting in experiment.sittings.values():
        assert sorted(subject.resizer for subject in sitting.subjects) == ["learned", "none"]
        assert sitting.reference.resizer == "none"


@pytest.mark.skipif(device.PeakMemory(CPU).method is None, reason="needs Linux's /proc")
def test_memory_that_is_held_and_given_back_shows_in_the_peak() -> None:
    peak = device.PeakMemory(CPU)
    peak.start()
    held = torch.ones(64 * 2**20, dtype=torch.uint8)
    del held
    assert peak.read_mib() == pytest.approx(64, rel=0.1)
