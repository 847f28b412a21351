"""Kills and failing writes at random moments: nothing finished is lost, run twice, or changed.

The suite kills 20 times; RESIZER_BENCH_KILLS=100 asks for more.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bench.opening import load_from
from bench.paths import PROJECT
from bench.run import runner
from bench.store import Store
from tests.conftest import toy_toml

KILLS = int(os.environ.get("RESIZER_BENCH_KILLS", "20"))
RATES = [round(0.001 * (1 + i), 3) for i in range(max(3, KILLS // 10))]


def disturbed(file: Path, results: Path, fault: str, rounds: int) -> list[list[Any]]:
    """The rounds of a disturbed run, and the last, undisturbed one."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.faulty", str(file), fault, str(rounds), "17"],
        cwd=PROJECT,
        env=os.environ | {"RESIZER_BENCH_RESULTS": str(results), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def table(file: Path, results: Path) -> pd.DataFrame:
    store = Store(results)
    found = store.table(load_from(store, str(file), small=False))
    return found.drop(columns=["train_s"]).sort_values(["key", "arm"]).reset_index(drop=True)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("faults") / "toy.toml"
    path.write_text(toy_toml(axes=f"lr = {RATES}").replace("epochs = 2", "epochs = 1"))
    return path


@pytest.fixture(scope="module")
def wanted(file: Path, data_folder: Path) -> pd.DataFrame:
    """The table of a run that nothing disturbs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RESIZER_BENCH_DATA", str(data_folder))
        store = Store(file.parent / "calm")
        asked = load_from(store, str(file), small=False)
        runner.run(asked, store, lambda _: None, where={"dataset": "toy"})
        return table(file, store.root)


@pytest.mark.parametrize(("fault", "rounds"), [("kill", KILLS), ("full", 8)])
def test_a_disturbed_run_loses_nothing_runs_nothing_twice_and_ends_with_the_same_numbers(
    store: Store,
    file: Path,
    wanted: pd.DataFrame,
    fault: str,
    rounds: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    told = disturbed(file, store.root, fault, rounds)
    before: dict[str, str] = {}
    begun_again = 0
    for now, begun, status, said in told:
        assert all(now.get(key) == digest for key, digest in before.items()), "lost or changed"
        assert not set(begun) & set(before), "run twice"
        assert "Traceback" not in said
        if status == 2:
            assert len(said.splitlines()) == 1
        begun_again += len(set(begun) - set(now))
        before = now
    assert told[-1][2] == 0, told[-1][3]
    assert set(wanted["status"]) == {"ok"}
    pd.testing.assert_frame_equal(table(file, store.root), wanted, check_exact=True)
    stopped = sum(status == 2 for _, _, status, _ in told)
    with capsys.disabled():
        print(  # noqa: T201
            f"\n{fault}: {rounds} rounds, {stopped} stopped in a sentence; {len(before)} trials, "
            f"{begun_again} cut short and taken up again"
        )
