"""The contract of every entry of RESIZERS, and of a user's own class."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import resizer
from resizer import fixed, muller
from resizer.fixed import resize
from resizer.sources import source_file
from resizer.specs import ANTIALIASED, INTERPOLATIONS, RESIZERS

SIZES = [((32, 32), (16, 16)), ((33, 21), (15, 9)), ((12, 20), (31, 41)), ((17, 17), (17, 17))]


@pytest.fixture(params=sorted(RESIZERS))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize(("size", "output_size"), SIZES)
def test_every_resizer_gives_the_size_asked_for(
    name: str, size: tuple[int, int], output_size: tuple[int, int]
) -> None:
    module = resizer.build(name, output_size=output_size)
    assert module(torch.randn(2, 3, *size)).shape == (2, 3, *output_size)


def test_every_resizer_keeps_the_dtype(name: str) -> None:
    module = resizer.build(name, output_size=8).double()
    assert module(torch.randn(2, 3, 16, 16, dtype=torch.float64)).dtype == torch.float64


def test_every_resizer_passes_finite_gradients_to_image_and_weights(name: str) -> None:
    module = resizer.build(name, output_size=8)
    images = torch.randn(2, 3, 16, 16, requires_grad=True)
    module(images).square().mean().backward()
    for tensor in (images, *module.parameters()):
        assert tensor.grad is not None
        assert torch.isfinite(tensor.grad).all()
        assert tensor.grad.abs().sum() > 0


def test_every_resizer_is_the_same_in_channels_last(name: str) -> None:
    module = resizer.build(name, output_size=8).eval()
    images = torch.randn(2, 3, 16, 16)
    wanted = module(images)
    got = module.to(memory_format=torch.channels_last)(images.to(memory_format=torch.channels_last))
    torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-5)


def test_every_resizer_comes_back_from_its_state_dict(name: str) -> None:
    first, second = (resizer.build(name, output_size=8).eval() for _ in range(2))
    second.load_state_dict(first.state_dict())
    images = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(first(images), second(images), rtol=0, atol=0)


def test_every_resizer_can_be_exported(name: str) -> None:
    module = resizer.build(name, output_size=8).eval()
    images = torch.randn(2, 3, 16, 16)
    exported = torch.export.export(module, (images,)).module()
    torch.testing.assert_close(exported(images), module(images), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(("size", "output_size"), SIZES)
def test_antialiased_fixed_resizing_agrees_with_pillow(
    interpolation: str, size: tuple[int, int], output_size: tuple[int, int]
) -> None:
    image = torch.rand(1, 1, *size)
    module = resizer.build(
        "fixed", output_size=output_size, interpolation=interpolation, antialias=True
    )
    method = Image.Resampling[interpolation.upper()]
    wanted = np.asarray(Image.fromarray(image[0, 0].numpy()).resize(output_size[::-1], method))
    np.testing.assert_allclose(module(image)[0, 0].numpy(), wanted, atol=1e-5)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_one_column_of_output_is_right_in_every_layout_and_so_is_its_gradient(
    interpolation: str,
) -> None:
    module = resizer.build("fixed", output_size=(4, 1), interpolation=interpolation, antialias=True)
    images = torch.rand(3, 4, 6, 5, dtype=torch.float64, requires_grad=True)
    last = images.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(module(last), module(images), rtol=0, atol=1e-12)
    assert torch.autograd.gradcheck(module, (images,))
    assert torch.autograd.gradcheck(module, (last,))


# enlarging from odd sizes: from even ones a new centre can fall on the edge between two pixels
@pytest.mark.parametrize(("size", "output_size"), [*SIZES[:2], ((11, 13), (27, 31))])
def test_nearest_takes_the_pixel_that_pillow_takes(
    size: tuple[int, int], output_size: tuple[int, int]
) -> None:
    image = torch.rand(1, 1, *size)
    module = resizer.build("fixed", output_size=output_size, interpolation="nearest")
    wanted = Image.fromarray(image[0, 0].numpy()).resize(
        output_size[::-1], Image.Resampling.NEAREST
    )
    np.testing.assert_array_equal(module(image)[0, 0].numpy(), np.asarray(wanted))


@pytest.mark.parametrize(("size", "output_size"), SIZES)
def test_lanczos_agrees_with_pillow_on_float_images(
    size: tuple[int, int], output_size: tuple[int, int]
) -> None:
    image = torch.rand(1, 1, *size)
    module = resizer.build("fixed", output_size=output_size, interpolation="lanczos")
    wanted = Image.fromarray(image[0, 0].numpy()).resize(
        output_size[::-1], Image.Resampling.LANCZOS
    )
    np.testing.assert_allclose(module(image)[0, 0].numpy(), np.asarray(wanted), atol=1e-3)


def test_lanczos_is_the_same_after_a_call_in_another_mode() -> None:
    images = torch.rand(1, 3, 14, 14, requires_grad=True)
    module = resizer.build("fixed", output_size=6, interpolation="lanczos")
    torch.export.export(module, (images.detach(),))
    with torch.inference_mode():
        wanted = module(images)
    with torch.device("meta"):
        given = module(images)
    given.sum().backward()
    assert torch.equal(given, wanted)
    module(images.double()).sum().backward()


def test_lanczos_brings_its_weights_to_a_device_once_as_a_captured_step_could_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    images = torch.rand(1, 3, 14, 14)
    module = resizer.build("fixed", output_size=6, interpolation="lanczos")
    wanted = module(images)
    monkeypatch.setattr(torch, "as_tensor", None)
    assert torch.equal(module(images), wanted)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_muller_starts_as_its_plain_resize_with_four_parameters(interpolation: str) -> None:
    images = torch.randn(2, 3, 21, 16)
    module = resizer.build("muller", output_size=(9, 7), interpolation=interpolation)
    plain = resizer.build("fixed", output_size=(9, 7), interpolation=interpolation)
    torch.testing.assert_close(module(images), plain(images), rtol=0, atol=1e-5)
    assert sum(p.numel() for p in module.parameters()) == 4


def test_muller_equals_its_formula_written_out() -> None:
    images = torch.rand(1, 1, 12, 12, dtype=torch.float64)
    module = resizer.build("muller", output_size=6).double()
    gains, offsets = torch.tensor([0.7, -0.4]), torch.tensor([0.1, 0.2])
    module.load_state_dict({"alpha": gains, "beta": offsets})

    def blurred(u: torch.Tensor) -> torch.Tensor:
        at = torch.arange(5, dtype=torch.float64) - 2
        window = torch.exp(-(at[:, None] ** 2 + at**2) / 2)
        padded = nn.functional.pad(u, (2, 2, 2, 2), mode="replicate")
        patches = padded[0, 0].unfold(0, 5, 1).unfold(1, 5, 1)
        return (patches * window / window.sum()).sum(dim=(2, 3))[None, None]

    def halved(u: torch.Tensor) -> torch.Tensor:
        return u.reshape(1, 1, 6, 2, 6, 2).mean(dim=(3, 5))  # bilinear at exactly 2x

    wanted, u = halved(images), images
    for gain, offset in zip(gains, offsets, strict=True):
        g = blurred(u)
        wanted = wanted + torch.tanh(gain * halved(g - u) + offset)
        u = g
    torch.testing.assert_close(module(images), wanted, rtol=0, atol=1e-6)


def test_a_strided_convolution_at_its_own_ratio_is_not_resized_again() -> None:
    module = resizer.build("strided", output_size=8)
    images = torch.rand(1, 3, 16, 16)
    reduce = module.get_submodule("reduce")
    torch.testing.assert_close(module(images), reduce(images), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("muller", {"kernel_size": 4}, "kernel_size is 4; it takes an odd number"),
        ("muller", {"sigma": 0.0}, "sigma is 0.0; it takes a number from 0.01 to 8192"),
        ("strided", {"stride": 3}, "stride is 3; it takes an even number"),
        ("learned", {"negative_slope": -0.1}, "negative_slope is -0.1; it takes a number from 0 "),
        ("fixed", {"interpolation": None}, "unknown interpolation None"),
    ],
)
def test_options_beyond_their_bounds_are_refused(
    name: str, options: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        resizer.build(name, output_size=8, **options)


WRONG: dict[type, tuple[object, ...]] = {
    int: ("4", 1.5, True, None, -1, 10**9, 10**400, math.nan),
    float: ("4", math.nan, math.inf, -math.inf, True, None, -1, 10**400, [0.1]),
    bool: ("no", 0, 1.0, None),
    str: ("lerned", 3, None, True),
}


OPTIONS = [
    (name, option) for name, of in RESIZERS.items() for option in ("output_size", *of.options)
]


@pytest.mark.parametrize(("of", "option"), OPTIONS)
def test_every_option_of_every_resizer_refuses_by_its_name_what_it_does_not_take(
    of: str, option: str
) -> None:
    default = RESIZERS[of].options.get(option, 8)
    for value in WRONG[type(default)]:
        with pytest.raises(ValueError, match=rf"^(unknown )?{option} "):
            resizer.build(of, **{"output_size": 8, option: value})


@pytest.mark.parametrize("size", [(8, True), (8, 8, 8), [], "88", np.ones(2), (8.0, 8)])
def test_an_output_size_is_one_or_two_whole_numbers(name: str, size: Any) -> None:
    with pytest.raises(ValueError, match=r"output_size is .* 8192 pixels, or \(height, width\)"):
        resizer.build(name, output_size=size)


def test_numbers_of_numpy_are_numbers() -> None:
    options = {"num_kernels": np.int64(2), "negative_slope": np.float32(0.5)}
    module = resizer.build("learned", output_size=np.int64(8), **options)
    assert module(torch.zeros(1, 3, 16, 16)).shape == (1, 3, 8, 8)


@pytest.mark.parametrize(("size", "twins"), [(96, True), (160, True), (64, False), (80, False)])
def test_bilinear_without_antialias_reduces_by_odd_numbers_as_nearest_does(
    size: int, twins: bool
) -> None:
    image = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    bilinear, nearest = (
        resizer.build("fixed", output_size=32, interpolation=name)(image)
        for name in ("bilinear", "nearest")
    )
    assert torch.equal(bilinear, nearest) is twins


def test_area_is_the_mean_of_the_pixels_covered() -> None:
    image = torch.rand(1, 1, 6, 8)
    module = resizer.build("fixed", output_size=(3, 2), interpolation="area")
    wanted = image.reshape(1, 1, 3, 2, 2, 4).mean(dim=(3, 5))
    torch.testing.assert_close(module(image), wanted)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_only_the_interpolations_that_have_antialias_take_it(interpolation: str) -> None:
    options = {"output_size": 4, "interpolation": interpolation, "antialias": True}
    if interpolation in ANTIALIASED:
        assert resizer.build("fixed", **options)(torch.rand(1, 3, 8, 8)).shape == (1, 3, 4, 4)
    else:
        with pytest.raises(ValueError, match="has no antialias; bilinear and bicubic have"):
            resizer.build("fixed", **options)


def test_a_misspelt_resizer_is_told_its_nearest_name() -> None:
    with pytest.raises(
        ValueError,
        match=r"unknown resizer 'lerned'; did you mean 'learned'\? One of: fixed, learned",
    ):
        resizer.build("lerned", output_size=8)
    with pytest.raises(ValueError, match="unknown resizer <class"):
        resizer.build(nn.Identity, output_size=8)  # type: ignore[arg-type]


def test_an_option_that_a_resizer_does_not_use_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="resizer 'fixed' has no option 'num_kernels'"):
        resizer.build("fixed", output_size=8, num_kernels=4)


def test_none_is_nothing_to_build() -> None:
    with pytest.raises(ValueError, match="nothing to build"):
        resizer.build("none", output_size=8)


def test_a_users_own_class_is_built_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text(
        "from torch import nn\n"
        "class Pool(nn.AdaptiveAvgPool2d):\n"
        "    def __init__(self, *, output_size, num_kernels=1):\n"
        "        super().__init__(output_size)\n"
        "        self.num_kernels = num_kernels\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    module = resizer.build("mine:Pool", output_size=4, num_kernels=3)
    assert isinstance(module, nn.AdaptiveAvgPool2d)
    assert module(torch.rand(1, 3, 8, 8)).shape == (1, 3, 4, 4)
    with pytest.raises(ValueError, match="mine has no 'Poll'"):
        resizer.build("mine:Poll", output_size=4)
    with pytest.raises(ValueError, match="no module 'nowhere'"):
        resizer.build("nowhere:Pool", output_size=4)


def test_listing_resizers_does_not_import_torch() -> None:
    code = "import sys, resizer; resizer.names(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_looking_up_and_building_a_users_resizer_leaves_the_import_path_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "of_my_own.py").write_text(
        "from torch import nn\n"
        "class Front(nn.Identity):\n"
        "    def __init__(self, *, output_size):\n"
        "        super().__init__()\n"
    )
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    monkeypatch.chdir(tmp_path)
    before = list(sys.path)
    assert source_file("of_my_own:Front") == tmp_path / "of_my_own.py"
    assert sys.path == before
    resizer.build("of_my_own:Front", output_size=8)
    assert sys.path == before


@pytest.mark.parametrize(
    ("interpolation", "antialias"), [("lanczos", False), ("bilinear", True), ("bicubic", True)]
)
def test_wide_filters_are_as_precise_in_mixed_precision_as_their_output(
    interpolation: str, antialias: bool
) -> None:
    flat = torch.full((1, 3, 32, 32), 1.0)
    small = resize(flat.bfloat16(), (12, 12), interpolation=interpolation, antialias=antialias)
    assert torch.equal(small.float(), flat[..., :12, :12])
    how = {"interpolation": interpolation, "antialias": antialias}
    front = resizer.build("learned", output_size=8, num_kernels=2, **how)
    with torch.autocast("cpu", torch.bfloat16):
        front(torch.rand(2, 3, 16, 16)).float().sum().backward()
    assert all(p.grad is not None for p in front.parameters())


@pytest.mark.parametrize(
    ("interpolation", "size"), [("bilinear", (8, 6)), ("area", (8, 6)), ("area", (4, 12))]
)
def test_means_of_blocks_are_deterministic_forms_of_the_same_resize(
    interpolation: str, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    images = torch.randn(2, 3, 16, 12)
    wanted = resize(images, size, interpolation=interpolation, antialias=False)
    monkeypatch.setattr(fixed, "strict", lambda _: True)
    torch.testing.assert_close(
        resize(images, size, interpolation=interpolation, antialias=False), wanted
    )


def test_bilinear_by_other_factors_is_refused_where_its_deterministic_form_is_slower(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fixed, "strict", lambda _: True)
    with pytest.raises(ValueError, match=r"from \(16, 12\) to \(5, 5\) is deterministic on a GPU"):
        resize(torch.zeros(1, 3, 16, 12), (5, 5), interpolation="bilinear", antialias=False)


def test_edges_are_repeated_by_gathering_where_it_must_be_deterministic(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    images = torch.randn(2, 3, 5, 4)
    wanted = muller.repeated_edges(images, 2)
    monkeypatch.setattr(muller, "strict", lambda _: True)
    assert torch.equal(muller.repeated_edges(images, 2), wanted)
