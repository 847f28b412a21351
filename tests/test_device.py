"""The choices that differ between devices, tested without the devices."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest
import torch

from bench.errors import InputError
from bench.lab import device, environment

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(("has_bf16", "wanted"), [(True, "bf16"), (False, "fp16")])
def test_a_gpu_computes_in_bf16_or_on_older_ones_in_fp16(
    has_bf16: bool, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: has_bf16)
    assert device.resolve_precision("auto", CUDA) == wanted
    assert device.resolve_precision("fp32", CUDA) == "fp32"


@pytest.mark.parametrize(
    ("capabilities", "wanted"),
    [
        ({"amx_bf16": True}, "bf16"),
        ({"avx512_bf16": True}, "bf16"),
        ({"avx512_vnni": True}, "fp32"),
    ],
)
def test_a_cpu_computes_in_bf16_only_where_it_has_the_arithmetic(
    capabilities: dict[str, bool], wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert device.resolve_precision("auto", CPU) == wanted


def test_only_fp16_scales_its_gradients() -> None:
    assert not device.gradient_scaler(CPU, "fp32").is_enabled()
    assert not device.gradient_scaler(CPU, "bf16").is_enabled()
    assert device.gradient_scaler(CPU, "fp16").is_enabled()


def test_autocast_computes_in_the_precision_asked_for() -> None:
    layer, x = torch.nn.Linear(4, 4), torch.ones(1, 4)
    with device.autocast(CPU, "bf16"):
        assert layer(x).dtype == torch.bfloat16
    with device.autocast(CPU, "fp32"):
        assert layer(x).dtype == torch.float32


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), True),
        (MemoryError(), True),
        (RuntimeError("shapes do not match"), False),
    ],
)
def test_running_out_of_memory_is_told_from_other_errors(error: Exception, full: bool) -> None:
    assert device.is_out_of_memory(error) == full


FAULTS = """
import resource, torch
from bench.lab import device
device.keep_freed_memory() if {keep} else None
layers = torch.nn.Sequential(torch.nn.Conv2d(3, 32, 1), torch.nn.ReLU(), torch.nn.Conv2d(32, 1, 1))
images = torch.ones(32, 3, 128, 128)
for step in range(8):
    if step == 3:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    layers(images).sum().backward()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries are left alone")
def test_training_steps_use_again_the_memory_that_is_kept() -> None:
    def faults(keep: bool) -> int:
        program = [sys.executable, "-c", FAULTS.format(keep=keep)]
        return int(subprocess.run(program, capture_output=True, check=True, text=True).stdout)

    assert faults(keep=True) * 10 < faults(keep=False)


def test_a_device_that_is_not_there_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESIZER_BENCH_DEVICE", "gpu")
    with pytest.raises(InputError, match="RESIZER_BENCH_DEVICE='gpu' cannot be used: "):
        device.pick()
    monkeypatch.setenv("RESIZER_BENCH_DEVICE", "cpu")
    assert device.pick() == CPU


def test_the_environment_says_what_ran() -> None:
    facts = environment.describe(CPU, "fp32")
    assert facts["torch"].partition("+")[0] == torch.__version__.partition("+")[0]
    assert facts["threads"] == torch.get_num_threads()
    assert facts["device_name"]
    assert facts["driver"] is None


def test_auto_means_the_precision_that_the_environment_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RESIZER_BENCH_PRECISION", "fp32")
    monkeypatch.setattr(device, "cpu_computes_bf16", lambda: True)
    assert device.resolve_precision("auto", CPU) == "fp32"
    assert device.resolve_precision("bf16", CPU) == "bf16"
    monkeypatch.setenv("RESIZER_BENCH_PRECISION", "bf61")
    with pytest.raises(InputError, match="RESIZER_BENCH_PRECISION='bf61' is unknown; did you mean"):
        device.resolve_precision("auto", CPU)
