"""The learned resizer against the blog's module: how fast, how large, and what bounds both.

A round takes every form once, in an order of its own, the published one twice, and what the machine
can do; it is a process of its own, as is the weighing of a form.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from bench.lab import device as devices
from bench.lab.capture import captured
from bench.lab.environment import Watch, describe, now
from bench.lab.export import written
from bench.lab.stepper import Stepper, timed_blocks
from bench.records import AGAIN, PUBLISHED_FORM, FormsRound
from bench.seeds import seed_for
from bench.spec.trial import Fields, Trial
from resizer.folded import FoldedResizer
from resizer.learned import LearnedResizer

ALONE: Fields = {"input_size": 224, "output_size": 112, "num_resblocks": 2, "batch_size": 32}
ALONE |= {"backbone": "test_resnet"}  # is not run
WHOLE: Fields = {"input_size": 128, "output_size": 64, "num_resblocks": 1, "batch_size": 64}
WHOLE |= {"backbone": "resnet10t"}
CLASSES = 10
SIDE, COPIED = 2048, 2**29
"""Of the matrices whose product tells the speed of arithmetic; bytes, more than a cache holds."""


class Form(NamedTuple):
    """An implementation, and how it is run."""

    resizer: str
    precision: devices.Precision
    channels_last: bool = True
    compile: Literal["default"] | None = None

    def stepper(self, sizes: Fields) -> Stepper:
        return Stepper(Trial(dataset="", epochs=1, **self._asdict(), **sizes), CLASSES)


BLOG = "bench.lab.blog:BlogResizer"
FORMS = {
    PUBLISHED_FORM: Form(BLOG, "fp32", channels_last=False),
    "published, fp32": Form(BLOG, "fp32"),
    "ours, fp32": Form("learned", "fp32"),
    "published, bf16": Form(BLOG, "bf16"),
    "ours, bf16": Form("learned", "bf16"),
    "published, bf16, compiled": Form(BLOG, "bf16", compile="default"),
    "ours, bf16, compiled": Form("learned", "bf16", compile="default"),
}
SERVED = {
    "published, onnxruntime": FORMS[PUBLISHED_FORM],
    "ours, onnxruntime": Form("learned", "fp32", channels_last=False),
}
"""Forms that infer alone, by the runtime that serves what `export --onnx` writes."""


def forms() -> dict[str, Form]:
    """Those in fp32, and those in the precision that "auto" means here; compiled on a GPU alone."""
    device = devices.pick()
    here = "fp32", devices.resolve_precision("auto", device)
    compiles = device.type == "cuda"
    return {
        name: form
        for name, form in FORMS.items()
        if form.precision in here and (compiles or not form.compile)
    }


def served() -> dict[str, Form]:
    """Those of onnxruntime, on a CPU where it is installed."""
    there = devices.pick().type == "cpu" and all(map(find_spec, ("onnxruntime", "onnxscript")))
    return SERVED if there else {}


class Module:
    """The resizer of a form by itself, on one resident batch of images; ours folded to infer."""

    def __init__(self, form: Form) -> None:
        self.stepper = form.stepper(ALONE)
        self.module = self.stepper.model.resizer.train()
        self.images = self.stepper.model.normalised(self.stepper.images)
        self.inferring: nn.Module = self.module
        if isinstance(self.module, LearnedResizer):
            self.inferring = FoldedResizer(self.module).to(memory_format=self.stepper.layout)
        for module in {self.module, self.inferring} if form.compile else ():
            module.compile(mode=form.compile, dynamic=False)

    def train(self) -> None:
        """Forward and backward."""
        torch.autograd.backward(self._out(self.module.train()), self.stepper.gradient)
        self.module.zero_grad(set_to_none=True)

    @torch.no_grad()
    def infer(self) -> None:
        self._out(self.inferring.eval())

    def _out(self, module: nn.Module) -> Tensor:
        with devices.autocast(self.stepper.device, self.stepper.precision):
            out: Tensor = module(self.images)
        return out


def take_round(number: int, seconds: float) -> FormsRound:
    """Seconds of an image by form and phase, and how fast the machine is.

    The order of the turns is drawn by the round's number; each phase lasts `seconds` at least.
    """
    devices.keep_freed_memory()
    here, watch = devices.pick(), Watch()
    turns = {name: partial(turn, form) for name, form in forms().items()}
    turns |= {name: partial(serve, form) for name, form in served().items()}
    turns[AGAIN] = partial(turn, FORMS[PUBLISHED_FORM])
    order = list(turns)
    random.Random(seed_for("order of forms", number)).shuffle(order)
    return {
        "seconds": {name: turns[name](seconds) for name in order},
        "speeds": speeds(here, seconds),
        "disturbance": watch.disturbance(),
        "environment": describe(here, "auto"),
        "finished": now(),
    }


def turn(form: Form, seconds: float) -> dict[str, float]:
    """Of the module alone in training and inference; of a training step with a backbone, too.

    That is not taken of a compiled form, which is a matter of the module.
    """
    alone, whole = Module(form), form.stepper(WHOLE)
    whole.model.train()
    steps = {
        "train": (captured(alone.train, whole.device), ALONE),
        "infer": (captured(alone.infer, whole.device), ALONE),
    }
    if not form.compile:
        steps["whole"] = whole.train_step, WHOLE
    return {
        phase: median(timed_blocks(whole, step, seconds)) / sizes["batch_size"]
        for phase, (step, sizes) in steps.items()
    }


def serve(form: Form, seconds: float) -> dict[str, float]:
    """Of the module alone in inference, by onnxruntime."""
    alone = Module(form)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "module.onnx"
        infer = written(alone.inferring.eval(), alone.images, "onnx", path)
    blocks = timed_blocks(alone.stepper, partial(infer, alone.images), seconds)
    return {"infer": median(blocks) / ALONE["batch_size"]}


def speeds(device: torch.device, seconds: float) -> dict[str, float]:
    """GMAC/s of a large matrix product in each precision, GB/s of a large copy."""
    stepper = FORMS[PUBLISHED_FORM].stepper(WHOLE)  # it waits for the device

    def billions_per_s(amount: int, call: Callable[[], object]) -> float:
        return amount / median(timed_blocks(stepper, call, seconds)) / 1e9

    found: dict[str, float] = {}
    for name in {form.precision for form in forms().values()}:
        a, b = torch.randn(2, SIDE, SIDE, device=device, dtype=devices.DTYPES[name])
        found[name] = billions_per_s(SIDE**3, partial(a.matmul, b))
    a, b = torch.ones(2, COPIED, dtype=torch.uint8, device=device)
    found["copy"] = billions_per_s(2 * COPIED, partial(a.copy_, b))
    return found


def weigh(name: str) -> dict[str, float]:
    """What training the form's module takes: peak memory, and an image's arithmetic and traffic.

    In a fresh process: see PeakMemory. The memory is nan where nothing tells it. The traffic is
    what convolutions read and write, as if all else were done on the way.
    """
    memory = devices.PeakMemory(devices.pick())
    form = FORMS[name]
    peak = memory.of_calls(Module(form).train)
    alone = Module(form._replace(compile=None))  # counting sees single calls
    with FlopCounterMode(display=False) as flops, Traffic() as traffic:
        alone.train()
    images = ALONE["batch_size"]
    gmacs = flops.get_total_flops() / 2e9 / images
    return {"memory_mib": peak, "gmacs": gmacs, "traffic_mb": traffic.bytes / 1e6 / images}


class Traffic(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes that convolutions read and write, forward and backward."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = 0

    def __torch_dispatch__(
        self,
        func: OpOverload,
        types: object,
        args: tuple[object, ...] = (),
        kwargs: dict[str, object] | None = None,
    ) -> object:
        out = func(*args, **(kwargs or {}))
        if func.overloadpacket.__name__.startswith("convolution"):
            tensors = [t for t in tree_leaves((args, kwargs, out)) if isinstance(t, Tensor)]
            self.bytes += sum(t.nbytes for t in tensors)
        return out
