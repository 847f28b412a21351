"""Where the project's files are: in the checkout, or in the package and the working directory."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
WEIGHTS = "weights.safetensors"
"""In the folder of a trial."""


def checkout(package: Path) -> Path | None:
    """The folder of the checkout that `package` is part of; None where it is installed."""
    folder = package.parent
    whole = (folder / "pyproject.toml").is_file() and (folder / "experiments").is_dir()
    return folder if whole else None


CHECKOUT = checkout(PACKAGE)
PROJECT = CHECKOUT or Path()
with suppress(FileNotFoundError):  # of a working directory that is gone, which the command tells
    PROJECT = PROJECT.absolute()
"""What holds `results/`: an installed package writes to the working directory, never to itself."""
EXPERIMENTS = (CHECKOUT or PACKAGE) / "experiments"
PUBLISHED = PROJECT / "results" / "published"


def expanded(path: Path | str) -> Path:
    """With the folder of a user for `~`; as it stands where there is no such user."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 # Path's own raises there


def snapshot_file(results: Path, key: str) -> Path:
    """Where the state of a trial in training is saved, in a folder of results."""
    return results / "unfinished" / key / "snapshot.pt"


def results_with(key: str) -> Path:
    """The folder of results that has the weights of a trial: the user's own, or a published one."""
    own = local_results()
    for folder in (own, *sorted(PUBLISHED.glob("*"))):
        if (folder / "trials" / key / WEIGHTS).exists():
            return folder
    return own


def local_results() -> Path:
    """The user's own results: `results/local`, or the folder RESIZER_BENCH_RESULTS names."""
    given = os.environ.get("RESIZER_BENCH_RESULTS")
    return expanded(given) if given else PROJECT / "results" / "local"
