"""What a GPU's sensors say while it is timed, through NVML: `pip install 'resizer-bench[gpu]'`."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch

from bench.records import CardFacts

REASONS = "SwPowerCap HwSlowdown SwThermalSlowdown HwThermalSlowdown HwPowerBrakeSlowdown"
"""What NVML calls the reasons for which a clock is slower than it could be."""


class Card:
    """One GPU, watched from its making on; of other devices, and without NVML, nothing is known."""

    def __init__(self, device: torch.device) -> None:
        self.nvml: Any = None
        self.watts: dict[str, float] = {}
        if device.type == "cuda":
            with suppress(Exception):  # no such module, driver or permission
                import pynvml

                pynvml.nvmlInit()
                # by its name: numbers are counted otherwise under CUDA_VISIBLE_DEVICES
                uuid = f"GPU-{torch.cuda.get_device_properties(device).uuid}"
                self.handle = pynvml.nvmlDeviceGetHandleByUUID(uuid)
                self.nvml = pynvml

    def joules(self) -> float | None:
        """The energy that it has taken since its driver was loaded."""
        millijoules = self._read(lambda nvml: nvml.nvmlDeviceGetTotalEnergyConsumption(self.handle))
        return None if millijoules is None else millijoules / 1e3

    @contextmanager
    def metered(self, name: str) -> Iterator[None]:
        """Note in `watts`, under the name, the mean power over what is done meanwhile."""
        before, began = self.joules(), time.perf_counter()
        yield
        if before is not None and (after := self.joules()) is not None:
            self.watts[name] = (after - before) / (time.perf_counter() - began)

    def facts(self) -> CardFacts | None:
        """Its state now: what it is called right after work under which it should be."""
        if self.nvml is None:
            return None
        read, handle = self._read, self.handle
        milliwatts = read(lambda nvml: nvml.nvmlDeviceGetPowerUsage(handle))
        return {
            "clock_mhz": read(lambda nvml: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM)),
            "temperature_c": read(lambda nvml: nvml.nvmlDeviceGetTemperature(handle, 0)),
            "power_w": None if milliwatts is None else milliwatts / 1e3,
            "others": read(self._others),
            "throttled": read(self._throttled),
        }

    def _others(self, nvml: Any) -> int:
        running = nvml.nvmlDeviceGetComputeRunningProcesses(self.handle)
        return sum(process.pid != os.getpid() for process in running)

    def _throttled(self, nvml: Any) -> list[str]:
        mask = nvml.nvmlDeviceGetCurrentClocksEventReasons(self.handle)
        bits = {name: getattr(nvml, f"nvmlClocksEventReason{name}") for name in REASONS.split()}
        return [name for name, bit in bits.items() if mask & bit]

    def _read(self, sensor: Callable[[Any], Any]) -> Any:
        """What a sensor says; None where the card, or a part of it, has none."""
        if self.nvml is None:
            return None
        with suppress(self.nvml.NVMLError, AttributeError):  # or an older NVML, which lacks it
            return sensor(self.nvml)
        return None
