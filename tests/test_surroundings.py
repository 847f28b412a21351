"""Full disks, odd folders, terminals and locales, and processes that end by themselves."""

from __future__ import annotations

import errno
import os
import sqlite3
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from optuna.exceptions import StorageInternalError

from bench.errors import InputError, MachineError, machine_trouble
from bench.events import Begin, Event, Listener
from bench.lab import trial
from bench.paths import PROJECT, local_results
from bench.run import jobs, runner
from bench.run.executors import Local
from bench.run.plan import make_plan
from bench.run.processes import DiedError, call
from bench.run.studies import connected
from bench.store import Store
from tests.conftest import WriteExperiment, toy_trial


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/x"), "no space left (/x)"),
        (OSError(errno.EROFS, "Read-only file system"), "the disk is read-only"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "the quota is used up"),
        (OSError(errno.EMFILE, "Too many open files"), "too many open files"),
        (OSError("Error writing: [errno 28] No space left on device"), "no space left"),
        (RuntimeError("I/O error: No space left on device (os error 28)"), "no space left"),
        (RuntimeError("CUDA error: GPU is lost"), "the device is lost"),
        (RuntimeError("shapes do not fit"), ""),
        (MemoryError(), ""),
        (FileNotFoundError(2, "No such file or directory", "/x"), ""),
    ],
)
def test_errors_of_the_machine_are_told_from_those_of_a_trial(error: Exception, said: str) -> None:
    assert machine_trouble(error) == said


@pytest.mark.parametrize("place", ["save_predictions", "weights.save", "pictures.save"])
def test_a_trial_that_meets_a_full_disk_is_left_missing(
    store: Store, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(f"bench.lab.trial.{place}", full)
    one = toy_trial()
    with pytest.raises(MachineError, match=r"^no space left: "):
        trial.run(lambda _: None, one, store.trial_folder(one.key), store.root)
    assert store.trial(one.key) is None


def test_a_run_stops_at_the_first_trial_that_meets_a_full_disk(
    store: Store, write_experiment: WriteExperiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[Event] = []
    monkeypatch.setattr(jobs, "train", full_disk)
    with pytest.raises(MachineError, match="no space left"):
        runner.run(write_experiment(), store, begun.append, choose=partial(Local, workers=1))
    assert sum(isinstance(event, Begin) for event in begun) == 1
    assert make_plan(write_experiment(), store).counts == {"missing": 4}


def full_disk(*_: object) -> None:
    raise MachineError("no space left")


@pytest.mark.parametrize("length", [80, 230])
def test_a_long_folder_of_temporary_files_is_no_trouble(tmp_path: Path, length: int) -> None:
    folder = tmp_path / ("t" * length)
    folder.mkdir()
    code = "from bench.run.processes import call\nfrom tests.test_processes import half\n"
    code += "if __name__ == '__main__':\n    print(call(half, 8))"
    (script := tmp_path / "script.py").write_text(code)
    environment = os.environ | {"TMPDIR": str(folder), "PYTHONPATH": str(PROJECT)}
    done = subprocess.run(
        [sys.executable, script], env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout == "4\n", done.stderr


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1"])
def test_a_terminal_that_is_not_utf_8_is_shown_what_it_can(encoding: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench", "plan", "no→pe 日本"],
        cwd=PROJECT, env=os.environ | {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"},
        capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith(b"resizer-bench: no experiment")
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("verb", ["plan", "report"])
def test_our_files_are_utf_8_whatever_the_locale_is(tmp_path: Path, verb: str) -> None:
    ascii_only = {"LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "bench", verb, "quick"], cwd=PROJECT, capture_output=True,
        env=os.environ | ascii_only | {"RESIZER_BENCH_RESULTS": str(tmp_path)}, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("given", ["~/results", "~"])
def test_a_tilde_is_the_users_own_folder(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.setenv("RESIZER_BENCH_RESULTS", given)
    assert str(local_results()) == given.replace("~", "/home/someone")


@pytest.mark.parametrize("name", ["what?", "50%", "a%3Fb", "{x}", "é #1", "a?mode=ro&b"])
def test_a_study_is_where_its_folder_is_whatever_that_is_called(tmp_path: Path, name: str) -> None:
    import optuna

    (tmp_path / name).mkdir()
    file = tmp_path / name / "study.db"
    storage = optuna.storages.RDBStorage("sqlite:///study.db", engine_kwargs=connected(file))
    optuna.create_study(storage=storage, study_name="s")
    storage.engine.dispose()
    with sqlite3.connect(file) as database:
        assert database.execute("select study_name from studies").fetchall() == [("s",)]
    database.close()
    assert [path.name for path in tmp_path.iterdir()] == [name]


def leaver(_: Listener) -> None:
    sys.exit(0)


def test_a_job_that_exits_with_0_has_not_done_its_work() -> None:
    with pytest.raises(DiedError, match="ended with exit status 0"):
        call(leaver)


@pytest.mark.parametrize("content", [b"garbage" * 1000, b"SQLite format 3\0" + b"x" * 5000])
def test_a_garbage_study_is_one_sentence(store: Store, tmp_path: Path, content: bytes) -> None:
    from bench.run.search import open_search
    from bench.run.studies import Tuner
    from tests.conftest import toy_toml

    text = toy_toml(rest='[search]\narms = ["learned"]\ntrials = 1').replace(
        "num_kernels = 4", "num_kernels = 4\nlr = {log = [0.001, 0.01]}"
    )
    (tmp_path / "look.toml").write_text(text)
    search = open_search(str(tmp_path / "look.toml"))
    folder = store.search_folder(search.name)
    folder.mkdir(parents=True)
    (folder / "study.db").write_bytes(content)
    with pytest.raises(InputError, match=r"study.db is damaged or of another version \(.*move"):
        Tuner(search, store, lambda _: None, lambda *_: {})  # type: ignore[arg-type,return-value]


@pytest.mark.parametrize(
    ("said", "kind", "told"),
    [
        ("database or disk is full", MachineError, r"study.db: no space left$"),
        ("database is locked", MachineError, r"study.db: another process keeps a study's file"),
        (
            "no such table: trials",
            InputError,
            r"study.db is damaged .*no such table: trials\): mov",
        ),
    ],
)
def test_a_study_that_fails_says_whether_the_machine_or_the_file_is_at_fault(
    tmp_path: Path, said: str, kind: type[InputError], told: str
) -> None:
    from bench.run.studies import OF_THE_FILE, of_studies

    file = tmp_path / "study.db"
    with pytest.raises(InputError, match=told) as caught, of_studies(file, *OF_THE_FILE):
        raise StorageInternalError from sqlite3.OperationalError(said)
    assert type(caught.value) is kind
