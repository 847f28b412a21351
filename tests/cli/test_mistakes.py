"""A mistake is one sentence and a non-zero exit status, and no traceback."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from bench.cli import app
from tests.cli.conftest import Command, separately
from tests.conftest import WriteExperiment


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
        (["report", "quick", "--set", "backbone=\udcff"], "'\\udcff': it is no text in UTF-8"),
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


def test_a_working_directory_that_is_gone_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Command
) -> None:
    (gone := tmp_path / "gone").mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    said = "resizer-bench: the working directory is gone: change to one that is there\n"
    assert command("list") == (2, "", said)
