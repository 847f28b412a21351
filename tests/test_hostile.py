"""Hostile inputs of every kind: nothing escapes, no traceback, one sentence each."""

from __future__ import annotations

import gzip
import io
import json
import math
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.cli import console
from bench.data import incoming
from bench.errors import InputError
from bench.lab import backbones, checkpoints
from bench.metrics import as_metrics
from bench.opening import load_from
from bench.run.plan import make_plan
from bench.spec.trial import Trial
from bench.store import Store
from tests.conftest import toy_toml
from tests.fakes import result
from tests.test_archives import members, tarred


def member(path: Path, change: Callable[[tarfile.TarInfo], object], content: bytes = b"") -> Path:
    with tarfile.open(path, "w:gz") as tar:
        one = tarfile.TarInfo("set/train/a/0.png")
        one.size = len(content)
        change(one)
        tar.addfile(one, io.BytesIO(content))
    return path


def setting(**values: object) -> Callable[[tarfile.TarInfo], object]:
    return lambda one: [setattr(one, name, value) for name, value in values.items()]


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def folder(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (path := root / name).parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root / "set"


PNG = next(iter(members().values()))
BOMB = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (60_000).to_bytes(4) * 2 + b"\x08\x02\0\0\0" + bytes(99)
ARCHIVES: dict[str, Callable[[Path], Path]] = {
    "above": lambda at: member(at / "a.tgz", setting(name="../../evil")),
    "absolute": lambda at: member(at / "a.tgz", setting(name=str(at / "evil"))),
    "dots inside": lambda at: member(at / "a.tgz", setting(name="set/../../../evil")),
    "link": lambda at: member(at / "a.tgz", setting(type=tarfile.SYMTYPE, linkname="/etc")),
    "hard link": lambda at: member(at / "a.tgz", setting(type=tarfile.LNKTYPE, linkname="../x")),
    "device": lambda at: member(at / "a.tgz", setting(type=tarfile.CHRTYPE)),
    "block device": lambda at: member(at / "a.tgz", setting(type=tarfile.BLKTYPE)),
    "pipe": lambda at: member(at / "a.tgz", setting(type=tarfile.FIFOTYPE)),
    "no name": lambda at: member(at / "a.tgz", setting(name="")),
    "long name": lambda at: member(at / "a.tgz", setting(name="a" * 5000), PNG),
    "long path": lambda at: member(at / "a.tgz", setting(name="a/" * 3000 + "0.png"), PNG),
    "null in the name": lambda at: member(at / "a.tgz", setting(name="a\0b/../../evil")),
    "a newline": lambda at: member(at / "a.tgz", setting(name="a\nb.png")),
    "zeros": lambda at: written(at / "a.tgz", gzip.compress(bytes(10_000_000))),
    "empty": lambda at: written(at / "a.tgz", b""),
    "text": lambda at: written(at / "a.tgz", b"hello"),
    "zip": lambda at: written(at / "a.zip", b"PK\x03\x04"),
    "cut": lambda at: written(at / "a.tgz", tarred(at / "b.tgz", members()).read_bytes()[:-100]),
    "image bomb": lambda at: folder(at, {**members(), "set/train/a/bomb.png": BOMB}),
    "not an image": lambda at: folder(at, {**members(), "set/train/a/x.jpg": b"GIF89a"}),
    "a program": lambda at: folder(at, {**members(), "set/train/a/x.png": b"%!PS\n(a) run"}),
    "one class": lambda at: folder(at, members(("a",))),
}
NAMES = [
    "../evil",
    "/etc",
    ".hidden",
    "a/b",
    "a\0b",
    "a\nb",
    "",
    "-",
    "synthetic-fine",
    "ü",
    "a" * 300,
]
TOMLS: dict[str, str] = {
    "nothing": "",
    "nulls": "\0" * 100,
    "nested": "a = " + "[" * 10_000,
    "digits": "x = " + "9" * 5000,
    "a name of markup": toy_toml(top="primary = ['[/x]', '[bold]']"),
    "a module above": toy_toml(rest="[[arm]]\nname = 'a'\nresizer = '../../evil:X'"),
    "a module of nothing": toy_toml(rest="[[arm]]\nname = 'a'\nresizer = ':'"),
    "a module of dots": toy_toml(rest="[[arm]]\nname = 'a'\nresizer = '....:X'"),
    "a null in a module": toy_toml(rest='[[arm]]\nname = "a"\nresizer = "a\\u0000b:X"'),
    "a null in a path": toy_toml(trial='pretrained = "a\\u0000b"'),
    "a folder of weights": toy_toml(trial="pretrained = '/'"),
    "a dataset above": toy_toml().replace('dataset = "toy"', 'dataset = "../../etc"'),
    "millions": toy_toml(axes=f"lr = [{', '.join(['0.1'] * 500)}]"),
}
CHECKPOINTS: dict[str, bytes] = {
    "empty": b"",
    "text": b"hello",
    "pickle": pickle.dumps(print),
    "deep pickle": b"(" * 100_000,
    "zip": b"PK\x03\x04" + bytes(100),
    "huge header": b"\xff" * 8,
}


ENDED_WELL = result(Trial(dataset="toy", backbone="test_resnet", input_size=16, epochs=1))


def record(**changes: object) -> bytes:
    """That of a trial that ended well, but for some of its keys; None takes one out."""
    whole = ENDED_WELL | changes
    return json.dumps({name: of for name, of in whole.items() if of is not None}).encode()


RECORDS: dict[str, bytes] = {
    "empty": b"",
    "null": b"null",
    "a list": b"[]",
    "nested": b"[" * 100_000,
    "digits": b'{"status": ' + b"9" * 5000 + b"}",
    "a status of its own": b'{"status": "fine"}',
    "a status alone": b'{"status": "failed"}',
    "nothing that was measured": b'{"status": "ok", "reason": ""}',
    "a list for metrics": record(metrics=[]),
    "text for a value": record(metrics={"top1_pct": {"value": "a", "unit": "%"}}),
    "no accuracy": record(metrics={}),
    "no finite accuracy": record(
        metrics=as_metrics({"top1_pct": math.inf, "val_loss": 1.0, "train_s": 1.0})
    ),
    "no accuracy in the curve": record(curve=[{"epoch": 1, "top1_pct": math.nan}]),
    "a number for data": record(data=3),
    "data without classes": record(data={"name": "toy", "fingerprint": "f"}),
    "half an environment": record(environment={"device": "cpu"}),
    "text for steps": record(steps="20"),
    "no steps": record(steps=None),
    "numbers for a curve": record(curve=[1, 2]),
    "an empty spectrum": record(spectrum={}),
    "latin": "{'é'}".encode("latin-1"),
    "half a character": record(reason="\ud800"),
}
CASES = [
    *(("archive", name) for name in ARCHIVES),
    *(("name", name) for name in NAMES),
    *(("toml", name) for name in TOMLS),
    *(("checkpoint", name) for name in CHECKPOINTS),
    *(("record", name) for name in RECORDS),
]


def test_there_are_50_of_them() -> None:
    assert len(CASES) >= 50


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_a_hostile_input_is_one_sentence_and_escapes_nowhere(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch, kind: str, name: str
) -> None:
    (inner := tmp_path / "inner").mkdir()
    monkeypatch.setenv(
        "RESIZER_BENCH_DATA" if kind in ("archive", "name") else "_", str(inner / "d")
    )
    before = {path for path in tmp_path.rglob("*") if inner not in path.parents}
    sentence = given(kind, name, inner, store)
    assert "\n" not in sentence.strip()
    assert "Traceback" not in sentence
    assert 10 < len(sentence) < 20_000
    after = {path for path in tmp_path.rglob("*") if inner not in path.parents}
    assert {path for path in after - before if store.root not in (path, *path.parents)} == set()
    assert not list(tmp_path.rglob("evil*"))


def given(kind: str, name: str, at: Path, store: Store) -> str:
    """The sentence with which an input is refused, or named."""
    if kind == "record":
        return damaged(RECORDS[name], at, store)
    with pytest.raises(InputError) as caught:
        use(kind, name, at, store)
    return str(caught.value)


def use(kind: str, name: str, at: Path, store: Store) -> None:
    """Use an input as the product does."""
    if kind == "archive":
        incoming.import_local(ARCHIVES[name](at), name="mine")
    elif kind == "name":
        incoming.import_local(folder(at, members()), name=name)
    elif kind == "toml":
        (at / "asked.toml").write_text(TOMLS[name])
        make_plan(load_from(store, str(at / "asked.toml"), small=False), store)
    else:
        file = written(at / "w.pth", CHECKPOINTS[name])
        fields = {"dataset": "toy", "backbone": "test_resnet", "input_size": 16, "epochs": 1}
        one = Trial(**fields, pretrained=str(file))
        checkpoints.load(backbones.build(one, 2, start=False), file, ["fc"])


def damaged(content: bytes, at: Path, store: Store) -> str:
    """What is said of a record that is none, in a plan that goes on."""
    (at / "asked.toml").write_text(toy_toml())
    experiment = load_from(store, str(at / "asked.toml"), small=False)
    first = next(iter(experiment.trials))
    written_to = store.trial_folder(first)
    written_to.mkdir(parents=True)
    (written_to / "record.json").write_bytes(
        content.replace(ENDED_WELL["key"].encode(), first.encode())
    )
    assert make_plan(experiment, store).counts == {"missing": len(experiment.trials)}
    assert set(store.table(experiment)["status"]) == {"missing"}
    (why,) = store.damaged.values()
    return why


@pytest.mark.parametrize(
    "text", ["[/x]", "[bold]", "mine [k=4]", "a\udcffb", "$x_1$ | y", "\ud800"]
)
def test_the_terminal_shows_a_users_text_as_it_is(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rich.console import Console

    shown = io.StringIO()
    monkeypatch.setattr(console, "out", Console(file=shown, width=80))
    console.say(text)
    console.out.print(console.wrapped_table([text], [[text]], right=()))
    assert shown.getvalue().count(text.replace("\udcff", "\\xff").replace("\ud800", "\\ud800")) == 3
