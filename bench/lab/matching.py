"""Sizes of equal cost: the plain image that costs as much as a treatment."""

from __future__ import annotations

import statistics
from bisect import bisect_left
from collections.abc import Callable
from functools import cache

from bench.errors import InputError
from bench.events import SizeMatched
from bench.lab import backbones, models
from bench.lab import device as devices
from bench.lab.backbones import SizeRefusedError
from bench.lab.environment import describe
from bench.lab.stepper import Stepper, cost
from bench.lab.training import explain
from bench.metrics import LEAST_BUSY
from bench.spec.experiment import SizeRequest
from bench.spec.trial import Trial, enlarged

STEP = 8
"""Pixels between the sizes that are tried: a clock does not tell nearer ones apart, and sides that
no stride of the backbone divides cost it accuracy."""
TIMED_ROUNDS = 5
CONFIRMING_ROUNDS = 11
LARGEST = 4  # sizes are sought up to so many times the side of either trial's image


def match(request: SizeRequest, classes: int) -> SizeMatched:
    """Find the smallest size that reaches the cost. In a fresh process, with torch.

    Raises:
        InputError: if there is none, or a step at some size fails.
    """
    devices.keep_freed_memory()
    find = counted if request.kind == "equal_gmacs" else timed
    size, ratio = find(request, classes)
    return SizeMatched(request, size, ratio, describe(devices.pick(), request.like.precision))


def counted(request: SizeRequest, classes: int) -> tuple[int, float]:
    """The smallest multiple of STEP whose multiply-adds reach those asked for, and their ratio."""

    def gmacs(trial: Trial) -> float:
        return cost(models.build(trial, classes, start=False), trial.input_size)["gmacs"]

    wanted = gmacs(request.like)

    @cache
    def ratio(size: int) -> float:
        return gmacs(enlarged(request.plain, size)) / wanted

    size = smallest(request, ratio)
    return size, ratio(size)


def timed(request: SizeRequest, classes: int) -> tuple[int, float]:
    """The smallest multiple of STEP whose training step takes as long as the one asked for."""
    like = Stepper(request.like, classes)
    refuse_if_launches_bind(like, request)

    @cache
    def ratio(size: int) -> float:
        return ratio_of_steps(Stepper(enlarged(request.plain, size), classes), like, TIMED_ROUNDS)

    size = smallest(request, ratio)
    chosen = Stepper(enlarged(request.plain, size), classes)
    refuse_if_launches_bind(chosen, request)
    return size, ratio_of_steps(chosen, like, CONFIRMING_ROUNDS)


def refuse_if_launches_bind(stepper: Stepper, request: SizeRequest) -> None:
    """Raise InputError where a step's time is that of the processor: it says nothing of a size."""
    stepper.model.train()
    share = stepper.busy_share()
    if share is not None and share < LEAST_BUSY:
        trial = stepper.trial
        raise InputError(
            f"equal_time of {request.arm!r}: a step of {trial.backbone} with resizer "
            f"{trial.resizer!r} at {trial.input_size} px keeps the GPU busy for "
            f"{100 * share:.0f} % of its time, under {100 * LEAST_BUSY:.0f} %: it is bound by "
            "launches, and larger images would cost nothing; take equal_gmacs, or a larger "
            "batch_size"
        )


def ratio_of_steps(ours: Stepper, theirs: Stepper, rounds: int) -> float:
    """Seconds of our training step over theirs, taken in turns: the median of the ratios."""
    ours.model.train()
    theirs.model.train()
    pairs = [(ours.timed(ours.train_step), theirs.timed(theirs.train_step)) for _ in range(rounds)]
    return statistics.median(one / other for one, other in pairs[1:])  # the first one warms up


def smallest(request: SizeRequest, ratio: Callable[[int], float]) -> int:
    """The smallest multiple of STEP beyond the request's size at which `ratio` reaches 1.

    Doubles the way until it is far enough, then bisects: `ratio` is taken to grow with the size.
    In place of a size that the backbone refuses stands the next that it takes.

    Raises:
        InputError: if it is not reached within LARGEST times the side of the larger image, or
            within what fits in memory; if a size that the backbone takes fails otherwise, or it
            takes none.
    """
    backbone = f"{request.plain.backbone} without a resizer"

    @cache
    def reaches(size: int) -> bool | None:
        """None of a size that the backbone refuses."""
        try:
            backbones.check(enlarged(request.plain, size), start=False)
            return ratio(size) >= 1
        except SizeRefusedError:
            return None
        except Exception as error:
            if devices.is_out_of_memory(error):
                said = f"{backbone} does not fit in memory at {size} px"
            else:
                said = f"{backbone} fails at {size} px ({explain(error)})"
            raise InputError(f"{said}, where the size of {request.arm!r} is sought") from error

    plain, like = request.plain.input_size, request.like.input_size
    start, end = plain // STEP, LARGEST * max(plain, like) // STEP

    def reached(number: int) -> int:
        """The first size from STEP times this on that the backbone takes; 0 if it costs less."""
        least, most = STEP * number, STEP * (number + start)  # a multiple of the plain side between
        for size in range(least, most + 1, STEP):
            if (enough := reaches(size)) is not None:
                return size if enough else 0
        raise InputError(
            f"{backbone} takes no images of {least} to {most} px, where the size of "
            f"{request.arm!r} is sought"
        )

    low, high = start, start + 1
    while not reached(high):
        low, high = high, min(start + 2 * (high - start), end)
        if low == end:
            raise InputError(
                f"{backbone} does not reach, at up to {end * STEP} px, the cost that "
                f"{request.arm!r} is matched to"
            )
    between = range(low + 1, high)
    return reached(low + 1 + bisect_left(between, True, key=lambda n: reached(n) > 0))
