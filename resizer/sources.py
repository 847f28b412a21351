"""Which files a user's own class comes from: its module, and all of theirs that this imports."""

from __future__ import annotations

import ast
import hashlib
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import accumulate
from pathlib import Path

INSTALLED = ("site-packages", "dist-packages")
"""Folders of packages that are installed; what is in them counts by its version."""
STDLIB = Path(os.__file__).parent

SHIPPED = (
    "bench",
    "resizer",
    "resizer.fixed",
    "resizer.folded",
    "resizer.learned",
    "resizer.muller",
    "resizer.sources",
    "resizer.specs",
    "resizer.strided",
)
"""Modules that come with this project: `bench.spec.trial.SEMANTICS` stands for them."""


def source_file(implementation: str) -> Path:
    """The file that `package.module:Class` is in, found without running it.

    Raises:
        ValueError: if there is no such module, or its name is that of one of Python's own.
    """
    module = implementation.partition(":")[0]
    if module.partition(".")[0] in sys.stdlib_module_names:
        raise ValueError(
            f"resizer {implementation!r}: Python has a module of this name: give the file another"
        )
    with working_directory_importable():
        found = module_file(module)
    if found is None:
        raise ValueError(
            f"resizer {implementation!r}: no module {module!r} in {Path.cwd()} or on PYTHONPATH"
        )
    return found


def source_digest(implementation: str) -> str:
    """The sha256 of all code of the user's that `package.module:Class` is made of.

    That is the class's file, and whatever modules of theirs it imports, at any depth; not the
    standard library, installed packages, or this project. Nothing is executed. Data files, and
    names that are only known when the code runs, are not seen.
    """
    with working_directory_importable():
        modules = own_modules(implementation.partition(":")[0])
    digests = {name: _digest(path.read_bytes()) for name, path in modules.items()}
    if len(digests) == 1:
        return digests.popitem()[1]
    lines = [f"{name} {digest}\n" for name, digest in sorted(digests.items())]
    return _digest("".join(lines).encode())


def own_modules(module: str) -> dict[str, Path]:
    """The module, the packages that it is in, and what of the user's they import: name -> file."""
    found: dict[str, Path] = {}
    seen: set[str] = set()
    waiting = [*_with_parents(module)]
    while waiting:
        name = waiting.pop()
        shipped = name in SHIPPED or name.startswith("bench.")
        if name in seen or (shipped and name != module):
            continue
        seen.add(name)
        path = module_file(name)
        if path is None or _is_installed(path):
            continue
        source = path.read_bytes()
        if source.strip():  # an empty __init__.py decides nothing
            found[name] = path
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        for imported in _imports(source, package):
            waiting += _with_parents(imported)
    return found


def module_file(module: str) -> Path | None:
    """The file of a module, found without running any code of the user's; None if there is none."""
    parts = module.split(".")
    try:
        spec = importlib.util.find_spec(parts[0]) if parts[0] else None
        for part in parts[1:]:
            if spec is None:
                return None
            places: Sequence[str] = list(spec.submodule_search_locations or ())
            # by its own name: under its full one, a folder without __init__.py must be imported
            spec = importlib.machinery.PathFinder.find_spec(part, places)
    except (ImportError, ValueError):
        return None
    if spec is None or spec.origin is None or not spec.has_location:
        return None
    return path if (path := Path(spec.origin)).is_file() else None  # it may be gone since


@contextmanager
def working_directory_importable() -> Iterator[None]:
    """While it is open, modules of the working directory are found, as under `python -m`."""
    folder = str(Path.cwd())
    added = "" not in sys.path and folder not in sys.path
    if added:
        sys.path.insert(0, folder)
    try:
        yield
    finally:
        if added:
            sys.path.remove(folder)


def _with_parents(module: str) -> Iterator[str]:
    """
    >>> list(_with_parents("a.b.c"))
    ['a', 'a.b', 'a.b.c']
    """
    return accumulate(module.split("."), "{}.{}".format)


def _is_installed(path: Path) -> bool:
    return path.is_relative_to(STDLIB) or bool({*path.parts} & {*INSTALLED})


@lru_cache(maxsize=1000)
def _imports(source: bytes, package: str) -> frozenset[str]:
    """The modules that a file may import, wherever in it; none where it cannot be parsed.

    `from a import b` names `a` and `a.b`, as `b` may be a module. A call of `import_module("a")`
    or `__import__("a")` counts, too.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # compiled, or not Python
        return frozenset()
    found: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Import():
                found |= {alias.name for alias in node.names}
            case ast.ImportFrom():
                base = _full("." * node.level + (node.module or ""), package)
                found |= {base, *(f"{base}.{alias.name}".strip(".") for alias in node.names)}
            case ast.Call(
                ast.Name("import_module" | "__import__")
                | ast.Attribute(attr="import_module" | "__import__"),
                [ast.Constant(str(name)), *_],
            ):
                found.add(_full(name, package))
    return frozenset(found - {""})


def _full(name: str, package: str) -> str:
    """A module's name in full: `..c` in the package a.b is a.c."""
    own = name.lstrip(".")
    if own == name:
        return name
    parts = package.split(".")
    kept = parts[: len(parts) - (len(name) - len(own)) + 1]
    return ".".join([*kept, own] if own else kept)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
