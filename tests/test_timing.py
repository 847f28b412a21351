"""Timing: what is counted, what is summarised, and in which order turns come."""

from __future__ import annotations

import os
import time
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from bench.data.library import open_dataset
from bench.events import Event, Round
from bench.lab import device, models, timing
from bench.lab import disturbance as machine
from bench.lab.disturbance import Disturbance
from bench.metrics import METRICS, Weight
from bench.records import read_record
from bench.spec.experiment import Timing
from bench.spec.trial import Trial
from bench.store import Store

CPU = torch.device("cpu")


def toy(**fields: Any) -> Trial:
    given = {"dataset": "toy", "backbone": "test_resnet", "input_size": 32, "output_size": 16}
    return Trial(**{**given, "epochs": 1, "batch_size": 4, **fields})


def test_multiply_adds_of_the_resizer_are_the_closed_form() -> None:
    n, r, wide, out = 16, 2, 64, 32
    one = toy(input_size=wide, output_size=out, resizer="learned", num_resblocks=r)
    with_it = timing.cost(models.build(one, 10), one)
    alone = toy(input_size=out)
    without = timing.cost(models.build(alone, 10), alone)
    wanted = (147 * n + n**2) * wide**2 + (18 * r * n**2 + 9 * n**2 + 147 * n) * out**2
    assert (with_it["gmacs"] - without["gmacs"]) * 1e9 == pytest.approx(wanted)
    assert (with_it["params_m"] - without["params_m"]) * 1e6 == pytest.approx(16707)
    assert with_it["resizer_gmacs"] * 1e9 == pytest.approx(wanted)
    assert with_it["resizer_params_m"] * 1e6 == pytest.approx(16707)


def test_resnet50_at_224_px_has_its_published_multiply_adds_and_parameters() -> None:
    one = toy(backbone="resnet50", input_size=224)
    found = timing.cost(models.build(one, 1000), one)
    assert found["gmacs"] == pytest.approx(4.09, abs=0.03)
    assert found["params_m"] == pytest.approx(25.557, abs=0.001)


def test_turns_are_interleaved_and_raw_samples_kept(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    subjects = [toy(), toy(resizer="learned", num_kernels=4)]
    weights = []
    for subject in subjects:
        training, inference = (timing.weigh(subject, 2, use) for use in ("train", "infer"))  # type: ignore[arg-type]
        weights.append(Weight({**training.metrics, **inference.metrics}, training.memory_method))
    assert all(weight.metrics["peak_memory_mib"] > 0 for weight in weights)
    folder = store.root / "timed"
    data, quiet = {"toy": open_dataset("toy")}, Disturbance(0.0, 0.0, 0.0, False)
    monkeypatch.setattr(timing.Watch, "disturbance", lambda _: quiet)
    asked = (folder, subjects, subjects[0], data, {"toy": 2}, Timing(rounds=2, seconds=0.001))
    timing.run(lambda _: None, *asked, weights)
    samples = pd.read_parquet(folder / "samples.parquet")
    turns = samples[["round", "subject", "again"]].drop_duplicates().values.tolist()
    first, second = (subject.speed_key for subject in subjects)
    arms = [(first, False), (second, False), (first, True)]
    assert turns == [[number, *arm] for number in (0, 1) for arm in arms]
    assert (samples["seconds"] > 0).all()
    record = read_record(folder)
    assert record is not None
    for subject in record["subjects"].values():
        assert set(subject["metrics"]) == {n for n, m in METRICS.items() if m.source == "timing"}
        assert set(map(len, subject["seconds"].values())) == {2}
    assert set(record["again"]) == {*timing.PHASES, "data"} - {"resizer"}
    assert record["rounds_used"] == [0, 1]


def test_disturbed_rounds_are_marked_repeated_and_left_out(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, disturbed = toy(), [True, False, True, False, False]
    ends = iter(disturbed)
    monkeypatch.setattr(
        timing.Watch, "disturbance", lambda _: Disturbance(0.5, 0.0, 9.0, next(ends))
    )
    weight = Weight({}, None)
    events: list[Event] = []
    asked = (store.root / "timed", [one], one, {}, {"toy": 2}, Timing(rounds=3, seconds=0.001))
    timing.run(events.append, *asked, [weight])
    record = read_record(store.root / "timed")
    assert record is not None
    assert record["rounds_used"] == [1, 3, 4]
    assert [d["disturbed"] for d in record["disturbances"]] == disturbed
    rounds = [event for event in events if isinstance(event, Round)]
    assert [event.disturbed for event in rounds] == disturbed
    assert [event.quiet for event in rounds] == list(np.cumsum(np.logical_not(disturbed)))
    assert len(record["subjects"][one.speed_key]["seconds"]["train"]) == 3


def test_there_are_at_most_as_many_rounds_again_and_then_all_count() -> None:
    lost = [Disturbance(0.5, 0.0, 9.0, True)] * 6
    assert timing.more_rounds(lost[:5], asked=3)
    assert not timing.more_rounds(lost, asked=3)
    assert timing.rounds_to_use(lost) == list(range(6))


def test_what_others_take_of_the_processor_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = machine.Watch()
    busy = watch.busy
    if busy is None:
        pytest.skip("needs Linux's /proc/stat")
    time.sleep(0.05)
    wall = (os.cpu_count() or 1) * (time.perf_counter() - watch.began)
    monkeypatch.setattr(machine, "_busy_s", lambda: busy + wall)
    found = watch.disturbance()
    assert found.share == pytest.approx(1.0, abs=0.2)
    assert found.disturbed
    monkeypatch.setattr(machine, "_busy_s", lambda: busy)
    assert not watch.disturbance().disturbed


def test_speeds_are_medians_of_the_raw_samples() -> None:
    one = toy()
    seconds = {"train": [0.5, 0.4, 9.0], "infer": [0.1, 0.2, 0.3], "latency": [0.001] * 9 + [0.9]}
    samples = [
        {"subject": one.speed_key, "again": False, "round": 0, "phase": phase, "seconds": value}
        for phase, values in seconds.items()
        for value in values
    ]
    found = timing.summarise([*samples, {**samples[0], "subject": "x", "seconds": 99.0}], one)
    assert found["train_images_per_s"] == pytest.approx(4 / 0.5)
    assert found["infer_images_per_s"] == pytest.approx(4 / 0.2)
    assert found["latency_p50_ms"] == pytest.approx(1.0)
    assert found["latency_p95_ms"] == pytest.approx(1e3 * np.percentile(seconds["latency"], 95))


@pytest.mark.skipif(device.PeakMemory(CPU).method is None, reason="needs Linux's /proc")
def test_memory_that_is_held_and_given_back_shows_in_the_peak() -> None:
    peak = device.PeakMemory(CPU)
    peak.start()
    held = torch.ones(64 * 2**20, dtype=torch.uint8)
    del held
    assert peak.read_mib() == pytest.approx(64, rel=0.1)
