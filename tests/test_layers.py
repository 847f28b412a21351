"""The arrows between rooms, read from the imports."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent
TORCH_FREE = (
    *(
        "resizer.specs",
        "bench.experiment",
        "bench.loading",
        "bench.tuning",
        "bench.search",
        "bench.studies",
        "bench.answering",
        "bench.controls",
        "bench.runner",
        "bench.lane",
        "bench.store",
        "bench.statistics",
    ),
    *("bench.processes", "bench.publish", "bench.console", "bench.cli", "bench.report"),
    *("bench.report.figures", "bench.report.page", "bench.report.compare"),
    *("bench.datasets.specs", "bench.datasets.library", "bench.datasets.synthetic"),
)
ALLOWED: dict[str, tuple[str, ...]] = {
    "resizer": ("resizer",),
    "bench.seeds": (),
    "bench.paths": (),
    "bench.errors": (),
    "bench.processes": (),
    "bench.settling": ("resizer.specs",),
    "bench.space": ("bench.settling", "resizer.specs"),
    "bench.experiment": ("bench.settling", "bench.errors", "bench.paths", "resizer.specs"),
    "bench.tuning": (
        *("bench.space", "bench.experiment", "bench.mistakes", "bench.errors", "resizer.specs"),
    ),
    "bench.mistakes": ("resizer.specs",),
    "bench.controls": (
        *("bench.experiment", "bench.settling", "bench.errors", "bench.processes"),
        *("bench.device", "bench.environment", "bench.models", "bench.timing", "bench.trial"),
    ),
    "bench.loading": (
        *("bench.experiment", "bench.controls", "bench.tuning", "bench.store", "bench.mistakes"),
        *("bench.settling", "bench.space", "bench.errors", "bench.paths", "resizer.specs"),
    ),
    "bench.store": ("bench.experiment", "bench.errors"),
    "bench.statistics": (),
    "bench.report": (
        *("bench.experiment", "bench.store", "bench.statistics", "bench.errors", "bench.report"),
        *("bench.space", "bench.datasets.specs"),
    ),
    "bench.device": ("bench.errors",),
    "bench.machine": (),
    "bench.environment": ("bench.device", "bench.paths"),
    "bench.datasets": (
        *("bench.datasets", "bench.errors", "bench.experiment", "bench.seeds", "resizer.specs"),
    ),
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
            found |= {node.module, *(f"{node.module}.{name.name}" for name in node.names)}
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
        if path.name not in ("cli.py", "console.py"):
            assert not {n.split(".")[0] for n in names} & {"rich", "typer"}, path
