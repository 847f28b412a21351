"""Where the project's own files are: experiments, results."""

from __future__ import annotations

import os
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
EXPERIMENTS = PROJECT / "experiments"
PUBLISHED = PROJECT / "results" / "published"


def local_results() -> Path:
    """The user's own results: `results/local`, or the folder RESIZER_BENCH_RESULTS names."""
    return Path(os.environ.get("RESIZER_BENCH_RESULTS") or PROJECT / "results" / "local")
