"""The benchmark of data loading: it times what it says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from bench.data.batches import Batch, Loader
from bench.lab import overhead as data_overhead
from bench.lab.resampling import AT_ONCE
from bench.lab.stepper import Stepper
from bench.spec.trial import Trial


@pytest.mark.usefixtures("store")
def test_half_of_the_timed_steps_take_their_batches_from_the_loader(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken: list[int] = []
    whole = Loader.train

    def counted(self: Loader, epoch: int) -> Iterator[Batch]:
        for batch in whole(self, epoch):
            taken.append(epoch)
            yield batch

    monkeypatch.setattr(Loader, "train", counted)
    monkeypatch.setattr(data_overhead, "ROUNDS", 2)
    monkeypatch.setattr(data_overhead, "STEPS", 2)
    trial = Trial(
        dataset="toy", backbone="test_resnet", input_size=32, output_size=16, batch_size=8,
        resizer="learned", num_kernels=4, epochs=1,
    )  # fmt: skip
    without, with_data = data_overhead.rounds(trial)
    assert len(without) == len(with_data) == 4
    assert min(without + with_data) > 0
    steps = 2 * (data_overhead.UNTIMED_STEPS + 2)
    assert len(taken) == steps
    assert max(taken) == -(-steps // 2)  # an epoch of 20 images is 2 batches: it goes on


@pytest.mark.usefixtures("store")
def test_on_a_gpu_steps_are_timed_by_as_many_as_batches_are_made_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken: list[str] = []

    class Fake(Stepper):
        def __init__(self, *of: Any) -> None:
            super().__init__(*of)
            self.device = torch.device("cuda")  # to which nothing is moved

        def train_step(self) -> None:
            taken.append("step")

        def batches(self, _: object) -> Iterator[Batch]:
            while True:
                taken.append("batch")
                yield self.images, self.labels

        def timed(self, step: Callable[[], object]) -> float:
            begun = len(taken)
            step()
            return float(len(taken) - begun)

    monkeypatch.setattr(data_overhead, "Stepper", Fake)
    trial = Trial(dataset="toy", backbone="test_resnet", input_size=32, batch_size=8, epochs=1)
    without, with_data = data_overhead.rounds(trial)
    assert (set(without), set(with_data)) == ({1.0}, {2.0})
    assert len(taken) == 3 * AT_ONCE * data_overhead.ROUNDS * (
        data_overhead.UNTIMED_STEPS + data_overhead.STEPS
    )


def test_the_ratio_is_of_speeds_and_one_slow_step_does_not_move_it() -> None:
    ratio, low, high = data_overhead.speed_ratio([1.0, 1.0, 1.0, 9.0], [2.0, 2.0, 2.0, 2.0])
    assert ratio == pytest.approx(0.5)
    assert low <= ratio <= high
