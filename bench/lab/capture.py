"""A step that a GPU takes from one launch: recorded once as a CUDA graph, and replayed.

A step of a small network is hundreds of kernels of some microseconds each; launched one by one,
they leave the GPU waiting for its processor. Replayed, they are the same kernels in the same order.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from bench.errors import first_line

Result = TypeVar("Result")
Call = Callable[..., Result]


class Captured(Generic[Result]):
    """A step that is taken as it is at first, and replayed from then on.

    What it decides in Python, it decides once. A step that cannot be captured, since it waits for
    the device or draws random numbers on the processor, is taken as it is each time.

    Args:
        step: of tensors that have the same shapes each time; its result is overwritten by the next.
        optimizer: whose rates may change between two steps.
    """

    def __init__(
        self,
        step: Call[Result],
        device: torch.device,
        optimizer: torch.optim.Optimizer | None = None,
    ) -> None:
        self.step, self.device, self.optimizer = step, device, optimizer
        self.refusal = ""  # why it cannot be captured
        self.replay: Callable[[], None] | None = None
        self.result: Result
        self.held: list[Tensor] = []  # what it is given
        self.rates: list[Tensor] = []  # of the optimiser's groups

    @property
    def groups(self) -> list[dict[str, Any]]:
        return self.optimizer.param_groups if self.optimizer else []

    def __call__(self, *given: Tensor) -> Result:
        if self.refusal:
            return self.step(*given)
        if self.replay is None:
            return self._first(*given)
        for held, one in zip(self.held, given, strict=True):
            held.copy_(one)
        for rate, group in zip(self.rates, self.groups, strict=True):
            rate.fill_(group["lr"])
        self.replay()
        return self.result

    def _first(self, *given: Tensor) -> Result:
        """Take the step as it is, which also makes what is made once; then record it."""
        before = drawn_on_the_processor()
        result = self.step(*given)
        if drawn_on_the_processor() != before:
            self.refusal = "it draws random numbers on the processor"
            return result
        self.held = [torch.empty_like(one) for one in given]
        self.rates = [torch.zeros((), device=self.device) for _ in self.groups]
        try:
            self.replay, self.result = recorded(self._step_on_what_is_held)
        except Exception as error:  # whatever a module of the user's own does
            self.refusal = first_line(error)
        return result

    def _step_on_what_is_held(self) -> Result:
        with self._rates_on_the_device():
            return self.step(*self.held)

    @contextmanager
    def _rates_on_the_device(self) -> Iterator[None]:
        """Let the optimiser read its rates where they can be changed once it is recorded."""
        usual = [dict(group) for group in self.groups]
        for group, rate in zip(self.groups, self.rates, strict=True):
            group |= {"lr": rate} | ({"capturable": True} if "capturable" in group else {})
        try:
            yield
        finally:
            for group, before in zip(self.groups, usual, strict=True):
                group |= before


def drawn_on_the_processor() -> tuple[object, ...]:
    """Where the processor's random streams are."""
    _, keys, *place = np.random.get_state()
    numpys = np.asarray(keys).tobytes(), *place
    return random.getstate(), numpys, torch.get_rng_state().numpy().tobytes()


def recorded(step: Callable[[], Result]) -> tuple[Callable[[], None], Result]:
    """What replays the step, and what it gives, which each replay makes anew.

    Raises:
        RuntimeError: if the step waits for the device, or does else what a graph cannot hold.
    """
    graph = torch.cuda.CUDAGraph()
    generator = torch.cuda.default_generators[torch.cuda.current_device()]
    before = generator.clone_state()
    try:
        # one that fails would leave its own stream the current one; data is loaded by other threads
        with (
            torch.cuda.stream(torch.cuda.current_stream()),
            torch.cuda.graph(graph, capture_error_mode="thread_local"),
        ):
            result = step()
    except BaseException:
        generator.graphsafe_set_state(before)  # its own one would wait for the capture's end
        raise
    return graph.replay, result


def captured(
    step: Call[Result], device: torch.device, optimizer: torch.optim.Optimizer | None = None
) -> Call[Result]:
    """The step, captured on a GPU; elsewhere as it is."""
    return Captured(step, device, optimizer) if device.type == "cuda" else step
