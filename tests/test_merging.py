"""What another folder of results has is taken in whole, or refused in a sentence."""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench import merging
from bench.cli import upkeep
from bench.errors import InputError
from bench.metrics import as_metrics
from bench.records import write_record
from bench.run.attempt import ended
from bench.spec.experiment import Experiment
from bench.store import Store
from tests import fakes


@pytest.fixture
def asked(tmp_path: Path) -> Experiment:
    return fakes.experiment(tmp_path, fakes.NARROW)


@pytest.fixture
def here(tmp_path: Path) -> Store:
    return Store(tmp_path / "here")


@pytest.fixture
def there(tmp_path: Path, asked: Experiment) -> Store:
    """All trials, weights of each, a sitting, a size."""
    store = Store(tmp_path / "there")
    fakes.fill(asked, store, fakes.top1)
    for key in asked.trials:
        (store.trial_folder(key) / "weights.safetensors").write_bytes(key.encode())
    fakes.time_all(asked, store)
    write_record(store.size_folder("a"), fakes.size_record(96))
    return store


def files(store: Store) -> dict[str, bytes]:
    paths = (path for path in store.root.rglob("*") if path.is_file())
    return {str(path.relative_to(store.root)): path.read_bytes() for path in paths}


def test_what_is_not_here_is_taken_in_and_again_changes_nothing(
    here: Store, there: Store, asked: Experiment
) -> None:
    taken = merging.merge(here, there.root)
    sittings = len(list(there.root.glob("timings/*")))
    assert taken == {"trials": len(asked.trials), "timings": sittings, "sizes": 1}
    assert files(here) == files(there)
    assert not merging.merge(here, there.root)
    assert files(here) == files(there)


def test_what_comes_from_a_read_only_folder_can_be_changed_here(
    here: Store, there: Store, asked: Experiment
) -> None:
    first, *_ = asked.trials
    folder = there.trial_folder(first)
    for path in (*folder.iterdir(), folder):
        path.chmod(0o555 if path.is_dir() else 0o444)
    merging.merge(here, there.root)
    copy = here.trial_folder(first)
    assert all(path.stat().st_mode & 0o200 for path in (copy, *copy.iterdir()))


def test_a_disk_that_cannot_sync_folders_takes_results_too(
    here: Store, there: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fsync", fsync)
    merging.merge(here, there.root)
    assert files(here) == files(there)


def test_the_command_says_what_it_has_taken(
    there: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("RESIZER_BENCH_RESULTS", str(tmp_path / "here"))
    upkeep.merge(there.root)
    upkeep.merge(there.root)
    first, again = capsys.readouterr().out.splitlines()
    assert first == f"taken from {there.root}: sizes 1, trials 9, timings 1"
    assert again == f"taken from {there.root}: nothing that was not here"


def test_a_trial_that_failed_here_is_taken_from_there_and_not_the_other_way(
    here: Store, there: Store, asked: Experiment
) -> None:
    lost, *_ = asked.trials
    write_record(here.trial_folder(lost), ended(asked.trials[lost], "oom", "full"))
    (here.trial_folder(lost) / "log.txt").write_text("Traceback")
    assert not merging.merge(there, here.root)
    merging.merge(here, there.root)
    assert files(here) == files(there)


def test_weights_that_were_kept_there_alone_and_snapshots_are_taken_in(
    here: Store, there: Store, asked: Experiment
) -> None:
    merging.merge(here, there.root)
    first, *_ = asked.trials
    weights = here.trial_folder(first) / "weights.safetensors"
    weights.unlink()
    for key in (first, "begun"):
        there.snapshot(key).parent.mkdir(parents=True)
        there.snapshot(key).write_bytes(b"state")
    assert merging.merge(here, there.root) == {"snapshots": 1}
    assert weights.read_bytes() == first.encode()
    assert here.snapshot("begun").read_bytes() == b"state"
    assert not here.snapshot(first).exists()


def test_a_folder_in_which_nothing_has_ended_yet_has_its_snapshots_taken(
    here: Store, tmp_path: Path
) -> None:
    begun = Store(tmp_path / "begun")
    begun.snapshot("k").parent.mkdir(parents=True)
    begun.snapshot("k").write_bytes(b"state")
    assert merging.merge(here, begun.root) == {"snapshots": 1}


def test_a_search_that_has_begun_here_and_has_no_record_yet_stays(
    here: Store, there: Store
) -> None:
    for store, study in ((here, "ours"), (there, "theirs")):
        store.search_folder("tuned").mkdir(parents=True)
        (store.search_folder("tuned") / "study.db").write_text(study)
    record: Any = {"status": "ok", "reason": "", "optuna": "5", "asked": {}, "settings": {}}
    record |= {"sampler": {}, "pruner": {}, "spaces": {}, "arms": {}}
    write_record(there.search_folder("tuned"), record)
    assert "searches" not in merging.merge(here, there.root)
    (kept,) = here.search_folder("tuned").iterdir()
    assert kept.read_text() == "ours"


def of_other_accuracy(record: dict[str, Any]) -> None:
    record["metrics"] |= as_metrics({"top1_pct": 1.5})


def of_other_images(record: dict[str, Any]) -> None:
    record["data"] |= {"name": "fine", "fingerprint": "e" * 64}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (of_other_accuracy, r"its top1_pct is 1\.5, not 10"),
        (of_other_images, "its 'fine' has the fingerprint eeeeeeeeeeee, not ffffffffffff"),
    ],
)
def test_what_contradicts_is_refused_by_name_and_nothing_is_written(
    here: Store,
    there: Store,
    asked: Experiment,
    change: Callable[[dict[str, Any]], None],
    why: str,
) -> None:
    *_, last = asked.trials
    record: Any = there.trial(last)
    record["data"] |= {"name": "fine"}
    record["metrics"] |= as_metrics({"top1_pct": 10.0})
    write_record(here.trial_folder(last), record)
    change(record)
    write_record(there.trial_folder(last), record)
    before = files(here)
    with pytest.raises(InputError, match=rf"trials/{last} contradicts .*here/trials/{last}: {why}"):
        merging.merge(here, there.root)
    assert files(here) == before


def test_other_images_under_a_name_are_refused_where_no_trial_is_in_both_folders(
    here: Store, there: Store, asked: Experiment
) -> None:
    first, *rest = asked.trials
    for store, keys, fingerprint in ((here, [first], "f"), (there, rest, "e")):
        for key in keys:
            record: Any = there.trial(key)
            record["data"] |= {"name": "fine", "fingerprint": fingerprint * 64}
            write_record(store.trial_folder(key), record)
    shutil.rmtree(there.trial_folder(first))
    with pytest.raises(InputError, match="its 'fine' has the fingerprint eeeeeeeeeeee, not f"):
        merging.merge(here, there.root)


def test_other_images_under_a_name_are_refused_among_what_is_to_be_taken(
    here: Store, there: Store, asked: Experiment
) -> None:
    first, second = sorted(asked.trials)[:2]
    record: Any = there.trial(second)
    record["data"] |= {"fingerprint": "e" * 64}
    write_record(there.trial_folder(second), record)
    why = f"{second} contradicts .*there/trials/{first}: its 'fine' has the fingerprint e+, not f+"
    with pytest.raises(InputError, match=why):
        merging.merge(here, there.root)
    assert not here.root.exists()


def test_timings_alone_are_results(here: Store, there: Store) -> None:
    shutil.rmtree(there.root / "trials")
    assert merging.merge(here, there.root) == {"timings": 1, "sizes": 1}


def test_a_loss_that_is_no_number_does_not_contradict_itself(
    here: Store, there: Store, asked: Experiment
) -> None:
    first, *_ = asked.trials
    record: Any = there.trial(first)
    record["metrics"] |= as_metrics({"val_loss": float("nan")})
    write_record(there.trial_folder(first), record)
    merging.merge(here, there.root)
    (here.trial_folder(first) / "weights.safetensors").unlink()
    assert not merging.merge(here, there.root)
    assert files(here) == files(there)


def test_what_is_damaged_here_is_taken_from_there(
    here: Store, there: Store, asked: Experiment
) -> None:
    first, *_ = asked.trials
    merging.merge(here, there.root)
    (here.trial_folder(first) / "record.json").write_text("{")
    assert merging.merge(here, there.root) == {"trials": 1}
    assert files(here) == files(there)


def test_a_file_that_cannot_be_copied_is_named_and_nothing_is_taken(
    here: Store, there: Store, asked: Experiment
) -> None:
    *_, last = sorted(asked.trials)
    link = there.trial_folder(last) / "weights.safetensors"
    link.unlink()
    link.symlink_to("/nowhere/weights")
    with pytest.raises(InputError, match=f"{link} cannot be copied: .*No such file"):
        merging.merge(here, there.root)
    assert not files(here)


@pytest.mark.parametrize("where", ["trials", "sizes", "trials/{key}"])
def test_what_may_not_be_read_is_an_error_and_not_a_gap(
    here: Store, there: Store, asked: Experiment, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = there.root / where.format(key=next(iter(asked.trials)))

    def denying(call: Callable[..., Any]) -> Callable[..., Any]:
        def denied(path: Any, *args: Any, **options: Any) -> Any:
            listed = "" if call.__name__ == "stat" else "/"
            if f"{path}{listed}".startswith(f"{closed}/"):
                raise PermissionError(13, "Permission denied", str(path))
            return call(path, *args, **options)

        return denied

    for name in ("listdir", "scandir", "stat"):
        monkeypatch.setattr(os, name, denying(getattr(os, name)))
    with pytest.raises(PermissionError):
        merging.merge(here, there.root)
    with pytest.raises(PermissionError):
        there.kept() and there.sizes()
    assert not files(here)


def test_a_size_of_another_measurement_is_refused(here: Store, there: Store) -> None:
    write_record(here.size_folder("a"), fakes.size_record(104))
    with pytest.raises(InputError, match=r"sizes/a contradicts .*: its size is 96, not 104"):
        merging.merge(here, there.root)


def test_a_folder_that_is_none_of_results_and_a_damaged_record_are_refused(
    here: Store, there: Store, asked: Experiment, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="is no other folder of results: it has no results"):
        merging.merge(here, tmp_path / "nowhere")
    with pytest.raises(InputError, match="is no other folder of results: it is this one"):
        merging.merge(there, there.root)
    first, *_ = asked.trials
    (there.trial_folder(first) / "record.json").write_text(json.dumps(["cut"]))
    with pytest.raises(InputError, match="is not a record"):
        merging.merge(here, there.root)
    assert not here.root.exists()
