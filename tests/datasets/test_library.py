"""The table of datasets: opening, generating, verifying, listing."""

from __future__ import annotations

import json
import re
import sys
import threading
import types
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from bench.data import incoming, library
from bench.data.specs import DATASETS, DatasetSpec
from bench.errors import InputError
from tests.datasets.toys import refused, visible


@pytest.mark.parametrize("name", DATASETS)
def test_every_dataset_is_either_an_archive_with_digests_and_counts_or_a_generator(
    name: str,
) -> None:
    spec = DATASETS[name]
    if spec.generator:
        assert not spec.archive
        assert not spec.classes
    else:
        assert spec.archive
        assert spec.digests
        assert all(re.fullmatch(r"md5:[0-9a-f]{32}|sha256:[0-9a-f]{64}", d) for d in spec.digests)
        assert all(list(spec.counts[split]) == list(spec.classes) for split in ("train", "val"))
        assert list(spec.classes) == sorted(spec.classes)


@pytest.mark.parametrize(
    ("name", "train", "val"), [("imagenette-160", 9469, 3925), ("imagewoof-160", 9025, 3929)]
)
def test_the_counts_add_up_to_the_published_totals(name: str, train: int, val: int) -> None:
    counts = DATASETS[name].counts
    assert (sum(counts["train"].values()), sum(counts["val"].values())) == (train, val)


@pytest.fixture
def generator(monkeypatch: pytest.MonkeyPatch) -> types.SimpleNamespace:
    """An entry "toy-made" of `DATASETS`, and the module that generates it."""

    def make(split: str) -> Iterator[tuple[str, int, np.ndarray]]:
        module.calls.append(split)
        for i in range(module.COUNTS[split]):
            yield f"{split}-{i}", i % 2, np.full((2, 2, 3), i + module.VERSION, np.uint8)

    counts = {"train": 4, "val": 2}
    module = types.SimpleNamespace(
        NAME="toy", VERSION=1, CLASSES=("odd", "even"), COUNTS=counts, make=make, calls=[]
    )
    monkeypatch.setitem(sys.modules, "toy_generator", module)
    monkeypatch.setitem(DATASETS, "toy-made", DatasetSpec("made", generator="toy_generator:make"))
    return module


@pytest.mark.usefixtures("data")
def test_an_unknown_dataset_is_told_the_nearest_name() -> None:
    with pytest.raises(
        InputError, match=r"^unknown dataset 'imagewof'; did you mean 'imagewoof'\? One of: imag"
    ):
        library.open_dataset("imagewof")


def test_a_dataset_that_is_not_there_is_told_with_how_to_get_it(data: Path) -> None:
    text = (
        f"dataset 'imagewoof-160' is not in {data}: download it with `resizer-bench data fetch "
        "imagewoof-160`, or bring in a local imagewoof2-160.tgz with `resizer-bench data import "
        "ARCHIVE`"
    )
    refused(data, text, lambda: library.open_dataset("imagewoof-160"))
    refused(data, text, lambda: library.verify("imagewoof-160"))
    assert library.fingerprint("imagewoof-160") is None


def test_a_generated_dataset_is_made_once_on_first_use(generator: types.SimpleNamespace) -> None:
    first, again = library.open_dataset("toy-made"), library.open_dataset("toy-made")
    assert generator.calls == ["train", "val"]
    assert first.manifest.origin == "generated"
    assert first.classes == ("odd", "even")
    assert first.manifest.fingerprint == again.manifest.fingerprint
    assert list(again.train.labels) == [0, 1, 0, 1]


def test_a_generated_dataset_of_an_older_version_is_made_anew(
    generator: types.SimpleNamespace, data: Path
) -> None:
    old = library.open_dataset("toy-made")
    generator.VERSION = 2
    assert library.fingerprint("toy-made") is None
    new = library.open_dataset("toy-made")
    assert new.manifest.fingerprint != old.manifest.fingerprint
    assert int(new.train.image(0)[0, 0, 0]) == 2
    assert visible(data) == ["toy-made"]


def test_two_that_need_a_generated_dataset_at_once_make_it_once(
    generator: types.SimpleNamespace,
) -> None:
    threads = [threading.Thread(target=library.open_dataset, args=["toy-made"]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert generator.calls == ["train", "val"]


def test_verify_accepts_what_was_imported_and_finds_a_changed_byte(
    pictures: Path, data: Path
) -> None:
    incoming.import_local(pictures, name="mine")
    assert library.verify("mine") == (
        "mine: 5 train and 3 val images in 2 classes, as when imported from toy2-8"
    )
    path = data / "mine" / "val.bin"
    path.write_bytes(b"\1" + path.read_bytes()[1:])
    text = (
        f"{path} is damaged: its digest has changed; delete {data / 'mine'} and fetch or import it "
        "again"
    )
    refused(data, text, lambda: library.verify("mine"))


def test_verify_finds_an_index_that_does_not_fit(pictures: Path, data: Path) -> None:
    incoming.import_local(pictures, name="mine")
    manifest = data / "mine" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"n01": 3', '"n01": 4'))
    text = (
        f"{data / 'mine'} is damaged: the index of train does not fit its images; delete "
        f"{data / 'mine'} and fetch or import it again"
    )
    refused(data, text, lambda: library.verify("mine"))


def test_pixels_that_were_cut_are_one_sentence(pictures: Path, data: Path) -> None:
    incoming.import_local(pictures, name="mine")
    with (data / "mine" / "train.bin").open("r+b") as file:
        file.truncate(10)
    with pytest.raises(InputError, match=r"/mine is damaged: train\.bin has 10 of [\d,]+ bytes; "):
        library.open_dataset("mine")


def test_a_lost_file_is_one_sentence(pictures: Path, data: Path) -> None:
    incoming.import_local(pictures, name="mine")
    (data / "mine" / "train.parquet").unlink()
    with pytest.raises(InputError, match=r"/mine is damaged: .*; delete .*/mine and fetch or imp"):
        library.open_dataset("mine")
    with pytest.raises(InputError, match=r"/mine/train.parquet: No such file or directory$"):
        library.verify("mine")


def test_a_dataset_of_another_format_is_one_sentence(pictures: Path, data: Path) -> None:
    incoming.import_local(pictures, name="mine")
    manifest = data / "mine" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"format": 1', '"format": 0'))
    text = (
        f"{manifest} has format 0; this version reads 1; delete {data / 'mine'} and fetch or "
        "import it again"
    )
    refused(data, text, lambda: library.open_dataset("mine"))
    assert library.listing()[-1].state == "damaged"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{}", r"manifest.json has format None; this version reads 1; delete "),
        ("[]", r"manifest.json has format None; this version reads 1; delete "),
        ('{"format": 1}', r"manifest.json is damaged: it has no classes; delete "),
        ("[" * 100_000, r"manifest.json cannot be read: .*recursion.*; delete "),
        ('{"format": 1' + "0" * 5000 + "}", r"manifest.json cannot be read: .*; delete "),
        ("\0", r"manifest.json cannot be read: .*; delete "),
    ],
    ids=["empty", "a list", "no keys", "nested", "digits", "binary"],
)
def test_a_manifest_that_is_none_is_one_sentence_and_stops_no_other_set(
    pictures: Path, data: Path, text: str, sentence: str
) -> None:
    for name in ("mine", "other"):
        incoming.import_local(pictures, name=name)
    (data / "mine" / "manifest.json").write_text(text)
    for call in (library.open_dataset, library.verify, library.fingerprint):
        with pytest.raises(InputError, match=sentence):
            call("mine")
    states = {row.name: row.state for row in library.listing()}
    assert (states["mine"], states["other"]) == ("damaged", "ready")
    assert len(library.open_dataset("other").train) == 5


@pytest.mark.parametrize(
    "field", ["classes", "origin", "fingerprint", "counts", "images", "sha256"]
)
@pytest.mark.parametrize("value", [None, 7])
def test_a_manifest_that_lacks_anything_is_damaged(
    pictures: Path, data: Path, field: str, value: object
) -> None:
    incoming.import_local(pictures, name="mine")
    path = data / "mine" / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {field: value}))
    with pytest.raises(InputError, match=f"manifest.json is damaged: it has no {field}; delete "):
        library.open_dataset("mine")
    assert library.listing()[-1].state == "damaged"


@pytest.mark.usefixtures("generator")
def test_the_list_shows_what_is_there_and_what_could_be(
    pictures: Path,
) -> None:
    incoming.import_local(pictures, name="mine")
    rows = {row.name: row for row in library.listing()}
    assert list(rows) == [*DATASETS, "mine"] == library.known_names()
    assert rows["imagewoof"].state == "not here"
    assert rows["toy-made"].state == "made on first use"
    assert rows["mine"].state == "ready"
    assert rows["mine"].manifest
    assert rows["mine"].manifest.images == {"train": 5, "val": 3}
    assert rows["mine"].manifest.fingerprint == library.fingerprint("mine")
    assert rows["mine"].size_mb > 0


def test_without_the_variable_the_data_folder_is_in_the_cache(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("RESIZER_BENCH_DATA")
    assert library.data_dir().parts[-2:] == ("resizer-bench", "data")
