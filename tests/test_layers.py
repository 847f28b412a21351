"""The arrows between rooms, read from the imports."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent
TORCH_FREE = [
    *(
        "resizer.specs",
        "resizer.sources",
        "bench.store",
        "bench.publish",
        "bench.terminal",
        "bench.cli",
    ),
    *("bench.spec.files", "bench.run.runner", "bench.run.studies", "bench.run.search"),
    *("bench.analysis.verdicts", "bench.report", "bench.report.pages", "bench.report.compare"),
    *("bench.report.figures.draw", "bench.data.library", "bench.data.synthetic"),
]
BASE = ("bench.errors", "bench.machine", "bench.paths", "bench.seeds")
SAVED = ("bench.metrics", "bench.records", "bench.store")
ALLOWED: dict[str, tuple[str, ...]] = {
    "resizer": (),
    "bench.seeds": (),
    "bench.paths": (),
    "bench.errors": (),
    "bench.machine": (),
    "bench.spec": (
        *BASE,
        "resizer.specs",
        "resizer.sources",
        "bench.store",
        "bench.lab",
        "bench.run.processes",
    ),
    "bench.data": (*BASE, "bench.spec", "resizer.specs"),
    "bench.store": ("bench.errors", "bench.spec.experiment"),
    "bench.analysis": (*BASE, *SAVED, "bench.spec", "bench.data.specs"),
    "bench.report": (*BASE, *SAVED, "bench.spec", "bench.analysis", "bench.data.specs"),
    "bench.run.processes": (),
}


def modules(room: str) -> list[Path]:
    path = PROJECT.joinpath(*room.split("."))
    return sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]


def imported(path: Path) -> set[str]:
    """Our own modules that a file imports anywhere."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{name.name}" for name in node.names}
    return {name for name in found if name.split(".")[0] in ("bench", "resizer")}


@pytest.mark.parametrize("room", sorted(ALLOWED))
def test_a_room_imports_only_what_it_may(room: str) -> None:
    for path in modules(room):
        for name in imported(path) - {"bench", "resizer"}:
            allowed = (*ALLOWED[room], room)
            assert any(name == a or name.startswith(f"{a}.") for a in allowed), f"{path}: {name}"


@pytest.mark.parametrize("module", TORCH_FREE)
def test_planning_storing_and_reporting_never_import_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=PROJECT, check=False).returncode == 0


def test_only_the_command_line_uses_rich_and_typer() -> None:
    for path in sorted((PROJECT / "bench").rglob("*.py")):
        tree = ast.parse(path.read_text())
        names = {n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
        names |= {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
        if path.name not in ("cli.py", "terminal.py"):
            assert not {n.split(".")[0] for n in names} & {"rich", "typer"}, path
