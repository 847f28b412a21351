"""Which files of a folder count, what is told of the others, and all that is broken at once."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from bench.data import folders, incoming, library
from bench.data.decoding import COMPOSITED, SCALED, TURNED
from bench.data.folders import IN_BOTH, Folder, Reading
from bench.errors import InputError, told
from bench.events import ignore
from bench.machine import cores


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data folder of the test's own."""
    monkeypatch.setenv("RESIZER_BENCH_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """The folder `set` with one image in each of two classes, in train and another in val."""
    for split, side in (("train", 4), ("val", 5)):
        for name in ("a", "b"):
            picture(tmp_path / "set" / split / name / "0.png", side)
    return tmp_path / "set"


def picture(path: Path, side: int = 4, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.new("RGB", (side, side), "teal").save(path, **options)
    return path


@pytest.mark.parametrize("suffix", [".webp", ".BMP", ".tif", ".tiff", ".gif", ".jpe", ".JFIF"])
def test_every_usual_suffix_counts(pictures: Path, suffix: str) -> None:
    picture(pictures / "train" / "a" / f"more{suffix}")
    assert f"a/more{suffix}" in incoming.import_local(pictures, name="mine").train.names


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("train/a/.ipynb_checkpoints/0-checkpoint.png", "hidden folder"),
        ("train/.ipynb_checkpoints/0-checkpoint.png", "hidden folder"),
        ("train/a/.thumbs/x/0.png", "hidden folder"),
        ("val/__MACOSX/._0.png", "hidden folder"),
        ("train/a/._0.png", "hidden file"),
        ("val/a/Thumbs.db", "hidden file"),
        ("train/a/scan.heic", "no image by its suffix .heic"),
        ("train/a/notes.txt", "no image by its suffix .txt"),
        ("train/a/README", "no image by its suffix"),
        ("train/loose.png", "outside any class folder"),
        ("test/a/0.png", "beside train and val"),
    ],
)
def test_what_is_passed_over_is_told_with_the_reason(pictures: Path, path: str, why: str) -> None:
    source = picture(pictures.parent / "one.png")
    (target := pictures / path).parent.mkdir(parents=True, exist_ok=True)
    source.rename(target)
    dataset = incoming.import_local(pictures, name="mine")
    assert (len(dataset.train), len(dataset.val)) == (2, 2)
    assert dataset.classes == ("a", "b")
    ((reason, (name,)),) = dataset.manifest.passed.items()
    assert reason == why
    assert path.startswith(name)
    assert library.notes(dataset) == [f"passed over, {why}: 1 ({name})"]


def test_links_that_lead_nowhere_or_to_folders_are_told(pictures: Path) -> None:
    (pictures / "train" / "a" / "gone.png").symlink_to("nowhere.png")
    (pictures / "train" / "a" / "round").symlink_to(pictures)
    os.mkfifo(pictures / "train" / "a" / "pipe.png")
    passed = incoming.import_local(pictures, name="mine").manifest.passed
    assert passed == {
        "neither file nor folder, or a link to nothing": ["train/a/gone.png", "train/a/pipe.png"],
        "link to a folder": ["train/a/round"],
    }


def test_a_linked_class_folder_and_a_linked_file_are_read(pictures: Path, tmp_path: Path) -> None:
    picture(tmp_path / "elsewhere" / "0.png")
    for split in ("train", "val"):
        (pictures / split / "c").symlink_to(tmp_path / "elsewhere")
    (pictures / "train" / "a" / "1.png").symlink_to(tmp_path / "elsewhere" / "0.png")
    dataset = incoming.import_local(pictures, name="mine")
    assert dataset.train.names == ("a/0.png", "a/1.png", "b/0.png", "c/0.png")


@pytest.mark.parametrize("closed", ["train/a", "train/a/more", "val"])
def test_a_folder_that_cannot_be_read_is_an_error_not_a_gap(
    pictures: Path, monkeypatch: pytest.MonkeyPatch, closed: str
) -> None:
    (pictures / "train" / "a" / "more").mkdir()
    real = os.scandir

    def scandir(path: Any) -> Any:
        if path == pictures / closed:
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(InputError, match=rf"^set cannot be read: {closed} \(Permission denied\)$"):
        incoming.import_local(pictures, name="mine")


def test_all_that_cannot_be_decoded_is_named_at_once(
    pictures: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (pictures / "train" / "b" / "0.png").write_bytes(b"no image")
    whole = picture(pictures / "train" / "a" / "0.png", side=64).read_bytes()
    (pictures / "val" / "a" / "cut.png").write_bytes(whole[:-40])
    (pictures / "val" / "b" / "empty.gif").write_bytes(b"")
    real = PIL.Image.open

    def denied(path: Path, **options: Any) -> PIL.Image.Image:
        if path == pictures / "val" / "a" / "0.png":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, **options)

    monkeypatch.setattr(PIL.Image, "open", denied)
    with pytest.raises(InputError, match=r"^4 images in set cannot be decoded: ") as caught:
        incoming.import_local(pictures, name="mine")
    for name in ("train/b/0.png (no known image format)", "val/a/0.png (Permission denied)"):
        assert name in str(caught.value)
    assert "val/a/cut.png" in str(caught.value)
    assert "val/b/empty.gif" in str(caught.value)
    assert not [path for path in data.glob("*") if path.suffix != ".lock"]


def test_a_large_image_and_damaged_exif_beside_sound_pixels_warn_of_nothing(
    pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 15)  # up to twice as many, Pillow warns
    picture(pictures / "train" / "a" / "1.jpg", exif=b"Exif\0\0II*\0\x08\0\0\0\xff")
    assert len(incoming.import_local(pictures, name="mine").train) == 3


def test_changes_are_counted_told_at_import_and_by_verify(pictures: Path) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    picture(pictures / "train" / "a" / "turned.png", exif=exif)
    picture(pictures / "val" / "b" / "turned.jpg", exif=exif)
    PIL.Image.new("RGBA", (3, 3), (0, 0, 0, 0)).save(pictures / "train" / "b" / "clear.png")
    PIL.Image.fromarray(np.full((3, 3), 257, np.uint16)).save(pictures / "val" / "a" / "deep.png")
    dataset = incoming.import_local(pictures, name="mine")
    assert dataset.manifest.changes == {TURNED: 2, COMPOSITED: 1, SCALED: 1}
    assert f"{TURNED}: 2 images" in library.notes(library.open_dataset("mine"))


def test_images_that_are_in_val_as_in_train_are_told_whatever_they_are_called(
    pictures: Path,
) -> None:
    picture(pictures / "train" / "b" / "one.png", 6)
    picture(pictures / "val" / "b" / "other.bmp", 6)
    dataset = incoming.import_local(pictures, name="mine")
    assert dataset.manifest.changes == {IN_BOTH: 1}
    assert library.notes(dataset) == ["in val as in train, pixel by pixel: 1 image"]


def test_the_pixels_tell_apart_what_names_and_sizes_do_not(pictures: Path) -> None:
    first = incoming.import_local(pictures, name="first")
    path = pictures / "train" / "a" / "0.png"
    path = path.rename(path.with_suffix(".bmp"))
    PIL.Image.new("RGB", (4, 4), "teal").save(path)
    second = incoming.import_local(pictures, name="second")
    PIL.Image.new("RGB", (4, 4), "navy").save(path)
    third = incoming.import_local(pictures, name="third")
    assert first.manifest.pixels == second.manifest.pixels
    assert second.manifest.fingerprint == third.manifest.fingerprint
    assert second.manifest.pixels != third.manifest.pixels
    assert library.open_dataset("third").held_out(0.5).manifest.pixels == third.manifest.pixels


def test_decoding_ahead_is_bounded_in_bytes(
    pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    side, count = 1000, 12
    for i in range(count):
        picture(pictures / "train" / "a" / f"{i}.png", side=side)
    monkeypatch.setattr(folders, "DECODE_BYTES", 2 * folders.BYTES_PER_PIXEL * side * side)
    reading = Reading(Folder(pictures, "set"), ignore)
    assert reading.decoded_bytes == 3 * (count * side * side + 16 + 2 * 25)
    tracemalloc.start()
    try:
        assert sum(1 for _ in reading.images("train")) == count + 1
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 5 * 3 * side * side  # all of them would be 12


def test_processors_are_those_that_a_container_may_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)), raising=False)
    assert cores(tmp_path) == 6
    for written, expected in (
        ("max 100000", 6), ("250000 100000", 3), ("50000 100000", 1), ("900000 100000", 6),
        ("nonsense", 6), ("-1 100000", 6),
    ):  # fmt: skip
        (tmp_path / "cpu.max").write_text(written)
        assert cores(tmp_path) == expected, written
    (tmp_path / "cpu.max").unlink()
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("200000\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert cores(tmp_path) == 2


def test_a_missing_right_says_whose_the_file_is_and_who_asks(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o750)
    for number, strerror in ((13, "Permission denied"), (1, "Operation not permitted")):
        error = OSError(number, strerror, str(tmp_path / "closed"))
        text = told(error, tmp_path)
        assert text.startswith(f"{tmp_path}/closed: {strerror} (it is ")
        assert "'s, drwxr-x---; this runs as " in text
    below = OSError(13, "Permission denied", str(tmp_path / "closed" / "gone"))
    assert f"({tmp_path / 'closed'} is " in told(below, tmp_path)
    assert (
        told(OSError(28, "No space left on device"), tmp_path)
        == f"{tmp_path}: No space left on device"
    )
