"""The learned resizer beside the blog's module: the same function, and the page of both."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.events import ignore
from bench.lab import implementations
from bench.lab.blog import BlogResizer
from bench.records import FormsRecord, read_record
from bench.report import implementations as page
from bench.report.words import NONE, TIMES
from bench.run.implementations import compare
from resizer.learned import LearnedResizer


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("sizes", [(40, 20), (33, 21), (20, 34)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_ours_trains_as_the_blogs_module_does(
    layout: torch.memory_format, sizes: tuple[int, int], dtype: torch.dtype
) -> None:
    blogs, ours = pair(sizes[1])
    images = torch.randn(3, 3, sizes[0], sizes[0], dtype=dtype).contiguous(memory_format=layout)
    outs = []
    for module in (blogs, ours):
        module.to(dtype=dtype, memory_format=layout)  # type: ignore[call-overload]
        outs.append(module(images))
        outs[-1].square().sum().backward()
    assert torch.equal(*outs)
    rounding = 1e-5 if dtype == torch.float32 else 1e-10
    assert error(outs[1], outs[0]) <= rounding
    for one, other in zip(blogs.parameters(), ours.parameters(), strict=True):
        assert one.grad is not None
        assert other.grad is not None
        assert (other.grad - one.grad).abs().max() <= rounding * largest_gradient(blogs)
    assert all(map(torch.equal, blogs.buffers(), ours.buffers()))
    assert torch.equal(blogs.eval()(images), ours.eval()(images))


def pair(output_size: int) -> tuple[BlogResizer, LearnedResizer]:
    """Both modules, with the same weights."""
    torch.manual_seed(0)
    blogs = BlogResizer(output_size=output_size)
    ours = LearnedResizer(output_size=output_size, num_resblocks=2)
    ours.load_state_dict(dict(zip(ours.state_dict(), blogs.state_dict().values(), strict=True)))
    return blogs, ours


def largest_gradient(module: BlogResizer) -> float:
    return max(float(p.grad.abs().max()) for p in module.parameters() if p.grad is not None)


def error(found: torch.Tensor, wanted: torch.Tensor) -> float:
    return float(((found - wanted).norm() / wanted.norm()).detach())


def test_under_bf16_autocast_ours_is_as_close_to_fp32_as_the_blogs_module_is() -> None:
    blogs, ours = pair(20)
    images = torch.randn(3, 3, 40, 40)
    exact = blogs(images)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        theirs, found = blogs(images), ours(images)
    assert error(found, exact) <= 1.2 * error(theirs, exact)


def test_a_gpu_also_has_compiled_forms_of_the_module_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not any(form.compile for form in implementations.forms().values())
    small: dict[str, Any] = {"input_size": 32, "output_size": 16, "batch_size": 2}
    for name in ("ALONE", "WHOLE"):
        monkeypatch.setattr(implementations, name, {**small, "backbone": "test_resnet"})
    compiled: list[torch.nn.Module] = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self, **_: compiled.append(self))
    form = implementations.Form("learned", "fp32", compile="default")
    monkeypatch.setitem(implementations.FORMS, "tried", form)
    assert set(implementations.turn(form, 0.0)) == {"train", "infer"}
    assert {type(one).__name__ for one in compiled} >= {"LearnedResizer", "FoldedResizer"}
    assert implementations.weigh("tried")["gmacs"] > 0
    monkeypatch.setenv("RESIZER_BENCH_PRECISION", "bf16")
    monkeypatch.setattr(implementations.devices, "pick", lambda: torch.device("cuda"))
    assert [name for name, form in implementations.forms().items() if form.compile] == [
        "published, bf16, compiled",
        "ours, bf16, compiled",
        "tried",
    ]


def test_the_page_says_which_aims_are_reached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small: dict[str, Any] = {"input_size": 32, "output_size": 16, "num_resblocks": 1}
    small |= {"batch_size": 2, "backbone": "test_resnet"}
    monkeypatch.setattr(implementations, "ALONE", small)
    monkeypatch.setattr(implementations, "WHOLE", small)
    monkeypatch.setattr(implementations, "SIDE", 8)
    monkeypatch.setattr(implementations, "COPIED", 2**10)
    monkeypatch.setattr(
        "bench.run.implementations.call", lambda job, *arguments: job(ignore, *arguments)
    )
    record = compare(2, 0.0, ignore)
    for one in record["rounds"]:
        one["seconds"][page.PUBLISHED_FORM] |= {"train": 3.0, "infer": 1.0}
        one["seconds"][page.ALIKE] |= {"train": 2.0}
        one["seconds"][page.FP32] |= {"train": 1.0, "infer": 1.0}
    page.save(record, tmp_path)
    text = (tmp_path / "report.md").read_text()
    assert (
        f"| training step, ours, fp32 | {page.PUBLISHED_FORM} | ≥ 1.5 {TIMES} | 3.00 {TIMES} "
        "\\[3.00, 3.00\\] | yes |" in text
    )
    served = rf"\| ours, onnxruntime (\| {NONE} ){{3}}\| [\d.,]+ (\| {NONE} ){{4}}\|"
    assert re.search(served, text), "infers alone"
    inference = f"| inference, ours, fp32 | {page.PUBLISHED_FORM} | ≥ 2 {TIMES} | 1.00 {TIMES}"
    assert f"{inference} \\[1.00, 1.00\\] | no |" in text
    assert re.search(r"a large copy \([\d.,]+ GB/s\)", text)
    head = (
        f"In fp32 ours trains 3.00 {TIMES} \\[3.00, 3.00\\] as fast as the published module, 2.00"
    )
    assert head in text
    assert re.search(
        r"module, 2\.00 .* where both are channels-last; \d+ of \d+ aims reached\.", text
    )
    assert read_record(tmp_path, FormsRecord) == {"schema": 1, **record}
