"""One trial from fields to record, in this process."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd
import pytest
import timm
import torch

from bench import models, training, trial
from bench.errors import InputError
from bench.experiment import Trial
from bench.store import Record, Store

CPU = torch.device("cpu")


def toy(**fields: Any) -> Trial:
    given = {"dataset": "toy", "backbone": "test_resnet", "input_size": 32, "output_size": 16}
    given |= {"epochs": 2, "batch_size": 8, "deterministic": True, "precision": "fp32"}
    return Trial(**{**given, **fields})


def run(store: Store, one: Trial, events: list[dict[str, Any]] | None = None) -> Record:
    trial.run((events if events is not None else []).append, one, store.trial_folder(one.key))
    record = store.trial(one.key)
    assert record is not None
    return record


def test_a_trial_leaves_a_record_predictions_and_weights(store: Store) -> None:
    events: list[dict[str, Any]] = []
    one = toy(resizer="learned", num_kernels=4)
    record = run(store, one, events)
    assert (record["status"], record["steps"], len(record["curve"])) == ("ok", 4, 2)
    assert [e["event"] for e in events] == ["step", "step", "epoch"] * 2
    predictions = store.predictions(one.key)
    assert list(predictions.columns) == ["image", "label", "predicted", "probability"]
    right = 100 * (predictions["label"] == predictions["predicted"]).mean()
    assert record["metrics"]["top1_pct"]["value"] == pytest.approx(right)
    assert record["data"]["val_images"] == len(predictions) == 12
    assert record["environment"]["threads"] == torch.get_num_threads()


def test_the_headline_is_the_final_epoch_not_the_best(store: Store) -> None:
    record = run(store, toy(epochs=4, lr=0.05))
    assert record["metrics"]["top1_pct"]["value"] == record["curve"][-1]["top1_pct"]


def test_the_same_trial_twice_gives_the_same_predictions_bit_for_bit(store: Store) -> None:
    one = toy(resizer="learned", num_kernels=4)
    tables: list[pd.DataFrame] = []
    for _ in range(2):
        run(store, one)
        tables.append(store.predictions(one.key))
    pd.testing.assert_frame_equal(*tables, check_exact=True)


def test_a_trained_classifier_comes_back_and_predicts_what_was_recorded(store: Store) -> None:
    one = toy(resizer="learned", num_kernels=4)
    run(store, one)
    model = models.load(one.key, store)
    assert not model.training
    again = training.validate(model, _val_loader(one), CPU, "fp32")
    wanted = store.predictions(one.key)
    assert again.predicted.tolist() == wanted["predicted"].tolist()
    assert again.probability.tolist() == pytest.approx(wanted["probability"].tolist(), abs=1e-5)


def _val_loader(one: Trial) -> Any:
    from bench.datasets.batches import Loader
    from bench.datasets.library import open_dataset

    return Loader(open_dataset("toy").val, one, threads=1)


def test_loading_what_is_not_there_is_one_sentence(store: Store) -> None:
    with pytest.raises(InputError, match="no finished trial 'abc' in"):
        models.load("abc", store)


def test_arms_of_one_seed_start_from_the_same_backbone() -> None:
    plain = models.build(toy(input_size=16), classes=2)
    learned = models.build(toy(resizer="learned"), classes=2)
    other_seed = models.build(toy(resizer="learned", seed=1), classes=2)
    for name, weight in plain.backbone.state_dict().items():
        assert torch.equal(weight, learned.backbone.state_dict()[name])
    first = next(iter(learned.resizer.parameters()))
    assert not torch.equal(first, next(iter(other_seed.resizer.parameters())))


def test_uint8_and_unit_float_images_are_the_same_to_a_classifier() -> None:
    model = models.build(toy(resizer="learned"), classes=2).eval()
    images = torch.randint(256, (2, 3, 32, 32), dtype=torch.uint8)
    torch.testing.assert_close(model(images), model(images.float() / 255))


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"backbone": "resnet5"}, "unknown backbone 'resnet5'; did you mean 'resnet"),
        ({"dataset": "elsewhere"}, "unknown dataset 'elsewhere'"),
        ({"lr": 1e30, "optimizer": "sgd"}, "the training loss is nan in epoch"),
        ({"batch_size": 6, "input_size": 8000}, ""),
    ],
)
def test_a_trial_that_fails_is_a_row_with_its_reason(
    store: Store, fields: dict[str, Any], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not reason:
        monkeypatch.setattr(models, "build", _out_of_memory)
        reason = "DefaultCPUAllocator: can't allocate memory"
    record = run(store, toy(**fields))
    assert record["status"] == ("oom" if "allocate" in reason else "failed")
    assert record["reason"].startswith(reason)
    assert record["metrics"] == {}
    log = store.trial_folder(toy(**fields).key) / "log.txt"
    assert "Traceback" in log.read_text()


def _out_of_memory(*_: Any) -> Any:
    raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")


def test_steps_end_a_trial_in_the_middle_of_an_epoch(store: Store) -> None:
    record = run(store, toy(epochs=None, steps=3))
    assert record["steps"] == 3
    assert [row["step"] for row in record["curve"]] == [2, 3]


def test_one_cycle_ends_near_zero_and_steps_decay_by_their_factor(store: Store) -> None:
    rates = [row["lr"] for row in run(store, toy(epochs=3))["curve"]]
    assert rates[-1] < 1e-2 * 3e-3
    stepped = toy(epochs=3, schedule="step", decay_every_epochs=1, decay_factor=0.5)
    rates = [row["lr"] for row in run(store, stepped)["curve"]]
    assert rates == pytest.approx([3e-3, 1.5e-3, 0.75e-3])


def test_clipping_bounds_the_step_that_is_taken() -> None:
    moved = []
    for clip in (None, 1e-3):
        model = torch.nn.Linear(4, 2)
        torch.nn.init.ones_(model.weight)
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
        loss = (100 * model(torch.ones(1, 4))).sum()
        training.update(model, loss, optimizer, torch.amp.GradScaler("cpu", enabled=False), clip)
        moved.append((model.weight - 1).norm().item())
    assert moved[0] > 100
    assert moved[1] <= 1.001e-3


def test_evaluating_less_often_does_not_change_the_result(store: Store) -> None:
    often, seldom = toy(epochs=3), toy(epochs=3, eval_every_epochs=3)
    values = [run(store, t)["metrics"]["val_loss"]["value"] for t in (often, seldom)]
    assert values[0] == values[1]


def test_weight_decay_spares_biases_and_norms() -> None:
    model = models.build(toy(resizer="learned"), classes=2)
    optimizer, _ = training.build_optimizer(model, toy(resizer="learned"), 10, 5)
    decayed = [p.ndim for g in optimizer.param_groups if g["weight_decay"] for p in g["params"]]
    spared = [p.ndim for g in optimizer.param_groups if not g["weight_decay"] for p in g["params"]]
    assert min(decayed) > 1
    assert max(spared) == 1


def test_a_backbone_of_fixed_size_is_built_for_the_size_it_gets() -> None:
    model = models.build(toy(backbone="test_vit", resizer="learned", output_size=96), classes=2)
    assert timm.get_pretrained_cfg("test_vit").fixed_input_size
    assert model.eval()(torch.rand(1, 3, 128, 128)).shape == (1, 2)


def test_a_record_is_plain_json(store: Store) -> None:
    record = run(store, toy())
    assert json.loads(json.dumps(record)) == record
