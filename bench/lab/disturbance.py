"""Whether something else was using the processor while we measured."""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path

from bench.records import DisturbanceFacts

STAT = Path("/proc/stat")
BUSY = ("user", "nice", "system", "irq", "softirq", "steal")
FIELDS = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
LIMIT = 0.10  # share of the processor's time beyond which other load disturbs a measurement


class Watch:
    """Watches from its making to `disturbance()`."""

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


def judge(share: float | None, load: float | None, cores: int) -> bool:
    """Whether a measurement was disturbed: by the share of others, else by the load average.

    >>> judge(0.2, None, 2), judge(0.02, 9.0, 2), judge(None, 4.5, 2), judge(None, None, 2)
    (True, False, True, False)
    """
    if share is not None:
        return share > LIMIT
    return load is not None and load > 2 * cores


def _busy_s() -> float | None:
    """Seconds that all cores together were at work or taken away, since the system began."""
    if not STAT.exists():
        return None
    ticks = dict(zip(FIELDS, map(int, STAT.read_text().split()[1:9]), strict=True))
    return sum(ticks[name] for name in BUSY) / os.sysconf("SC_CLK_TCK")


def _switches() -> int:
    """How often this process was put off the processor."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
