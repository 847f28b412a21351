"""The networks of both libraries: names, sizes, weights, and what is known of their layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision import models as torchvision

from bench.errors import InputError
from bench.lab import backbones, models, training
from bench.run import plan, runner
from bench.spec.trial import Trial
from bench.store import Store
from tests.conftest import WriteExperiment

SMALL = "torchvision:shufflenet_v2_x0_5"
FAMILIES = (
    "alexnet",
    "convnext_tiny",
    "densenet121",
    "efficientnet_b0",
    "googlenet",
    "inception_v3",
    "maxvit_t",
    "mnasnet0_5",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "resnet18",
    "shufflenet_v2_x0_5",
    "squeezenet1_1",
    "swin_t",
    "swin_v2_t",
    "vgg11",
    "vit_b_16",
)
"""One of each of torchvision's, but regnet's, which cannot be built without memory."""


def toy(backbone: str, size: int = 224, **fields: Any) -> Trial:
    return Trial(dataset="toy", backbone=backbone, input_size=size, epochs=1, **fields)


def parameters(backbone: str) -> int:
    """How many a backbone of ImageNet's 1000 classes has."""
    with torch.device("meta"):
        built = backbones.build(toy(backbone), 1000)
    return sum(parameter.numel() for parameter in built.parameters())


@pytest.mark.parametrize(
    ("ours", "timms"),
    [
        ("resnet50", "resnet50"),
        ("mobilenet_v3_small", "mobilenetv3_small_100"),
        ("densenet121", "densenet121"),
        ("vit_b_16", "vit_base_patch16_224"),
        ("swin_t", "swin_tiny_patch4_window7_224"),
    ],
)
def test_a_network_that_both_libraries_have_has_as_many_parameters(ours: str, timms: str) -> None:
    assert parameters(f"torchvision:{ours}") == parameters(timms)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_last_layer_of_every_family_of_torchvisions_gives_the_logits(name: str) -> None:
    with torch.device("meta"):
        built = backbones.build(toy(f"torchvision:{name}"), 7)
    (head,) = backbones.classifying_layers(built)
    assert built.get_parameter(f"{head}.weight").shape[0] == 7


def test_a_network_of_torchvisions_is_trained_and_loaded_like_any_other(
    store: Store, write_experiment: WriteExperiment
) -> None:
    experiment = write_experiment(backbone=SMALL)
    outcome = runner.run(experiment, store, lambda _: None, where={"seed": "0"})
    assert outcome.failures == {}
    table = store.table(experiment).query("seed == 0")
    assert set(table["backbone"]) == {SMALL}
    assert (table["status"] == "ok").all()
    model = models.load(table["key"][0], store.root)
    assert type(model.backbone) is torchvision.ShuffleNetV2
    assert model(torch.zeros(1, 3, 16, 16)).shape == (1, 2)


@pytest.mark.parametrize(
    ("backbone", "size", "reason"),
    [
        ("torchvision:resnet5", 32, "unknown backbone .*; did you mean 'torchvision:resnet50'"),
        ("torchvision:fcn_resnet50", 32, "unknown backbone .* has them all"),
        ("torchvision:vgg11x", 32, r"torchvision.models.list_models\(module=torchvision.models\)"),
        ("torchvision:vit_b_16", 40, "cannot take 40 px: AssertionError: Input shape indivisible"),
        ("torchvision:maxvit_t", 100, "cannot take 100 px: ValueError: Input size"),
        ("torchvision:inception_v3", 32, "cannot take 32 px: RuntimeError: "),
    ],
)
def test_a_name_or_a_size_that_torchvision_does_not_take_is_one_sentence(
    backbone: str, size: int, reason: str
) -> None:
    with pytest.raises(InputError, match=reason):
        backbones.check(toy(backbone, size))


@pytest.mark.parametrize(
    ("backbone", "size"),
    [("torchvision:vit_b_32", 64), ("torchvision:inception_v3", 75), ("torchvision:swin_t", 40)],
)
def test_a_size_other_than_that_of_its_weights_is_taken_where_the_network_can(
    backbone: str, size: int
) -> None:
    backbones.check(toy(backbone, size))


def checkpoint(folder: Path, network: nn.Module) -> Path:
    save_file(network.state_dict(), file := folder / "weights.safetensors")
    return file


def test_weights_of_torchvisions_come_from_a_checkpoint_all_but_the_layer_for_other_classes(
    tmp_path: Path,
) -> None:
    published = torchvision.shufflenet_v2_x0_5()
    one = toy(SMALL, pretrained=str(checkpoint(tmp_path, published)))
    few, all_of_them = (models.build(one, classes).backbone for classes in (2, 1000))
    for name, tensor in published.state_dict().items():
        assert torch.equal(all_of_them.state_dict()[name], tensor)
        assert name.startswith("fc.") or torch.equal(few.state_dict()[name], tensor)
    with pytest.raises(InputError, match=r"does not fit this backbone: of its \d+ tensors "):
        models.build(one.model_copy(update={"backbone": "torchvision:shufflenet_v2_x1_0"}), 2)


def test_positions_of_pretrained_patches_are_interpolated_to_the_size_of_the_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tiny(_: str = "", weights: None = None, **options: Any) -> nn.Module:
        assert weights is None
        sizes = {"patch_size": 8, "num_layers": 1, "num_heads": 1, "hidden_dim": 4, "mlp_dim": 4}
        return torchvision.VisionTransformer(**sizes, **options)

    monkeypatch.setattr(torchvision, "get_model", tiny)
    file = checkpoint(tmp_path, tiny(image_size=32, num_classes=3))
    one = toy("torchvision:vit_b_16", 64, pretrained=str(file))
    model = models.build(one, 2)
    assert model.backbone.get_parameter("encoder.pos_embedding").shape == (1, 1 + 8 * 8, 4)
    optimizer, _ = training.build_optimizer(model, one, 10, 5)
    spared = [p for g in optimizer.param_groups if not g["weight_decay"] for p in g["params"]]
    for name in ("class_token", "encoder.pos_embedding"):
        assert any(p is model.backbone.get_parameter(name) for p in spared), name


def test_images_are_scaled_as_those_that_the_weights_were_trained_on() -> None:
    for name, mean in (("resnet18", 0.485), ("efficientnet_v2_l", 0.5)):
        one = toy(f"torchvision:{name}", pretrained=True)
        assert backbones.scale(one, nn.Identity())["mean"][0] == mean


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_a_network_that_scales_its_images_itself_gets_them_so_in_arms_that_start_from_it_too(
    name: str,
) -> None:
    first = toy(f"torchvision:{name}", 96, pretrained=True)
    with torch.device("meta"):
        parent = backbones.build(first, 2, start=False)
        child = backbones.build(toy(first.backbone, 96), 2)
    images = torch.rand(2, 3, 4, 4)
    scale = backbones.scale(first, parent)
    given = models.Classifier(nn.Identity(), **scale).normalised(images)
    theirs = torchvision.googlenet(init_weights=False, transform_input=True)
    wanted = theirs._transform_input(models.Classifier(nn.Identity()).normalised(images))
    for network in (parent, child):  # the mean and deviation go along with the weights
        assert torch.allclose(network._transform_input(given), wanted, atol=1e-6)  # type: ignore[operator]


def test_published_weights_are_asked_of_torchvision_and_their_second_classifiers_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make, asked = torchvision.get_model, []

    def get_model(name: str, **options: Any) -> nn.Module:
        if options["weights"]:
            asked.append(options["weights"])
            options = {"weights": None, "init_weights": False, "aux_logits": True}
        built: nn.Module = make(name, **options)
        return built

    monkeypatch.setattr(torchvision, "get_model", get_model)
    built = backbones.build(toy("torchvision:googlenet", pretrained=True), 2)
    assert asked == ["DEFAULT"]
    assert built.aux1 is None
    assert built.fc.out_features == 2  # type: ignore[union-attr]


def test_the_classifying_layers_of_timms_are_those_that_it_names() -> None:
    assert backbones.classifying_layers(timm.create_model("test_resnet")) == ["fc"]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("resnet50.a1_in1q", r"backbone 'resnet50' has no weights called 'a1_in1q'; did you mean "),
        (
            "resnet50.none_such_at_all",
            r"no weights called 'none_such_at_all'\. One of: a1_in1k",
        ),
        ("test_resnett.r160_in1k", r"unknown backbone 'test_resnett.r160_in1k'"),
    ],
)
def test_a_tag_of_weights_that_does_not_exist_is_one_sentence(name: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence) as told:
        backbones.build(Trial(dataset="toy", backbone=name, input_size=32, epochs=1), 2)
    assert "\n" not in str(told.value)


def test_a_plan_knows_the_networks_of_both_libraries_without_them(
    write_experiment: WriteExperiment,
) -> None:
    assert set(plan._listed("timm")) == set(timm.list_models())
    assert set(plan._listed("torchvision")) == set(torchvision.list_models(module=torchvision))
    for known in ("test_resnet", "resnet50.a1_in1k", SMALL, "elsewhere:net"):
        assert plan.lacking(write_experiment(backbone=known)) == []
    (said,) = plan.lacking(write_experiment(backbone="resnt18"))
    assert said == "timm lists no backbone 'resnt18'; did you mean 'resnet18'?"
    (said,) = plan.lacking(write_experiment(backbone="torchvision:resnt18"))
    assert said.endswith("; did you mean 'torchvision:resnet18'?")
