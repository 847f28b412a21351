"""Importing folders and archives, and leaving nothing half-made."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import pickle
import shutil
import tarfile
from pathlib import Path

import filelock
import numpy as np
import PIL.Image
import pytest

from bench.data import building, incoming, library
from bench.errors import InputError
from bench.events import DataRead, Event
from bench.paths import local_results
from tests.datasets.toys import COUNTS, packed, refused, visible


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
    assert list(seen) == ["unpack", "headers", "train", "val"]
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
        (["train/n01", "val/n01"], "toy2-8 has fewer than two classes"),
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


@pytest.mark.parametrize("phase", ["unpack", "headers", "train", "val"])
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
