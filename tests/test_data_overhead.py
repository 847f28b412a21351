"""The benchmark of data loading: it times what it says."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench import data_overhead
from bench.datasets.batches import Batch, Loader
from bench.experiment import Trial


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
    found = data_overhead.ratios(trial)
    assert len(found) == 2
    assert all(ratio > 0 for ratio in found)
    steps = 2 * (data_overhead.UNTIMED_STEPS + 2)
    assert len(taken) == steps
    assert max(taken) == -(-steps // 2)  # an epoch of 20 images is 2 batches: it goes on
