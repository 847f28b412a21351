"""A trial in training, stopped and killed: it goes on from what it saved, to the same bits."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from bench.data.batches import Loader
from bench.events import Epoch, Event, Resumed, StartedAnew, Step, StoppedError
from bench.lab import environment, snapshots, training, trial
from bench.records import Json
from bench.spec.trial import Trial
from bench.store import Store
from tests.test_training import toy

NOISY = toy(resizer="learned", num_kernels=4, epochs=6, optimizer="adamw", batch_size=4)
"""5 steps an epoch."""


RECIPES: list[dict[str, Any]] = [
    {"optimizer": "sgd", "momentum": 0.9, "schedule": "step", "decay_every_epochs": 1},
    {"optimizer": "adamw", "clip_norm": 1.0, "micro_batch": 2},
    {"precision": "bf16", "eval_every_epochs": 2},
]


def dropping(state: Any, images: Tensor, *rest: Any) -> Tensor:
    """The update of a step whose images are noised by the streams of torch, Python and NumPy."""
    images = images.float() / 255 * random.uniform(0.9, 1) * np.random.uniform(0.9, 1)
    return real_update(state, F.dropout(images, 0.1), *rest)


real_update = training.update


class KilledError(BaseException):
    """As a kill is to the trial: nothing is saved."""


def until(at: int, error: type[BaseException], events: list[Event]) -> Callable[[Event], None]:
    """A listener that raises `error` at the step, or the epoch, of this number."""

    def tell(event: Event) -> None:
        events.append(event)
        if event_number(event) == at:
            raise error

    return tell


def event_number(event: Event) -> int:
    """A step's number, and an epoch's as a negative one."""
    match event:
        case Step():
            return event.step
        case Epoch():
            return -event.row["epoch"]
    return 0


def go(store: Store, one: Trial, tell: Callable[[Event], None]) -> Json | None:
    trial.run(tell, one, store.trial_folder(one.key), store.root)
    return store.trial(one.key)


def left(store: Store, one: Trial) -> list[bytes]:
    """The bytes of the predictions, the pictures and each of the weights."""
    folder = store.trial_folder(one.key)
    tensors = sorted(load_file(folder / "weights.safetensors").items())  # its header has no order
    return [
        (folder / "predictions.parquet").read_bytes(),
        *(array.tobytes() for _, array in sorted((store.pictures(one.key) or {}).items())),
        *(tensor.numpy().tobytes() for _, tensor in tensors),
    ]


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory, data_folder: Path) -> tuple[Json, list[bytes]]:
    """The record and the files of the trial when nothing disturbs it."""
    other = Store(tmp_path_factory.mktemp("calm"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RESIZER_BENCH_DATA", str(data_folder))
        record = go(other, NOISY, lambda _: None)
    assert record
    return record, left(other, NOISY)


def shape(record: Json) -> Any:
    """What of the curve does not depend on the clock."""
    return [{n: v for n, v in row.items() if n != "train_s"} for row in record["curve"]]


@pytest.mark.parametrize("at", [1, 5, 7, 29, 30, -1, -6])
def test_a_trial_stopped_at_any_step_or_epoch_goes_on_to_the_same_bytes(
    store: Store, calm: tuple[Json, list[bytes]], at: int
) -> None:
    with pytest.raises(StoppedError):
        go(store, NOISY, until(at, StoppedError, []))
    assert store.trial(NOISY.key) is None
    events: list[Event] = []
    record = go(store, NOISY, events.append)
    assert record
    stopped_after = at if at > 0 else -5 * at
    (resumed,) = [event for event in events if isinstance(event, Resumed)]
    assert resumed.step == stopped_after
    assert sum(isinstance(event, Step) for event in events) == 30 - stopped_after
    assert [*resumed.curve, *[e.row for e in events if isinstance(e, Epoch)]] == record["curve"]
    assert record["resumptions"] == 1
    assert shape(record) == shape(calm[0])
    assert left(store, NOISY) == calm[1]


def test_a_trial_killed_ten_times_at_random_gives_the_same_bytes_and_its_time_adds_up(
    store: Store, calm: tuple[Json, list[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshots, "EVERY_S", 0.0)  # a snapshot after every step
    events: list[Event] = []
    for at in sorted(random.Random(3).sample(range(2, 30), 10)):
        with pytest.raises(KilledError):
            go(store, NOISY, until(at, KilledError, events))
    record = go(store, NOISY, events.append)
    assert record
    assert record["resumptions"] == 10
    assert shape(record) == shape(calm[0])
    assert left(store, NOISY) == calm[1]
    times = [0.0, *[row["train_s"] for row in record["curve"]]]
    assert times == sorted(set(times))
    assert record["metrics"]["train_s"]["value"] == times[-1] < record["wall_s"]


@pytest.mark.parametrize("fields", RECIPES)
def test_any_recipe_goes_on_to_the_same_bytes(
    store: Store, tmp_path: Path, fields: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "update", dropping)
    one, other = toy(batch_size=4, **fields), Store(tmp_path / "calm")
    go(other, one, lambda _: None)
    with pytest.raises(StoppedError):
        go(store, one, until(7, StoppedError, []))
    go(store, one, lambda _: None)
    assert left(store, one) == left(other, one)


def test_a_snapshot_of_batches_made_otherwise_is_dropped_as_their_last_bits_are_others(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, events = toy(), list[Event]()
    with pytest.raises(StoppedError):
        go(store, one, until(3, StoppedError, []))
    monkeypatch.setattr(Loader, "name", "triton")
    go(store, one, events.append)
    (anew,) = [event for event in events if isinstance(event, StartedAnew)]
    assert anew.reason == "its snapshot is of loader 'pillow', not 'triton'"


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        ({"threads": 99}, r"its snapshot is of threads 99, not \d+"),
        ({"precision": "bf16"}, "its snapshot is of precision 'bf16', not 'fp32'"),
        ({"torch": "1.0"}, r"its snapshot is of torch '1\.0', not "),
        (None, "its snapshot cannot be read: "),
    ],
)
def test_a_snapshot_from_elsewhere_is_dropped_and_the_trial_starts_anew_and_says_so(
    store: Store, monkeypatch: pytest.MonkeyPatch, spoil: dict[str, Any] | None, reason: str
) -> None:
    one, real = toy(), environment.describe
    monkeypatch.setattr(environment, "describe", lambda *of: {**real(*of), **(spoil or {})})
    with pytest.raises(StoppedError):
        go(store, one, until(3, StoppedError, []))
    monkeypatch.setattr(environment, "describe", real)
    if spoil is None:
        store.snapshot(one.key).write_bytes(b"cut")
    events: list[Event] = []
    record = go(store, one, events.append)
    (anew,) = [event for event in events if isinstance(event, StartedAnew)]
    assert re.match(reason, anew.reason), anew.reason
    assert record
    assert "resumptions" not in record
    assert sum(isinstance(event, Step) for event in events) == record["steps"]
