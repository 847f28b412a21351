"""The arms without which a treatment's gain means nothing, and the sizes that two of them need."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.errors import InputError
from bench.run.processes import Tell
from bench.spec.experiment import Arm, ExperimentFile, SizeRequest, Trial
from bench.spec.settling import RESIZER_OPTIONS

if TYPE_CHECKING:
    from bench.lab.trial import Stepper


class Control(NamedTuple):
    """A standard control: what it tells, and the fields in which it differs from the treatment."""

    isolates: str
    fields: Mapping[str, Any]


PLAIN = {"resizer": "none", "input_size": "output_size"}
STANDARD: dict[str, Control] = {
    "budget": Control("the plain pipeline, trained exactly as long as the treatment", PLAIN),
    "pixels": Control(
        "the same image offered, nothing to learn",
        {"resizer": "fixed", "interpolation": "bilinear", "antialias": False},
    ),
    "pixels-antialiased": Control(
        "the same image offered, nothing to learn, antialiased",
        {"resizer": "fixed", "interpolation": "bilinear", "antialias": True},
    ),
    "capacity": Control("the module without extra pixels", {"input_size": "output_size"}),
    "learning": Control("the module frozen at random weights", {"frozen": ["resizer"]}),
    "muller": Control("four parameters in the module's place", {"resizer": "muller"}),
    "arithmetic": Control(
        "the plain pipeline at the size whose multiply-adds reach the treatment's",
        PLAIN | {"input_size": "equal_gmacs"},
    ),
    "time": Control(
        "the plain pipeline at the size whose training time reaches the treatment's",
        PLAIN | {"input_size": "equal_time"},
    ),
    "ceiling": Control("the plain pipeline on the whole image", {"resizer": "none"}),
}


def expand(spec: ExperimentFile) -> ExperimentFile:
    """Add the standard controls of every arm that asks for them.

    They have the treatment's fields but for those of the control, and start from what it starts
    from, except a trained resizer. Their names are those of `STANDARD`; with several such
    treatments in one file, the treatment's name stands before.
    """
    asking = [arm for arm in spec.arm if arm.controls]
    added = [
        control_arm(arm, name, f"{arm.name} {name}" if len(asking) > 1 else name)
        for arm in asking
        for name in STANDARD
    ]
    return spec.model_copy(update={"arm": [*spec.arm, *added]})


def control_arm(treatment: Arm, control: str, name: str) -> Arm:
    """One standard control of a treatment."""
    isolates, own = STANDARD[control]
    kept = treatment.fields
    if "resizer" in own:
        kept = {field: value for field, value in kept.items() if field not in RESIZER_OPTIONS}
    return Arm(
        name=name,
        isolates=isolates,
        control=control,
        seeds=treatment.control_seeds or treatment.seeds,
        match=treatment.name if str(own.get("input_size")).startswith("equal_") else None,
        init_from=treatment.init_from,
        backbone_from=treatment.backbone_from,
        **{**kept, **own},
    )


TIME_STEP = 8
"""Pixels between the sizes that are timed: a clock does not tell nearer ones apart."""
TIMED_ROUNDS = 5
CONFIRMING_ROUNDS = 11
LARGEST = 4
"""Sizes are sought up to so many times the treatment's input size."""


def settle(tell: Tell, requests: Mapping[str, SizeRequest], classes: Mapping[str, int]) -> None:
    """Tell {"key", "size", "ratio"} of each request: the smallest size that reaches the cost.

    The ratio is the cost at that size over the cost to be met. In a fresh process, with torch.

    Args:
        classes: number of classes by dataset.
    """
    from bench.lab import device as devices
    from bench.lab.environment import describe

    devices.keep_freed_memory()
    device = devices.pick()
    for key, request in requests.items():
        find = counted if request.kind == "equal_gmacs" else timed
        try:
            size, ratio = find(request, classes[request.like.dataset])
        except InputError as error:
            tell({"event": "size", "key": key, "reason": str(error)})
            return
        precision = devices.settle_precision(request.like.precision, device)
        found = {"size": size, "ratio": ratio, "environment": describe(device, precision)}
        tell({"event": "size", "key": key, "reason": "", **found})


def counted(request: SizeRequest, classes: int) -> tuple[int, float]:
    """The smallest size whose multiply-adds reach those asked for, and their ratio."""
    from bench.lab import models, timing

    def gmacs(trial: Trial) -> float:
        return timing.size(models.build(trial, classes, start=False), trial)["gmacs"]

    wanted = gmacs(request.like)

    @cache
    def ratio(size: int) -> float:
        return gmacs(enlarged(request.plain, size)) / wanted

    size = smallest(request, 1, ratio)
    return size, ratio(size)


def timed(request: SizeRequest, classes: int) -> tuple[int, float]:
    """The smallest multiple of TIME_STEP whose training step takes as long as the one asked for."""
    from bench.lab import device as devices
    from bench.lab.trial import Stepper

    device = devices.pick()
    precision = devices.settle_precision(request.like.precision, device)
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


def enlarged(plain: Trial, size: int) -> Trial:
    """The same trial at another input size, pixels."""
    return Trial(**{**plain.model_dump(), "input_size": size})


def smallest(request: SizeRequest, step: int, ratio: Callable[[int], float]) -> int:
    """The smallest multiple of `step` beyond the request's size at which `ratio` reaches 1.

    Doubles the way until it is far enough, then halves what is between: `ratio` is taken to grow
    with the size. Sizes that the backbone refuses count as too small.

    Raises:
        InputError: if it is not reached within LARGEST times the size of the treatment's image,
            or within what fits in memory.
    """
    from bench.lab.device import is_out_of_memory

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
