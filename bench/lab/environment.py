"""What ran this: versions, device, threads, precision, revision."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path

import torch

from bench.lab.device import resolve_precision
from bench.paths import CHECKOUT
from bench.records import Environment


def describe(device: torch.device, precision: str) -> Environment:
    """The facts that a record keeps, so that only like is compared with like.

    Args:
        precision: as a trial asks for it, or as that was resolved.
    """
    version = importlib.metadata.version
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
        "torch": version("torch"),
        "torchvision": version("torchvision"),
        "timm": version("timm"),
        "numpy": version("numpy"),
        "pillow": version("pillow"),
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
