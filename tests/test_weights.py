"""What is saved of a model, how long it is kept, and by what code it is loaded again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from bench.errors import InputError
from bench.lab import models, trial, trying, weights
from bench.paths import WEIGHTS
from bench.records import write_record
from bench.run import keeping
from bench.spec.experiment import Experiment
from bench.store import Store
from tests import fakes
from tests.conftest import WriteExperiment, toy_trial
from tests.test_trying import FRONT


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
    trying.check([toy_trial(backbone="coat_tiny", input_size=32)])


def test_a_model_of_a_users_class_is_loaded_with_its_own_code_or_not_at_all(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (code := tmp_path / "code").mkdir()
    file = code / "own_front_for_loading.py"
    text = FRONT.format(init="self.c = nn.Conv2d(3, 3, 1)", use="x = self.c(x)", more="")
    file.write_text(text)
    monkeypatch.chdir(code)
    one = toy_trial(resizer="own_front_for_loading:Front", output_size=8)
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
