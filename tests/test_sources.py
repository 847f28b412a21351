"""The key of a trial takes in all code of the user's that its class is made of, and no other."""

from __future__ import annotations

import hashlib
import itertools
import sys
from pathlib import Path

import pytest

from bench.paths import PROJECT
from bench.spec.trial import Trial
from resizer.sources import SHIPPED, own_modules, source_digest

NUMBER = itertools.count()


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the path, with names of its own: `front.py` is `mod<n>_front.py`."""
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def write(code: Path, files: dict[str, str]) -> str:
    """Write files in which `@` stands for a prefix that no other test has; returns the prefix."""
    prefix = f"mod{next(NUMBER)}_"
    for name, text in files.items():
        path = code / name.replace("@", prefix)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace("@", prefix))
    return prefix


def key(resizer: str) -> str:
    fields = {"dataset": "d", "backbone": "b", "epochs": 1}
    return Trial(**fields, input_size=8, output_size=4, resizer=resizer).key


HELPED = {
    "import": ("import @helper", "@helper.py"),
    "import as": ("import @helper as h", "@helper.py"),
    "from": ("from @helper import f", "@helper.py"),
    "star": ("from @helper import *", "@helper.py"),
    "inside a function": ("def f():\n    import @helper", "@helper.py"),
    "if it is there": (
        "try:\n    import @helper\nexcept ImportError: pass",
        "@helper.py",
    ),
    "by name": ("import importlib\nimportlib.import_module('@helper')", "@helper.py"),
    "dunder": ("__import__('@helper')", "@helper.py"),
    "a package": ("import @pkg", "@pkg/__init__.py"),
    "a module of it": ("from @pkg import part", "@pkg/part.py"),
    "dotted": ("import @pkg.part", "@pkg/part.py"),
    "a parent of it": ("import @pkg.part", "@pkg/__init__.py"),
    "no __init__": ("import @space.part", "@space/part.py"),
}


@pytest.mark.parametrize("how", HELPED)
def test_a_module_that_the_file_imports_is_in_the_key(code: Path, how: str) -> None:
    text, helper = HELPED[how]
    others = {"@pkg/__init__.py": "A = 1", "@pkg/part.py": "B = 1"} if "pkg" in helper else {}
    prefix = write(code, {"@front.py": text, **others, helper: "f = 1"})
    first = key(f"{prefix}front:Mine")
    (code / helper.replace("@", prefix)).write_text("f = 2")
    second = key(f"{prefix}front:Mine")
    (code / helper.replace("@", prefix)).write_text("f = 1")
    assert first == key(f"{prefix}front:Mine") != second


@pytest.mark.parametrize("text", ["from . import b", "from .b import x", "from .deep.c import x"])
def test_relative_imports_are_followed_to_any_depth(code: Path, text: str) -> None:
    prefix = write(
        code,
        {
            "@pkg/__init__.py": "",
            "@pkg/a.py": text,
            "@pkg/b.py": "from .deep import c",
            "@pkg/deep/__init__.py": "",
            "@pkg/deep/c.py": "from ... import nothing\nfrom .. import d",
            "@pkg/d.py": "import @pkg.a",  # a circle
        },
    )
    found = own_modules(f"{prefix}pkg.a")
    expected = {f"{prefix}pkg.{name}" for name in ("a", "deep.c", "d")}
    assert set(found) - {f"{prefix}pkg.b"} == expected
    assert (f"{prefix}pkg.b" in found) == ("b" in text.replace("import", ""))
    first = key(f"{prefix}pkg.a:Mine")
    (code / f"{prefix}pkg" / "d.py").write_text("x = 1")
    assert key(f"{prefix}pkg.a:Mine") != first


def test_a_file_alone_has_the_digest_of_its_bytes_as_before(code: Path) -> None:
    text = "import math, torch, numpy.linalg, resizer.learned, bench.errors\nfrom os import path\n"
    prefix = write(code, {"@front.py": text, "@other.py": "x = 1", "@pkg/__init__.py": ""})
    assert source_digest(f"{prefix}front:Mine") == hashlib.sha256(text.encode()).hexdigest()
    (code / f"{prefix}pkg" / "front.py").write_text(text)
    assert source_digest(f"{prefix}pkg.front:Mine") == hashlib.sha256(text.encode()).hexdigest()
    first = key(f"{prefix}front:Mine")
    (code / f"{prefix}other.py").write_text("x = 2")
    assert key(f"{prefix}front:Mine") == first


def test_installed_packages_are_not_in_the_key(code: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prefix = write(code, {"site-packages/@lib.py": "x = 1", "@front.py": "import @lib"})
    monkeypatch.syspath_prepend(code / "site-packages")
    assert set(own_modules(f"{prefix}front")) == {f"{prefix}front"}


def test_a_module_of_ones_own_beside_the_shipped_ones_is_in_the_key() -> None:
    found = own_modules("resizer.muller")
    assert set(found) == {"resizer.muller"}  # asked for by its name; what it imports is shipped


def test_a_module_called_as_one_of_pythons_is_in_the_key_and_is_no_front_end(
    code: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "profile", raising=False)  # torch may have imported it
    prefix = write(code, {"@front.py": "import profile", "profile.py": "x = 1"})
    assert set(own_modules(f"{prefix}front")) == {f"{prefix}front", "profile"}
    with pytest.raises(ValueError, match="Python has a module of this name"):
        key("profile:Front")


def test_a_module_in_folders_that_are_no_packages_is_found(code: Path) -> None:
    prefix = write(code, {"@outer/inner/front.py": "import @helper", "@helper.py": "N = 1"})
    name = f"{prefix}outer.inner.front"
    assert own_modules(name) == {
        name: code / f"{prefix}outer" / "inner" / "front.py",
        f"{prefix}helper": code / f"{prefix}helper.py",
    }


@pytest.mark.parametrize(
    "text", ["def (:", "\0", "# coding: nonsense\nx = 1", "(" * 5000, "x = " + "-" * 50_000 + "1"]
)
def test_a_file_that_cannot_be_parsed_counts_by_its_bytes(code: Path, text: str) -> None:
    prefix = write(code, {"@front.py": text})
    assert source_digest(f"{prefix}front:M") == hashlib.sha256(text.encode()).hexdigest()


def test_nothing_of_the_users_is_run_to_find_it(code: Path) -> None:
    prefix = write(code, {"@pkg/__init__.py": "raise SystemExit(0)", "@pkg/a.py": "1 / 0"})
    assert len(own_modules(f"{prefix}pkg.a")) == 2


def test_every_module_that_comes_with_the_project_is_known_to() -> None:
    there = {f"resizer.{path.stem}" for path in (PROJECT / "resizer").glob("*.py")}
    assert set(SHIPPED) == there - {"resizer.__init__"} | {"resizer", "bench"}
