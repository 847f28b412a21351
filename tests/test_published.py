"""What is published: complete, recomputable from the CSV, and the README's numbers from it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

from bench import publish
from bench.errors import InputError
from bench.experiment import Experiment
from bench.paths import PUBLISHED
from bench.store import Store
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
    assert publish.reuse(finished, store) == 1
    assert store.trial(key) == Store(folder).trial(key)
    assert publish.reuse(finished, store) == 0


def test_nothing_finished_is_nothing_to_publish(
    store: Store, write_experiment: WriteExperiment
) -> None:
    with pytest.raises(InputError, match="nothing is finished yet"):
        publish.publish(write_experiment(), store)
