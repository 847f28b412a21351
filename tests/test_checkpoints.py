"""A checkpoint fits wholly or is refused by name; what was loaded is on record."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor

from bench.errors import InputError
from bench.lab import models, trial
from bench.report.table import checkpoints
from bench.spec.trial import Trial
from bench.store import Store

State = dict[str, Tensor]


def state(classes: int = 1000, name: str = "test_resnet", **options: Any) -> State:
    """Weights that no fresh backbone has."""
    torch.manual_seed(7)
    found: State = timm.create_model(name, num_classes=classes, **options).state_dict()
    return {n: t + 0.5 if t.is_floating_point() else t for n, t in found.items()}


def toy(path: Path, **changes: Any) -> Trial:
    fields = {"dataset": "toy", "backbone": "test_resnet", "input_size": 16, "epochs": 0}
    return Trial(**{**fields, "batch_size": 4, "pretrained": str(path)} | changes)


def saved(path: Path, content: object) -> Path:
    torch.save(content, path)
    return path


def prefixed(prefix: str) -> Callable[[State], object]:
    return lambda weights: {f"{prefix}{name}": t for name, t in weights.items()}


WRAPPED: dict[str, Callable[[State], object]] = {
    "plain": lambda weights: weights,
    "Lightning": lambda w: {"state_dict": prefixed("model.")(w), "epoch": 3},
    "DataParallel": prefixed("module."),
    "compiled": prefixed("_orig_mod."),
    "compiled in DataParallel": prefixed("module._orig_mod."),
    "timm_model": prefixed("timm_model."),
    "model": lambda weights: {"model": weights, "optimizer": {"lr": 1.0}},
    "model_state": lambda weights: {"model_state": weights},
    "averaged": lambda w: {"state_dict": {n: t * 0 for n, t in w.items()}, "state_dict_ema": w},
    "twice": lambda weights: {"model": {"state_dict": prefixed("backbone.")(weights)}},
    "this project's": lambda w: {
        **{f"backbone.{n}": t for n, t in w.items()},
        **{"mean": torch.zeros(1), "std": torch.zeros(1), "resizer.conv.weight": torch.zeros(3)},
    },
    "with a loss": lambda w: {**{f"model.{n}": t for n, t in w.items()}, "loss.w": torch.ones(2)},
    "without counters": lambda w: {n: t for n, t in w.items() if "num_batches" not in n},
}


@pytest.mark.parametrize("how", WRAPPED)
def test_weights_are_found_in_whatever_they_are_wrapped_in(tmp_path: Path, how: str) -> None:
    weights = state()
    model = models.build(toy(saved(tmp_path / "w.pth", WRAPPED[how](weights))), 2)
    own = model.backbone.state_dict()
    for name, tensor in weights.items():
        if not name.startswith("fc.") and "num_batches" not in name:
            assert torch.equal(own[name], tensor), name
    assert model.loaded is not None
    counted = [name for name in own if "num_batches" not in name]
    assert (model.loaded["loaded"], model.loaded["tensors"]) == (len(counted) - 2, len(counted))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda w: {n: t for n, t in w.items() if n < "layer2"}, r"tensors \d+ missing: layer2\."),
        (lambda w: {n: t for n, t in w.items() if n != "conv1.0.weight"}, "1 missing: conv1.0.we"),
        (lambda w: w | {"extra.weight": torch.ones(1)}, "1 left over: extra.weight$"),
        (
            lambda w: w | {"conv1.0.weight": torch.ones(9, 3, 3, 3)},
            r"conv1.0.weight \(9x3x3x3, not",
        ),
        (lambda _: {"a": torch.ones(1)}, r"tensors \d+ missing: .*; 1 left over: a$"),
        (lambda _: state(name="test_vit"), r"\d+ missing: .*, …; \d+ left over: "),
        (lambda _: {}, "holds no weights by name$"),
        (lambda _: {"state_dict": {}}, "holds no weights by name$"),
        (lambda _: [1, 2], "holds no weights by name$"),
        (lambda _: 3, "holds no weights by name$"),
        (lambda w: list(w.values()), "holds no weights by name$"),
    ],
)
def test_anything_but_a_wholly_fitting_body_is_refused_by_name(
    tmp_path: Path, change: Callable[[State], object], why: str
) -> None:
    path = saved(tmp_path / "w.pth", change(state()))
    with pytest.raises(InputError, match=why) as caught:
        models.build(toy(path), 2)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def both(one: str, other: str) -> Callable[[State, State], object]:
    return lambda right, wrong: {one: right, other: wrong}


AVERAGED: dict[str, Callable[[State, State], object]] = {
    "before": both("ema", "model"),
    "after": lambda right, wrong: {"model": wrong, "ema": {"module": right, "decay": 0.999}},
    "by prefix": lambda right, wrong: {
        "state_dict": {**prefixed("model.")(wrong), **prefixed("ema_model.module.")(right)}  # type: ignore[dict-item]
    },
    "without batch statistics": lambda right, wrong: {
        "ema": {n: t for n, t in wrong.items() if "running" not in n}, "model": right,
    },
    "without weights": lambda right, _: {"ema": {"decay": torch.ones(1)}, "model": right},
    "the same twice": lambda right, _: {"net": right, "model": dict(right)},
    "of another network": lambda right, _: {"teacher": state(name="test_vit"), "student": right},
}  # fmt: skip


@pytest.mark.parametrize("how", AVERAGED)
def test_averaged_weights_are_what_is_meant_where_they_fit(tmp_path: Path, how: str) -> None:
    right, wrong = state(), {n: t + 1 for n, t in state().items()}
    model = models.build(toy(saved(tmp_path / "w.pth", AVERAGED[how](right, wrong))), 2)
    weight = model.backbone.state_dict()["conv1.0.weight"]
    assert torch.equal(weight, right["conv1.0.weight"])


@pytest.mark.parametrize(
    ("one", "other"), [("model", "state_dict"), ("net", "teacher"), ("model", "best_model")]
)
def test_of_two_sets_of_weights_that_fit_none_is_taken_by_chance(
    tmp_path: Path, one: str, other: str
) -> None:
    right, wrong = state(), {n: t + 1 for n, t in state().items()}
    nested, flat = both(one, other)(right, wrong), {f"{other}.{n}": t for n, t in wrong.items()}
    for content in (nested, {**{f"{one}.{n}": t for n, t in right.items()}, **flat}):
        with pytest.raises(InputError, match=f"two sets of weights .* '{one}' and '{other}': lea"):
            models.build(toy(saved(tmp_path / "w.pth", content)), 2)
    with pytest.raises(InputError, match=f"'the top level' and '{other}': leave one in it"):
        models.build(toy(saved(tmp_path / "w.pth", {**right, **flat})), 2)


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("/tmp/never"),))


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors", "w.ckpt"])
@pytest.mark.parametrize(
    "content",
    [b"", b"broken", pickle.dumps(Evil()), b"\xff" * 8 + b"{}", b"\x10" + bytes(7) + b"{" * 16],
    ids=["empty", "text", "pickle", "huge header", "half a header"],
)
def test_a_file_that_holds_no_weights_is_one_sentence(
    tmp_path: Path, name: str, content: bytes
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=rf"{name} cannot be read as weights: \w+") as caught:
        models.build(toy(tmp_path / name), 2)
    assert "\n" not in str(caught.value)


def test_a_whole_model_in_a_file_is_told_without_advice_to_run_it(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), tmp_path / "whole.pt")
    with pytest.raises(InputError, match=r"weights: it is not of torch.save\(model.state_dict"):
        models.build(toy(tmp_path / "whole.pt"), 2)


@pytest.mark.parametrize(("classes", "kept"), [(2, True), (1000, False), (3, False)])
def test_a_head_that_fits_the_classes_is_kept(tmp_path: Path, classes: int, kept: bool) -> None:
    weights = state(classes)
    model = models.build(toy(saved(tmp_path / "w.pth", weights)), 2)
    assert model.loaded is not None
    assert model.loaded["head"] == kept
    head = model.backbone.state_dict()["fc.weight"]
    assert (
        head.shape == weights["fc.weight"].shape and torch.equal(head, weights["fc.weight"])
    ) == kept


def test_embeddings_of_another_image_size_are_resampled_as_timm_does(tmp_path: Path) -> None:
    weights = state(name="test_vit", img_size=160)
    made = toy(saved(tmp_path / "w.pth", weights), backbone="test_vit", input_size=96)
    model = models.build(made, 2)
    assert model.loaded is not None
    assert model.loaded["loaded"] == model.loaded["tensors"] - 2
    wanted = timm.models.vision_transformer.checkpoint_filter_fn(weights, model.backbone)
    assert torch.equal(model.backbone.state_dict()["pos_embed"], wanted["pos_embed"])


def test_the_record_says_what_was_loaded(store: Store, tmp_path: Path) -> None:
    save_file(state(), path := tmp_path / "w.safetensors")
    one = toy(path)
    trial.run(lambda _: None, one, store.trial_folder(one.key), store.root)
    record = store.trial(one.key)
    assert record is not None
    assert record["reason"] == ""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert record["weights"]["sha256"] == digest
    total = record["weights"]["tensors"]
    text = f"w.safetensors (sha256 {digest[:12]}): {total - 2} of {total} tensors, a new classif"
    assert checkpoints([record])[0].startswith(text)
    assert len(record["data"]["pixels"]) == 64
    assert not record["data"].get("doubt")
