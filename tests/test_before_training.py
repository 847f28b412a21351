"""What would fail after hours is refused, or mended, before the first step."""

from __future__ import annotations

import errno
import os
import sqlite3
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from bench.data import library
from bench.errors import InputError, MachineError, machine_trouble
from bench.events import Begin, Event, Listener
from bench.lab import models, trial, trying, weights
from bench.paths import PROJECT, WEIGHTS, local_results
from bench.records import write_record
from bench.run import jobs, keeping, readiness, runner
from bench.run.executors import Local
from bench.run.plan import make_plan
from bench.run.processes import DiedError, call
from bench.run.studies import connected
from bench.spec.experiment import Experiment
from bench.spec.trial import Trial
from bench.store import Store
from tests import fakes
from tests.conftest import WriteExperiment

# Saving and loading


class Tied(nn.Module):
    """Weights under two names, a view of a third, and a state of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.again = self.first
        self.tied = nn.Linear(4, 4, bias=False)
        self.tied.weight = self.first.weight
        whole = torch.randn(2, 4)
        self.register_buffer("row", whole[0])
        self.register_buffer("other", whole[1])
        self.seen = {"steps": [1, 2], "name": "é"}

    def get_extra_state(self) -> Any:
        return self.seen

    def set_extra_state(self, state: Any) -> None:
        self.seen = state


def test_shared_tensors_are_saved_once_and_extra_state_comes_back(tmp_path: Path) -> None:
    saved, loaded = Tied(), Tied()
    loaded.seen = {}
    weights.save(saved, path := tmp_path / "weights.safetensors")
    loaded.load_state_dict(weights.load(path))
    assert loaded.seen == saved.seen
    for name, tensor in saved.named_parameters():
        assert torch.equal(loaded.get_parameter(name), tensor)
    assert set(load_file(path)) == {"first.weight", "first.bias", "row", "other", "_extra_state"}
    assert "weight" in {n.split(".")[-1] for n in weights.load(path) if n.startswith("tied")}


@pytest.mark.parametrize("order", ["transposed", "part", "channels last"])
def test_tensors_of_any_layout_are_saved(tmp_path: Path, order: str) -> None:
    module = nn.Module()
    base = torch.arange(2 * 3 * 4 * 4, dtype=torch.float32).reshape(2, 3, 4, 4)
    layouts = {"transposed": base.transpose(0, 1), "part": base[:, :2, 1:]}
    layouts["channels last"] = base.to(memory_format=torch.channels_last)
    module.register_buffer("x", layouts[order])
    weights.save(module, tmp_path / "w.safetensors")
    assert torch.equal(weights.load(tmp_path / "w.safetensors")["x"], layouts[order])


class Counted(nn.Module):
    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = [count] + [0] * 160

    def get_extra_state(self) -> Any:
        return self.count

    def set_extra_state(self, state: Any) -> None:
        self.count = state


def test_the_extra_states_of_several_parts_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    weights.save(nn.Sequential(*map(Counted, range(20))), path)
    (back := nn.Sequential(*(Counted(-1) for _ in range(20)))).load_state_dict(weights.load(path))
    assert [part.count[0] for part in back] == list(range(20))


class Empty(nn.Sequential):
    """A front end of the user's own whose length is 0."""

    def forward(self, images: Tensor) -> Tensor:
        return images[..., ::2, ::2]


def test_a_front_end_that_counts_as_nothing_is_still_the_front_end() -> None:
    model = models.Classifier(nn.Flatten(), front := Empty())
    assert model.resizer is front
    assert model(torch.zeros(1, 3, 8, 8)).shape == (1, 3 * 4 * 4)


def test_a_backbone_of_timms_whose_layers_are_shared_can_be_saved() -> None:
    trying.check([toy(backbone="coat_tiny", input_size=32)])


FRONT = """
import torch
from torch import nn
class Front(nn.Module):
    def __init__(self, *, output_size):
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(output_size)
        {init}
    def forward(self, x):
        {use}
        return self.pool(x)
    {more}
"""
BAD = {
    "lazy": ("self.c = nn.LazyConv2d(3, 1)", "x = self.c(x)", "", "has lazy layers, whose weights"),
    "lazy norm": ("self.n = nn.LazyBatchNorm2d()", "x = self.n(x)", "", "has lazy layers, whose"),
    "unsaved state": (
        "pass", "pass", "def get_extra_state(self): return lambda: 1", "cannot be saved and loaded"
    ),
    "unloadable": (
        "pass", "pass",
        "def get_extra_state(self): return 1\\n    def set_extra_state(self, s): 1 / 0",
        "cannot be saved and loaded: ZeroDivisionError",
    ),
    "pair": ("pass", "return x, x", "", r"gives tuple, not \(1, 3,"),
    "failing": ("pass", "1 / 0", "", "fails: ZeroDivisionError"),
    "no module": ("pass", "pass", "def __new__(cls, **_): return 3", "makes int, not torch.nn.M"),
    "leaves": ("raise SystemExit(0)", "pass", "", "cannot be built: SystemExit: 0"),
    "leaves in use": ("pass", "raise SystemExit(0)", "", "fails: SystemExit: 0"),
    "interrupts": ("raise KeyboardInterrupt", "pass", "", "cannot be built: KeyboardInterrupt"),
    "closes": ("raise GeneratorExit", "pass", "", "cannot be built: GeneratorExit"),
    "fails in training": ("pass", "if self.training: 1 / 0", "", "fails in training: ZeroDivi"),
    "leaves in training": (
        "pass", "if self.training: raise SystemExit(0)", "", "fails in training: SystemExit: 0"
    ),
    "complex": (
        "self.w = nn.Parameter(torch.ones(1, dtype=torch.complex64))", "x = (x * self.w).real", "",
        "fails in training: RuntimeError",
    ),
    "two at most": (
        "pass", "x = x[:2] if self.training else x", "",
        "fails in training: ValueError: Expected input batch",
    ),
    "two at most at all": ("pass", "x = x[:2]", "", "another picture .* where others are beside"),
    "unsaved mean": (
        "self.register_buffer('m', torch.zeros(1), persistent=False)",
        "self.m += x.mean().detach() * self.training", "", "changes its buffer 'm' in training",
    ),
    "made in use": (
        "self.c = None", "self.c = self.c or nn.Conv2d(3, 3, 1); x = self.c(x)", "",
        "left over: c.weight, c.bias.*make them all in __init__",
    ),
    "growing": (
        "self.register_buffer('seen', torch.zeros(0))",
        "self.seen = torch.cat([self.seen, x.mean().detach().view(1)]) if self.training else "
        "self.seen", "", r"of another shape: seen \(2, not 0\)",
    ),
    "unreached": (
        "self.c = nn.Conv2d(3, 3, 1)", "x = self.c(x).detach()", "",
        r"would not learn: no gradient reaches its weights \(c.weight\)",
    ),
    "noise": ("pass", "x = x + torch.randn_like(x)", "", "makes another picture of the same image"),
    "dropout": (
        "pass", "x = nn.functional.dropout(x)", "", "another picture of the same image each time"
    ),
    "remembering": (
        "self.register_buffer('seen', torch.zeros(1))", "self.seen += 1; x = x + self.seen", "",
        "another picture of the same image each time",
    ),
    "batch statistics": (
        "self.n = nn.BatchNorm2d(3, track_running_stats=False)", "x = self.n(x)", "",
        "where others are beside it: its accuracy would depend on the batches",
    ),
    "contrast of the batch": (
        "pass", "x = (x - x.mean()) / (x.std() + 1)", "", "another picture .* where others are",
    ),
    "exits": ("import os; os._exit(0)", "pass", "", "ended with exit status 0"),
}  # fmt: skip


@pytest.mark.parametrize("how", BAD)
def test_a_module_that_could_not_be_used_after_training_is_refused_before_it(
    how: str,
    store: Store,
    write_experiment: WriteExperiment,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    init, use, more, why = BAD[how]
    name = f"bad_{how.replace(' ', '_')}"
    text = FRONT.format(init=init, use=use, more=more.replace("\\n", "\n"))
    (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    experiment = write_experiment(rest=f'[[arm]]\nname = "own"\nresizer = "{name}:Front"')
    with pytest.raises(InputError, match=why):
        runner.run(experiment, store, lambda _: None)
    assert not (store.root / "trials").exists()


def test_a_front_end_that_writes_over_its_images_rounds_or_gives_no_numbers_is_steady() -> None:
    class Writing(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images.mul_(8).round_().div_(8).log()

    trying.refuse_unsteady(Writing().eval(), "it", 16)


# The machine


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/x"), "no space left (/x)"),
        (OSError(errno.EROFS, "Read-only file system"), "the disk is read-only"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "the quota is used up"),
        (OSError(errno.EMFILE, "Too many open files"), "too many open files"),
        (OSError("Error writing: [errno 28] No space left on device"), "no space left"),
        (RuntimeError("I/O error: No space left on device (os error 28)"), "no space left"),
        (RuntimeError("CUDA error: GPU is lost"), "the device is lost"),
        (RuntimeError("shapes do not fit"), ""),
        (MemoryError(), ""),
        (FileNotFoundError(2, "No such file or directory", "/x"), ""),
    ],
)
def test_errors_of_the_machine_are_told_from_those_of_a_trial(error: Exception, said: str) -> None:
    assert machine_trouble(error) == said


@pytest.mark.parametrize("place", ["save_predictions", "weights.save", "pictures.save"])
def test_a_trial_that_meets_a_full_disk_is_left_missing(
    store: Store, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(f"bench.lab.trial.{place}", full)
    one = toy()
    with pytest.raises(MachineError, match=r"^no space left: "):
        trial.run(lambda _: None, one, store.trial_folder(one.key), store.root)
    assert store.trial(one.key) is None


def test_a_run_stops_at_the_first_trial_that_meets_a_full_disk(
    store: Store, write_experiment: WriteExperiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[Event] = []
    monkeypatch.setattr(jobs, "train", full_disk)
    with pytest.raises(MachineError, match="no space left"):
        runner.run(write_experiment(), store, begun.append, choose=partial(Local, workers=1))
    assert sum(isinstance(event, Begin) for event in begun) == 1
    assert make_plan(write_experiment(), store).counts == {"missing": 4}


def full_disk(*_: object) -> None:
    raise MachineError("no space left")


# Settings


@pytest.mark.parametrize(
    ("change", "images", "why"),
    [
        ({"batch_size": 64}, 63, "toy has 63 training images, fewer than one batch of 64"),
        ({"batch_size": 8, "holdout": 0.01}, 20, "holdout = 0.01 of them leaves a part empty"),
        ({"batch_size": 8, "holdout": 0.99}, 20, "holdout = 0.99 of them leaves a part empty"),
        ({"batch_size": 16, "holdout": 0.25}, 20, "20 training images, 15 without those held out"),
    ],
)
def test_amounts_that_cannot_be_are_refused(change: dict[str, Any], images: int, why: str) -> None:
    with pytest.raises(InputError, match=why):
        readiness.check_amounts(toy(**change), images)
    readiness.check_amounts(toy(**change), 10_000)


@pytest.mark.parametrize(("batch", "micro"), [(9, 8), (64, 3), (5, 2)])
def test_parts_of_one_image_are_refused(batch: int, micro: int) -> None:
    with pytest.raises(ValueError, match=f"micro_batch = {micro} leaves one image of a batch of"):
        toy(batch_size=batch, micro_batch=micro)
    assert toy(batch_size=batch - 1, micro_batch=micro)


# Surroundings


@pytest.mark.parametrize("length", [80, 150, 230])
def test_a_long_folder_of_temporary_files_is_no_trouble(tmp_path: Path, length: int) -> None:
    folder = tmp_path / ("t" * length)
    folder.mkdir()
    code = "from bench.run.processes import call\nfrom tests.test_processes import half\n"
    code += "if __name__ == '__main__':\n    print(call(half, 8))"
    (script := tmp_path / "script.py").write_text(code)
    environment = os.environ | {"TMPDIR": str(folder), "PYTHONPATH": str(PROJECT)}
    done = subprocess.run(
        [sys.executable, script], env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout == "4\n", done.stderr


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1"])
def test_a_terminal_that_is_not_utf_8_is_shown_what_it_can(encoding: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench", "plan", "no→pe 日本"],
        cwd=PROJECT, env=os.environ | {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"},
        capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith(b"resizer-bench: no experiment")
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("verb", ["plan", "report"])
def test_our_files_are_utf_8_whatever_the_locale_is(tmp_path: Path, verb: str) -> None:
    ascii_only = {"LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "bench", verb, "quick"], cwd=PROJECT, capture_output=True,
        env=os.environ | ascii_only | {"RESIZER_BENCH_RESULTS": str(tmp_path)}, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("given", ["~/results", "~"])
def test_a_tilde_is_the_users_own_folder(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.setenv("RESIZER_BENCH_RESULTS", given)
    assert str(local_results()) == given.replace("~", "/home/someone")


@pytest.mark.parametrize("name", ["what?", "50%", "a%3Fb", "{x}", "é #1", "a?mode=ro&b"])
def test_a_study_is_where_its_folder_is_whatever_that_is_called(tmp_path: Path, name: str) -> None:
    import optuna

    (tmp_path / name).mkdir()
    file = tmp_path / name / "study.db"
    storage = optuna.storages.RDBStorage("sqlite:///study.db", engine_kwargs=connected(file))
    optuna.create_study(storage=storage, study_name="s")
    storage.engine.dispose()
    with sqlite3.connect(file) as database:
        assert database.execute("select study_name from studies").fetchall() == [("s",)]
    database.close()
    assert [path.name for path in tmp_path.iterdir()] == [name]


# Code and data that changed


def test_pixels_that_changed_under_the_same_names_and_sizes_are_not_mixed(
    store: Store, write_experiment: WriteExperiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = write_experiment()
    for one in experiment.trials.values():
        trial.run(lambda _: None, one, store.trial_folder(one.key), store.root)
        break
    readiness.check_same_data("toy", experiment.trials, store)
    monkeypatch.setattr(readiness, "pixels", lambda _: "other")
    with pytest.raises(InputError, match=r"was run on other files called 'toy' \(pixels "):
        readiness.check_same_data("toy", experiment.trials, store)
    assert library.pixels("toy") == library.open_dataset("toy").manifest.pixels


def test_a_model_of_a_users_class_is_loaded_with_its_own_code_or_not_at_all(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (code := tmp_path / "code").mkdir()
    file = code / "own_front_for_loading.py"
    text = FRONT.format(init="self.c = nn.Conv2d(3, 3, 1)", use="x = self.c(x)", more="")
    file.write_text(text)
    monkeypatch.chdir(code)
    one = toy(resizer="own_front_for_loading:Front", output_size=8)
    trial.run(lambda _: None, one, store.trial_folder(one.key), store.root)
    assert models.load(one.key, store.root)
    file.write_text(text + "\n# another")
    with pytest.raises(InputError, match="is not the code that it was trained with"):
        models.load(one.key, store.root)
    monkeypatch.chdir(tmp_path)
    file.unlink()
    from bench.spec import trial as of_trials

    of_trials._options.cache_clear()
    with pytest.raises(InputError, match=r"cannot be made here: resizer 'own_front_for_loading:Fr"):
        models.load(one.key, store.root)


# Weights


@pytest.mark.parametrize(("keep", "left"), [("parents", 0), ("best", 2), ("all", 4)])
def test_weights_are_kept_as_the_experiment_says(
    store: Store, write_experiment: WriteExperiment, keep: str, left: int
) -> None:
    experiment = write_experiment(top=f'keep_weights = "{keep}"')
    keys = list(experiment.trials)
    keeper = keeping.Keeper(experiment, store)
    for number, key in enumerate(keys):
        finished(store, experiment, key, number)
    assert len(keeping.droppable(experiment, store)) == 4 - left
    for key in keys:
        keeper.ended(key)
    assert not keeping.droppable(experiment, store)
    for number, key in enumerate(keys):
        finished(store, experiment, key, number)
    for path, size in keeping.droppable(experiment, store).items():
        assert size == 100
        path.unlink()
    kept = {key for key in keys if (store.trial_folder(key) / WEIGHTS).exists()}
    assert len(kept) == left
    if keep == "best":
        best = {cell.arm: cell.trial.key for cell in experiment.cells if cell.trial.seed == 1}
        assert kept == set(best.values())


def test_weights_of_parents_and_of_other_runs_stay(
    store: Store, write_experiment: WriteExperiment
) -> None:
    warm = '[[arm]]\nname = "warm"\nresizer = "learned"\nnum_kernels = 4\ninit_from = "plain"'
    experiment = write_experiment(top='keep_weights = "parents"', rest=warm)
    for number, key in enumerate(experiment.trials):
        finished(store, experiment, key, number)
    parents = {cell.trial.key for cell in experiment.cells if cell.arm == "plain"}
    others = [key for key in experiment.trials if key not in parents]
    keeper = keeping.Keeper(experiment, store)
    for key in [*parents, others[0]]:
        keeper.ended(key)
    kept = {key for key in experiment.trials if (store.trial_folder(key) / WEIGHTS).exists()}
    assert kept == set(experiment.trials) - {others[0]}


def finished(store: Store, experiment: Experiment, key: str, number: int) -> None:
    write_record(store.trial_folder(key), fakes.result(experiment.trials[key], float(number)))
    (store.trial_folder(key) / WEIGHTS).write_bytes(bytes(100))


def toy(**changes: Any) -> Trial:
    fields = {"dataset": "toy", "backbone": "test_resnet", "input_size": 16, "epochs": 1}
    return Trial(**{**fields, "batch_size": 8} | changes)


def leaver(_: Listener) -> None:
    sys.exit(0)


def test_a_job_that_exits_with_0_has_not_done_its_work() -> None:
    with pytest.raises(DiedError, match="ended with exit status 0"):
        call(leaver)


@pytest.mark.parametrize("content", [b"garbage" * 1000, b"SQLite format 3\0" + b"x" * 5000])
def test_a_garbage_study_is_one_sentence(store: Store, tmp_path: Path, content: bytes) -> None:
    from bench.run.search import open_search
    from bench.run.studies import Tuner
    from tests.conftest import toy_toml

    text = toy_toml(rest='[search]\narms = ["learned"]\ntrials = 1').replace(
        "num_kernels = 4", "num_kernels = 4\nlr = {log = [0.001, 0.01]}"
    )
    (tmp_path / "look.toml").write_text(text)
    search = open_search(str(tmp_path / "look.toml"))
    folder = store.search_folder(search.name)
    folder.mkdir(parents=True)
    (folder / "study.db").write_bytes(content)
    with pytest.raises(InputError, match=r"study.db is damaged or of another version \(.*move"):
        Tuner(search, store, lambda _: None, lambda *_: {})  # type: ignore[arg-type,return-value]
