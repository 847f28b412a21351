"""What is told while a run goes on: each event is a dataclass, and `Event` is any of them.

A trial in a process of its own tells its starter `Step`, `Epoch`, `Resumed` and `StartedAnew`; the
other events are those of the program that started it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from bench.records import CurveRow, Environment, TrialRecord
    from bench.spec.experiment import SizeRequest
    from bench.spec.trial import Fields, Trial


@dataclass(frozen=True)
class DataRead:
    """A dataset is being fetched, unpacked, decoded or checked."""

    phase: str  # "download", "unpack" count bytes, "verify" files, others images
    done: int
    total: int  # 0: not known


@dataclass(frozen=True)
class Trying:
    """Code of the user's own is tried before anything is run with it."""

    resizers: Sequence[str]


@dataclass(frozen=True)
class PlanMade:
    """A run begins with so many trials."""

    to_run: int
    on_record: int
    places: str = ""  # how many are run at once, and on what


@dataclass(frozen=True)
class SmokePlanned:
    """A smoke run begins: a few training steps of each distinct arm."""

    arms: int


@dataclass(frozen=True)
class Begin:
    trial: Trial


@dataclass(frozen=True)
class Placed:
    """A trial begins on this GPU, or on this node of a cluster."""

    where: str


@dataclass(frozen=True)
class Step:
    step: int  # counted over all epochs, from 1
    total: int
    epoch: int  # from 1


@dataclass(frozen=True)
class Epoch:
    """An epoch is done, and validated where its row has an accuracy."""

    row: CurveRow


@dataclass(frozen=True)
class Resumed:
    """A trial goes on from the snapshot of an earlier process."""

    step: int  # that the snapshot was taken after
    curve: tuple[CurveRow, ...]  # of the epochs before


@dataclass(frozen=True)
class StartedAnew:
    """A trial has a snapshot that cannot be used here."""

    reason: str


@dataclass(frozen=True)
class TrialProgress:
    """What a trial in a process of its own tells."""

    trial: Trial
    told: Event  # `Placed`, `Step`, `Epoch`, `Resumed`, `StartedAnew`


@dataclass(frozen=True)
class End:
    """A trial, or its smoke run, has ended with this record."""

    trial: Trial
    record: TrialRecord


@dataclass(frozen=True)
class MeasuringBegun:
    """Sizes of equal cost are sought, or arms are timed side by side."""

    what: Literal["sizes", "timing"]
    turns: int  # in all, if no round is disturbed; of sizes, each has one


@dataclass(frozen=True)
class SizeMatched:
    request: SizeRequest
    size: int  # pixels
    ratio: float  # the cost at that size over the cost to be met
    environment: Environment


@dataclass(frozen=True)
class Turn:
    """One arm's turn of a round is over."""


@dataclass(frozen=True)
class Round:
    """Each arm has had its turn in this round."""

    quiet: int  # undisturbed rounds so far
    asked: int  # undisturbed rounds that are wanted
    disturbed: bool  # whether other load took too much of the processor in this one
    share: float | None  # of the processor's time that it took; None where nobody can tell


@dataclass(frozen=True)
class SearchBegun:
    configurations: int  # of each arm
    on_record: Mapping[str, int]  # configurations by tuned arm
    places: str = ""  # as of `PlanMade`


@dataclass(frozen=True)
class Proposed:
    """Optuna proposes a configuration of an arm."""

    arm: str
    number: int
    chosen: Fields
    trial: Trial  # which scores it


@dataclass(frozen=True)
class OnRecord:
    """The trial of a proposed configuration has a record already."""

    trial: Trial
    record: TrialRecord


@dataclass(frozen=True)
class Waiting:
    """Other processes are at so many of what is left, and there is nothing else to do."""

    running: int
    what: Literal["trial", "configuration", "measurement"] = "trial"


Event = (
    DataRead
    | Trying
    | PlanMade
    | SmokePlanned
    | Begin
    | Placed
    | Step
    | Epoch
    | Resumed
    | StartedAnew
    | TrialProgress
    | End
    | MeasuringBegun
    | SizeMatched
    | Turn
    | Round
    | SearchBegun
    | Proposed
    | OnRecord
    | Waiting
)
Listener = Callable[[Event], None]
"""Is told every event of a run, to show it; it may end a trial by raising `PrunedError`."""


def ignore(_: Event) -> None:
    """A listener that does nothing."""


def epochs_of(event: Event) -> tuple[CurveRow, ...]:
    """The epochs that an event brings word of."""
    match event:
        case Epoch(row):
            return (row,)
        case Resumed():
            return event.curve
    return ()


class StoppedError(BaseException):
    """Raised inside a job's process when its starter wants no more of it for now, or is gone."""


class PrunedError(Exception):
    """Raised by a listener to end the trial that it hears of: it becomes a row, "pruned".

    Args:
        by: the study that wanted no more of it.
    """

    def __init__(self, reason: str, *, by: str) -> None:
        super().__init__(reason)
        self.by = by
