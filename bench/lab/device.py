"""The one place where CPU and CUDA differ."""

from __future__ import annotations

import ctypes
import gc
import os
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.errors import InputError, message
from bench.machine import Share
from resizer.specs import one_of

Precision = Literal["fp32", "bf16", "fp16"]
Placed = tuple[Tensor, Tensor]
"""Images and labels."""
MEMORY_CALLS = 3
WAIT = 2
"""The GPU is kept from a call that is to be timed for so many times as long as the call takes."""
MOST_HZ = 2e9  # no GPU's clock is faster: a wait of so many cycles is a second, or longer
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def pick() -> torch.device:
    """CUDA where there is one, else the CPU; RESIZER_BENCH_DEVICE names another.

    Raises:
        InputError: if the named device is not there.
    """
    named = os.environ.get("RESIZER_BENCH_DEVICE")
    if not named:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(named)
        torch.ones(1, device=device).item()
    except (RuntimeError, AssertionError, ImportError) as error:
        why = f": {message(error).partition('. ')[0]}" if named.startswith("cuda") else ""
        raise InputError(
            f"RESIZER_BENCH_DEVICE={named!r} cannot be used{why}{one_of(named, here())}"
        ) from None
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)  # for what asks for no device: events, streams, libraries
    return device


def here() -> list[str]:
    """The devices of this machine, as RESIZER_BENCH_DEVICE names them."""
    count, kind = torch.accelerator.device_count(), torch.accelerator.current_accelerator()
    names = [kind.type, *(f"{kind.type}:{i}" for i in range(count))] if kind and count else []
    return ["cpu", *names]


def resolve_precision(asked: str, device: torch.device) -> Precision:
    """What "auto" means here: bf16 where it is the faster one, fp16 on older GPUs, or fp32.

    RESIZER_BENCH_PRECISION names another, for trials that join those of another machine.

    Raises:
        InputError: if the named precision is unknown.
    """
    if asked != "auto":
        return asked  # type: ignore[return-value]
    if named := os.environ.get("RESIZER_BENCH_PRECISION"):
        if named not in DTYPES:
            raise InputError(f"RESIZER_BENCH_PRECISION={named!r} is unknown{one_of(named, DTYPES)}")
        return named  # type: ignore[return-value]
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    return "bf16" if device.type == "cpu" and cpu_is_faster_in_bf16() else "fp32"


def device_and_precision(model: nn.Module, asked: str) -> tuple[torch.device, Precision]:
    """The device that the model is on, and the precision that is meant by that which is asked."""
    device = next(model.parameters()).device
    return device, resolve_precision(asked, device)


def cpu_is_faster_in_bf16() -> bool:
    """Whether the CPU has AMX, or AVX-512 BF16 that is not Intel's.

    Intel's multiplies matrices at half the speed of fp32 (results/published/check-resizer).
    """
    cpu = torch.cpu.get_capabilities()
    intel = str(cpu.get("cpu_name")).startswith("Intel")
    return bool(cpu.get("amx_bf16") or (cpu.get("avx512_bf16") and not intel))


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[None]:
    """The mixed-precision context of a forward pass; does nothing in fp32."""
    return torch.autocast(device.type, DTYPES[precision], enabled=precision != "fp32")


def gradient_scaler(device: torch.device, precision: Precision) -> torch.amp.GradScaler:
    """fp16 gradients are scaled against underflow; in other precisions it passes them through."""
    return torch.amp.GradScaler(device.type, enabled=precision == "fp16")


def configure(*, deterministic: bool) -> None:
    """Bind torch's choices: fp32 is never TF32, and algorithms are deterministic if asked."""
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(deterministic)
    if torch.cuda.is_available():  # filling what is overwritten anyway would be a false price
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = not deterministic
    torch.backends.cudnn.allow_tf32 = False
    torch.set_float32_matmul_precision("highest")


def cards() -> list[str | None]:
    """The GPUs of which trials may have one each, as CUDA_VISIBLE_DEVICES names them.

    Returns: none on a CPU; None in place of a name where RESIZER_BENCH_DEVICE has chosen one.
    """
    device = pick()
    if device.type == "cpu":
        return []
    if device != torch.device("cuda"):
        return [None]
    count = torch.cuda.device_count()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(count)))
    return list(visible.split(",")[:count])


def take(share: Share) -> None:
    """Keep to a share of the machine; of a GPU only before the first use of CUDA."""
    if share.card is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = share.card
    torch.set_num_threads(min(share.threads, torch.get_num_threads()))


def synchronise(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def busy_s(step: Callable[[], object], wall_s: float, device: torch.device) -> float | None:
    """Seconds that a GPU is at work in a call of `step`, from event to event; None elsewhere.

    The call is queued behind a kernel that only waits, for longer than the processor takes to
    launch the call: the GPU then finds all its work there, and idles in between for nothing.

    Args:
        wall_s: seconds that the call takes otherwise.
    """
    if device.type != "cuda":
        return None
    began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    torch.cuda._sleep(int(WAIT * wall_s * MOST_HZ))  # type: ignore[no-untyped-call]
    began.record()
    step()
    ended.record()
    ended.synchronize()
    return float(began.elapsed_time(ended)) / 1e3


RandomState = dict[str, Any]
"""By stream: a tensor of torch's, or what Python and NumPy give of theirs."""


def begin_random_streams(seed: int) -> None:
    """Of torch, and of Python and NumPy, from which a module of the user's own may draw, too."""
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)


def random_state(device: torch.device) -> RandomState:
    """The state of the random streams that a training step on the device may draw from."""
    _, keys, *place = np.random.get_state()
    drawn = {"python": random.getstate(), "numpy": (np.asarray(keys).tolist(), *place)}
    on_gpu = {"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {}
    return {"cpu": torch.get_rng_state(), **drawn, **on_gpu}


def set_random_state(device: torch.device, state: RandomState) -> None:
    torch.set_rng_state(state["cpu"])
    if "python" in state:  # older snapshots have torch's alone
        random.setstate(state["python"])
        np.random.set_state(("MT19937", *state["numpy"]))
    if device.type == "cuda":
        torch.cuda.set_rng_state(state["cuda"], device)


def release_memory(device: torch.device) -> None:
    """Give back what nothing refers to any more, so that it weighs on no later measurement."""
    gc.collect()
    if device.type != "cpu":
        torch.accelerator.empty_cache()


def free_bytes(device: torch.device) -> int:
    """Memory of a GPU that nothing has taken."""
    return torch.cuda.mem_get_info(device)[0]


def put(batch: Placed, device: torch.device) -> Placed:
    """The batch on the device; from pinned memory to a GPU, the copy is not waited for."""
    images, labels = (part.to(device, non_blocking=device.type == "cuda") for part in batch)
    return images, labels


def delivered(batches: Iterator[Placed], device: torch.device) -> Iterator[Placed]:
    """The batches on the device; to a GPU, each is copied beside the work on the one before."""
    if device.type != "cuda":
        yield from (put(batch, device) for batch in batches)
        return
    beside, ahead = torch.cuda.Stream(device), None  # type: ignore[no-untyped-call]
    for batch in batches:
        with torch.cuda.stream(beside):
            sent = put(batch, device), beside.record_event()
        if ahead:
            yield _received(*ahead, device)
        ahead = sent
    if ahead:
        yield _received(*ahead, device)


def _received(batch: Placed, copied: torch.cuda.Event, device: torch.device) -> Placed:
    """The batch, for the stream that works: it waits for the copy, and holds the memory."""
    here = torch.cuda.current_stream(device)
    here.wait_event(copied)
    for part in batch:
        part.record_stream(here)
    return batch


def padded(images: Tensor, size: int, device: torch.device) -> Tensor:
    """On a GPU the images as a whole batch of `size`, black ones added: cudnn knows its shape.

    For another one it would search for its algorithms again, which takes longer than the batch.
    """
    lacking = size - len(images) if device.type == "cuda" else 0
    return F.pad(images, (0, 0, 0, 0, 0, 0, 0, lacking)) if lacking else images


def loader_threads(device: torch.device) -> int:
    """Threads that prepare batches beside the training step.

    On a CPU one is enough: it competes with the step for the same cores.
    """
    return min(8, torch.get_num_threads()) if device.type == "cuda" else 1


OUT_OF_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "status_alloc_failed",  # of cuDNN and cuBLAS
    "status_internal_error_host_allocation_failed",
    "unable to find an engine",  # of cuDNN, where none fits into what is left
    "unable to find a valid cudnn algorithm",
)
"""How libraries say it, in small letters."""


def is_out_of_memory(error: BaseException) -> bool:
    known = isinstance(error, (MemoryError, torch.OutOfMemoryError))
    return known or any(words in message(error).lower() for words in OUT_OF_MEMORY)


M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -2, -3, -4
"""From <malloc.h>."""


def keep_freed_memory() -> None:
    """Let the process keep the memory that it frees, from now on; no change without glibc.

    On a CPU, glibc gives freed blocks of more than 32 MiB back to the system, which zeroes their
    pages when the next step asks for them again. That slows whatever holds large activations: it
    would be counted as a price of the resizer. CUDA's allocator keeps its blocks by itself.
    """
    _mallopt({M_MMAP_MAX: 0, M_TRIM_THRESHOLD: 2**31 - 1, M_TOP_PAD: 64 * 2**20})


def return_freed_memory() -> bool:
    """Let it return what it has kept, and blocks of 128 KiB and more as soon as they are freed.

    Returns: false without glibc, where nothing changes.
    """
    threshold = 128 * 1024
    usual = {M_MMAP_MAX: 65536, M_MMAP_THRESHOLD: threshold, M_TRIM_THRESHOLD: threshold}
    if not _mallopt(usual | {M_TOP_PAD: 0}):
        return False
    ctypes.CDLL(None).malloc_trim(0)
    return True


def _mallopt(options: Mapping[int, int]) -> bool:
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallopt"):
        return False
    return all(libc.mallopt(option, value) for option, value in options.items())


class PeakMemory:
    """Peak memory between `start()` and `read_mib()`, by the method named in `method`.

    On CUDA the allocator's peak, weights and batch included. On Linux CPUs the peak resident size
    of the process above what it had at `start()`: call it with the model and the batch loaded, in a
    fresh process, since memory that was freed but not returned would hide part of the peak. Make it
    before anything large is allocated: from then on large blocks are returned as soon as they are
    freed, which takes the allocator's own habits out of the figure.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        if device.type == "cuda":
            self.method: str | None = "CUDA allocator peak"
        elif device.type == "cpu" and os.access("/proc/self/clear_refs", os.W_OK):
            self.method = "peak resident size above the loaded state"
            if return_freed_memory():
                self.method += ", large blocks returned at once"
        else:
            self.method = None

    def of_calls(self, step: Callable[[], object]) -> float:
        """MiB at the peak of a few calls after a first one.

        What the first alone takes, such as the workspaces in which algorithms are tried out, is not
        in it; what it leaves, such as the optimiser's state, is.
        """
        self.start()
        step()
        synchronise(self.device)
        self.forget_peak()
        for _ in range(MEMORY_CALLS):
            step()
        synchronise(self.device)
        return self.read_mib()

    def start(self) -> None:
        self.forget_peak()
        if self.device.type == "cpu" and self.method:
            self.loaded_kib = self._status("VmRSS")

    def forget_peak(self) -> None:
        """Count the peak from here on; what is held now stays in it."""
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        elif self.method:
            Path("/proc/self/clear_refs").write_text("5")  # resets the high-water mark

    def read_mib(self) -> float:
        """MiB; nan where the platform has no method."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device) / 2**20
        return (self._status("VmHWM") - self.loaded_kib) / 1024 if self.method else float("nan")

    def reserved_mib(self) -> float | None:
        """What a GPU's allocator held at its peak, in use or not; None elsewhere."""
        if self.device.type != "cuda":
            return None
        return torch.cuda.max_memory_reserved(self.device) / 2**20

    def _status(self, field: str) -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))
