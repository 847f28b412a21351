"""What a trial starts from: parts of other trials, published weights, parts that stay frozen."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import timm
import torch
from safetensors.torch import save_file

from bench.errors import InputError
from bench.lab import models, training, trial
from bench.records import write_record
from bench.spec.trial import Trial
from bench.store import Store
from tests.test_training import run, toy


def test_a_trial_takes_over_the_trained_parts_that_it_starts_from(store: Store) -> None:
    plain, learned = toy(input_size=16), toy(resizer="learned", num_kernels=4)
    for parent in (plain, learned):
        run(store, parent)
    child = toy(
        resizer="learned",
        num_kernels=4,
        epochs=0,
        resizer_from=learned.key,
        backbone_from=plain.key,
    )
    run(store, child)
    made, backbone, front = (models.load(t.key, store.root) for t in (child, plain, learned))
    for name, weight in made.backbone.state_dict().items():
        assert torch.equal(weight, backbone.backbone.state_dict()[name])
    for name, weight in made.resizer.state_dict().items():
        assert torch.equal(weight, front.resizer.state_dict()[name])


def test_the_classifying_layer_is_left_behind_with_the_dataset_it_was_trained_on(
    store: Store,
) -> None:
    parent = toy(input_size=16)
    record = run(store, parent)
    record["trial"]["dataset"] = "another"
    write_record(store.trial_folder(parent.key), record)
    child = toy(input_size=16, backbone_from=parent.key, seed=5)
    model, fresh = models.build(child, 2), models.build(child, 2)
    models.take_over(model, child, store.root / "trials")
    trained = models.load(parent.key, store.root)
    assert torch.equal(model.backbone.fc.weight, fresh.backbone.fc.weight)  # type: ignore[union-attr,arg-type]
    changed = "layer1.0.conv1.weight"
    assert torch.equal(
        model.backbone.get_parameter(changed), trained.backbone.get_parameter(changed)
    )


def test_a_parent_without_weights_or_of_another_shape_is_one_sentence(store: Store) -> None:
    parent = toy(input_size=16)
    run(store, parent)
    child = toy(backbone="test_vit", backbone_from=parent.key)
    said = f"the backbone of trial {parent.key} does not fit: of its .* missing: cls_token"
    with pytest.raises(InputError, match=said):
        models.take_over(models.build(child, 2), child, store.root / "trials")
    (store.trial_folder(parent.key) / "weights.safetensors").unlink()
    record = run(store, toy(backbone_from=parent.key))
    assert record["status"] == "failed"
    assert record["reason"].startswith(f"trial {parent.key}, which it starts from, has no weights")


@pytest.mark.parametrize("left", [0, 7, 1000, -1])
def test_damaged_weights_of_a_parent_are_told_with_its_key(store: Store, left: int) -> None:
    parent = toy(input_size=16)
    run(store, parent)
    file = store.trial_folder(parent.key) / "weights.safetensors"
    file.write_bytes(file.read_bytes()[:left])
    record = run(store, toy(backbone_from=parent.key))
    said = f"the weights of trial {parent.key}, which it starts from, are damaged (SafetensorError"
    assert record["reason"].startswith(said)
    with pytest.raises(InputError, match=f"the weights of trial {parent.key} are damaged"):
        models.load(parent.key, store.root)


def test_a_resizer_trained_on_images_of_another_mean_is_refused(store: Store) -> None:
    parent = toy(resizer="learned", num_kernels=4)
    run(store, parent)
    child = toy(resizer="learned", num_kernels=4, resizer_from=parent.key)
    model = models.build(child, 2)
    model.mean.fill_(0.5)
    with pytest.raises(InputError, match=f"{parent.key} does not fit: .* another mean and dev"):
        models.take_over(model, child, store.root / "trials")


@pytest.mark.parametrize("part", ["resizer", "backbone"])
def test_a_frozen_part_stays_as_it_was_and_the_other_one_learns(store: Store, part: str) -> None:
    one = toy(resizer="learned", num_kernels=4, frozen=[part])
    run(store, one)
    before, after = models.build(one, 2), models.load(one.key, store.root)
    for name, weight in after.state_dict().items():
        same = torch.equal(weight, before.state_dict()[name])
        if name.startswith(part):
            assert same, name  # batch statistics too
    learnt = [n for n, w in after.named_parameters() if not torch.equal(w, before.get_parameter(n))]
    assert {name.split(".")[0] for name in learnt} == {"resizer", "backbone"} - {part}


def test_a_pretrained_backbone_comes_from_its_checkpoint_and_reports_clean_images(
    store: Store, tmp_path: Path
) -> None:
    published = timm.create_model("test_resnet", num_classes=1000)
    save_file(published.state_dict(), file := tmp_path / "weights.safetensors")
    one = toy(input_size=16, pretrained=str(file))
    model = models.build(one, 2)
    assert torch.equal(model.backbone.conv1[0].weight, published.conv1[0].weight)  # type: ignore[union-attr,index,arg-type]
    assert model.mean.flatten().tolist() == pytest.approx(published.pretrained_cfg["mean"])
    assert not torch.equal(
        models.build(toy(input_size=16), 2).backbone.conv1[0].weight,  # type: ignore[union-attr,index,arg-type]
        published.conv1[0].weight,
    )
    record = run(store, one)
    assert "clean_top1_pct" not in record["metrics"]  # the toy has no images of ImageNet's
    file.write_bytes(b"broken")
    with pytest.raises(InputError, match=r"weights.safetensors cannot be read as weights: "):
        models.build(one, 2)


def test_what_starts_from_a_pretrained_trial_sees_its_images_as_that_did(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "clean_top1", lambda *_: {"clean_top1_pct": 50.0})
    published = timm.create_model("test_vit", num_classes=1000)
    assert published.pretrained_cfg["mean"] != timm.data.IMAGENET_DEFAULT_MEAN
    save_file(published.state_dict(), file := tmp_path / "weights.safetensors")
    shared = {"backbone": "test_vit", "input_size": 160, "output_size": None, "epochs": 1}
    parent = toy(**shared, pretrained=str(file))
    child = toy(**shared, backbone_from=parent.key)
    grandchild = toy(**shared, backbone_from=child.key)
    for one in (parent, child, grandchild):
        assert run(store, one)["metrics"]["clean_top1_pct"]["value"] == 50.0
        model = models.load(one.key, store.root)
        assert model.mean.flatten().tolist() == pytest.approx(published.pretrained_cfg["mean"])
        assert model.std.flatten().tolist() == pytest.approx(published.pretrained_cfg["std"])
    assert "clean_top1_pct" not in run(store, toy(**shared))["metrics"]


def test_clean_accuracy_is_of_the_images_that_imagenet_does_not_train_on() -> None:
    names = ["a/n02086240_1.JPEG", "a/ILSVRC2012_val_00000001.JPEG", "b/ILSVRC2012_val_2.JPEG"]
    val = SimpleNamespace(names=names, labels=np.array([0, 0, 1]))
    hits = training.Predictions(torch.tensor([0, 0, 0]), torch.zeros(3), 0.0, 0.0)
    assert trial.clean_top1(SimpleNamespace(val=val), hits) == {"clean_top1_pct": 50.0}  # type: ignore[arg-type]


@pytest.mark.parametrize(("classes", "kind"), [(10, "int16"), (32767, "int16"), (40000, "int32")])
def test_predictions_of_any_number_of_classes_are_kept_as_they_are(
    tmp_path: Path, classes: int, kind: str
) -> None:
    last = np.array([0, classes - 1])
    val = SimpleNamespace(names=["a/1.png", "b/2.png"], labels=last)
    found = training.Predictions(torch.from_numpy(last), torch.ones(2), 0.0, 0.0)
    dataset = SimpleNamespace(val=val, classes=range(classes))
    trial.save_predictions(tmp_path / "predictions.parquet", dataset, found)  # type: ignore[arg-type]
    saved = pd.read_parquet(tmp_path / "predictions.parquet")
    for column in ("label", "predicted"):
        assert saved[column].tolist() == last.tolist()
        assert saved[column].dtype == kind


def test_a_frozen_resizer_that_normalises_by_the_batch_gathers_statistics_and_learns_nothing() -> (
    None
):
    fields = {"dataset": "toy", "backbone": "test_resnet", "resizer": "learned", "epochs": 1}
    given = {**fields, "input_size": 32, "output_size": 16, "frozen": ["resizer"]}
    images = torch.randint(256, (8, 3, 32, 32), dtype=torch.uint8)
    spreads = {}
    for norm in (None, "batch"):
        model = models.build(Trial(**given, frozen_resizer_norm=norm), 2).train()
        before = {name: tensor.clone() for name, tensor in model.resizer.state_dict().items()}
        for _ in range(20):
            model(images)
        after = model.resizer.state_dict()
        changed = {name for name in before if not torch.equal(before[name], after[name])}
        assert all("running" in name or "num_batches" in name for name in changed)
        assert bool(changed) == (norm == "batch")
        assert not any(p.requires_grad for p in model.resizer.parameters())
        front: Any = model.eval().resizer
        branch = front(model.normalised(images)) - front.resize(model.normalised(images))
        spreads[norm] = float(branch.std())
    assert spreads["batch"] > 2 * spreads[None]
