"""A finished trial as one file, checked against its record."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from statsmodels.stats.proportion import proportion_confint

from bench.errors import InputError
from bench.events import ignore
from bench.lab import export, models, trial
from bench.records import write_record
from bench.spec.trial import Trial
from bench.store import Store


def trained(store: Store, **fields: Any) -> str:
    given: dict[str, Any] = {"dataset": "toy", "backbone": "test_resnet", "precision": "fp32"}
    given |= {"input_size": 32, "output_size": 16, "epochs": 1, "batch_size": 8}
    one = Trial(**given, **fields, deterministic=True)
    trial.run(ignore, one, store.trial_folder(one.key), store.root)
    return one.key


@pytest.fixture
def key(store: Store) -> str:
    return trained(store, resizer="learned", num_kernels=4)


@pytest.mark.parametrize("form", ["pt2", "onnx"])
def test_the_file_computes_what_the_trial_computed_and_has_a_card(
    store: Store, key: str, tmp_path: Path, form: export.Format
) -> None:
    path = tmp_path / f"model.{form}"
    export.export(store.root, key, form, path, ["**Does it help?**\n\nNot settled: +0.1."])
    images = torch.randint(256, (3, 3, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        wanted = models.load(key, store.root)(images)
    torch.testing.assert_close(loaded(path, images), wanted, rtol=1e-4, atol=1e-4)
    card = path.with_suffix(".md").read_text()
    assert "**Checked:** 12 of 12 validation images" in card
    assert "dark, light" in card
    assert " images of toy (" in card
    assert "**Does it help?**\n\nNot settled: +0.1.\n\n## Recipe" in card


@pytest.mark.parametrize(("right", "low"), [(6, 25.4), (12, 75.8)])
def test_the_accuracy_on_a_card_is_never_certain(
    store: Store, key: str, right: int, low: float
) -> None:
    record = store.trial(key)
    assert record
    record["metrics"]["top1_pct"]["value"] = found = 100 * right / 12
    ends = [100 * end for end in proportion_confint(right, 12, method="wilson")]
    assert ends[0] == pytest.approx(low, abs=0.05)
    shown = f"{found:.1f} % [{ends[0]:.1f}, {ends[1]:.1f}]"
    assert shown in export.card(record, Trial(**record["trial"]), (), 12, 0)


def test_a_size_of_its_own_in_validation_is_that_of_the_file_and_its_card(
    store: Store, tmp_path: Path
) -> None:
    key = trained(store, eval_size=24)
    export.export(store.root, key, "pt2", path := tmp_path / "model.pt2")
    assert loaded(path, torch.zeros(2, 3, 24, 24, dtype=torch.uint8)).shape == (2, 2)
    assert "Takes (B, 3, 24, 24) uint8 images" in path.with_suffix(".md").read_text()


def test_a_front_end_derived_from_ours_is_exported_as_it_computes(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bent_front.py").write_text(
        "from resizer.learned import LearnedResizer\n"
        "class Bent(LearnedResizer):\n"
        "    def forward(self, images): return super().forward(images).clamp(-0.1, 0.1)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    key = trained(store, resizer="bent_front:Bent", num_kernels=4)
    export.export(store.root, key, "pt2", path := tmp_path / "model.pt2")
    images = torch.randint(256, (3, 3, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        wanted = models.load(key, store.root)(images)
    torch.testing.assert_close(loaded(path, images), wanted, rtol=1e-4, atol=1e-4)


def loaded(path: Path, images: torch.Tensor) -> torch.Tensor:
    if path.suffix == ".pt2":
        return torch.export.load(path).module()(images)  # type: ignore[no-any-return]
    import onnxruntime

    session = onnxruntime.InferenceSession(path.read_bytes())
    return torch.from_numpy(session.run(None, {"images": images.numpy()})[0])


def test_a_file_that_classifies_otherwise_than_the_record_is_not_left_behind(
    store: Store, key: str, tmp_path: Path
) -> None:
    saved = store.trial_folder(key) / "predictions.parquet"
    table = pd.read_parquet(saved)
    table["predicted"] = 1 - table["predicted"]
    table.to_parquet(saved)
    with pytest.raises(InputError, match="classifies 12 of 12 validation images otherwise"):
        export.export(store.root, key, "pt2", tmp_path / "model.pt2")
    assert not list(tmp_path.glob("*model*"))


BRANCHING = """
from torch import nn
class Front(nn.Module):
    def __init__(self, *, output_size):
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(output_size)
    def forward(self, x):
        return self.pool(x if x.mean() > 0 else -x)
"""


def test_a_module_that_torch_cannot_export_is_one_sentence_and_leaves_nothing(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "branching_front.py").write_text(BRANCHING)
    monkeypatch.chdir(tmp_path)
    own = trained(store, resizer="branching_front:Front")
    with pytest.raises(InputError, match=r"^the model cannot be exported: \w+: "):
        export.export(store.root, own, "pt2", tmp_path / "model.pt2")
    assert not list(tmp_path.glob("*model*"))


def test_a_trial_without_weights_is_refused_in_a_sentence_that_names_one_of_another_seed(
    store: Store, key: str, tmp_path: Path
) -> None:
    (store.trial_folder(key) / "weights.safetensors").unlink()
    said = 'run its experiment with keep_weights = "all" to have them'
    with pytest.raises(InputError, match=f"{said}$"):
        export.export(store.root, key, "pt2", tmp_path / "model.pt2")
    trained(store, resizer="learned", num_kernels=8)
    other = trained(store, resizer="learned", num_kernels=4, seed=3)
    with pytest.raises(InputError, match=f"{said}; of another seed, and with weights: {other}$"):
        export.export(store.root, key, "pt2", tmp_path / "model.pt2")


def test_a_trial_that_failed_has_no_model_and_says_why(store: Store, tmp_path: Path) -> None:
    failed = {"status": "failed", "reason": "the training loss is nan in epoch 1"}
    key = trained(store, resizer="none")
    record = store.trial(key)
    assert record
    write_record(store.trial_folder(key), record | failed)
    said = f"trial '{key}' has no model: failed, the training loss is nan in epoch 1$"
    with pytest.raises(InputError, match=said):
        export.export(store.root, key, "pt2", tmp_path / "model.pt2")
