"""What ran this: versions, device, threads, precision, revision; and what else was running."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import resource
import subprocess
import time
from pathlib import Path

import torch

from bench.lab.device import resolve_precision
from bench.paths import CHECKOUT
from bench.records import DisturbanceFacts, Environment

STAT = Path("/proc/stat")
LIMIT = 0.10  # share of the processor's time beyond which other load disturbs a measurement
VERSIONS = {
    name: importlib.metadata.version(name)
    for name in ("torch", "torchvision", "timm", "numpy", "pillow")
}
"""Read once, before processes are forked for trials: it takes as long as a step of a small one."""


def describe(device: torch.device, precision: str) -> Environment:
    """The facts that a record keeps, so that only like is compared with like.

    Args:
        precision: as a trial asks for it, or as that was resolved.
    """
    changed = _git("status", "--porcelain", "--", "bench", "resizer")
    return {
        "device": device.type,
        "device_name": device_name(device),
        "driver": driver(device),
        "precision": resolve_precision(precision, device),
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "platform": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": VERSIONS["torch"],
        "torchvision": VERSIONS["torchvision"],
        "timm": VERSIONS["timm"],
        "numpy": VERSIONS["numpy"],
        "pillow": VERSIONS["pillow"],
        "git_revision": _git("rev-parse", "--short=12", "HEAD"),
        "git_dirty": bool(changed) if changed is not None else None,
    }


def device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def driver(device: torch.device) -> str | None:
    """CUDA's and its driver's version; None without CUDA."""
    if device.type != "cuda":
        return None
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    first, *_ = (_output(query) or "unknown").splitlines()  # one a card, all the same
    return f"CUDA {torch.version.cuda}, driver {first}"


def _git(*arguments: str) -> str | None:
    """What git says of the checkout; None outside one: the working directory may be another's."""
    return _output(["git", *arguments]) if CHECKOUT else None


def now() -> str:
    """The time in UTC, ISO, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _output(command: list[str]) -> str | None:
    """What the command prints; None where it is not there or fails."""
    try:
        done = subprocess.run(
            command, cwd=CHECKOUT, capture_output=True, text=True, timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


class Watch:
    """Whether something else uses the processor, from its making to `disturbance()`."""

    def __init__(self) -> None:
        self.began = time.perf_counter()
        self.busy, self.own, self.switches = _busy_s(), time.process_time(), _switches()

    def disturbance(self) -> DisturbanceFacts:
        wall = time.perf_counter() - self.began
        cores = os.cpu_count() or 1
        share = None
        if (busy := _busy_s()) is not None and self.busy is not None:
            others = busy - self.busy - (time.process_time() - self.own)
            share = max(0.0, others / (wall * cores))
        load = os.getloadavg()[0]
        return {
            "share": share,
            "switches_per_s": (_switches() - self.switches) / wall,
            "load": load,
            "disturbed": judge(share, load, cores),
        }


def judge(share: float | None, load: float, cores: int) -> bool:
    """Whether a measurement was disturbed: by the share of others, else by the load average.

    >>> judge(0.2, 0.0, 2), judge(0.02, 9.0, 2), judge(None, 4.5, 2), judge(None, 3.5, 2)
    (True, False, True, False)
    """
    return load > 2 * cores if share is None else share > LIMIT


def _busy_s() -> float | None:
    """Seconds that all cores together were at work or taken away, since the system began."""
    if not STAT.exists():
        return None
    user, nice, system, _idle, _wait, irq, softirq, steal = map(int, STAT.read_text().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def _switches() -> int:
    """How often this process was put off the processor."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
