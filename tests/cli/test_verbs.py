"""What the other verbs say of questions, data, reports and weights."""

from __future__ import annotations

import errno
import re
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from bench.cli import console, options, planning, reporting, upkeep
from bench.errors import InputError
from bench.paths import PROJECT, PUBLISHED
from bench.records import write_record
from bench.report.made import saved
from bench.report.pages import make
from bench.run.claims import claim
from bench.spec.files import load, shipped
from bench.spec.trial import named_by
from bench.store import Store
from tests import fakes
from tests.cli.conftest import Command
from tests.conftest import WriteExperiment


@pytest.mark.usefixtures("store")
def test_what_is_here_is_told_and_verified(command: Command) -> None:
    facts = command("info")
    assert facts.returncode == 0, facts.stderr
    assert "precision" in facts.stdout
    assert "toy" in facts.stdout
    verified = command("data", "verify", "toy")
    assert verified.returncode == 0, verified.stderr
    assert "toy" in verified.stdout


def test_a_plan_says_what_is_missing_and_runs_nothing(
    toy: Path, store: Store, command: Command
) -> None:
    done = command("plan", toy, "--all")
    assert done.returncode == 0, done.stderr
    assert "4 trials: 4 missing; time left ?" in done.stdout
    assert done.stdout.count("missing  ") >= 4
    assert not store.root.exists()


@pytest.mark.usefixtures("store")
def test_the_checks_of_the_harness_say_what_they_found(toy: Path, command: Command) -> None:
    ratio = command("check", "data", toy)
    assert "a training step with its data is " in ratio.stdout, ratio.stderr
    found = command("check", "verdicts")
    assert "check-verdicts, moderated: 0 experiments of 3 seeds: none yet" in found.stdout


def test_the_questions_are_listed_and_one_of_ones_own_plans_at_once(
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(console.out, "width", 80)
    planning.list_experiments()
    told = capsys.readouterr().out
    finds = partial(re.search, string=told, flags=re.MULTILINE)
    assert finds(r"^quick +0 of 18 finished, \d+ min left; published: full\n  Does the learned ")
    assert finds(r"^search-quick +a search, to be begun; published: full$")
    assert finds(r"^grid +0 of \d+ finished; published: small$")
    assert finds(r"^search-recipe +a search, to be begun; published: full and small$")
    assert finds(r"^cost +timed only")
    assert len(told.splitlines()) < 3 * len(shipped())
    monkeypatch.chdir(tmp_path)
    planning.new("mine")
    planning.plan("mine.toml")
    told = capsys.readouterr().out
    assert "wrote mine.toml and my_front_ends.py" in told
    assert "imagewoof-160 is not here: resizer-bench data fetch imagewoof-160" in told
    planning.plan("cost", small=True)
    assert "is not here" not in capsys.readouterr().out, (
        "nothing is trained, and no data is lacking"
    )
    assert not store.root.exists()


def test_a_plan_says_that_images_are_enlarged(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not store.root.exists()
    file, _ = planning.start("large", tmp_path)
    text = file.read_text().replace("input_size = 128", "input_size = 320")
    file.write_text(text.replace("large_front_ends:Sharpen", "fixed"))
    planning.plan(str(file))
    assert "images of 160 px: 320 px are enlarged ones" in capsys.readouterr().out


def test_of_what_was_not_run_here_the_published_report_is_shown_and_a_folder_is_a_report(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    reporting.report("quick")
    told = capsys.readouterr().out
    assert "nothing of quick was run here; this is the published report:" in told
    assert "Scope: synthetic-fine" in told
    assert not store.root.exists()
    reporting.report(str(PUBLISHED / "quick"))
    assert capsys.readouterr().out == told.partition("report:\n")[2]
    with pytest.raises(InputError, match="no report in"):
        reporting.report(str(PUBLISHED))


def test_a_folder_that_is_called_like_an_experiment_is_in_nobodys_way(
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "quick").mkdir()
    monkeypatch.chdir(tmp_path)
    reporting.report("quick")
    assert "this is the published report:" in capsys.readouterr().out
    monkeypatch.chdir(PUBLISHED / "quick")
    reporting.report(".", "../quick")
    assert (store.root / "comparisons" / "quick..quick" / "comparison.html").exists()


def test_a_file_called_like_one_of_ours_is_not_answered_with_our_report(
    toy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reporting.report(str(toy.rename(toy.with_name("quick.toml"))))
    told = capsys.readouterr().out
    assert "published" not in told
    assert "Scope: toy" in told


def test_names_fields_and_datasets_are_completed() -> None:
    assert options.experiments("search-r") == ["search-recipe", "search-resizer"]
    assert options.fields("num_") == ["num_resblocks=", "num_kernels="]
    assert "imagewoof-160" in options.datasets("imagew")


def test_a_report_that_another_process_is_writing_is_left_to_it(
    write_experiment: WriteExperiment, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "n" * 250  # of the 255 bytes that most systems have for a file's
    file = str(write_experiment(name=name).file)
    with claim(store, named_by(["report", name])) as claimed:
        assert claimed
        reporting.report(file)
    assert capsys.readouterr().out == "another process writes the report\n"
    assert not (store.root / name).exists()
    reporting.report(file)
    assert (store.root / name / "report.html").exists()


def test_a_report_that_is_watched_is_made_anew_with_its_pdfs_until_nothing_is_lacking(
    toy: Path, store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    experiment, left = load(str(toy)), [0, 1]

    def run(_: float) -> None:
        left.pop(0)
        fakes.fill(experiment, store, lambda trial: None if trial.seed in left else 50.0)
        if not left:
            fakes.time_all(experiment, store)

    monkeypatch.setattr(reporting, "time", SimpleNamespace(sleep=run))
    reporting.report(str(toy), watch=True, pdf=True)
    told = capsys.readouterr().out
    assert told.count("Not finished: ") == 2
    assert told.count("\nreport: ") == 3
    drawn = store.root / "toy" / "figures" / "differences.pdf"
    assert drawn.stat().st_mtime >= (store.root / "toy" / "table.csv").stat().st_mtime


def test_the_datasets_are_listed_with_what_is_here(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not store.root.exists()
    monkeypatch.setattr(console.out, "width", 120)
    upkeep.list_data()
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line.strip()}
    assert "ready" in rows["toy"]
    assert "not here" in rows["imagewoof"]
    assert "made on first use" in rows["synthetic-fine"]


def test_help_answers_without_importing_torch() -> None:
    code = (
        "import sys\nsys.argv = ['resizer-bench', '--help']\nimport bench.cli\n"
        "try:\n    bench.cli.main()\nexcept SystemExit:\n    pass\nsys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, check=False)
    assert done.returncode == 0


def test_clean_says_how_much_it_would_delete_and_deletes_when_told_to(
    toy: Path, store: Store, write_experiment: WriteExperiment, capsys: pytest.CaptureFixture[str]
) -> None:
    experiment = write_experiment(top='keep_weights = "parents"')
    assert experiment.file == toy
    files = [store.trial_folder(key) / "weights.safetensors" for key in experiment.trials]
    for file in files:
        file.parent.mkdir(parents=True)
        file.write_bytes(bytes(1_500_000))
    upkeep.clean(str(toy))
    assert "weights of 4 trials, 6 MB: `--yes` deletes them" in capsys.readouterr().out
    assert all(file.exists() for file in files)
    upkeep.clean(str(toy), yes=True)
    assert "deleted: weights of 4 trials, 6 MB" in capsys.readouterr().out
    assert not any(file.exists() for file in files)
    upkeep.clean(str(toy), yes=True)
    assert "deleted: weights of 0 trials, 0 MB" in capsys.readouterr().out


def test_a_plan_tells_what_several_comparisons_will_find_once(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    planning.plan("paper-arms")
    told = [line for line in capsys.readouterr().out.splitlines() if line.startswith("In four")]
    assert len(told) == len({line.partition(" (")[0] for line in told})
    assert any(line.endswith("comparisons alike)") for line in told)
    assert not store.root.exists()


def test_an_experiment_that_cannot_be_planned_keeps_nobody_from_the_list_of_the_others(
    store: Store, tmp_path: Path, command: Command
) -> None:
    (mine := tmp_path / "grid.toml").write_text("")
    write_record(store.owner_folder("grid"), {"status": "ok", "reason": "", "file": str(mine)})
    listed = command("list")
    assert listed.returncode == 0
    assert "woof-first" in listed.stdout
    assert f"grid has the results of {mine}" in " ".join(listed.stdout.split())


def test_a_report_that_lost_a_file_is_made_again(
    store: Store, write_experiment: WriteExperiment
) -> None:
    asked = write_experiment()
    made = make(asked, store, store.root / asked.name)
    assert saved(asked, store, made.folder)
    (made.folder / "answer.md").unlink()
    assert saved(asked, store, made.folder) is None


def test_a_new_question_for_which_there_is_no_room_leaves_no_half_of_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(OSError, match="No space left"):
        planning.start("mine", tmp_path)
    assert not list(tmp_path.iterdir())
