"""What is published of what was run here, and taken back from it; nothing of it gets lost."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from bench import publish, reusing
from bench.data.library import fingerprint
from bench.errors import InputError
from bench.lab.trial import run
from bench.paths import WEIGHTS
from bench.records import write_record
from bench.report.made import STAMP
from bench.run.attempt import ended
from bench.spec.experiment import Experiment
from bench.store import Store
from tests.conftest import WriteExperiment
from tests.fakes import result, size_record


@pytest.fixture
def finished(store: Store, write_experiment: WriteExperiment) -> Experiment:
    experiment = write_experiment()
    key, trial = next(iter(experiment.trials.items()))
    run([].append, trial, store.trial_folder(key), store.root)
    return experiment


def test_publishing_copies_records_without_weights_and_reuse_brings_them_back(
    store: Store, finished: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = next(iter(finished.trials))
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{publish.BEGIN}\nold\n{publish.END}\nafter\n")
    monkeypatch.setattr(publish, "PUBLISHED", tmp_path / "published")
    monkeypatch.setattr(reusing, "PUBLISHED", tmp_path / "published")
    monkeypatch.setattr(publish, "EXPERIMENTS", tmp_path)
    monkeypatch.setattr(publish, "README", readme)
    monkeypatch.setattr(publish, "published", lambda: [finished])
    folder = publish.publish(finished, store)
    assert sorted(p.name for p in (folder / "trials" / key).iterdir()) == [
        "predictions.parquet",
        "record.json",
    ]
    assert "1 of 4" in (folder / "report.md").read_text()
    assert readme.read_text().startswith(f"before\n{publish.BEGIN}\n")
    assert readme.read_text().endswith(f"{publish.END}\nafter\n")
    assert "old" not in readme.read_text()
    assert "Does it run?" in (tmp_path / "published" / "README.md").read_text()
    shutil.rmtree(store.root)
    write_record(store.trial_folder(key), ended(finished.trials[key], "failed", "here"))
    assert reusing.reuse(finished, store)[1] == 1
    taken = store.trial(key)
    assert taken is not None
    assert taken.pop("reused_from") == "published/toy"
    assert taken == Store(folder).trial(key)
    assert reusing.reuse(finished, store)[1] == 0
    shutil.rmtree(store.root)
    monkeypatch.setattr(reusing, "content", lambda _: {"fingerprint": "other files"})
    assert reusing.reuse(finished, store)[1] == 0


def test_publishing_again_leaves_nothing_of_what_was_published_before(
    store: Store, finished: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(publish.BEGIN + publish.END)
    for name, value in {"PUBLISHED": tmp_path / "p", "EXPERIMENTS": tmp_path}.items():
        monkeypatch.setattr(publish, name, value)
    monkeypatch.setattr(publish, "README", readme)
    monkeypatch.setattr(publish, "published", list)
    stale = tmp_path / "p" / "toy" / "trials" / "0123456789abcdef"
    write_record(stale, {"status": "ok"})
    publish.publish(finished, store)
    assert not stale.exists()
    readme.write_text(publish.BEGIN)
    with pytest.raises(InputError, match="lacks the marks"):
        publish.publish(finished, store)


def test_a_published_trial_is_not_taken_where_one_that_is_missing_starts_from_it(
    store: Store, write_experiment: WriteExperiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warm = '[[arm]]\nname = "warm"\nresizer = "learned"\ninit_from = "plain"'
    experiment = write_experiment(rest=warm)
    monkeypatch.setattr(reusing, "PUBLISHED", tmp_path / "p")
    keys = {c.arm: c.trial.key for c in experiment.cells if c.trial.seed == 0}

    def published(arm: str) -> None:
        record = result(experiment.trials[keys[arm]])
        record["data"] |= {"fingerprint": fingerprint("toy")}
        write_record(tmp_path / "p" / "x" / "trials" / keys[arm], record)

    published("plain")
    published("learned")
    assert reusing.reuse(experiment, store)[1] == 1
    assert store.trial(keys["learned"])
    assert not store.trial(keys["plain"])
    published("warm")
    assert reusing.reuse(experiment, store)[1] == 2


def test_without_a_name_what_is_published_is_made_anew_from_its_own_records(
    store: Store, finished: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    readme, folder = tmp_path / "README.md", tmp_path / "published"
    readme.write_text(publish.BEGIN + publish.END)
    for name, value in {"PUBLISHED": folder, "EXPERIMENTS": tmp_path}.items():
        monkeypatch.setattr(publish, name, value)
    monkeypatch.setattr(publish, "README", readme)
    monkeypatch.setattr(publish, "published", lambda: [finished])
    publish.publish(finished, store)
    pages = [readme, *(folder / name for name in ("README.md", "index.html", "toy/report.html"))]
    wanted = [page.read_text() for page in pages]
    shutil.rmtree(store.root)
    for page in pages[1:]:
        page.write_text("stale")
    readme.write_text(f"{publish.BEGIN}stale{publish.END}")
    assert publish.renew() == 1
    assert [page.read_text() for page in pages] == wanted
    assert not (folder / "toy" / STAMP).exists()


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where experiments of the test's folder are published."""
    (readme := tmp_path / "README.md").write_text(publish.BEGIN + publish.END)
    folders = {"PUBLISHED": tmp_path / "p", "EXPERIMENTS": tmp_path, "README": readme}
    for name, value in folders.items():
        monkeypatch.setattr(publish, name, value)
    monkeypatch.setattr(reusing, "PUBLISHED", tmp_path / "p")
    return tmp_path / "p"


def test_what_was_taken_from_its_own_publication_is_published_as_it_was_with_its_weights(
    store: Store, finished: Experiment, shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (key,) = store.kept()
    monkeypatch.setattr(publish, "published", list)
    monkeypatch.setattr(publish, "WITH_WEIGHTS", {"toy": ("plain",)})
    folder = publish.publish(finished, store) / "trials" / key
    wanted = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert WEIGHTS in wanted
    shutil.copytree(folder, shelf / "another" / "trials" / key)
    shutil.rmtree(store.root)
    assert reusing.reuse(finished, store)[1] == 1
    publish.publish(finished, store)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == wanted


def test_what_another_published_experiment_has_is_published_with_its_name(
    store: Store, finished: Experiment, shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (key,) = store.kept()
    monkeypatch.setattr(publish, "published", list)
    shutil.move(store.root / "trials", shelf / "another" / "trials")
    assert reusing.reuse(finished, store)[1] == 1
    taken = Store(publish.publish(finished, store)).trial(key)
    assert taken
    assert taken["reused_from"] == "published/another"


@pytest.mark.parametrize("kind", ["trials", "timings"])
def test_publishing_does_not_lose_what_is_published_and_finished_nowhere_else(
    kind: str, store: Store, finished: Experiment, shelf: Path
) -> None:
    (timing,) = Store(shelf / "toy").timing_folders(finished).values()
    there = {"timings": timing, "trials": timing.parent.parent / "trials" / [*finished.trials][1]}
    write_record(there[kind], {"status": "ok"})
    with pytest.raises(InputError, match=f"1 of its records are not here, {there[kind]} for one"):
        publish.publish(finished, store)
    assert (there[kind] / "record.json").exists()


@pytest.mark.parametrize("kind", ["trials", "timings", "predictions"])
def test_what_is_damaged_here_is_named_and_not_published(
    kind: str, store: Store, finished: Experiment, shelf: Path
) -> None:
    (timing,) = store.timing_folders(finished).values()
    trials = store.trial_folder(next(iter(finished.trials)))
    file = {"trials": trials / "record.json", "timings": timing / "record.json"}.get(
        kind, trials / "predictions.parquet"
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("{")
    with pytest.raises(InputError, match=f"{file} is"):
        publish.publish(finished, store)
    assert not shelf.exists()


@pytest.mark.usefixtures("shelf")
def test_what_is_published_and_damaged_is_not_made_anew_without_it(
    store: Store, finished: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish, "load_from", lambda *_, **__: finished)
    folder = publish.publish(finished, store)
    report = (folder / "report.md").read_text()
    record = folder / "trials" / next(iter(finished.trials)) / "record.json"
    record.write_text("{")
    with pytest.raises(InputError, match=f"{record} is not a record"):
        publish.renew()
    assert (folder / "report.md").read_text() == report


def test_what_a_file_no_longer_asks_for_is_not_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish, "PUBLISHED", tmp_path)
    write_record(tmp_path / "quick" / "trials" / "0123456789abcdef", {"status": "ok"})
    (tmp_path / "quick" / "report.md").touch()
    with pytest.raises(InputError, match=r"quick.toml does not ask for 1 of the trials .* quick:"):
        publish.published()


def test_a_size_that_meets_another_machines_time_is_not_reused(
    store: Store, write_experiment: WriteExperiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sized = "".join(
        f'[[arm]]\nname = "{kind}"\nresizer = "none"\ninput_size = "{kind}"\nmatch = "learned"\n'
        for kind in ("equal_gmacs", "equal_time")
    )
    experiment = write_experiment(rest=sized)
    monkeypatch.setattr(reusing, "PUBLISHED", tmp_path / "p")
    for key in experiment.sizes:
        write_record(tmp_path / "p" / "toy" / "sizes" / key, size_record(24))
    taken, _ = reusing.reuse(experiment, store)
    assert [request.kind for request in taken.sizes.values()] == ["equal_time"]
    assert [request.kind for request in taken.matched.values()] == ["equal_gmacs"]


def test_nothing_finished_is_nothing_to_publish(
    store: Store, write_experiment: WriteExperiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = write_experiment()
    with pytest.raises(
        InputError, match=r"toy\.toml is not in .*: only what is there is published"
    ):
        publish.publish(experiment, store)
    monkeypatch.setattr(publish, "EXPERIMENTS", experiment.file.parent)
    with pytest.raises(InputError, match="nothing is finished yet"):
        publish.publish(experiment, store)
