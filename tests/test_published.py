"""What is published: complete, recomputable from the CSV, and the README's numbers from it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

from bench import publish
from bench.datasets.library import fingerprint
from bench.errors import InputError
from bench.experiment import Experiment
from bench.paths import PUBLISHED
from bench.runner import ended
from bench.store import Store, write_record
from bench.trial import run
from tests.conftest import WriteExperiment

EXPERIMENTS = publish.published()
IDS = [experiment.name for experiment in EXPERIMENTS]


def test_the_readme_is_what_the_published_results_say() -> None:
    readme = publish.README.read_text()
    assert publish.BEGIN in readme
    assert publish.renewed(readme) == readme, "stale: run `resizer-bench publish` again"


@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=IDS)
def test_accuracies_are_those_of_the_published_predictions(experiment: Experiment) -> None:
    table = pd.read_csv(PUBLISHED / experiment.name / "table.csv")
    store = Store(PUBLISHED / experiment.name)
    finished = table[table["status"] == "ok"].drop_duplicates("key").set_index("key")
    assert len(finished)
    for key, row in finished.iterrows():
        predictions = store.predictions(str(key))
        right = (predictions["label"] == predictions["predicted"]).mean()
        assert row["top1_pct"] == pytest.approx(100 * right)


@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=IDS)
def test_nothing_but_numbers_and_plots_is_published(experiment: Experiment) -> None:
    kinds = {p.suffix for p in (PUBLISHED / experiment.name).rglob("*") if p.is_file()}
    assert kinds <= {".json", ".parquet", ".csv", ".md", ".html", ".svg", ".tex"}


@pytest.fixture
def finished(store: Store, write_experiment: WriteExperiment) -> Experiment:
    experiment = write_experiment()
    key, trial = next(iter(experiment.trials.items()))
    run([].append, trial, store.trial_folder(key))
    return experiment


def test_publishing_copies_records_without_weights_and_reuse_brings_them_back(
    store: Store, finished: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = next(iter(finished.trials))
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{publish.BEGIN}\nold\n{publish.END}\nafter\n")
    monkeypatch.setattr(publish, "PUBLISHED", tmp_path / "published")
    monkeypatch.setattr(publish, "EXPERIMENTS", tmp_path)
    monkeypatch.setattr(publish, "README", readme)
    monkeypatch.setattr(publish, "published", lambda: [finished])
    folder = publish.publish(finished, store)
    assert sorted(p.name for p in (folder / "trials" / key).iterdir()) == [
        "predictions.parquet",
        "record.json",
    ]
    assert "1 of 4" in (folder / "report.md").read_text()
    assert "Does it run?" in readme.read_text()
    assert "old" not in readme.read_text()
    shutil.rmtree(store.root)
    write_record(store.trial_folder(key), ended(finished.trials[key], "failed", "here"))
    assert publish.reuse(finished, store)[1] == 1
    taken = store.trial(key)
    assert taken is not None
    assert taken.pop("reused_from") == "published/toy"
    assert taken == Store(folder).trial(key)
    assert publish.reuse(finished, store)[1] == 0
    shutil.rmtree(store.root)
    monkeypatch.setattr(publish, "fingerprint", lambda _: "other files")
    assert publish.reuse(finished, store)[1] == 0


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
    monkeypatch.setattr(publish, "PUBLISHED", tmp_path / "p")
    keys = {c.arm: c.trial.key for c in experiment.cells if c.trial.seed == 0}
    ok = {"status": "ok", "data": {"fingerprint": fingerprint("toy")}}
    for arm in ("plain", "learned"):
        write_record(tmp_path / "p" / "x" / "trials" / keys[arm], ok)
    assert publish.reuse(experiment, store)[1] == 1
    assert store.trial(keys["learned"])
    assert not store.trial(keys["plain"])
    write_record(tmp_path / "p" / "x" / "trials" / keys["warm"], ok)
    assert publish.reuse(experiment, store)[1] == 2


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
