"""The choices that differ between devices, tested without the devices."""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from bench.errors import InputError
from bench.lab import device, environment, trying
from bench.lab.stepper import Stepper
from bench.spec.trial import Trial
from resizer import fixed

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
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"), True),
        (RuntimeError("GET was unable to find an engine to execute this computation"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED"), False),
        (RuntimeError("shapes do not match"), False),
    ],
)
def test_running_out_of_memory_is_told_from_other_errors(error: Exception, full: bool) -> None:
    assert device.is_out_of_memory(error) == full


FAULTS = """
import os, resource, torch
from bench.lab import device

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

for keep in (True, False):
    if os.fork():
        assert os.wait()[1] == 0
        continue
    device.keep_freed_memory() if keep else None
    one, other = torch.nn.Conv2d(3, 32, 1), torch.nn.Conv2d(32, 1, 1)
    layers, images = torch.nn.Sequential(one, torch.nn.ReLU(), other), torch.ones(32, 3, 128, 128)
    for step in range(8):
        if step == 3:
            before = faults()
        layers(images).sum().backward()
    print(faults() - before, flush=True)
    os._exit(0)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries are left alone")
def test_training_steps_use_again_the_memory_that_is_kept() -> None:
    program = [sys.executable, "-c", FAULTS]
    done = subprocess.run(program, capture_output=True, check=True, text=True)
    kept, given_back = map(int, done.stdout.split())
    assert kept * 10 < given_back


def test_a_device_that_is_not_there_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    there = ", ".join(device.here())
    for named in ("gpu", "meta", "hpu", "privateuseone", "mps:9"):
        monkeypatch.setenv("RESIZER_BENCH_DEVICE", named)
        with pytest.raises(InputError) as refused:
            device.pick()
        assert str(refused.value).startswith(f"RESIZER_BENCH_DEVICE={named!r} cannot be used")
        assert str(refused.value).endswith(f" One of: {there}")
        assert len(str(refused.value)) < 100 + len(there)
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
    monkeypatch.setattr(device, "cpu_is_faster_in_bf16", lambda: True)
    assert device.resolve_precision("auto", CPU) == "fp32"
    assert device.resolve_precision("bf16", CPU) == "bf16"
    monkeypatch.setenv("RESIZER_BENCH_PRECISION", "bf61")
    with pytest.raises(InputError, match="RESIZER_BENCH_PRECISION='bf61' is unknown; did you mean"):
        device.resolve_precision("auto", CPU)


@pytest.mark.parametrize(
    ("cpu", "precision"),
    [
        ({"cpu_name": "Intel Xeon", "avx512_bf16": True, "amx_bf16": True}, "bf16"),
        ({"cpu_name": "Intel Xeon", "avx512_bf16": True, "amx_bf16": False}, "fp32"),
        ({"cpu_name": "AMD Zen 4", "avx512_bf16": True, "amx_bf16": False}, "bf16"),
        ({"cpu_name": "AMD Zen 2", "avx512_bf16": False}, "fp32"),
        ({"architecture": "aarch64"}, "fp32"),
    ],
)
def test_a_processor_computes_in_bf16_where_that_is_faster(
    cpu: dict[str, object], precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: cpu)
    monkeypatch.delenv("RESIZER_BENCH_PRECISION", raising=False)
    assert device.resolve_precision("auto", CPU) == precision


def test_a_gpu_gets_the_next_batch_while_it_works_on_one(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    class Stream:
        def __init__(self, *_: object) -> None: ...

        def record_event(self) -> str:
            return "copied"

        def wait_event(self, event: str) -> None:
            told.append(f"wait until {event}")

    def batches() -> Iterator[device.Placed]:
        for number in range(3):
            told.append(f"made {number}")
            yield torch.tensor([number]), torch.tensor([number])

    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda _: nullcontext())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: Stream())
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda *_: None)
    monkeypatch.setattr(device, "put", lambda batch, _: batch)
    seen = []
    for images, _ in device.delivered(batches(), CUDA):
        told.append("step")
        seen.append(images.item())
    assert seen == [0, 1, 2]
    waited = ["wait until copied", "step"]
    assert told == ["made 0", "made 1", *waited, "made 2", *waited, *waited]


def test_the_last_odd_batch_is_padded_on_a_gpu_alone() -> None:
    images = torch.ones(3, 3, 4, 4, dtype=torch.uint8).to(memory_format=torch.channels_last)
    whole = device.padded(images, 8, CUDA)
    assert whole.shape == (8, 3, 4, 4)
    assert whole.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(whole[:3], images)
    assert device.padded(images, 8, CPU) is images
    assert device.padded(images, 3, CUDA) is images


def test_a_gpu_that_is_named_is_the_one_that_everything_runs_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken: list[torch.device] = []
    monkeypatch.setenv("RESIZER_BENCH_DEVICE", "cuda:1")
    monkeypatch.setattr(torch, "ones", lambda *_, **__: torch.zeros(1))
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    assert device.pick() == torch.device("cuda:1")
    assert taken == [torch.device("cuda:1")]


class Queue:
    """A GPU that launches take 3 ms of the processor for, each 1 ms of work, and waits."""

    def __init__(self, *, launch_s: float = 0.003, work_s: float = 0.001) -> None:
        self.host = self.free = 0.0
        self.launch_s, self.work_s = launch_s, work_s

    def sleep(self, cycles: int) -> None:
        self.free = max(self.host, self.free) + cycles / device.MOST_HZ

    def step(self) -> None:
        for _ in range(10):
            self.host += self.launch_s
            self.free = max(self.host, self.free) + self.work_s

    def timed(self, step: Callable[[], object]) -> float:
        self.host = began = max(self.host, self.free)
        step()
        self.host = max(self.host, self.free)
        return self.host - began

    def event(self, **_: object) -> Any:
        def record() -> None:
            mark.at = max(self.host, self.free)

        mark: Any = SimpleNamespace(record=record, synchronize=lambda: None, at=0.0)
        mark.elapsed_time = lambda other: 1e3 * (other.at - mark.at)
        return mark


def test_a_step_that_waits_for_its_launches_is_told_from_one_that_keeps_the_gpu_busy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for queue, wanted in ((Queue(), 10 / 31), (Queue(launch_s=1e-5), 1.0)):
        monkeypatch.setattr(torch.cuda, "_sleep", queue.sleep)
        monkeypatch.setattr(torch.cuda, "Event", queue.event)
        stepper: Any = SimpleNamespace(train_step=queue.step, timed=queue.timed, device=CUDA)
        assert Stepper.busy_share(stepper) == pytest.approx(wanted, rel=0.01)
        stepper.device = CPU
        assert Stepper.busy_share(stepper) is None


def test_a_driver_is_named_once_whatever_the_number_of_cards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(environment, "_output", lambda _: "580.95\n580.95")
    assert environment.driver(CUDA) == f"CUDA {torch.version.cuda}, driver 580.95"


def test_every_accelerator_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[str] = []
    monkeypatch.setattr(torch.accelerator, "synchronize", lambda one: waited.append(one.type))
    for name in ("cpu", "mps", "xpu", "cuda"):
        device.synchronise(torch.device(name))
    assert waited == ["mps", "xpu", "cuda"]


def test_a_resizer_without_a_deterministic_form_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = {"dataset": "d", "backbone": "b", "input_size": 24, "epochs": 1, "deterministic": True}
    monkeypatch.setattr(fixed, "strict", lambda _: True)
    halved = Trial(**given, resizer="learned", output_size=12)
    trying.refuse_undeterministic(halved, CPU)
    other = Trial(**given, resizer="learned", output_size=10)
    validated = halved.model_copy(update={"eval_size": 32})
    for refused, size in ((other, 24), (validated, 32)):
        said = rf"resizer 'learned' cannot be deterministic here: .* bilinear from \({size}, {size}"
        with pytest.raises(InputError, match=said):
            trying.refuse_undeterministic(refused, CPU)
    assert not torch.are_deterministic_algorithms_enabled()
