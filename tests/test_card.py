"""A GPU's sensors: what they say is put into our units, and silence is no error."""

from __future__ import annotations

import os
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from bench.lab import card
from bench.lab.card import Card

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> Any:
    """NVML's module, of a card that was asked for by its name."""
    fake: Any = ModuleType("pynvml")
    fake.NVMLError, fake.NVML_CLOCK_SM = RuntimeError, 1
    for bit, name in enumerate(card.REASONS.split()):
        setattr(fake, f"nvmlClocksEventReason{name}", 1 << bit)
    fake.nvmlInit = lambda: None
    fake.nvmlDeviceGetHandleByUUID = {"GPU-1b-2c": "handle"}.__getitem__
    fake.nvmlDeviceGetTotalEnergyConsumption = lambda _: 7_000
    fake.nvmlDeviceGetPowerUsage = lambda _: 350_500
    fake.nvmlDeviceGetClockInfo = lambda _, kind: 1980 if kind == 1 else 0
    fake.nvmlDeviceGetTemperature = lambda *_: 61
    fake.nvmlDeviceGetCurrentClocksEventReasons = lambda _: 0b101
    running = [SimpleNamespace(pid=os.getpid()), SimpleNamespace(pid=1)]
    fake.nvmlDeviceGetComputeRunningProcesses = lambda _: running
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    there = SimpleNamespace(uuid="1b-2c")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: there)
    return fake


@pytest.mark.usefixtures("nvml")
def test_a_card_is_found_by_its_name_and_tells_its_state_in_our_units() -> None:
    assert Card(CUDA).facts() == {
        "clock_mhz": 1980,
        "temperature_c": 61,
        "power_w": 350.5,
        "others": 1,
        "throttled": ["SwPowerCap", "SwThermalSlowdown"],
    }


def test_a_sensor_that_is_not_there_is_none(nvml: Any) -> None:
    def absent(*_: object) -> None:
        raise nvml.NVMLError("Not Supported")

    nvml.nvmlDeviceGetTemperature = nvml.nvmlDeviceGetTotalEnergyConsumption = absent
    watched = Card(CUDA)
    facts = watched.facts()
    assert facts
    assert facts["temperature_c"] is None
    assert facts["clock_mhz"] == 1980
    with watched.metered("arm"):
        pass
    assert watched.watts == {}


def test_a_sensor_that_an_older_nvml_has_no_name_for_is_none(nvml: Any) -> None:
    del nvml.nvmlDeviceGetCurrentClocksEventReasons
    facts = Card(CUDA).facts()
    assert facts
    assert facts["throttled"] is None
    assert facts["clock_mhz"] == 1980


def test_mean_power_is_energy_over_time(nvml: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    energy, clock = iter([1_000, 61_000]), iter([10.0, 10.2])
    nvml.nvmlDeviceGetTotalEnergyConsumption = lambda _: next(energy)
    monkeypatch.setattr(card.time, "perf_counter", lambda: next(clock))
    watched = Card(CUDA)
    with watched.metered("arm"):
        pass
    assert watched.watts == {"arm": pytest.approx(300)}


def test_without_nvml_or_a_gpu_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    for device in (CPU, CUDA):
        assert Card(device).facts() is None
        assert Card(device).joules() is None
