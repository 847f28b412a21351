"""Steps that a GPU replays: the logic, with a recorder that calls the step again in their place."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from bench.lab import capture, models, training
from bench.lab.capture import Captured
from bench.lab.stepper import Stepper
from bench.lab.timing import PHASES
from bench.spec.trial import Trial
from bench.store import Store
from tests.test_training import run, toy

CPU = torch.device("cpu")
RECIPES: dict[str, dict[str, Any]] = {
    "sgd": {"optimizer": "sgd", "lr": 0.25, "clip_norm": 1.0},
    "adamw": {"lr": 2**-9},
    "resizer alone": {
        "optimizer": "sgd",
        "lr": 0.25,
        "resizer_lr_factor": 0.5,
        "frozen": ("backbone",),
    },
    "parts": {"optimizer": "sgd", "lr": 0.25, "micro_batch": 4, "resizer_lr_factor": 0.5},
}


@pytest.fixture
def replays(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many there are of each captured step; on a CPU, which has none of its own."""
    counts: list[int] = []

    def recorded(step: Callable[[], Any]) -> tuple[Callable[[], None], Any]:
        out, number = torch.zeros(()), len(counts)
        counts.append(0)

        def replay() -> None:
            counts[number] += 1
            if (made := step()) is not None:
                out.copy_(made)

        return replay, out

    monkeypatch.setattr(capture, "recorded", recorded)
    monkeypatch.setattr(training, "captured", Captured)
    return counts


def losses(one: Trial, *, captured: bool, anew: bool = False) -> list[float]:
    """Of ten steps, in the middle of which the optimiser is read back as from a snapshot.

    Args:
        anew: the step is captured once more there, as by a process that goes on.
    """
    model = models.placed(models.build(one, 2), one, CPU).train()
    state = training.begin(model, one, 10, 5)
    step = training.stepping(state)
    if not captured:
        assert isinstance(step, Captured)
        step = step.step
    stream, found = torch.Generator().manual_seed(0), []
    for number in range(10):
        if number == 4:
            state.optimizer.load_state_dict(state.optimizer.state_dict())
            step = training.stepping(state) if anew else step
        images = torch.randint(256, (8, 3, 32, 32), dtype=torch.uint8, generator=stream)
        found.append(step(images, torch.randint(2, (8,), generator=stream)).item())
        for group in state.optimizer.param_groups:
            group["lr"] *= 0.5 if number % 2 else 1.0
    return found


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_captured_steps_are_the_others_and_go_on_as_they_were(
    recipe: dict[str, Any], replays: list[int]
) -> None:
    one = toy(resizer="learned", num_kernels=4, **recipe)
    others = losses(one, captured=False)
    assert losses(one, captured=True) == pytest.approx(others, rel=1e-5)
    assert replays == [9]
    # a rate of which fp32 does not hold every digit
    odd = one.model_copy(update={"lr": one.lr * 0.9})
    assert losses(odd, captured=True, anew=True) == losses(odd, captured=True)


def test_a_trial_is_the_same_captured_and_its_record_says_that_it_was(
    store: Store, replays: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = toy(optimizer="sgd", lr=0.25)
    ours = run(store, one)
    assert (ours["capture"], replays) == ("ok", [3])
    monkeypatch.setattr(training, "captured", capture.captured)
    theirs = run(store, one)
    assert "capture" not in theirs
    assert [row["train_loss"] for row in ours["curve"]] == pytest.approx(
        [row["train_loss"] for row in theirs["curve"]], rel=1e-5
    )


def test_a_model_that_torch_compiles_is_not_captured(replays: list[int]) -> None:
    one = toy(compile="reduce-overhead")
    model = models.build(one, 2)
    state = training.begin(model, one, 10, 5)
    assert not isinstance(training.stepping(state), Captured)
    assert replays == []


def test_every_phase_of_the_lane_is_captured_once(replays: list[int]) -> None:
    taken = Stepper(toy(resizer="learned", num_kernels=4, eval_size=48), 2)
    taken.device = torch.device("cuda")  # to which nothing is moved
    phases = {name: taken.launched(phase.step) for name, phase in PHASES.items()}
    assert {name for name, step in phases.items() if not isinstance(step, Captured)} == {"train"}
    taken.device = CPU
    for name, phase in phases.items():
        taken.model.train(PHASES[name].training)
        for _ in range(3):
            phase()
    assert replays == [2] * len(phases)
    refusals = [phase.refusal for phase in phases.values() if isinstance(phase, Captured)]
    assert not any(refusals)
    taken.train_step_by_kernels()
    assert replays == [2] * len(phases)


DRAWS: dict[str, Callable[[], object]] = {
    "python": random.random,
    "numpy": np.random.rand,
    "torch": lambda: torch.rand(()),
}


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_a_step_that_draws_on_the_processor_is_taken_each_time(
    draw: Callable[[], object], replays: list[int]
) -> None:
    calls: list[Tensor] = []

    def step(x: Tensor) -> Tensor:
        draw()
        calls.append(x)
        return x

    taken = Captured(step, CPU)
    assert [taken(torch.full((), value)).item() for value in (1.0, 2.0, 3.0)] == [1, 2, 3]
    assert (len(calls), replays) == (3, [])
    assert taken.refusal == "it draws random numbers on the processor"


def test_a_step_that_cannot_be_captured_is_taken_each_time_and_says_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def recorded(step: Callable[[], Any]) -> Any:
        step()
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    monkeypatch.setattr(capture, "recorded", recorded)
    weight = torch.ones((), requires_grad=True)
    optimizer = torch.optim.AdamW([weight], lr=0.5)
    rates: list[object] = []

    def step(x: Tensor) -> Tensor:
        rates.append(optimizer.param_groups[0]["lr"])
        return x * 2

    taken = Captured(step, CPU, optimizer)
    assert [taken(torch.full((), value)).item() for value in (1.0, 2.0, 3.0)] == [2, 4, 6]
    assert taken.refusal == "RuntimeError: operation not permitted when stream is capturing"
    assert [type(rate) for rate in rates] == [Tensor] * 4
    assert (optimizer.param_groups[0]["lr"], optimizer.param_groups[0]["capturable"]) == (
        0.5,
        False,
    )


class Generator:
    """Of the GPU's random stream: in the midst of a capture, until that ends."""

    def __init__(self, *, capturing: bool = False) -> None:
        self.capturing = capturing

    def clone_state(self) -> Generator:
        return Generator()

    def graphsafe_set_state(self, state: Generator) -> None:
        self.capturing = state.capturing


@pytest.mark.parametrize("fails", [False, True])
def test_a_capture_leaves_the_stream_and_the_random_stream_as_they_were(
    fails: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    streams, generator = ["usual"], Generator()

    @contextmanager
    def stream(one: str) -> Iterator[None]:
        before = list(streams)
        streams.append(one)
        try:
            yield
        finally:
            streams[:] = before

    class Capture:
        """As torch's: where it fails, it does not come to put back what it has changed."""

        def __init__(self, _: Any, capture_error_mode: str) -> None:
            assert capture_error_mode == "thread_local"

        def __enter__(self) -> None:
            streams.append("of the capture")
            generator.capturing = True

        def __exit__(self, kind: object, *_: object) -> None:
            if kind:
                raise RuntimeError("capture failed")
            streams.pop()
            generator.capturing = False

    fakes = {
        "CUDAGraph": lambda: SimpleNamespace(replay=list),
        "current_device": lambda: 0,
        "current_stream": lambda: streams[-1],
        "default_generators": (generator,),
        "graph": Capture,
        "stream": stream,
    }
    for name, fake in fakes.items():
        monkeypatch.setattr(torch.cuda, name, fake)

    def step() -> int:
        if fails:
            raise RuntimeError("operation not permitted")
        return 7

    if fails:
        with pytest.raises(RuntimeError, match="capture failed"):
            capture.recorded(step)
    else:
        assert capture.recorded(step) == (list, 7)
    assert (streams, generator.capturing) == (["usual"], False)


def test_elsewhere_than_on_a_gpu_a_step_is_as_it_is() -> None:
    def step() -> None: ...

    assert capture.captured(step, CPU) is step
    assert isinstance(capture.captured(step, torch.device("cuda")), Captured)
