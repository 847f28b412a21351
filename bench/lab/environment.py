"""What ran this: versions, device, threads, precision, revision."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import torch

from bench.lab.device import Precision
from bench.paths import CHECKOUT

PACKAGES = ("torch", "torchvision", "timm", "numpy", "pillow")


def describe(device: torch.device, precision: Precision) -> dict[str, Any]:
    """The facts that a record keeps, so that only like is compared with like."""
    return {
        "device": device.type,
        "device_name": device_name(device),
        "driver": driver(device),
        "precision": precision,
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "platform": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in PACKAGES},
        **revision(),
    }


def device_name(device: torch.device) -> str:
    """The GPU's or the processor's name."""
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
    return f"CUDA {torch.version.cuda}, driver {_output(query) or 'unknown'}"


def revision() -> dict[str, Any]:
    """The commit that the code is at, and whether the work tree differs from it.

    None where there is no checkout: the working directory may be one of another project.
    """
    if CHECKOUT is None:
        return {"git_revision": None, "git_dirty": None}
    changed = _output(["git", "status", "--porcelain", "--", "bench", "resizer"])
    return {
        "git_revision": _output(["git", "rev-parse", "--short=12", "HEAD"]),
        "git_dirty": bool(changed) if changed is not None else None,
    }


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
