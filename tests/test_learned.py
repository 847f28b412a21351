"""The learned resizer against a straight-line reference, and against published counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import resizer
from resizer.learned import LearnedResizer

# (num_kernels, trainable parameters for num_resblocks = 0, 1, 2, 3, 4), from the published layers
PARAMETERS = [(16, (7363, 12035, 16707, 21379, 26051)), (32, (19843, 38403, 56963, 75523, 94083))]


BILINEAR = {"mode": "bilinear", "align_corners": False}


def reference(
    module: LearnedResizer,
    x: Tensor,
    size: tuple[int, int],
    blocks: int,
    slope: float = 0.2,
    how: Mapping[str, Any] = BILINEAR,
) -> Tensor:
    """The published layers one after the other, batch norm written out, in evaluation mode.

    Args:
        how: what torch's interpolate is told.
    """
    w = module.state_dict()

    def norm(y: Tensor, name: str) -> Tensor:
        mean, var = w[f"{name}.running_mean"], w[f"{name}.running_var"]
        scale = w[f"{name}.weight"] / torch.sqrt(var + 1e-5)
        return (y - mean[:, None, None]) * scale[:, None, None] + w[f"{name}.bias"][:, None, None]

    def shrink(y: Tensor) -> Tensor:
        return F.interpolate(y, size=size, **how)

    y = F.leaky_relu(F.conv2d(x, w["head.0.weight"], w["head.0.bias"], padding=3), slope)
    y = F.leaky_relu(F.conv2d(y, w["head.2.weight"], w["head.2.bias"]), slope)
    b = z = shrink(norm(y, "head.4"))
    for i in range(blocks):
        r = norm(F.conv2d(z, w[f"blocks.{i}.body.0.weight"], padding=1), f"blocks.{i}.body.1")
        r = F.conv2d(F.leaky_relu(r, slope), w[f"blocks.{i}.body.3.weight"], padding=1)
        z = z + norm(r, f"blocks.{i}.body.4")
    z = norm(F.conv2d(z, w["merge.0.weight"], padding=1), "merge.1") + b
    return F.conv2d(z, w["tail.weight"], w["tail.bias"], padding=3) + shrink(x)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("blocks", [0, 1, 3])
@pytest.mark.parametrize(
    ("size", "output_size"),
    [((33, 47), (17, 23)), ((64, 48), (32, 24)), ((20, 31), (50, 13)), ((16, 16), (40, 40))],
)
def test_the_output_equals_a_straight_line_reference(
    channels: int, blocks: int, size: tuple[int, int], output_size: tuple[int, int]
) -> None:
    torch.manual_seed(0)
    module = LearnedResizer(
        output_size=output_size, in_channels=channels, out_channels=channels, num_resblocks=blocks
    )
    images = torch.randn(2, channels, *size)
    got = evaluated(module, images)
    wanted = reference(module, images, output_size, blocks)
    assert got.shape == (2, channels, *output_size)
    assert (got - wanted).norm() / wanted.norm() <= 1e-5


def evaluated(module: LearnedResizer, images: Tensor) -> Tensor:
    """What the module makes of the images once its running statistics are off their start."""
    module.train()
    for _ in range(3):
        module(images)
    module.eval()
    with torch.no_grad():
        return module(images)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("options", "slope", "how"),
    [
        ({"negative_slope": 0.05}, 0.05, BILINEAR),
        ({"antialias": True}, 0.2, BILINEAR | {"antialias": True}),
        ({"interpolation": "bicubic"}, 0.2, BILINEAR | {"mode": "bicubic"}),
        ({"interpolation": "nearest"}, 0.2, {"mode": "nearest-exact"}),
        ({"interpolation": "area"}, 0.2, {"mode": "area"}),
    ],
)
def test_each_option_changes_what_the_reference_says_it_changes(
    options: dict[str, Any], slope: float, how: dict[str, Any]
) -> None:
    torch.manual_seed(0)
    module = LearnedResizer(output_size=(17, 23), **options)
    images = torch.randn(2, 3, 33, 47)
    got = evaluated(module, images)
    wanted, default = (reference(module, images, (17, 23), 1, *of) for of in ((slope, how), ()))
    assert (got - wanted).norm() / wanted.norm() <= 1e-5
    assert (got - default).norm() / default.norm() > 1e-3


@pytest.mark.parametrize(("kernels", "counts"), PARAMETERS)
def test_parameter_counts_are_the_published_ones(kernels: int, counts: tuple[int, ...]) -> None:
    for blocks, count in enumerate(counts):
        module = LearnedResizer(output_size=8, num_kernels=kernels, num_resblocks=blocks)
        assert sum(p.numel() for p in module.parameters()) == count


def test_zero_init_starts_as_the_plain_resize() -> None:
    module = LearnedResizer(output_size=(9, 7), zero_init=True, interpolation="bicubic")
    images = torch.randn(2, 3, 21, 16)
    plain = resizer.build("fixed", output_size=(9, 7), interpolation="bicubic")
    torch.testing.assert_close(module(images), plain(images), rtol=0, atol=1e-5)


def test_other_output_channels_project_the_skip() -> None:
    module = LearnedResizer(output_size=8, in_channels=4, out_channels=3)
    assert module(torch.randn(1, 4, 16, 16)).shape == (1, 3, 8, 8)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"output_size": 0}, "output_size is 0; it takes 1 to 8192 pixels, or"),
        ({"output_size": 8.0}, "output_size is 8.0; it takes 1 to 8192 pixels, or"),
        ({"output_size": "8"}, "output_size is '8'; it takes 1 to 8192 pixels, or"),
        ({"output_size": (8, -1)}, r"output_size is \(8, -1\)"),
        ({"output_size": 8, "num_resblocks": -1}, "num_resblocks is -1; it takes a whole"),
        ({"output_size": 8, "num_kernels": 0}, "num_kernels is 0; it takes a whole number from 1"),
        ({"output_size": 8, "interpolation": "bilinaer"}, "did you mean 'bilinear'"),
        ({"output_size": 8, "interpolation": "area", "antialias": True}, "has no antialias"),
    ],
)
def test_impossible_options_are_refused_with_what_is_allowed(
    options: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        LearnedResizer(**options)  # type: ignore[arg-type]
