"""What ran the trials, and what a reader must know of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.analysis.evidence import gather
from bench.records import TrialRecord, read_record, write_record
from bench.report.environment import devices, table, warnings
from bench.report.table import checkpoints, results
from bench.report.words import NONE
from bench.store import Store
from tests.fakes import DATA, ENVIRONMENT, NARROW, experiment, fill, top1

WEIGHTS = {"file": "net.pt", "sha256": "0123456789abcdef", "loaded": 60, "tensors": 62}


def filled(folder: Path, axes: str = NARROW, **facts: Any) -> tuple[Any, Store]:
    """Finished trials of an experiment whose records say these things, too."""
    asked, store = experiment(folder, axes), Store(folder)
    fill(asked, store, top1)
    for key in asked.trials:
        record = read_record(store.trial_folder(key), TrialRecord)
        assert record
        write_record(store.trial_folder(key), record | facts)
    return asked, store


def test_data_that_may_not_be_the_published_set_are_told_once(tmp_path: Path) -> None:
    doubt = "the digest of woof.tgz is not that of the published archive"
    asked, store = filled(tmp_path, data=DATA | {"doubt": doubt})
    told = f"fine: {doubt}. The images may not be the published ones: compare the arms here "
    told += "with one another, not with numbers from elsewhere."
    assert list(warnings(gather(asked, store))).count(told) == 1
    asked, store = filled(tmp_path, data=DATA)
    assert not [line for line in warnings(gather(asked, store)) if line.startswith("fine")]


def test_trials_whose_batches_were_made_differently_are_told(tmp_path: Path) -> None:
    asked, store = filled(tmp_path, loader="triton")
    assert not [line for line in warnings(gather(asked, store)) if "made their batches" in line]
    key = next(iter(asked.trials))
    record = read_record(store.trial_folder(key), TrialRecord)
    assert record
    del record["loader"]
    write_record(store.trial_folder(key), record)
    told = "The trials differ in what made their batches: pillow (1 trial) and triton (8 trials)"
    assert [line for line in warnings(gather(asked, store)) if line.startswith(told)]


def test_trials_whose_steps_were_not_captured_are_told(tmp_path: Path) -> None:
    asked, store = filled(tmp_path, capture="ok")
    assert not [line for line in warnings(gather(asked, store)) if "captured" in line]
    key = next(iter(asked.trials))
    record = read_record(store.trial_folder(key), TrialRecord)
    assert record
    write_record(store.trial_folder(key), record | {"capture": "it draws"})
    told = "Steps not captured, which take the processor's time: it draws (1 trial)."
    assert told in warnings(gather(asked, store))


def test_threads_of_the_processor_are_told_of_trials_that_it_trained(tmp_path: Path) -> None:
    asked, store = filled(tmp_path, environment={**ENVIRONMENT, "threads": 4})
    key = next(iter(asked.trials))
    for device, told in (("cpu", 1), ("cuda", 0)):
        for each in asked.trials:
            record = read_record(store.trial_folder(each), TrialRecord)
            assert record
            record["environment"] |= {"device": device, "threads": 2 if each == key else 4}
            write_record(store.trial_folder(each), record)
        evidence = gather(asked, store)
        assert len([line for line in warnings(evidence) if "differ in threads" in line]) == told
    assert devices(evidence) == ["cuda (Toy, fp32)"]


def test_a_row_says_which_checkpoint_was_loaded_and_how_much_of_it(tmp_path: Path) -> None:
    (tmp_path / "net.pt").touch()
    axes = f"{NARROW}\npretrained = ['{tmp_path / 'net.pt'}']"
    asked, store = filled(tmp_path, axes, weights=WEIGHTS | {"head": False})
    told = "net.pt (sha256 0123456789ab): 60 of 62 tensors, a new classifying layer"
    assert checkpoints(gather(asked, store).records.values()) == [told]
    assert "starts from" not in results(gather(asked, store))  # it is the same of every arm
    key = next(iter(asked.trials))
    record = read_record(store.trial_folder(key), TrialRecord)
    assert record
    record["weights"]["file"] = "other.pt"
    write_record(store.trial_folder(key), record)
    shown = results(gather(asked, store)).set_index("arm")["starts from"]
    assert shown["plain"] == "other.pt (sha256 0123456789ab) and net.pt (sha256 0123456789ab)"
    assert shown["learned"] == "net.pt (sha256 0123456789ab)"


def test_what_is_not_known_is_a_dash(tmp_path: Path) -> None:
    asked, store = filled(tmp_path)
    found = table(gather(asked, store)).set_index("what")
    assert ENVIRONMENT["driver"] is None
    assert found.loc["driver", "trials"] == NONE
