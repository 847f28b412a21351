"""Archives: damage anywhere in them, what they would take, and names that are not UTF-8."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from bench.data import archives, incoming, library
from bench.errors import InputError
from bench.events import ignore


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data folder of the test's own."""
    monkeypatch.setenv("RESIZER_BENCH_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


def png(side: int = 8, **options: Any) -> bytes:
    noise = np.random.default_rng(side).integers(0, 256, (side, side, 3), np.uint8)
    PIL.Image.fromarray(noise).save(file := io.BytesIO(), "PNG", **options)
    return file.getvalue()


def members(classes: tuple[str, ...] = ("a", "b")) -> dict[str, bytes]:
    return {f"set/{split}/{c}/0.png": png() for split in ("train", "val") for c in classes}


def tarred(path: Path, files: dict[str, bytes], mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def left(data: Path) -> list[str]:
    return [path.name for path in data.glob("*") if path.suffix != ".lock"]


@pytest.mark.parametrize(
    ("mode", "place"), [("w:gz", -6), ("w:gz", -2), ("w:xz", -15)], ids=["crc", "length", "xz"]
)
def test_a_flipped_byte_in_a_check_sum_is_found(
    tmp_path: Path, data: Path, mode: str, place: int
) -> None:
    archive = tarred(tmp_path / "set.tgz", members(), mode)
    content = bytearray(archive.read_bytes())
    content[place] ^= 0x40
    archive.write_bytes(content)
    with pytest.raises(InputError, match=r"^set.tgz is cut short or damaged: "):
        incoming.import_local(archive, name="mine")
    assert left(data) == []


def test_a_flipped_byte_in_a_members_content_is_found(tmp_path: Path) -> None:
    archive = tarred(tmp_path / "set.tar", members() | {"set/notes.txt": b"a" * 5000}, "w:")
    plain = bytearray(archive.read_bytes())
    packed = bytearray(gzip.compress(bytes(plain), compresslevel=0))
    packed[packed.rindex(b"aaaa")] = ord("b")
    (tmp_path / "set.tgz").write_bytes(packed)
    with pytest.raises(InputError, match=r"^set.tgz is cut short or damaged: CRC check failed"):
        incoming.import_local(tmp_path / "set.tgz", name="mine")


def test_a_damaged_header_is_not_taken_for_the_end(tmp_path: Path) -> None:
    archive = tarred(tmp_path / "set.tar", members(("a", "b", "c")), "w:")
    content = archive.read_bytes()
    archive.write_bytes(content.replace(b"set/val/c/0.png", b"set/val/d/0.png"))  # and no new sum
    with pytest.raises(InputError, match=r"^set.tar is cut short or damaged: neither a member nor"):
        incoming.import_local(archive, name="mine")


def test_an_archive_cut_between_two_members_is_found(tmp_path: Path) -> None:
    archive = tarred(tmp_path / "set.tar", members(("a", "b", "c")), "w:")
    content = archive.read_bytes()
    archive.write_bytes(content[: content.index(b"set/val/c/0.png")])
    with pytest.raises(InputError, match=r"^set.tar is cut short or damaged: neither a member nor"):
        incoming.import_local(archive, name="mine")


def test_a_second_archive_behind_the_first_is_found(tmp_path: Path) -> None:
    first = tarred(tmp_path / "set.tar", members(("a", "b")), "w:")
    second = tarred(tmp_path / "more.tar", members(("c", "d")), "w:")
    first.write_bytes(first.read_bytes() + second.read_bytes())
    with pytest.raises(InputError, match=r"^set.tar is cut short or damaged: more after the end"):
        incoming.import_local(first, name="mine")


def test_a_hard_link_to_nothing_is_one_sentence(tmp_path: Path, data: Path) -> None:
    archive = tarred(tmp_path / "set.tar", members(), "w:")
    with tarfile.open(archive, "a") as tar:
        link = tarfile.TarInfo("set/train/a/link.png")
        link.type, link.linkname = tarfile.LNKTYPE, "set/train/a/gone.png"
        tar.addfile(link)
    with pytest.raises(InputError, match=r"^set.tar is damaged: linkname '.*gone.png' not found$"):
        incoming.import_local(archive, name="mine")
    assert left(data) == []


@pytest.mark.parametrize(
    "names",
    [
        ("set/train/a/x", "set/train/a/x/1.png"),
        ("set/train/a/x/1.png", "set/train/a/x"),
        ("set/train/a/x", "set/train/a/x/deeper/1.png"),
    ],
    ids=["file first", "folder first", "deeper"],
)
def test_a_file_that_is_also_a_folder_is_one_sentence_about_the_archive(
    tmp_path: Path, data: Path, names: tuple[str, str]
) -> None:
    archive = tarred(tmp_path / "set.tar", members(), "w:")
    with tarfile.open(archive, "a") as tar:
        for name in names:
            tar.addfile(tarfile.TarInfo(name))
    wanted = f"^set.tar is cut short or damaged: a part of {names[1]} is a file and a folder$"
    with pytest.raises(InputError, match=wanted):
        incoming.import_local(archive, name="mine")
    assert left(data) == []


def bomb(path: Path, size: int) -> Path:
    """An archive of one member that claims so many bytes, and a little of it."""
    member = tarfile.TarInfo("set/train/a/0.png")
    member.size = size
    path.write_bytes(gzip.compress(member.tobuf() + bytes(100_000)))
    return path


def test_an_archive_that_unpacks_to_more_than_it_may_is_refused_at_its_header(
    tmp_path: Path, data: Path
) -> None:
    for size in (2 << 30, 1 << 40):
        with pytest.raises(InputError, match=r"^b.tgz unpacks to more than 100 times its size, as"):
            incoming.import_local(bomb(tmp_path / "b.tgz", size), name="mine")
    many = {f"set/train/a/{i}.png": b"" for i in range(600)}
    archive = tarred(tmp_path / "many.tgz", many)
    with pytest.raises(InputError, match=r"^many.tgz unpacks to more than the 0.00 GB that are"):
        archives.unpack(archive, tmp_path / "to", 1_000_000, ignore)
    assert left(data) == []


@pytest.mark.parametrize(
    ("free", "sentence"),
    [
        (10_000, r"^set.tgz unpacks to more than the 0.00 GB that are free; nothing was kept$"),
        (20_000, r"^set.tgz takes 0.01 GB decoded; 0.00 GB are free in "),
    ],
)
def test_an_archive_for_which_there_is_no_room_is_refused_and_leaves_nothing(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch, free: int, sentence: str
) -> None:
    flat = PIL.Image.new("RGB", (1000, 1000))
    flat.save(file := io.BytesIO(), "PNG", optimize=True)
    files = dict.fromkeys(members(), file.getvalue())
    monkeypatch.setattr(incoming, "free_bytes", lambda _: free)
    with pytest.raises(InputError, match=sentence):
        incoming.import_local(tarred(tmp_path / "set.tgz", files), name="mine")
    assert left(data) == []


def test_what_a_folder_will_take_is_known_before_it_is_decoded(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, content in members().items():
        (path := tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    monkeypatch.setattr(incoming, "free_bytes", lambda _: 4 * 3 * 64 - 1)
    with pytest.raises(InputError, match=r"^set takes 0.00 GB decoded; 0.00 GB are free in "):
        incoming.import_local(tmp_path / "set", name="mine")
    assert left(data) == []
    monkeypatch.setattr(incoming, "free_bytes", lambda _: 4 * 3 * 64)
    assert len(incoming.import_local(tmp_path / "set", name="mine").train) == 2


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("caf\udce9", r"caf\xe9"),
        ("\udcff\udcfe", r"\xff\xfe"),
        ("日本\udc80", r"日本\x80"),
        ("\x1b[2J\r\n", r"\x1b[2J\r\n"),
    ],
)
@pytest.mark.parametrize("where", ["class", "file", "archive"])
def test_names_that_no_terminal_can_show_are_read_and_written_out(
    tmp_path: Path, name: str, shown: str, where: str
) -> None:
    files = members(("a", name)) if where != "file" else members()
    if where == "file":
        files[f"set/train/a/{name}.png"] = png()
    if where == "archive":
        source = tarred(tmp_path / "set.tgz", files)
    else:
        source = tmp_path / "set"
        for path, content in files.items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_bytes(content)
    dataset = incoming.import_local(source, name="mine")
    if where == "file":
        assert f"a/{shown}.png" in dataset.train.names
    else:
        assert set(dataset.classes) == {"a", shown}
    assert library.verify("mine")
    assert library.open_dataset("mine").classes == dataset.classes


@pytest.mark.parametrize(
    "change",
    [
        lambda m: setattr(m, "name", "../../evil.txt"),
        lambda m: setattr(m, "name", "/etc/evil.txt"),
        lambda m: (setattr(m, "type", tarfile.SYMTYPE), setattr(m, "linkname", "../../../evil")),
        lambda m: (setattr(m, "type", tarfile.LNKTYPE), setattr(m, "linkname", "/etc/passwd")),
        lambda m: setattr(m, "type", tarfile.CHRTYPE),
        lambda m: setattr(m, "type", tarfile.FIFOTYPE),
    ],
    ids=["above", "absolute", "link above", "hard link", "device", "pipe"],
)
def test_an_archive_with_an_unsafe_member_is_refused_and_leaves_nothing(
    tmp_path: Path, data: Path, change: Callable[[tarfile.TarInfo], object]
) -> None:
    archive = tarred(tmp_path / "set.tgz", members())
    with tarfile.open(archive, "w:gz") as tar:
        member = tarfile.TarInfo("set/x")
        change(member)
        tar.addfile(member)
    with pytest.raises(InputError, match=r"^set.tgz (is not safe to unpack|has no folder)"):
        incoming.import_local(archive, name="mine")
    assert left(data) == []
    assert not list(tmp_path.rglob("evil*"))
