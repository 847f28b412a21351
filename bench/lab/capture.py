"""A step that a GPU takes from one launch: recorded once as a CUDA graph, and replayed.

A step of a small network is hundreds of kernels of some microseconds each; launched one by one,
they leave the GPU waiting for its processor. Replayed, they are the same kernels in the same order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Generic, TypeVar

import torch
from torch import Tensor

from bench.errors import first_line
from bench.lab import device as devices

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
        self.step, self.optimizer = step, optimizer
        self.refusal = ""  # why it cannot be captured
        self.replay: Callable[[], None] | None = None
        self.result: Result
        self.held: list[Tensor] = []  # what it is given
        self.rates = [torch.zeros((), device=device) for _ in self.groups]

    @property
    def groups(self) -> list[dict[str, float | Tensor]]:
        return self.optimizer.param_groups if self.optimizer else []

    def __call__(self, *given: Tensor) -> Result:
        for rate, group in zip(self.rates, self.groups, strict=True):
            rate.fill_(group["lr"])
        if self.refusal:
            return self._taken(given)
        if self.replay is None:
            return self._first(given)
        for held, one in zip(self.held, given, strict=True):
            held.copy_(one)
        self.replay()
        return self.result

    def _first(self, given: tuple[Tensor, ...]) -> Result:
        """Take the step as it is, which also makes what is made once; then record it."""
        before = drawn_on_the_processor()
        result = self._taken(given)
        if drawn_on_the_processor() != before:
            self.refusal = "it draws random numbers on the processor"
            return result
        self.held = [torch.empty_like(one) for one in given]
        try:
            self.replay, self.result = recorded(partial(self._taken, self.held, capturable=True))
        except Exception as error:  # whatever a module of the user's own does
            self.refusal = first_line(error)
        return result

    def _taken(self, given: Sequence[Tensor], *, capturable: bool = False) -> Result:
        """The step, in which the optimiser reads its rates on the device, captured or not.

        A resumed training, whose first step is not, is then the undisturbed one to the bit.
        """
        usual = [dict(group) for group in self.groups]
        for group, rate in zip(self.groups, self.rates, strict=True):
            group["lr"] = rate
            if "capturable" in group:
                group["capturable"] = capturable
        try:
            return self.step(*given)
        finally:
            for group, before in zip(self.groups, usual, strict=True):
                group |= before


def drawn_on_the_processor() -> dict[str, object]:
    """Where the processor's random streams are."""
    state = devices.random_state(torch.device("cpu"))
    return state | {"cpu": state["cpu"].tolist()}  # tensors are not compared as a whole


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
