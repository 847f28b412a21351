"""The command as a user types it: in a process of its own, or in this one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from bench import cli
from bench.paths import PROJECT
from bench.store import Store
from tests.conftest import WriteExperiment


def separately(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, as a user starts it."""
    return subprocess.run(
        [sys.executable, "-m", "bench", *map(str, arguments)],
        cwd=PROJECT, capture_output=True, text=True, check=False, timeout=900,
    )  # fmt: skip


class Done(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


Command = Callable[..., Done]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """The command in this process, which need not import everything once more."""

    def run(*arguments: str | Path) -> Done:
        monkeypatch.setattr(sys, "argv", ["resizer-bench", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        code = ended.value.code or 0
        assert isinstance(code, int)
        return Done(code, *capsys.readouterr())

    return run


@pytest.fixture
def toy(tmp_path: Path, store: Store, write_experiment: WriteExperiment) -> Path:
    write_experiment()
    assert not store.root.exists()
    return tmp_path / "toy.toml"
