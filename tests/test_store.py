"""Records and the table made of them."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import pandas as pd
import pytest

import bench
from bench.errors import InputError
from bench.metrics import METRICS
from bench.records import SCHEMA, Ending, TimingRecord, TrialRecord, read_record, write_record
from bench.report.pages import make
from bench.run.attempt import ended
from bench.run.plan import make_plan
from bench.store import Store, put_in_place
from tests.conftest import WriteExperiment
from tests.fakes import NARROW, experiment, fill, result, time_all, timed_arm, top1

SAVED = ("predictions.parquet", "pictures.npz")


def test_a_record_comes_back_and_leaves_no_temporary_file(store: Store) -> None:
    folder = store.trial_folder("k")
    write_record(folder, {"status": "ok", "reason": ""})
    write_record(folder, {"status": "failed", "reason": "x"})
    assert read_record(folder, Ending) == {"schema": SCHEMA, "status": "failed", "reason": "x"}
    assert [path.name for path in folder.iterdir()] == ["record.json"]


def test_a_folder_without_a_record_is_not_finished(store: Store) -> None:
    folder = store.trial_folder("k")
    folder.mkdir(parents=True)
    (folder / "predictions.parquet").touch()
    assert store.trial("k") is None


def test_a_record_of_before_the_schemas_is_of_schema_0_and_its_copy_stays_so(store: Store) -> None:
    folder = store.trial_folder("k")
    folder.mkdir(parents=True)
    (folder / "record.json").write_text('{"status": "ok", "reason": ""}')
    record = read_record(folder, Ending)
    assert record == {"status": "ok", "reason": "", "schema": 0}
    write_record(store.trial_folder("copy"), record)
    assert read_record(store.trial_folder("copy"), Ending) == record


def test_a_record_of_a_later_schema_is_refused_in_one_sentence(store: Store) -> None:
    write_record(store.trial_folder("k"), {"status": "ok", "schema": SCHEMA + 1})
    said = rf"record\.json has schema {SCHEMA + 1}, this program reads up to {SCHEMA}: update"
    with pytest.raises(InputError, match=said):
        store.trial("k")


@pytest.mark.parametrize("text", ["{", "[]", "\xff"])
def test_a_file_that_is_no_record_is_named_and_taken_for_missing(store: Store, text: str) -> None:
    folder = store.trial_folder("k")
    folder.mkdir(parents=True)
    (folder / "record.json").write_bytes(text.encode("latin-1"))
    assert store.trial("k") is None
    (why,) = store.damaged.values()
    assert why == f"{folder}/record.json is not a record; delete its folder and run again"


def test_a_folder_in_place_of_a_record_is_named_and_taken_for_missing(store: Store) -> None:
    (store.trial_folder("k") / "record.json").mkdir(parents=True)
    assert store.trial("k") is None
    assert list(store.damaged) == [str(store.trial_folder("k"))]


def test_a_stray_file_among_the_folders_is_no_record(
    store: Store, write_experiment: WriteExperiment
) -> None:
    experiment = write_experiment()
    first, second, *_ = experiment.trials
    write_record(store.trial_folder(second), result(experiment.trials[second]))
    for room in ("trials", "timings", "sizes", "searches", "names", "unfinished"):
        (store.root / room).mkdir(parents=True, exist_ok=True)
        (store.root / room / ".DS_Store").touch()
    store.trial_folder(first).touch()
    (store.root / "names" / "toy").touch()
    assert store.kept() == [second]
    assert store.sizes() == {}
    assert len(make_plan(experiment, store).missing()) == len(experiment.trials) - 1
    assert set(store.table(experiment)["status"]) == {"missing", "ok"}
    assert store.stamp(experiment)
    assert not store.damaged


def test_a_copied_folder_is_not_another_trial(
    store: Store, write_experiment: WriteExperiment
) -> None:
    key, trial = next(iter(write_experiment().trials.items()))
    write_record(store.trial_folder(key), result(trial))
    shutil.copytree(store.trial_folder(key), store.trial_folder(f"{key} copy"))
    assert store.trial(key)
    assert not store.trial(f"{key} copy")
    (why,) = store.damaged.values()
    assert f"{key} copy/record.json is damaged: its 'key' is not what a record has there" in why


@pytest.mark.parametrize("wrong", [{"curve": "none"}, {"steps": None}, {"metrics": []}])
def test_a_result_takes_the_place_of_a_damaged_one(
    store: Store, write_experiment: WriteExperiment, wrong: dict[str, object]
) -> None:
    key, trial = next(iter(write_experiment().trials.items()))
    write_record(store.trial_folder(key), result(trial) | wrong)
    with store.own_folder(key) as own:
        write_record(own, result(trial))
        assert put_in_place(own, store.trial_folder(key))
    assert store.trial(key)


def test_a_result_takes_the_place_of_a_stray_file_of_its_name(store: Store) -> None:
    with store.own_folder("k") as own:
        write_record(own, {"status": "ok", "reason": ""})
        (place := store.trial_folder("k")).parent.mkdir()
        place.touch()
        assert put_in_place(own, place)
    assert read_record(place, Ending)


def test_the_table_has_a_row_for_every_trial_whatever_became_of_it(
    store: Store, write_experiment: WriteExperiment
) -> None:
    experiment = write_experiment()
    first, second, *_ = experiment.trials
    write_record(store.trial_folder(first), result(experiment.trials[first], 61.5))
    write_record(store.trial_folder(second), ended(experiment.trials[second], "oom", "full"))
    table = store.table(experiment).set_index("key")
    assert table.loc[first, "top1_pct"] == 61.5
    assert (table.loc[second, "status"], table.loc[second, "reason"]) == ("oom", "full")
    assert math.isnan(table.loc[second, "top1_pct"])
    assert list(table["status"]).count("missing") == 2


def test_a_shared_trial_has_a_row_in_every_context(
    store: Store, write_experiment: WriteExperiment
) -> None:
    table = store.table(write_experiment(axes="num_resblocks = [0, 1]"))
    plain = table[table["arm"] == "plain"]
    assert plain["key"].nunique() == 2
    assert sorted(plain["context"].unique()) == ["num_resblocks 0", "num_resblocks 1"]


def test_speeds_of_the_timing_join_by_what_is_timed(
    store: Store, write_experiment: WriteExperiment
) -> None:
    experiment = write_experiment()
    subject = next(c.trial for c in experiment.cells if c.arm == "plain")
    lane = {subject.speed_key: timed_arm(subject, {"gmacs": 1.5})}
    (sitting,) = set(store.timing_folders(experiment).values())
    write_record(sitting, {"status": "ok", "reason": "", "subjects": lane})
    table = store.table(experiment)
    assert set(table[table["arm"] == "plain"]["gmacs"]) == {1.5}
    assert table[table["arm"] == "learned"]["gmacs"].isna().all()


def test_the_time_of_data_is_that_of_the_arms_own_dataset_or_none(
    store: Store, tmp_path: Path
) -> None:
    """Contexts of several datasets share a sitting, which times the data of one."""
    asked = experiment(tmp_path, 'dataset = ["fine", "coarse"]')
    arms = {one.speed_key: one for one in asked.trials.values() if one.dataset == "fine"}
    measured = {key: timed_arm(one, {"gmacs": 1.5, "data_ms": 0.5}) for key, one in arms.items()}
    (sitting,) = set(store.timing_folders(asked).values())
    write_record(sitting, {"status": "ok", "reason": "", "subjects": measured})
    table = store.table(asked).set_index("dataset")
    assert set(table["gmacs"]) == {1.5}
    assert set(table.loc["fine", "data_ms"]) == {0.5}
    assert table.loc["coarse", "data_ms"].isna().all()


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_says_its_unit_in_its_name_or_is_a_count(name: str) -> None:
    units = {"%": "_pct", "s": "_s", "ms": "_ms", "MiB": "_mib", "images/s": "_per_s"}
    units |= {"nat": "_loss", "GMAC": "gmacs", "M": "_m"}
    assert name.endswith(units[METRICS[name].unit])
    assert METRICS[name].better in ("higher", "lower")


@pytest.mark.parametrize("left", [0, 10, 400])
def test_predictions_and_pictures_that_were_cut_are_named_and_the_report_is_made_without_them(
    tmp_path: Path, left: int
) -> None:
    asked, store = experiment(tmp_path, NARROW), Store(tmp_path / "store")
    fill(asked, store, top1)
    frame = pd.DataFrame({"image": ["a", "b"], "label": [0, 1], "predicted": [0, 0]})
    for key in asked.trials:
        frame.assign(probability=0.5).to_parquet(store.trial_folder(key) / "predictions.parquet")
    cut = [store.trial_folder(key) / name for key in asked.trials for name in SAVED]
    for path in cut:
        path.write_bytes(path.read_bytes()[:left])
    made = make(asked, store, tmp_path / "out")
    assert made.html.exists()
    assert {Path(path).name for path in store.damaged} == set(SAVED)
    assert set(store.damaged) <= {str(path) for path in cut}
    assert all(told.startswith(f"{path} is damaged: ") for path, told in store.damaged.items())
    assert not any("\n" in told for told in store.damaged.values())


def test_a_plan_and_a_report_take_a_trial_from_its_experiment_not_from_its_record(
    tmp_path: Path, store: Store, write_experiment: WriteExperiment
) -> None:
    asked = write_experiment()
    fill(asked, store, lambda trial: 50.0 + trial.seed)
    whole = make(asked, store, tmp_path / "whole").html.read_text()
    for key in asked.trials:
        record = read_record(store.trial_folder(key), TrialRecord)
        assert record
        write_record(store.trial_folder(key), record | {"trial": {"lr": "fast"}})
    assert make(asked, store, tmp_path / "out").html.read_text() == whole
    shutil.rmtree(store.trial_folder(key))
    assert make_plan(asked, store).counts["missing"] == 1


def test_a_time_of_nothing_is_damage(store: Store, write_experiment: WriteExperiment) -> None:
    asked = write_experiment()
    time_all(asked, store)
    (folder,) = set(store.timing_folders(asked).values())
    record = read_record(folder, TimingRecord)
    assert record
    next(iter(record["subjects"].values()))["seconds"]["train"][0] = 0.0
    write_record(folder, record)
    assert store.timings(asked) == {}
    assert "its 'subjects' is not what a record has there" in store.damaged[str(folder)]


@pytest.mark.usefixtures("store")
def test_a_notebook_names_files_and_folders_as_it_likes_and_is_told_of_one_that_is_not_there(
    tmp_path: Path, write_experiment: WriteExperiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_experiment().file
    assert set(bench.table(file)["status"]) == {"missing"}
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine").mkdir()
    assert len(bench.table(str(file), "~/mine")) == len(bench.table(file))
    for call in (bench.table, bench.load, bench.make_report):
        with pytest.raises(InputError, match="there is no folder of results '~/yours'"):
            call(str(file), "~/yours")
