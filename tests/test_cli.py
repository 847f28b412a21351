"""The command line as a user meets it: output, exit status, and no traceback for a mistake."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import typer
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from typer.testing import CliRunner

from bench import cli
from bench.cli import app, console, options, planning, reporting, upkeep
from bench.cli.progress import Display
from bench.errors import InputError
from bench.paths import PROJECT, PUBLISHED
from bench.records import write_record
from bench.report.made import saved
from bench.report.pages import make
from bench.run import runner
from bench.run.attempt import ended
from bench.run.claims import claim
from bench.spec.files import RESERVED, load
from bench.store import Store
from tests.conftest import WriteExperiment


def separately(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, as a user starts it."""
    return subprocess.run(
        [sys.executable, "-m", "bench", *map(str, arguments)],
        cwd=PROJECT, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip


class Done(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


Command = Callable[..., Done]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """The command in this process, which need not import everything once more."""

    def run(*arguments: str | Path) -> Done:
        monkeypatch.setattr(sys, "argv", ["resizer-bench", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        code = ended.value.code or 0
        assert isinstance(code, int)
        return Done(code, *capsys.readouterr())

    return run


@pytest.fixture
def toy(tmp_path: Path, store: Store, write_experiment: WriteExperiment) -> Path:
    write_experiment()
    assert not store.root.exists()
    return tmp_path / "toy.toml"


def test_a_run_ends_with_a_table_an_answer_and_the_path_of_the_report(
    toy: Path, store: Store, command: Command
) -> None:
    done = separately("run", toy)
    assert done.returncode == 0, done.stderr
    assert "4 trials to run, 0 on record" in done.stdout
    assert "learned, seed 1: top-1" in done.stdout
    page = store.root / "toy" / "report.html"
    assert done.stdout.replace("\n", "").endswith(f"report: {page}")
    assert "Does it run?" in page.read_text()
    again = command("run", toy)
    assert "0 trials to run, 4 on record" in again.stdout
    table, answer = "top-1", "Scope: toy"
    assert table in again.stdout
    assert answer in again.stdout
    told = command("report", toy)
    assert told.returncode == 0, told.stderr
    assert answer in told.stdout
    both = command("report", store.root / "toy", store.root / "toy")
    assert both.returncode == 0, both.stderr
    assert "A: toy\nB: toy" in both.stdout
    assert both.stdout.rstrip().endswith("comparison.html")
    assert {path.name for path in store.root.iterdir() if path.is_dir()} <= {"toy", *RESERVED}


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


def test_a_variant_has_its_own_name_and_shares_the_trials_that_do_not_change(
    toy: Path, store: Store, command: Command
) -> None:
    told = command("run", toy, "--set", "negative_slope=0.1")
    assert "4 trials to run, 0 on record" in told.stdout, told.stderr
    page = store.root / "toy+negative_slope=0.1" / "report.md"
    assert f"resizer-bench run {toy} --set negative_slope=0.1" in page.read_text()
    assert "2 trials to run, 2 on record" in command("run", toy).stdout
    assert len(store.kept()) == 6
    command("export", toy, "--tensorboard")
    folder = store.root / "toy" / "tensorboard" / "learned, seed 1"
    read = EventAccumulator(str(folder)).Reload()
    (key,) = [key for key, name in load(str(toy)).trial_names.items() if name == folder.name]
    record = store.trial(key)
    assert record
    shown = [(one.step, one.value) for one in read.Scalars("top1_pct")]
    assert shown == [(row["step"], pytest.approx(row["top1_pct"])) for row in record["curve"]]


def test_a_failed_trial_is_named_at_the_end_with_a_non_zero_exit_status(
    toy: Path, write_experiment: WriteExperiment, command: Command
) -> None:
    write_experiment(top="timeout_s = 0.01")
    done = command("run", toy)
    assert done.returncode == 1
    assert "4 trials failed; `--retry` tries again:" in done.stdout
    assert "timeout: not finished within 0.01 s" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["run", "quik"], "no experiment 'quik'"),
        (["run", "/quick"], "'/quick' is neither a file nor a folder"),
        (["plan", "own/../quick"], "'own/../quick' is neither a file nor a folder"),
        (["plan", "results/published"], "'results/published' is no TOML file"),
        (["report", "quick", "results/quick"], "'results/quick' is neither a file nor a folder"),
        (["plan", "[q]uick"], "no experiment '[q]uick'"),
        (["plan", "quick", "--small"], "has no [small] table"),
        (["run", "quick", "--where", "seed"], "--where 'seed' is not FIELD=VALUE"),
        (["run", "quick", "--where", "seed=0", "--where", "seed=1"], "names 'seed' twice"),
        (["plan", "quick", "--set", "epoch=5"], "unknown field 'epoch'; did you mean 'epochs'?"),
        (["plan", "quick", "--set", "seed=5"], "--set seed=5: no trial changes: [axes] and arms"),
        (["report", "quick", "--set", "lr"], "--set 'lr' is not FIELD=VALUE"),
        (["report", "results/published/quick", "--pdf"], "quick is a report's folder: --small"),
        (
            ["export", "quick", "--onnx", "--small"],
            "--small and --set are of an experiment's curves",
        ),
        (
            ["export", "quick", "--tensorboard", "--set", "lr=0.5"],
            "quick+lr=0.5: nothing is finished",
        ),
        (["publish", "--small"], "--small is of an experiment, which publish was not given"),
        (
            ["run", "quick", "--smoke", "--cpus-per-trial", "2"],
            "--smoke takes one arm after the other, here",
        ),
        (["plan", "quick", "--set", "epochs=5\nlr=0.1"], "[trial] epochs = '5\\nlr=0.1': input"),
        (["plan", "quick", "--set", "epochs=many"], "[trial] epochs = 'many': input should be a"),
        (["plan", "search-quick", "--set", "lr=1"], "what a search chooses from stands in its"),
        (["plan", "finetune", "--set", "pretrained=/no.pt"], "'/no.pt': there is no such file"),
        (["export", "quick", "--tensorboard"], "quick: nothing is finished yet"),
        (["data", "fetch", "imagewof"], "unknown dataset 'imagewof'; did you mean 'imagewoof'"),
        (["data", "import", "/nowhere.tgz"], "/nowhere.tgz does not exist"),
        (["data", "verify", "imagewoof"], "resizer-bench data fetch imagewoof"),
        (["check", "data", "lerned"], "no experiment 'lerned'"),
        (["check", "data", "check-lane"], "check-lane has no treatment that is trained"),
        (["check", "data"], "resizer-bench data fetch imagewoof-160"),
        (["check", "verdicts", "grid"], "grid has no primary comparison"),
    ],
)
@pytest.mark.usefixtures("store")
def test_a_mistake_is_one_sentence_and_a_non_zero_exit_status(
    arguments: list[str],
    sentence: str,
    command: Command,
) -> None:
    refused = command(*arguments)
    assert refused.returncode == 2
    assert sentence in refused.stderr
    assert refused.stderr.startswith("resizer-bench: ")
    assert refused.stderr.count("\n") == 1


@pytest.mark.parametrize("price", ["inf", "nan", "-1"])
@pytest.mark.usefixtures("store")
def test_an_hour_has_a_finite_price(price: str, command: Command) -> None:
    refused = command("plan", "quick", "--hourly", price)
    assert refused.returncode == 2
    assert "--hourly" in refused.stderr


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
    monkeypatch.setattr(console.out, "width", 120)
    planning.list_experiments()
    told = capsys.readouterr().out
    assert re.search(r"quick +18 +- +\d+ min +Does the learned resizer carry", told)
    assert re.search(r"search-quick +search +- +\? ", told)
    monkeypatch.chdir(tmp_path)
    planning.new("mine")
    planning.plan("mine.toml")
    told = capsys.readouterr().out
    assert "wrote mine.toml and my_front_ends.py" in told
    assert "imagewoof-160 is not here: resizer-bench data fetch imagewoof-160" in told
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


def test_results_that_cannot_be_written_are_one_sentence(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Command
) -> None:
    (taken := tmp_path / "taken").write_text("a file")
    monkeypatch.setenv("RESIZER_BENCH_RESULTS", str(taken))
    done = command("run", toy)
    assert done.returncode == 2
    assert done.stderr.startswith(f"resizer-bench: {taken}")
    assert "Not a directory" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("minutes", ["nan", "inf", "1e300", "0"])
def test_a_time_that_no_clock_can_be_set_to_is_refused(toy: Path, minutes: str) -> None:
    refused = CliRunner().invoke(app, ["run", str(toy), "--for", minutes])
    assert refused.exit_code == 2, refused.exception
    assert "Invalid value for '--for'" in refused.output


def test_a_report_that_another_process_is_writing_is_left_to_it(
    toy: Path, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    with claim(store, "report of toy") as claimed:
        assert claimed
        reporting.report(str(toy))
    assert capsys.readouterr().out == "another process writes the report\n"
    assert not (store.root / "toy").exists()
    reporting.report(str(toy))
    assert (store.root / "toy" / "report.html").exists()


def test_smoke_takes_steps_of_the_arms_that_where_asks_for(
    toy: Path, store: Store, command: Command
) -> None:
    done = command("run", toy, "--smoke", "--where", "resizer=none")
    assert done.returncode == 0, done.stderr
    assert "1 distinct arm, three training steps each" in done.stdout
    assert len(list(store.root.glob("smoke/*/record.json"))) == 1


def test_smoke_failures_of_two_learned_arms_are_told_apart(
    store: Store,
    write_experiment: WriteExperiment,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    wide = '[[arm]]\nname = "wide"\nresizer = "learned"\nnum_kernels = 8'
    experiment = write_experiment(rest=wide)
    failed = [cell.trial for cell in experiment.cells if cell.arm in ("learned", "wide")]
    records = [ended(trial, "oom", "full") for trial in failed if trial.seed == 0]
    monkeypatch.setattr(runner, "smoke", lambda *_, **__: records)
    with pytest.raises(typer.Exit):
        cli._smoke(experiment, store, Display(console.out), {})
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["learned, seed 0: oom (full)", "wide, seed 0: oom (full)"]


def test_a_device_that_is_not_there_is_one_sentence(toy: Path) -> None:
    done = separately("--device", "cuda:9", "run", toy)
    assert done.returncode == 2
    assert "RESIZER_BENCH_DEVICE='cuda:9' cannot be used" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_users_module_that_does_not_load_is_one_sentence(
    toy: Path, tmp_path: Path, write_experiment: WriteExperiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_front.py").write_text("class Front(:")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    write_experiment(rest='[[arm]]\nname = "own"\nresizer = "broken_front:Front"')
    done = separately("run", toy)
    assert done.returncode == 2
    assert "resizer 'broken_front:Front' cannot be built: SyntaxError" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_run_that_is_stopped_in_the_middle_of_a_trial_goes_on_from_there(
    toy: Path, store: Store
) -> None:
    toy.write_text(toy.read_text().replace("epochs = 2", "epochs = 20000"))
    for stop, seen in ((signal.SIGINT, ": epoch 1,"), (signal.SIGTERM, ": goes on after step")):
        process = subprocess.Popen(
            [sys.executable, "-m", "bench", "run", str(toy), "--workers", "1"],
            cwd=PROJECT, stdout=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        assert process.stdout
        while seen not in process.stdout.readline():
            assert process.poll() is None
        os.killpg(process.pid, stop)
        printed, _ = process.communicate(timeout=60)
        assert process.returncode == 128 + stop
        said = "stopped with 4 trials left, 1 begun; the same command goes on"
        assert printed.splitlines()[-1] == said
    assert not list(store.root.glob("trials/*/record.json"))


def test_a_run_that_is_stopped_while_arms_are_timed_speaks_of_no_trials(
    store: Store, write_experiment: WriteExperiment, capsys: pytest.CaptureFixture[str]
) -> None:
    display = Display(console.out)
    display.experiment = write_experiment(top="train = false")
    with pytest.raises(typer.Exit) as ended, cli._shown(display, store, None):
        raise KeyboardInterrupt
    assert ended.value.exit_code == 128 + signal.SIGINT
    said = "stopped while sizes or times were measured; the same command goes on"
    assert capsys.readouterr().out.splitlines()[-1] == said


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
