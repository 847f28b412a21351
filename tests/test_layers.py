"""The house: what each module may import, and that planning and reporting stay free of torch.

`MAY_IMPORT` has a row for every module. To add a module, add its row: our own modules and rooms
that it may import, beside its own room. A row with `TORCH` may import torch and what stands on it.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from bench.store import Store
from tests import fakes

PROJECT = Path(__file__).resolve().parent.parent
TORCH = "torch"
ON_TORCH = {"torch", "torchvision", "timm", "safetensors"}
BASE = ("bench.errors", "bench.machine", "bench.paths", "bench.seeds", "resizer.specs")
SAVED = ("bench.metrics", "bench.records", "bench.store", "bench.opening")
SPEC = (*BASE, "bench.spec")
DATA = (*SPEC, "bench.data", "bench.events")
LAB = (*DATA, "bench.events", "bench.metrics", "bench.records", "resizer", TORCH)
RUN = (*DATA, *SAVED, "bench.events", "bench.run")
ANALYSIS = (*SPEC, *SAVED, "bench.analysis", "bench.data.specs", "bench.data.library")
PLAIN = ("moderated", "statistics", "crossed", "pairs", "pooled", "judging")
STATISTICS = tuple(f"bench.analysis.{name}" for name in PLAIN)
REPORT = (*ANALYSIS, "bench.report", "bench.events")
OPENED = (*SPEC, *SAVED, "bench.cli")

MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "resizer": ("resizer.sources", "resizer.specs", TORCH),
    "resizer.specs": (),
    "resizer.sources": (),
    "resizer.fixed": ("resizer", TORCH),
    "resizer.folded": ("resizer", TORCH),
    "resizer.learned": ("resizer", TORCH),
    "resizer.muller": ("resizer", TORCH),
    "resizer.strided": ("resizer", TORCH),
    "bench": (*REPORT, "bench.lab.models"),
    "bench.__main__": ("bench.cli",),
    "bench.errors": (),
    "bench.machine": (),
    "bench.paths": (),
    "bench.seeds": (),
    "bench.metrics": (),
    "bench.events": ("bench.records", "bench.spec"),  # for types alone
    "bench.records": ("bench.errors", "bench.machine", "bench.metrics", "bench.spec"),
    "bench.store": (
        "bench.errors",
        "bench.machine",
        "bench.metrics",
        "bench.paths",
        "bench.records",
        "bench.spec.experiment",
        "bench.spec.trial",
    ),
    "bench.merging": ("bench.errors", "bench.machine", "bench.records", "bench.store"),
    "bench.opening": (*SPEC, "bench.records", "bench.store"),
    "bench.publish": REPORT,
    "bench.reusing": (*SPEC, *SAVED, "bench.data.library"),
    "bench.checks": ANALYSIS,
    "bench.cli": (*OPENED, "bench.publish", "bench.report", "bench.reusing", "bench.run"),
    "bench.cli.console": ("bench.errors", "bench.store"),
    "bench.cli.options": (*OPENED, "bench.data.library"),
    "bench.cli.progress": ("bench.cli", *SPEC, "bench.events", "bench.records"),
    "bench.cli.planning": (
        *OPENED,
        "bench.run.plan",
        "bench.run.search",
        "bench.analysis",
        "bench.data.library",
    ),
    "bench.cli.reporting": (*OPENED, "bench.report", "bench.run"),
    "bench.cli.upkeep": (
        *OPENED,
        "bench.checks",
        "bench.data",
        "bench.lab",
        "bench.merging",
        "bench.run",
    ),
    "bench.spec": (),
    "bench.spec.trial": (*SPEC, "resizer.sources"),
    "bench.spec.experiment": SPEC,
    "bench.spec.mistakes": SPEC,
    "bench.spec.variants": (),
    "bench.spec.ranges": SPEC,
    "bench.spec.tuning": (*SPEC, "resizer.sources"),
    "bench.spec.controls": SPEC,
    "bench.spec.grid": SPEC,
    "bench.spec.files": SPEC,
    "bench.data": (),
    "bench.data.specs": DATA,
    "bench.data.master": DATA,
    "bench.data.archives": DATA,
    "bench.data.decoding": DATA,
    "bench.data.folders": DATA,
    "bench.data.synthetic": DATA,
    "bench.data.manifest": DATA,
    "bench.data.building": (*DATA, "bench.records"),
    "bench.data.incoming": DATA,
    "bench.data.library": DATA,
    "bench.data.batches": (*DATA, TORCH),
    "bench.lab": (),
    "bench.lab.device": (*LAB, "bench.lab"),
    "bench.lab.environment": (*LAB, "bench.lab"),
    "bench.lab.checkpoints": (*LAB, "bench.lab"),
    "bench.lab.capture": (*LAB, "bench.lab"),
    "bench.lab.weights": (*LAB, "bench.lab"),
    "bench.lab.backbones": (*LAB, "bench.lab"),
    "bench.lab.blog": (TORCH,),
    "bench.lab.implementations": (*LAB, "bench.lab"),
    "bench.lab.models": (*LAB, "bench.lab"),
    "bench.lab.export": (*LAB, "bench.lab"),
    "bench.lab.training": (*LAB, "bench.lab"),
    "bench.lab.card": (*LAB, "bench.lab"),
    "bench.lab.snapshots": (*LAB, "bench.lab"),
    "bench.lab.gpu": (*LAB, "bench.lab"),
    "bench.lab.resampling": (*LAB, "bench.lab"),
    "bench.lab.kernels": (*LAB, "bench.lab"),
    "bench.lab.stepper": (*LAB, "bench.lab"),
    "bench.lab.pictures": (*LAB, "bench.lab"),
    "bench.lab.trial": (*LAB, "bench.lab"),
    "bench.lab.trying": (*LAB, "bench.lab"),
    "bench.lab.timing": (*LAB, "bench.lab"),
    "bench.lab.matching": (*LAB, "bench.lab"),
    "bench.lab.overhead": (*LAB, "bench.lab"),
    "bench.run": (),
    "bench.run.jobs": (*RUN, "bench.lab"),  # the only door into the laboratory
    "bench.run.processes": RUN,
    "bench.run.plan": RUN,
    "bench.run.readiness": RUN,
    "bench.run.attempt": RUN,
    "bench.run.cluster": RUN,
    "bench.run.claims": RUN,
    "bench.run.executors": RUN,
    "bench.run.timing": RUN,
    "bench.run.runner": RUN,
    "bench.run.implementations": RUN,
    "bench.run.keeping": RUN,
    "bench.run.stopping": (),
    "bench.run.search": RUN,
    "bench.run.studies": RUN,
    "bench.analysis": (),
    "bench.analysis.moderated": ("bench.analysis.statistics",),
    "bench.analysis.statistics": (),  # arrays and tables alone
    "bench.analysis.crossed": STATISTICS,
    "bench.analysis.judging": STATISTICS,
    "bench.analysis.meta": STATISTICS,
    "bench.analysis.simulation": STATISTICS,
    "bench.analysis.pairs": (),  # tables alone
    "bench.analysis.pooled": (*STATISTICS, "bench.paths"),
    "bench.analysis.planning": STATISTICS,
    "bench.analysis.evidence": ANALYSIS,
    "bench.analysis.effects": ANALYSIS,
    "bench.analysis.lengths": ANALYSIS,
    "bench.analysis.prices": ANALYSIS,
    "bench.analysis.compared": ("bench.analysis.statistics", "bench.spec.trial"),
    "bench.analysis.verdicts": ANALYSIS,
    "bench.analysis.overview": ANALYSIS,
    "bench.analysis.classes": ANALYSIS,
    "bench.analysis.drawn": ANALYSIS,
    "bench.report": REPORT,
    "bench.report.answer": REPORT,
    "bench.report.compare": REPORT,
    "bench.report.details": REPORT,
    "bench.report.environment": REPORT,
    "bench.report.front": REPORT,
    "bench.report.implementations": REPORT,
    "bench.report.made": REPORT,
    "bench.report.pages": REPORT,
    "bench.report.table": REPORT,
    "bench.report.render": REPORT,
    "bench.report.summary": REPORT,
    "bench.report.words": REPORT,
    "bench.report.figures": REPORT,
    "bench.report.figures.costs": REPORT,
    "bench.report.figures.curves": REPORT,
    "bench.report.figures.images": REPORT,
    "bench.report.figures.intervals": REPORT,
    "bench.report.figures.style": REPORT,
    "bench.report.figures.tuning": REPORT,
}


@cache
def modules() -> dict[str, Path]:
    """Every module of ours by its name."""
    paths = [path for room in ("bench", "resizer") for path in (PROJECT / room).rglob("*.py")]
    names = {path: ".".join(path.relative_to(PROJECT).with_suffix("").parts) for path in paths}
    return {name.removesuffix(".__init__"): path for path, name in names.items()}


@cache
def imported(name: str, *, for_types: bool = False) -> frozenset[str]:
    """The modules that a module imports, anywhere in it; of ours each, of others the package.

    Args:
        for_types: count those that only a type checker imports, too.
    """
    tree = ast.parse(modules()[name].read_text())
    nodes = set(ast.walk(tree))
    if not for_types:
        for block in filter(_is_for_types, ast.walk(tree)):
            nodes -= set(ast.walk(block))
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= inner & set(modules()) or {node.module}
    ours = found & set(modules())
    return frozenset(ours | {other.split(".")[0] for other in found - ours})


def _is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def test_every_module_has_its_row() -> None:
    assert set(MAY_IMPORT) == set(modules())


@pytest.mark.parametrize("name", sorted(MAY_IMPORT))
def test_a_module_imports_only_what_its_row_allows(name: str) -> None:
    allowed = MAY_IMPORT[name]
    ours = imported(name, for_types=True) & set(modules())
    strays = {
        other
        for other in ours - {"bench", "resizer"}
        if not any(other == room or other.startswith(f"{room}.") for room in allowed)
    }
    assert not strays
    if TORCH not in allowed:
        assert not imported(name) & ON_TORCH


def test_no_modules_import_one_another_in_a_circle() -> None:
    left = {name: imported(name) & set(modules()) - {name} for name in modules()}
    ends = set(left)
    while ends:
        wanted = set().union(*left.values())
        ends = {name for name, others in left.items() if not others & set(left)}
        ends |= set(left) - wanted
        left = {name: others for name, others in left.items() if name not in ends}
    assert not left


def test_the_house_has_at_most_12_floors() -> None:
    assert max(map(floor, modules())) <= 12


@cache
def floor(name: str) -> int:
    """The longest chain of imports that a module stands on, itself counted."""
    below = imported(name) & set(modules()) - {name}
    return 1 + max(map(floor, below), default=0)


def test_only_the_command_line_uses_rich_and_typer() -> None:
    users = {name for name in modules() if imported(name) & {"rich", "typer"}}
    assert all(name.startswith("bench.cli") for name in users)


PLAN_AND_REPORT = """
import json, sys
from bench.cli import app
for verb in ("plan", "report"):
    app([verb, sys.argv[1]], standalone_mode=False)
print(json.dumps(sorted({name.split(".")[0] for name in sys.modules})))
"""


def test_planning_and_reporting_leave_torch_unloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESIZER_BENCH_RESULTS", str(tmp_path / "results"))
    toy = fakes.experiment(tmp_path, 'dataset = ["imagewoof"]')
    fakes.fill(toy, Store(tmp_path / "results"), fakes.top1)
    done = subprocess.run(
        [sys.executable, "-c", PLAN_AND_REPORT, str(toy.file)],
        cwd=PROJECT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "9 trials: 9 ok" in done.stdout
    assert (tmp_path / "results" / "toy" / "report.html").exists()
    assert not set(json.loads(done.stdout.splitlines()[-1])) & ON_TORCH
