"""The learned resizer with its norms folded, against its own layers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from resizer.folded import FoldedResizer
from resizer.learned import LearnedResizer

OPTIONS: list[dict[str, Any]] = [
    {"num_resblocks": 0},
    {"num_resblocks": 2, "interpolation": "bicubic", "antialias": True},
    {"in_channels": 1, "out_channels": 2, "interpolation": "lanczos"},
    {"interpolation": "area", "negative_slope": 0.0},
    {"output_size": (12, 10)},
    {"output_size": (12, 10), "out_channels": 5},
]


def trained(**options: Any) -> LearnedResizer:
    """A module in evaluation mode whose norms are off their starting values."""
    torch.manual_seed(0)
    module = LearnedResizer(**{"output_size": (17, 9)} | options).eval()
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            for tensor in (norm.weight, norm.bias, norm.running_mean):
                assert tensor is not None
                nn.init.normal_(tensor, 0.5, 0.3)
    return module


def error(found: Tensor, wanted: Tensor) -> float:
    return float((found - wanted).norm() / wanted.norm())


@pytest.mark.parametrize("options", OPTIONS)
def test_the_folded_module_is_the_same_function(options: dict[str, Any]) -> None:
    module = trained(**options)
    images = torch.randn(3, options.get("in_channels", 3), 33, 20)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    folded = FoldedResizer(module)
    with torch.no_grad():
        assert error(folded(images), module(images)) <= 1e-5
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in folded.modules())
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())


def test_the_folded_module_exports_for_any_batch_size() -> None:
    module, images = trained(output_size=(12, 10)), torch.randn(4, 3, 33, 20)
    sizes = {"images": {0: torch.export.Dim("batch")}}
    exported = torch.export.export(FoldedResizer(module), (images,), dynamic_shapes=sizes).module()
    with torch.no_grad():
        assert error(exported(images), module(images)) <= 1e-5
        assert error(exported(images[:3]), module(images[:3])) <= 1e-5
