"""The learned resizer's faster paths against its readable layers."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from resizer.chunked import Head, Layer, Plan, Resample
from resizer.folded import FoldedResizer
from resizer.learned import LearnedResizer

SIZES = [
    ((33, 47), (17, 23)),
    ((32, 24), (16, 12)),
    ((20, 31), (50, 13)),
    ((13, 13), (13, 13)),
    ((3, 2), (5, 1)),
]
FILTERS = [
    *(("bilinear", False), ("bilinear", True), ("bicubic", False), ("bicubic", True)),
    *(("nearest", False), ("area", False), ("lanczos", False)),
]
EXACT = torch.float64


def pair(dtype: torch.dtype = EXACT, **options: Any) -> tuple[LearnedResizer, LearnedResizer]:
    """A module and its twin that takes the reference path, norms off their starting values."""
    torch.manual_seed(0)
    module = LearnedResizer(**options).to(dtype)
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            for tensor in (norm.weight, norm.bias, norm.running_mean):
                assert tensor is not None
                nn.init.normal_(tensor, 0.5, 0.3)
    module.lean = True
    twin = copy.deepcopy(module)
    twin.fast = False
    return module, twin


def images(size: tuple[int, int], dtype: torch.dtype = EXACT, channels: int = 3) -> Tensor:
    return torch.randn(5, channels, *size, dtype=dtype) + 0.5


def results(module: LearnedResizer, x: Tensor, *, low: bool = False) -> dict[str, Tensor]:
    """Output, gradients and buffers after one forward and backward pass."""
    x = x.detach().clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=low):
        out = module(x)
    weights = torch.linspace(-1, 2, out.numel(), dtype=out.dtype).view(out.shape).sin()
    (out * weights).sum().backward()
    assert x.grad is not None
    found = {"out": out.detach(), "images": x.grad, **dict(module.named_buffers())}
    return found | {n: p.grad for n, p in module.named_parameters() if p.grad is not None}


def error(got: Tensor, wanted: Tensor) -> float:
    wanted = wanted.double()
    return float((got.double() - wanted).norm() / wanted.norm().clamp_min(1e-12))


def agree(module: LearnedResizer, twin: LearnedResizer, x: Tensor) -> None:
    """Both give the same to float64's precision."""
    got, wanted = results(module, x), results(twin, x)
    assert got.keys() == wanted.keys()
    worst = max(got, key=lambda name: error(got[name], wanted[name]))
    assert error(got[worst], wanted[worst]) <= 1e-10, worst


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("interpolation", "antialias"), FILTERS)
@pytest.mark.parametrize(("size", "output_size"), SIZES)
def test_values_gradients_and_statistics_are_those_of_the_readable_layers(
    size: tuple[int, int],
    output_size: tuple[int, int],
    interpolation: str,
    antialias: bool,
    training: bool,
) -> None:
    options = {"output_size": output_size, "interpolation": interpolation, "antialias": antialias}
    module, twin = pair(**options)
    module.train(training)
    twin.train(training)
    x = images(size)
    assert module.path(x.clone().requires_grad_()) == "chunked"
    agree(module, twin, x)


@pytest.mark.parametrize(
    "options",
    [
        {"num_resblocks": 0},
        {"num_resblocks": 3, "num_kernels": 5},
        {"negative_slope": 0.0},
        {"in_channels": 1, "out_channels": 2},
        {"zero_init": True},
    ],
)
def test_every_option_of_the_module_is_the_same_on_the_faster_path(options: dict[str, Any]) -> None:
    module, twin = pair(output_size=8, **options)
    agree(module, twin, images((16, 16), channels=options.get("in_channels", 3)))


def test_a_batch_of_many_chunks_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resizer.chunked.CACHED", 2 * 4 * 16 * 16 * 16)  # 2 images, then 1
    module, twin = pair(output_size=8)
    agree(module, twin, images((16, 16)))


@pytest.mark.parametrize("frozen", ["head", "blocks", "merge", "tail", ""])
def test_frozen_parts_get_no_gradient_and_the_others_the_same(frozen: str) -> None:
    module, twin = pair(output_size=8)
    for either in (module, twin):
        either.get_submodule(frozen).requires_grad_(False)
        either.get_submodule(frozen).eval()
    agree(module, twin, images((16, 16)))


def test_channels_last_is_the_same() -> None:
    module, twin = (m.to(memory_format=torch.channels_last) for m in pair(output_size=8))
    agree(module, twin, images((16, 16)).contiguous(memory_format=torch.channels_last))


@pytest.mark.parametrize("momentum", [0.1, None])
def test_running_statistics_follow_several_batches(momentum: float | None) -> None:
    module, twin = pair(output_size=8)
    for either in (module, twin):
        for norm in either.modules():
            if isinstance(norm, nn.BatchNorm2d):
                norm.momentum = momentum
    for _ in range(3):
        x = images((16, 16))
        module(x)
        twin(x)
    for (name, got), wanted in zip(module.named_buffers(), twin.buffers(), strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-10, atol=1e-10, msg=name)


@pytest.mark.parametrize(("size", "output_size"), SIZES[:3])
def test_float32_is_within_1e_5_of_the_readable_layers_in_float64(
    size: tuple[int, int], output_size: tuple[int, int]
) -> None:
    module, twin = pair(torch.float32, output_size=output_size)
    exact = copy.deepcopy(twin).double()
    x = images(size, torch.float32)
    got, truth = results(module, x), results(exact, x.double())
    weights = {name for name, _ in module.named_parameters()}
    whole = torch.cat([truth[name].flatten() for name in weights]).norm()
    for name in truth:  # a bias before a norm has a gradient that is all but cancelled
        scale = whole if name in weights else truth[name].double().norm()
        assert (got[name].double() - truth[name]).norm() <= 1e-5 * scale, name


def test_bf16_autocast_is_as_close_to_float64_as_the_readable_layers_are() -> None:
    module, twin = pair(torch.float32, output_size=16)
    exact = copy.deepcopy(twin).double()
    x = images((32, 32), torch.float32)
    got, reference = results(module, x, low=True), results(twin, x, low=True)
    truth = results(exact, x.double())
    assert {n: t.dtype for n, t in got.items()} == {n: t.dtype for n, t in reference.items()}
    for name in truth:
        bound = max(1e-2, 1.5 * error(reference[name], truth[name]))
        assert error(got[name], truth[name]) <= bound, name


@pytest.mark.parametrize("low", [False, True])
@pytest.mark.parametrize("blocks", [0, 2])
def test_inference_folds_the_norms_into_the_convolutions(blocks: int, low: bool) -> None:
    module, twin = (
        m.eval() for m in pair(torch.float32, output_size=(17, 9), num_resblocks=blocks)
    )
    x = images((33, 20), torch.float32)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=low):
        assert module.path(x) == "folded"
        assert error(module(x), twin(x)) <= (2e-2 if low else 1e-5)


@pytest.mark.parametrize("options", [{}, {"in_channels": 1, "out_channels": 2}])
def test_the_folded_module_exports_for_any_batch_size(options: dict[str, Any]) -> None:
    module, twin = (m.eval() for m in pair(torch.float32, output_size=8, **options))
    x = images((16, 16), torch.float32, options.get("in_channels", 3))
    sizes = {"images": {0: torch.export.Dim("batch")}}
    exported = torch.export.export(FoldedResizer(module), (x,), dynamic_shapes=sizes).module()
    with torch.no_grad():
        assert error(exported(x), twin(x)) <= 1e-5
        assert error(exported(x[:3]), twin(x[:3])) <= 1e-5


def test_a_module_frozen_in_evaluation_folds_where_its_images_have_no_gradient() -> None:
    module = LearnedResizer(output_size=8).eval().requires_grad_(False)
    assert module.path(torch.rand(1, 3, 16, 16)) == "folded"
    assert module.path(torch.rand(1, 3, 16, 16, requires_grad=True)) == "reference"
    module.lean = True
    assert module.path(torch.rand(1, 3, 16, 16, requires_grad=True)) == "chunked"


def test_gradcheck_of_the_head() -> None:
    torch.manual_seed(0)
    shapes = [(2, 2, 5, 6), (3, 2, 7, 7), (3,), (3, 3, 1, 1), (3,)]
    tensors = [torch.randn(s, dtype=EXACT, requires_grad=True) for s in shapes]
    how = Resample((3, 4), "bicubic", True)
    assert torch.autograd.gradcheck(
        lambda *t: Head.apply(*t, 0.2, how, Plan(EXACT, EXACT)), tensors
    )


@pytest.mark.parametrize("slope", [None, 0.2])
def test_gradcheck_of_a_layer(slope: float | None) -> None:
    torch.manual_seed(0)
    shapes = [(2, 3, 4, 3), (3,), (3,), (3,), (3,), (2, 3, 4, 3), (2, 3, 3, 3), (2,)]
    tensors = [torch.rand(s, dtype=EXACT, requires_grad=True) for s in shapes]
    keep = slope is None

    def layer(*t: Tensor) -> Any:
        rest = t[5] if keep else None
        made = Layer.apply(*t[:5], 1e-5, rest, *t[6:], slope, keep, Plan(EXACT, EXACT))
        return made if keep else made[1:]

    assert torch.autograd.gradcheck(layer, tensors)


def test_a_second_derivative_is_refused() -> None:
    module, _ = pair(output_size=4)
    x = images((8, 8)).requires_grad_()
    (grad,) = torch.autograd.grad(module(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="differentiate twice"):
        grad.sum().backward()


def test_only_a_gpu_with_triton_takes_the_kernels() -> None:
    module, _ = pair(torch.float32, output_size=8)
    assert module.path(torch.rand(2, 3, 16, 16)) == "chunked"


def test_altered_layers_and_transforms_take_the_readable_path() -> None:
    x = torch.rand(2, 3, 16, 16)
    hooked, synced, plain, odd = (LearnedResizer(output_size=8) for _ in range(4))
    for module in (hooked, synced, plain, odd):
        module.lean = True
    hooked.head.register_forward_hook(lambda *_: None)
    synced = nn.SyncBatchNorm.convert_sync_batchnorm(synced)
    assert hooked.path(x) == synced.path(x) == plain.path(x.half()) == "reference"
    assert isinstance(odd.head[1], nn.LeakyReLU)
    odd.head[1].negative_slope = -0.1
    assert odd.path(x) == "reference"
    assert plain.path(x) == "chunked"


def test_one_value_a_channel_is_refused_as_batch_norm_refuses_it() -> None:
    with pytest.raises(ValueError, match="Expected more than 1 value per channel"):
        pair(torch.float32, output_size=1)[0](torch.rand(1, 3, 4, 4))
