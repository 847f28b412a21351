"""Sizes of equal cost: the plain image that costs as much as a treatment."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from functools import cache

from bench.errors import InputError
from bench.events import Tell
from bench.lab import device as devices
from bench.lab import models
from bench.lab.device import is_out_of_memory
from bench.lab.environment import describe
from bench.lab.stepper import Stepper
from bench.lab.stepper import size as size_of
from bench.spec.experiment import SizeRequest
from bench.spec.trial import Trial, enlarged

TIME_STEP = 8
"""Pixels between the sizes that are timed: a clock does not tell nearer ones apart."""
TIMED_ROUNDS = 5
CONFIRMING_ROUNDS = 11
LARGEST = 4
"""Sizes are sought up to so many times the treatment's input size."""


def match(tell: Tell, requests: Mapping[str, SizeRequest], classes: Mapping[str, int]) -> None:
    """Tell {"key", "size", "ratio"} of each request: the smallest size that reaches the cost.

    The ratio is the cost at that size over the cost to be met. In a fresh process, with torch.

    Args:
        classes: number of classes by dataset.
    """
    devices.keep_freed_memory()
    device = devices.pick()
    for key, request in requests.items():
        find = counted if request.kind == "equal_gmacs" else timed
        try:
            size, ratio = find(request, classes[request.like.dataset])
        except InputError as error:
            tell({"event": "size", "key": key, "reason": str(error)})
            return
        precision = devices.resolve_precision(request.like.precision, device)
        found = {"size": size, "ratio": ratio, "environment": describe(device, precision)}
        tell({"event": "size", "key": key, "reason": "", **found})


def counted(request: SizeRequest, classes: int) -> tuple[int, float]:
    """The smallest size whose multiply-adds reach those asked for, and their ratio."""

    def gmacs(trial: Trial) -> float:
        return size_of(models.build(trial, classes, start=False), trial)["gmacs"]

    wanted = gmacs(request.like)

    @cache
    def ratio(size: int) -> float:
        return gmacs(enlarged(request.plain, size)) / wanted

    size = smallest(request, 1, ratio)
    return size, ratio(size)


def timed(request: SizeRequest, classes: int) -> tuple[int, float]:
    """The smallest multiple of TIME_STEP whose training step takes as long as the one asked for."""
    device = devices.pick()
    precision = devices.resolve_precision(request.like.precision, device)
    devices.configure(deterministic=request.like.deterministic)
    like = Stepper(request.like, classes, device, precision)

    @cache
    def ratio(size: int) -> float:
        other = Stepper(enlarged(request.plain, size), classes, device, precision)
        return ratio_of_steps(other, like, TIMED_ROUNDS)

    size = smallest(request, TIME_STEP, ratio)
    chosen = Stepper(enlarged(request.plain, size), classes, device, precision)
    return size, ratio_of_steps(chosen, like, CONFIRMING_ROUNDS)


def ratio_of_steps(ours: Stepper, theirs: Stepper, rounds: int) -> float:
    """Seconds of our training step over theirs, taken in turns: the median of the ratios."""
    ours.model.train()
    theirs.model.train()
    pairs = [(ours.timed(ours.train_step), theirs.timed(theirs.train_step)) for _ in range(rounds)]
    return statistics.median(one / other for one, other in pairs[1:])  # the first one warms up


def smallest(request: SizeRequest, step: int, ratio: Callable[[int], float]) -> int:
    """The smallest multiple of `step` beyond the request's size at which `ratio` reaches 1.

    Doubles the way until it is far enough, then halves what is between: `ratio` is taken to grow
    with the size. Sizes that the backbone refuses count as too small.

    Raises:
        InputError: if it is not reached within LARGEST times the size of the treatment's image,
            or within what fits in memory.
    """

    def reaches(size: int) -> bool:
        try:
            return ratio(size) >= 1
        except (InputError, RuntimeError, AssertionError) as error:
            if is_out_of_memory(error):
                raise InputError(
                    f"{request.plain.backbone} without a resizer does not fit in memory at "
                    f"{size} px, where the cost of {request.arm!r} is sought"
                ) from error
            return False

    start, end = request.plain.input_size // step, LARGEST * request.like.input_size // step
    low, high = start, start + 1
    while not reaches(high * step):
        low, high = high, min(start + 2 * (high - start), end)
        if low == end:
            raise InputError(
                f"{request.plain.backbone} without a resizer does not reach the cost of "
                f"{request.arm!r} at up to {end * step} px"
            )
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reaches(middle * step) else (middle, high)
    return high * step
