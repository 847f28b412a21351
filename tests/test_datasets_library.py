"""The data folder: importing, fetching, generating, verifying, and leaving nothing half-made."""

from __future__ import annotations

import errno
import hashlib
import http.client
import http.server
import io
import json
import os
import pickle
import re
import shutil
import sys
import tarfile
import threading
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import filelock
import numpy as np
import PIL.Image
import pytest

from bench.data import building, incoming, library
from bench.data.specs import DATASETS, DatasetSpec
from bench.errors import InputError
from bench.events import DataRead, Event
from bench.paths import local_results

CLASSES = {"n01": "cat", "n02": "dog"}
COUNTS = {"train": {"n01": 3, "n02": 2}, "val": {"n01": 1, "n02": 2}}


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data folder of the test's own."""
    folder = tmp_path / "data"
    monkeypatch.setenv("RESIZER_BENCH_DATA", str(folder))
    return folder


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """The folder toy2-8 with the images that `COUNTS` tells, no two of one size."""
    rng, root = np.random.default_rng(0), tmp_path / "sources" / "toy2-8"
    for split, counts in COUNTS.items():
        for folder, count in counts.items():
            (root / split / folder).mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 256, (8 + i, 9 + 2 * i, 3), np.uint8)
                PIL.Image.fromarray(pixels).save(root / split / folder / f"{i}.JPEG", "JPEG")
    return root


@pytest.fixture
def archive(pictures: Path) -> Path:
    return packed(pictures)


def packed(folder: Path) -> Path:
    path = folder.with_name(f"{folder.name}.tgz")
    with tarfile.open(path, "w:gz") as tar:
        tar.add(folder, folder.name)
    return path


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch, archive: Path) -> DatasetSpec:
    """An entry "toy-8" of `DATASETS` that `archive` fits."""
    digest = hashlib.md5(archive.read_bytes()).hexdigest()
    digests = ("sha256:" + "0" * 64, f"md5:{digest}")
    spec = DatasetSpec("toys", CLASSES, COUNTS, "toy2-8.tgz", digests)
    monkeypatch.setitem(DATASETS, "toy-8", spec)
    return spec


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


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """`serve(body, length)` answers /toy2-8.tgz with the body, claiming that length."""
    answers: dict[str, tuple[bytes, int | str]] = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path not in answers:
                self.send_error(404)
                return
            body, length = answers[self.path]
            self.send_response(200)
            self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    def start(body: bytes | None = None, length: int | str | None = None) -> str:
        if body is not None:
            answers["/toy2-8.tgz"] = (body, len(body) if length is None else length)
        return f"http://127.0.0.1:{server.server_port}/"

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield start
    server.shutdown()
    thread.join()
    server.server_close()


def visible(data: Path) -> list[str]:
    """What is in the data folder, lock files apart."""
    return sorted(p.name for p in data.glob("*") if p.suffix != ".lock") if data.exists() else []


def refused(data: Path, message: str, call: Callable[[], object]) -> None:
    """Assert that the call fails with exactly this text and leaves nothing half-made."""
    before = visible(data)
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        call()
    assert visible(data) == before


# The table


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


# Importing


def test_an_imported_image_is_the_decoded_file_in_order_of_name(pictures: Path) -> None:
    dataset = incoming.import_local(pictures, name="mine")
    assert dataset.classes == ("n01", "n02")
    for split in ("train", "val"):
        master, folder = dataset.split(split), pictures / split
        files = sorted(folder.rglob("*.JPEG"))
        assert list(master.names) == [path.relative_to(folder).as_posix() for path in files]
        assert [dataset.classes[i] for i in master.labels] == [path.parent.name for path in files]
        for i, path in enumerate(files):
            with PIL.Image.open(path) as image:
                assert np.array_equal(master.image(i), np.asarray(image))


def test_a_master_is_read_only_and_pickles_as_its_address(pictures: Path) -> None:
    master = incoming.import_local(pictures, name="mine").train
    image = master.image(1)
    assert image.dtype == np.uint8
    assert not image.flags.writeable
    sent = pickle.dumps(master)
    assert len(sent) < 500
    assert np.array_equal(pickle.loads(sent).image(1), image)


def test_grey_and_palette_images_become_rgb(pictures: Path) -> None:
    folder = pictures / "train" / "n01"
    grey = PIL.Image.fromarray(np.arange(12, dtype=np.uint8).reshape(3, 4) * 20)
    grey.convert("P").save(folder / "palette.PNG")
    master = incoming.import_local(pictures, name="mine").train
    palette = master.image(master.names.index("n01/palette.PNG"))
    assert np.array_equal(palette, np.asarray(grey.convert("RGB")))


def test_files_that_are_no_images_are_passed_over(pictures: Path) -> None:
    (pictures / "noisy.csv").write_text("a,b")
    (pictures / "train" / "notes.txt").write_text("?")
    (pictures / "train" / "n01" / "Thumbs.db").write_text("?")
    (pictures / "train" / "n01" / "._0.JPEG").write_text("?")
    assert len(incoming.import_local(pictures, name="mine").train) == 5


@pytest.mark.usefixtures("toy")
def test_an_archive_is_recognised_by_its_file_name_and_its_digest(archive: Path) -> None:
    dataset = incoming.import_local(archive)
    assert dataset.name == "toy-8"
    assert dataset.manifest.origin == "imported from toy2-8.tgz"
    assert dataset.manifest.archive.published
    assert dataset.manifest.archive.sha256 == hashlib.sha256(archive.read_bytes()).hexdigest()
    assert dataset.manifest.counts == COUNTS
    assert dataset.manifest.images == {"train": 5, "val": 3}


@pytest.mark.usefixtures("toy")
def test_an_archive_under_another_file_name_is_recognised_by_its_top_folder(archive: Path) -> None:
    other = archive.rename(archive.with_name("download (1).tar.gz"))
    assert incoming.import_local(other).name == "toy-8"


@pytest.mark.usefixtures("toy")
def test_a_repacked_archive_is_taken_and_marked_as_not_the_published_one(pictures: Path) -> None:
    (pictures / "readme.txt").write_text("repacked")
    dataset = incoming.import_local(packed(pictures))
    assert dataset.manifest.archive.published is False
    assert dataset.doubt == "the digest of toy2-8.tgz is not that of the published archive"
    assert library.notes(dataset)[0] == dataset.doubt


@pytest.mark.usefixtures("toy")
def test_a_folder_under_a_published_name_is_in_doubt_and_the_published_archive_is_not(
    archive: Path, pictures: Path, data: Path
) -> None:
    assert incoming.import_local(archive).doubt == ""
    shutil.rmtree(data / "toy-8")
    doubt = "imported from a folder: no digest says that its files are the published ones"
    assert incoming.import_local(pictures, name="toy-8").doubt == doubt
    assert incoming.import_local(pictures, name="mine").doubt == ""


@pytest.mark.usefixtures("toy")
def test_folder_and_archive_of_the_same_files_have_the_same_fingerprint(
    archive: Path, pictures: Path
) -> None:
    one, other = incoming.import_local(archive), incoming.import_local(pictures, name="mine")
    assert one.manifest.fingerprint == other.manifest.fingerprint == library.fingerprint("mine")
    assert other.manifest.archive is None
    path = pictures / "val" / "n01" / "0.JPEG"
    path.write_bytes(path.read_bytes() + b"\0")
    assert (
        incoming.import_local(pictures, name="third").manifest.fingerprint
        != one.manifest.fingerprint
    )


@pytest.mark.usefixtures("toy")
def test_progress_counts_up_to_the_total_of_every_phase(archive: Path) -> None:
    seen: dict[str, list[tuple[int, int]]] = {}

    def hear(event: Event) -> None:
        assert isinstance(event, DataRead)
        seen.setdefault(event.phase, []).append((event.done, event.total))

    incoming.import_local(archive, tell=hear)
    assert list(seen) == ["look through", "unpack", "headers", "train", "val"]
    assert seen["train"] == [(i, 5) for i in range(1, 6)]
    assert seen["unpack"][-1] == (archive.stat().st_size,) * 2


def test_a_path_that_does_not_exist_is_said(data: Path, tmp_path: Path) -> None:
    gone = tmp_path / "gone.tgz"
    text = f"{gone} does not exist; wanted is an archive or a folder of images"
    refused(data, text, lambda: incoming.import_local(gone))


@pytest.mark.usefixtures("toy")
def test_a_missing_class_is_named(pictures: Path, data: Path) -> None:
    shutil.rmtree(pictures / "train" / "n02")
    text = "toy2-8.tgz is not toy-8: class n02 (dog) is missing from train"
    refused(data, text, lambda: incoming.import_local(packed(pictures)))


@pytest.mark.usefixtures("toy")
def test_a_wrong_count_is_told_with_the_expected_one(pictures: Path, data: Path) -> None:
    (pictures / "train" / "n01" / "0.JPEG").unlink()
    text = "toy2-8.tgz is not toy-8: class n01 (cat) has 2 train images; 3 expected"
    refused(data, text, lambda: incoming.import_local(packed(pictures)))


@pytest.mark.usefixtures("toy")
def test_a_class_too_many_is_named(pictures: Path, data: Path) -> None:
    shutil.copytree(pictures / "val" / "n02", pictures / "val" / "n03")
    text = "toy2-8 is not toy-8: class n03 in val is not one of its classes"
    refused(data, text, lambda: incoming.import_local(pictures))


@pytest.mark.usefixtures("toy")
def test_the_name_of_a_dataset_cannot_be_taken_by_other_images(pictures: Path, data: Path) -> None:
    text = "toy2-8 is not imagewoof-160: class n02086240 (Shih-Tzu) is missing from train"
    refused(data, text, lambda: incoming.import_local(pictures, name="imagewoof-160"))


@pytest.mark.parametrize("kind", ["folder", "archive"])
def test_a_corrupt_image_is_named(kind: str, pictures: Path, data: Path) -> None:
    (pictures / "val" / "n02" / "1.JPEG").write_bytes(b"not an image")
    path = pictures if kind == "folder" else packed(pictures)
    text = f"val/n02/1.JPEG in {path.name} cannot be decoded: no known image format"
    refused(data, text, lambda: incoming.import_local(path, name="mine"))


def test_a_truncated_image_is_named(pictures: Path, data: Path) -> None:
    path = pictures / "train" / "n01" / "2.JPEG"
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(InputError, match=r"^train/n01/2.JPEG in toy2-8 cannot be decoded: .*trunc"):
        incoming.import_local(pictures, name="mine")
    assert visible(data) == []


@pytest.mark.usefixtures("toy")
def test_an_archive_cut_short_is_said(archive: Path, data: Path) -> None:
    archive.write_bytes(archive.read_bytes()[:-200])
    with pytest.raises(InputError, match=r"^toy2-8.tgz is cut short or damaged: "):
        incoming.import_local(archive)
    assert visible(data) == []


def test_a_file_that_is_no_archive_is_said(data: Path, tmp_path: Path) -> None:
    path = tmp_path / "toy2-8.zip"
    path.write_bytes(b"PK\x03\x04 and so on")
    text = (
        "toy2-8.zip is not a tar archive (.tgz, .tar.gz, .tar); what is packed in another way can "
        "be unpacked by hand and imported as a folder"
    )
    refused(data, text, lambda: incoming.import_local(path, name="mine"))


def test_a_member_that_leaves_the_folder_is_refused(data: Path, tmp_path: Path) -> None:
    path = tmp_path / "evil.tgz"
    with tarfile.open(path, "w:gz") as tar:
        member = tarfile.TarInfo("../../evil.txt")
        member.size = 4
        tar.addfile(member, io.BytesIO(b"evil"))
    with pytest.raises(InputError, match=r"^evil.tgz is not safe to unpack: .*evil.txt"):
        incoming.import_local(path, name="mine")
    assert visible(data) == []
    assert not list(tmp_path.rglob("evil.txt"))


def test_images_of_no_known_dataset_need_a_name(pictures: Path, data: Path) -> None:
    with pytest.raises(InputError, match=r"^toy2-8 is none of imagenette2.tgz, .*--name which one"):
        incoming.import_local(pictures)
    assert visible(data) == []


@pytest.mark.parametrize("name", ["../up", ".hidden", "a b", ""])
def test_a_name_that_cannot_be_a_folder_is_refused(name: str, pictures: Path, data: Path) -> None:
    text = (
        f"{name!r} cannot name a dataset: letters, digits, '.', '_' and '-' can, beginning with a "
        "letter or digit"
    )
    refused(data, text, lambda: incoming.import_local(pictures, name=name))


def test_the_name_of_a_generated_dataset_is_refused(pictures: Path, data: Path) -> None:
    text = "'synthetic-fine' is the name of a dataset that is generated; take another"
    refused(data, text, lambda: incoming.import_local(pictures, name="synthetic-fine"))


@pytest.mark.parametrize(
    ("gone", "text"),
    [
        (["val"], "toy2-8 has no folder 'val'; wanted is train/<class>/… and val/<class>/…"),
        (["val/n02"], "toy2-8: class n02 is missing from val"),
        (["train/n01"], "toy2-8: class n01 is missing from train"),
        (["train/n01", "val/n01"], "toy2-8 has 1 classes; 2 or more are needed"),
        (["val/n01/0.JPEG"], "toy2-8: class n01 has no val images"),
    ],
)
def test_a_folder_of_the_users_own_needs_two_classes_in_both_splits(
    gone: list[str], text: str, pictures: Path, data: Path
) -> None:
    for path in gone:
        shutil.rmtree(pictures / path) if (pictures / path).is_dir() else (pictures / path).unlink()
    refused(data, text, lambda: incoming.import_local(pictures, name="mine"))


def test_a_dataset_that_is_there_is_not_replaced(pictures: Path, data: Path) -> None:
    incoming.import_local(pictures, name="mine")
    text = f"dataset 'mine' is already in {data}; to replace it, delete {data / 'mine'} first"
    refused(data, text, lambda: incoming.import_local(pictures, name="mine"))


# Interruptions and the disk


@pytest.mark.parametrize("phase", ["look through", "unpack", "headers", "train", "val"])
def test_an_interrupted_import_leaves_nothing(phase: str, archive: Path, data: Path) -> None:
    def interrupt(event: Event) -> None:
        if isinstance(event, DataRead) and event.phase == phase:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        incoming.import_local(archive, name="mine", tell=interrupt)
    assert visible(data) == []


def test_what_a_killed_process_left_is_invisible_and_cleared(pictures: Path, data: Path) -> None:
    (data / ".staging-mine" / "made").mkdir(parents=True)
    (data / ".staging-mine" / "made" / "manifest.json").write_text("{}")
    assert "mine" not in library.known_names()
    incoming.import_local(pictures, name="mine")
    assert visible(data) == ["mine"]


def test_what_a_killed_process_left_of_another_dataset_is_cleared_unless_it_is_held(
    pictures: Path, data: Path
) -> None:
    for name in ("killed", "held"):
        (data / f".staging-{name}").mkdir(parents=True)
    with filelock.FileLock(data / ".held.lock"):
        incoming.import_local(pictures, name="mine")
    assert not (data / ".staging-killed").exists()
    assert (data / ".staging-held").exists()


@pytest.mark.parametrize("name", ["mine", "synthetic-fine"])
def test_a_folder_that_is_no_dataset_is_neither_replaced_nor_called_one(
    name: str, pictures: Path, data: Path
) -> None:
    (own := data / name / "thesis.txt").parent.mkdir(parents=True)
    own.touch()
    with pytest.raises(InputError, match=f"^{data / name} is there and is no dataset of ours; mov"):
        incoming.import_local(pictures, name=name) if name == "mine" else library.open_dataset(name)
    assert own.exists()


def test_a_set_that_may_not_be_read_is_not_called_damaged(
    pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    incoming.import_local(pictures, name="mine")

    def denied(path: Path, **_: str) -> str:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_text", denied)
    with pytest.raises(InputError, match=r"mine/manifest.json: Permission denied \([^)]*\)$"):
        library.open_dataset("mine")
    assert {row.name: row.state for row in library.listing()}["mine"] == "not readable"


def test_the_home_of_a_user_who_is_none_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("RESIZER_BENCH_DATA", "RESIZER_BENCH_RESULTS"):
        monkeypatch.setenv(name, "~nouser/x")
    assert library.data_dir() == tmp_path / "~nouser" / "x"
    assert local_results() == Path("~nouser/x")
    with pytest.raises(InputError, match=r"/~nouser/y does not exist"):
        incoming.import_local("~nouser/y", name="mine")


def test_a_full_disk_is_one_sentence(
    pictures: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(building, "write_split", full)
    text = f"{data}: No space left on device"
    refused(data, text, lambda: incoming.import_local(pictures, name="mine"))


def test_a_data_folder_that_cannot_be_made_is_one_sentence(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("RESIZER_BENCH_DATA", str(tmp_path / "file" / "data"))
    with pytest.raises(InputError, match=r"/file/data: Not a directory$"):
        incoming.import_local(pictures, name="mine")


# Fetching


@pytest.mark.usefixtures("toy")
def test_a_fetched_archive_becomes_the_dataset(
    archive: Path, data: Path, serve: Callable[..., str]
) -> None:
    base, seen = serve(archive.read_bytes()), list[Event]()
    dataset = incoming.fetch("toy-8", base=base, tell=seen.append)
    size = archive.stat().st_size
    assert dataset.manifest.origin == f"fetched from {base}toy2-8.tgz"
    assert dataset.manifest.archive.published
    assert DataRead("download", size, size) in seen
    assert visible(data) == ["toy-8"]
    assert sorted(p.suffix for p in (data / "toy-8").iterdir()) == [
        ".bin",
        ".bin",
        ".json",
        ".parquet",
        ".parquet",
    ]


@pytest.mark.usefixtures("toy")
def test_a_download_cut_short_is_said(archive: Path, data: Path, serve: Callable[..., str]) -> None:
    size = archive.stat().st_size
    base = serve(archive.read_bytes()[:100], size)
    text = f"{base}toy2-8.tgz broke off after 100 of {size} bytes; fetch it again"
    refused(data, text, lambda: incoming.fetch("toy-8", base=base))


@pytest.mark.usefixtures("toy")
def test_a_download_with_a_wrong_digest_is_said(
    archive: Path, data: Path, serve: Callable[..., str]
) -> None:
    body = archive.read_bytes() + b"\0"
    base = serve(body)
    text = (
        f"{base}toy2-8.tgz is not the published archive: its sha256 is "
        f"{hashlib.sha256(body).hexdigest()}, its md5 {hashlib.md5(body).hexdigest()}; nothing of "
        "it was kept"
    )
    refused(data, text, lambda: incoming.fetch("toy-8", base=base))


@pytest.mark.usefixtures("toy")
@pytest.mark.parametrize("length", ["abc", "-5", "9" * 5000, "1e3", "٣"])
def test_a_length_that_is_none_is_not_believed(
    archive: Path, serve: Callable[..., str], length: str
) -> None:
    base = serve(archive.read_bytes(), length.encode().decode("latin-1"))
    assert incoming.fetch("toy-8", base=base).doubt == ""


@pytest.mark.usefixtures("toy")
def test_an_archive_for_which_there_is_no_room_is_not_fetched(
    archive: Path, data: Path, serve: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    base = serve(archive.read_bytes())
    monkeypatch.setattr(incoming, "free_bytes", lambda _: 100)
    with pytest.raises(InputError, match=r"toy2-8.tgz has 0.00 GB; 0.00 GB are free in "):
        incoming.fetch("toy-8", base=base)
    assert visible(data) == []


@pytest.mark.usefixtures("toy")
def test_a_missing_archive_on_the_server_is_said(data: Path, serve: Callable[..., str]) -> None:
    base = serve()
    text = f"{base}toy2-8.tgz answered 404 Not Found"
    refused(data, text, lambda: incoming.fetch("toy-8", base=base))


@pytest.mark.usefixtures("toy")
def test_an_unreachable_server_is_said(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with pytest.raises(
        InputError, match=r"^http://127.0.0.1:9/toy2-8.tgz cannot be reached \(.*refused\); an arc"
    ):
        incoming.fetch("toy-8", base="http://127.0.0.1:9")
    assert visible(data) == []


@pytest.mark.usefixtures("toy")
def test_a_network_that_fails_in_the_middle_is_not_blamed_on_the_disk(
    archive: Path, serve: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*_: object) -> bytes:
        raise OSError(errno.EHOSTUNREACH, "No route to host")

    monkeypatch.setattr(http.client.HTTPResponse, "read", lost)
    with pytest.raises(InputError, match=r"toy2-8.tgz cannot be reached \(.*No route to host\)"):
        incoming.fetch("toy-8", base=serve(archive.read_bytes()))


def test_a_dataset_without_an_archive_is_not_fetched(pictures: Path, data: Path) -> None:
    incoming.import_local(pictures, name="mine")
    text = "dataset 'mine' has no archive to fetch: it is a set of your own"
    refused(data, text, lambda: incoming.fetch("mine"))
    text = "dataset 'synthetic-fine' has no archive to fetch: it is generated on first use"
    refused(data, text, lambda: incoming.fetch("synthetic-fine"))


# Opening, generating, verifying, listing


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
