"""The package as a stranger installs it: the wheel, its dependencies, and a run without a checkout.

The wheel goes into a fresh environment that borrows the dependencies of the running one.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from bench import __version__
from bench.analysis import pooled
from bench.paths import PROJECT, checkout
from bench.spec.files import shipped
from tests.conftest import toy_toml

DECLARED = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
EXTRAS = DECLARED["optional-dependencies"]


def run(*command: str | Path, folder: Path, **added: str) -> subprocess.CompletedProcess[str]:
    """Run a command in `folder` as a user would, the checkout out of sight."""
    hidden = ("PYTHONPATH", "RESIZER_BENCH_RESULTS", "RESIZER_BENCH_DATA")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    return subprocess.run(
        list(map(str, command)),
        cwd=folder, env=environment | added, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the built wheel in it."""
    wheels, folder = tmp_path_factory.mktemp("wheels"), tmp_path_factory.mktemp("installed")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    options = ("--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", wheels)
    built = run(*pip, "wheel", *options, PROJECT, folder=wheels)
    assert built.returncode == 0, built.stderr
    venv.create(folder, with_pip=False)
    put = run(
        *pip, "--python", folder / "bin" / "python", "install", "--no-deps", "--no-index",
        *wheels.iterdir(), folder=wheels,
    )  # fmt: skip
    assert put.returncode == 0, put.stderr
    borrowed = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (packages(folder) / "borrowed.pth").write_text("\n".join(borrowed))
    return folder


def test_a_checkout_is_installed_so_that_its_edits_count(tmp_path: Path) -> None:
    build = "import hatchling.build as of, sys; of.build_editable(sys.argv[1])"
    built = run(sys.executable, "-c", build, tmp_path, folder=PROJECT)
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    (path,) = [name for name in zipfile.ZipFile(wheel).namelist() if name.endswith(".pth")]
    assert zipfile.ZipFile(wheel).read(path).decode().strip() == str(PROJECT)


def packages(environment: Path) -> Path:
    """The environment's site-packages."""
    return next(environment.glob("lib/python*/site-packages"))


def files(folder: Path) -> set[Path]:
    """All files in the folder, but those that Python compiles."""
    return {path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc"}


def test_an_installed_package_plans_runs_and_reports_in_an_empty_folder(
    environment: Path, tmp_path: Path, data_folder: Path
) -> None:
    before = files(packages(environment))
    (tmp_path / "toy.toml").write_text(toy_toml())

    def command(*arguments: str) -> str:
        program = environment / "bin" / "resizer-bench"
        done = run(program, *arguments, folder=tmp_path, RESIZER_BENCH_DATA=str(data_folder))
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "18 trials" in command("plan", "quick")
    assert "4 trials: 4 missing" in command("plan", "toy.toml")
    assert "report: results/local/toy/report.html" in command("run", "toy.toml")
    assert "Scope: toy" in command("report", "toy.toml")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["results", "toy.toml"]
    assert files(packages(environment)) == before


def test_an_installed_package_takes_its_own_code_and_carries_its_experiments(
    environment: Path, tmp_path: Path
) -> None:
    code = "import bench, resizer; print(bench.__file__, resizer.__file__)"
    told = run(environment / "bin" / "python", "-c", code, folder=tmp_path)
    there = packages(environment)
    assert all(Path(file).is_relative_to(there) for file in told.stdout.split()), told
    assert {path.stem for path in (there / "bench/experiments").glob("*.toml")} == set(shipped())
    for package in ("bench", "resizer"):
        assert (there / package / "py.typed").exists()
        sources = {path.relative_to(PROJECT) for path in (PROJECT / package).rglob("*.py")}
        assert {path for path in sources if not (there / path).exists()} == set()
    assert (there / "bench/analysis/pooled.csv").read_bytes() == pooled.FILE.read_bytes()
    assert (there / f"resizer_bench-{__version__}.dist-info/licenses/LICENSE").exists()


def test_an_installed_package_says_that_its_working_directory_is_gone(
    environment: Path, tmp_path: Path
) -> None:
    begin = 'mkdir gone && cd gone && rmdir ../gone && exec "$0" list'
    done = run("sh", "-c", begin, environment / "bin" / "resizer-bench", folder=tmp_path)
    said = "resizer-bench: the working directory is gone: change to one that is there\n"
    assert (done.returncode, done.stderr) == (2, said)


def test_publishing_from_an_installed_package_is_refused_in_a_sentence(
    environment: Path, tmp_path: Path
) -> None:
    for arguments in (["publish"], ["publish", "quick"], ["check", "resizer", "--publish"]):
        program = environment / "bin" / "resizer-bench"
        done = run(program, *arguments, folder=tmp_path)
        assert done.returncode == 2
        assert done.stderr.startswith("resizer-bench: publishing needs a checkout of the project")
        assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_checkout_is_where_the_project_file_and_the_experiments_stand_beside_the_package(
    tmp_path: Path,
) -> None:
    assert checkout(PROJECT / "bench") == PROJECT
    (tmp_path / "pyproject.toml").touch()
    assert checkout(tmp_path / "bench") is None
    (tmp_path / "experiments").mkdir()
    assert checkout(tmp_path / "bench") == tmp_path


def test_the_version_is_told_and_cited() -> None:
    told = run(sys.executable, "-m", "bench", "--version", folder=PROJECT)
    assert told.stdout == f"resizer-bench {__version__}\n"
    assert f"\nversion: {__version__}\n" in (PROJECT / "CITATION.cff").read_text()


def test_the_declared_dependencies_are_what_is_imported() -> None:
    features = [one for extra, needed in EXTRAS.items() if extra != "dev" for one in needed]
    extras = names(features) - {"onnx"}  # which onnxscript needs
    with_torch = {"triton"}  # where it is one for GPUs
    assert imported("bench", "resizer") == names(DECLARED["dependencies"]) | extras | with_torch


def test_what_the_tests_import_is_declared_too() -> None:
    declared = [*DECLARED["dependencies"], *(one for needed in EXTRAS.values() for one in needed)]
    assert imported("tests") <= names(declared)


def imported(*folders: str) -> set[str]:
    """The distributions of others that the modules of these folders import anywhere."""
    found: set[str] = set()
    for path in (path for folder in folders for path in (PROJECT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {name.name.partition(".")[0] for name in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.partition(".")[0])
    others = found - sys.stdlib_module_names - {"bench", "experiments", "resizer", "tests"}
    known = packages_distributions()
    return {normal(known[name][0]) for name in others}


def names(requirements: list[str]) -> set[str]:
    found = {normal(re.match(r"[\w.-]+", one)[0]) for one in requirements}  # type: ignore[index]
    return found - {"resizer-bench"}


def normal(name: str) -> str:
    """A distribution's name as registries compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()
