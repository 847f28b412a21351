"""One trial from fields to record, in this process."""

from __future__ import annotations

import json
import random
from typing import Any

import numpy as np
import pandas as pd
import pytest
import timm
import torch

from bench.data.batches import Loader
from bench.data.library import open_dataset
from bench.errors import InputError
from bench.events import Epoch, Event, Step
from bench.lab import models, pictures, training, trial
from bench.lab.snapshots import State
from bench.records import Json
from bench.spec.trial import Trial
from bench.store import Store


def toy(**fields: Any) -> Trial:
    given = {"dataset": "toy", "backbone": "test_resnet", "input_size": 32, "output_size": 16}
    given |= {"epochs": 2, "batch_size": 8, "deterministic": True, "precision": "fp32"}
    return Trial(**{**given, **fields})


def run(store: Store, one: Trial, events: list[Event] | None = None) -> Json:
    tell = (events if events is not None else []).append
    trial.run(tell, one, store.trial_folder(one.key), store.root)
    record = store.trial(one.key)
    assert record is not None
    return record


def test_a_trial_leaves_a_record_predictions_and_weights(store: Store) -> None:
    events: list[Event] = []
    one = toy(resizer="learned", num_kernels=4)
    record = run(store, one, events)
    assert (record["status"], record["steps"], len(record["curve"])) == ("ok", 4, 2)
    assert [type(event) for event in events] == [Step, Step, Epoch] * 2
    predictions = store.predictions(one.key)
    assert list(predictions.columns) == ["image", "label", "predicted", "probability"]
    right = 100 * (predictions["label"] == predictions["predicted"]).mean()
    assert record["metrics"]["top1_pct"]["value"] == pytest.approx(right)
    assert record["data"]["val_images"] == len(predictions) == 12
    assert record["environment"]["threads"] == torch.get_num_threads()


def test_the_headline_is_the_final_epoch_not_the_best(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted = iter([50.0, 80.0, 60.0, 70.0])
    nothing = torch.zeros(12, dtype=torch.int64), torch.zeros(12), 1.0
    monkeypatch.setattr(
        training, "validate", lambda *_: training.Predictions(*nothing, next(scripted))
    )
    record = run(store, toy(epochs=4))
    assert [row["top1_pct"] for row in record["curve"]] == [50.0, 80.0, 60.0, 70.0]
    assert record["metrics"]["top1_pct"]["value"] == 70.0


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
    model = models.load(one.key, store.root)
    assert not model.training
    again = training.validate(model, _val_loader(one))
    wanted = store.predictions(one.key)
    assert again.predicted.tolist() == wanted["predicted"].tolist()
    assert again.probability.tolist() == pytest.approx(wanted["probability"].tolist(), abs=1e-5)


def _val_loader(one: Trial) -> Loader:
    return Loader(open_dataset("toy").val, one, threads=1)


def test_loading_what_is_not_there_is_one_sentence(store: Store) -> None:
    with pytest.raises(InputError, match="no finished trial 'abc' in"):
        models.load("abc", store.root)


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
        ({"lr": 1e30, "optimizer": "sgd", "batch_size": 16, "epochs": 1}, "the validation loss is"),
        ({"batch_size": 6, "input_size": 8000}, ""),
        ({"batch_size": 5}, r"SystemExit: half a character: \ud800"),
    ],
)
def test_a_trial_that_fails_is_a_row_with_its_reason(
    store: Store, fields: dict[str, Any], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "SystemExit" in reason:
        monkeypatch.setattr(models, "build", _leave)
    if not reason:
        monkeypatch.setattr(models, "build", _out_of_memory)
        reason = "DefaultCPUAllocator: can't allocate memory"
    record = run(store, toy(**fields))
    assert record["status"] == ("oom" if "allocate" in reason else "failed")
    assert record["reason"].startswith(reason)
    assert record["metrics"] == {}
    log = store.trial_folder(toy(**fields).key) / "log.txt"
    assert "Traceback" in log.read_text()


def _leave(*_: Any, **__: Any) -> Any:
    raise SystemExit("half a character: \ud800")


def _out_of_memory(*_: Any, **__: Any) -> Any:
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


def one_update(one: Trial, precision: str = "fp32", scale: float = 1.0) -> torch.nn.Module:
    """A linear classifier after one step on eight fixed images."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 2))
    images, labels = scale * torch.randn(8, 3, 2, 2), torch.arange(8) % 2
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    constant = torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)
    scaler = torch.amp.GradScaler("cpu", enabled=precision == "fp16")
    state = State(one, precision, model, optimizer, constant, scaler, torch.zeros(()))  # type: ignore[arg-type]
    training.update(state, images, labels)
    return model


def test_clipping_bounds_the_step_that_is_taken() -> None:
    start = one_update(toy(clip_norm=1e-9))
    steps = []
    for clip in (None, 1e-3):
        after = one_update(toy(clip_norm=clip), scale=100.0)
        pairs = zip(after.parameters(), start.parameters(), strict=True)
        steps.append(sum((p - q).detach().square().sum().item() for p, q in pairs) ** 0.5)
    assert steps[0] > 1
    assert steps[1] == pytest.approx(1e-3, rel=1e-3)


def test_gradients_that_are_scaled_for_fp16_are_clipped_at_their_true_norm() -> None:
    ours, plain = (one_update(toy(clip_norm=1e-2), precision) for precision in ("fp16", "fp32"))
    for p, q in zip(ours.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(p, q, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("micro", [3, 4])
def test_gradients_of_micro_batches_add_up_to_those_of_the_batch(micro: int) -> None:
    ours, whole = one_update(toy(micro_batch=micro)), one_update(toy())
    for p, q in zip(ours.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(p, q)


@pytest.mark.usefixtures("store")
def test_a_replicate_has_other_weights_and_the_same_pictures() -> None:
    one, other = toy(resizer="learned"), toy(resizer="learned", replicate=1)
    assert toy(resizer="learned", replicate=0) == one
    ours, theirs = (models.build(trial, 2).state_dict() for trial in (one, other))
    for part in ("resizer.head.0.weight", "backbone.fc.weight"):
        assert not torch.equal(ours[part], theirs[part])
    batches = [next(_train_loader(trial).train(1)) for trial in (one, other)]
    assert torch.equal(batches[0][0], batches[1][0])


def _train_loader(one: Trial) -> Loader:
    return Loader(open_dataset("toy").train, one, threads=1)


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


def test_what_is_not_trained_needs_no_batch_of_images(store: Store) -> None:
    plain = toy(input_size=16)
    run(store, plain)
    record = run(store, toy(input_size=16, epochs=0, backbone_from=plain.key, batch_size=64))
    assert record["reason"] == ""
    assert record["steps"] == 0


def test_a_smoke_run_that_fails_says_which_trial_it_was(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "Stepper", _out_of_memory)
    one = toy(resizer="learned", num_kernels=4)
    trial.smoke(one, store.smoke_folder(one))
    record = store.smoke(one)
    assert record is not None
    assert (record["status"], record["key"]) == ("oom", one.key)


def test_fewer_images_than_a_batch_are_one_sentence(store: Store) -> None:
    record = run(store, toy(batch_size=32))
    assert record["reason"] == "toy has 20 training images, fewer than one batch of 32"


@pytest.mark.parametrize("fraction", [0.0, 0.25, 0.99])
def test_every_share_of_warm_up_can_be_run(store: Store, fraction: float) -> None:
    assert run(store, toy(epochs=2, warmup_fraction=fraction))["status"] == "ok"


def test_sgd_is_plain_momentum_and_spares_what_the_backbones_authors_spare() -> None:
    model = models.build(toy(backbone="test_vit", input_size=160), 2)
    optimizer, _ = training.build_optimizer(model, toy(optimizer="sgd"), 10, 5)
    assert not any(group["nesterov"] for group in optimizer.param_groups)
    spared = [p for g in optimizer.param_groups if not g["weight_decay"] for p in g["params"]]
    assert any(p is model.backbone.get_parameter("pos_embed") for p in spared)


def test_a_trial_keeps_pictures_and_the_spectrum_of_what_its_backbone_gets(store: Store) -> None:
    one = toy(resizer="learned", num_kernels=4)
    record = run(store, one)
    kept = np.load(store.trial_folder(one.key) / "pictures.npz")
    shapes = {name: kept[name].shape for name in kept.files}
    assert shapes == {"input": (3, 32, 32, 3), "plain": (3, 16, 16, 3), "output": (3, 16, 16, 3)}
    assert record["spectrum"]["frequency"] == [k / 16 for k in range(1, 9)]
    assert set(map(len, record["spectrum"].values())) == {8}
    alone = run(store, toy(input_size=16))["spectrum"]
    assert alone["output"] == pytest.approx(alone["plain"], rel=1e-3)


def test_the_power_of_a_wave_is_found_at_its_frequency() -> None:
    x = torch.arange(32)
    wave = torch.sin(2 * torch.pi * x * 5 / 32).expand(1, 3, 32, 32)
    frequency, power = pictures.radial_power(wave + 7.0)
    assert frequency[int(np.argmax(power))] == 5 / 32
    assert frequency[-1] == 0.5
    white = torch.randn(200, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    flat = pictures.radial_power(white)[1]
    assert max(flat[1:]) / min(flat[1:]) < 1.3


BACKBONES = (
    "resnet10t",
    "mobilenetv2_035",
    "mobilenetv3_small_050",
    "efficientnet_lite0",
    "densenet121",
    "regnetx_002",
    "convnext_atto",
    "repghostnet_050",
    "vit_tiny_patch16_224",
    "xcit_nano_12_p16_224",
    "edgenext_xx_small",
    "mobilevit_xxs",
)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_backbones_of_many_families_train_and_validate_behind_the_resizer(
    store: Store, backbone: str
) -> None:
    sizes = {"input_size": 128, "output_size": 96 if backbone.startswith("vit") else 64}
    fields = {**sizes, "epochs": None, "steps": 2, "batch_size": 4}
    one = toy(backbone=backbone, resizer="learned", num_kernels=4, deterministic=False, **fields)
    record = run(store, one)
    assert (record["status"], record["reason"], record["steps"]) == ("ok", "", 2)
    assert len(store.predictions(one.key)) == 12


def test_a_resizer_may_learn_at_a_rate_of_its_own() -> None:
    fields = {"dataset": "toy", "backbone": "test_resnet", "resizer": "learned", "epochs": 1}
    trial = Trial(**fields, input_size=32, output_size=16, lr=0.01, resizer_lr_factor=0.1)
    model = models.build(trial, 2)
    optimizer, schedule = training.build_optimizer(model, trial, total=10, per_epoch=10)
    of = {id(p): group["max_lr"] for group in optimizer.param_groups for p in group["params"]}
    assert all(of[id(p)] == pytest.approx(0.001) for p in model.resizer.parameters())
    assert all(of[id(p)] == pytest.approx(0.01) for p in model.backbone.parameters())
    assert len(of) == len(list(model.parameters()))
    for _ in range(2):  # warmup_fraction 0.3 of ten steps: the rise ends at the third
        optimizer.step()
        schedule.step()
    assert max(group["lr"] for group in optimizer.param_groups) == pytest.approx(0.01)


def test_weights_that_a_module_draws_by_any_library_are_those_of_its_seed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def drawn(_: Trial) -> torch.nn.Module:
        front = torch.nn.Conv2d(3, 3, 1)
        front.weight.data *= random.random() * np.random.rand()
        return front

    monkeypatch.setattr(models, "build_resizer", drawn)
    first, again, other = (models.build(toy(seed=seed), 2).resizer for seed in (0, 0, 1))
    assert torch.equal(first.weight, again.weight)
    assert not torch.equal(first.weight, other.weight)
