"""A step as it is timed: what it consists of, how it is called, and what it counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from bench.lab import models, stepper, timing
from bench.lab.stepper import LEAST_BLOCKS, Stepper, timed_blocks
from tests.test_timing import toy


def test_multiply_adds_of_the_resizer_are_the_closed_form() -> None:
    n, r, wide, out = 16, 2, 64, 32
    one = toy(input_size=wide, output_size=out, resizer="learned", num_resblocks=r)
    with_it = stepper.cost(models.build(one, 10), one.input_size)
    alone = toy(input_size=out)
    without = stepper.cost(models.build(alone, 10), alone.input_size)
    wanted = (147 * n + n**2) * wide**2 + (18 * r * n**2 + 9 * n**2 + 147 * n) * out**2
    assert (with_it["gmacs"] - without["gmacs"]) * 1e9 == pytest.approx(wanted)
    assert (with_it["params_m"] - without["params_m"]) * 1e6 == pytest.approx(16707)
    assert with_it["resizer_gmacs"] * 1e9 == pytest.approx(wanted)
    assert with_it["resizer_params_m"] * 1e6 == pytest.approx(16707)


def test_inference_is_of_images_as_the_trial_is_validated_on_and_training_is_not() -> None:
    one = Stepper(toy(input_size=16, output_size=None, eval_size=24), 2)
    seen = []
    one.model.register_forward_pre_hook(lambda _, given: seen.append(given[0].shape[-1]))
    one.train_step()
    one.model.eval()
    one.infer_step()
    one.infer_one()
    assert seen == [16, 24, 24]
    small, large = (
        timing.weigh(toy(output_size=None, **of), 2, "train") for of in ({}, {"eval_size": 64})
    )
    assert large.metrics["gmacs"] == pytest.approx(4 * small.metrics["gmacs"], rel=0.01)


def test_the_parts_of_a_step_take_no_more_images_at_once_than_the_step_does() -> None:
    one = Stepper(toy(resizer="learned", num_kernels=4, micro_batch=2, batch_size=5 + 1), 2)
    seen = []
    for part in (one.model.resizer, one.model.backbone):
        part.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    for step in (one.train_step, one.resizer_step, one.backbone_step):
        seen.clear()
        step()
        assert set(seen) == {2}, step


def test_resnet50_at_224_px_has_its_published_multiply_adds_and_parameters() -> None:
    one = toy(backbone="resnet50", input_size=224)
    found = stepper.cost(models.build(one, 1000), one.input_size)
    assert found["gmacs"] == pytest.approx(4.09, abs=0.03)
    assert found["params_m"] == pytest.approx(25.557, abs=0.001)


def test_the_attention_of_a_transformer_counts() -> None:
    one = toy(backbone="vit_tiny_patch16_224", input_size=224)
    tokens, width, layers = 197, 192, 12
    found = stepper.cost(models.build(one, 1000), one.input_size)["gmacs"] * 1e9
    attention = layers * 2 * tokens**2 * width  # scores, and what they weigh
    dense = layers * 12 * tokens * width**2 + 196 * 768 * width + 1000 * width
    assert found == pytest.approx(dense + attention, rel=0.001)


def test_batches_that_come_eight_at_a_time_are_timed_by_eights_and_for_no_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = [0.0]

    def timed(step: Callable[[], object]) -> float:
        before = clock[0]
        step()
        return clock[0] - before

    def batches() -> Iterator[Any]:
        while True:
            clock[0] += 0.024
            yield from range(8)

    one = SimpleNamespace(device=torch.device("cuda"), timed=timed)
    monkeypatch.setattr(stepper, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    made = batches()
    next(made)  # as the one that is copied ahead
    assert stepper.timed_batches(one, made, 0.2) == pytest.approx([0.003] * 3)  # type: ignore[arg-type]
    assert clock[0] < 0.4


def test_the_device_is_waited_for_after_blocks_of_calls_and_after_each_one_for_latency(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Fake:
        """A clock that a step moves by 10 ms, and a wait by 100."""

        now, waits = 0.0, 0

        def timed(self, step: Callable[[], None]) -> float:
            began = self.now
            step()
            self.now += 0.1
            self.waits += 1
            return self.now - began - 0.1

        def step(self) -> None:
            self.now += 0.01

    fake: Any = Fake()
    monkeypatch.setattr("bench.lab.stepper.time.perf_counter", lambda: fake.now)
    blocks = timed_blocks(fake, fake.step, seconds=1.0, block_s=0.05)
    assert blocks == [pytest.approx(0.01)] * len(blocks)
    assert len(blocks) == 7  # 5 calls and a wait are 0.15 s
    single = timed_blocks(fake, fake.step, seconds=0.0, block_s=0.0)
    assert len(single) == LEAST_BLOCKS


def test_what_is_metered_is_neither_the_warm_up_nor_a_capture() -> None:
    happened: list[str] = []

    @contextmanager
    def metered() -> Iterator[None]:
        happened.append("meter on")
        yield
        happened.append("meter off")

    one = Stepper(toy(), 2)
    timed_blocks(one, lambda: happened.append("call"), 0.0, 0.0, metered())
    calls = ["call"] * stepper.WARM_UP_CALLS, ["call"] * LEAST_BLOCKS
    assert happened == [*calls[0], "meter on", *calls[1], "meter off"]


def test_the_resizer_is_timed_with_a_gradient_of_its_own_shape_for_each_value() -> None:
    one = toy(resizer="learned", num_kernels=4)
    steps = Stepper(one, 2)
    steps.model.train()
    seen: list[torch.Tensor] = []
    steps.model.resizer.register_full_backward_pre_hook(lambda _, given: seen.append(given[0]))
    steps.resizer_step()
    (gradient,) = seen
    assert gradient.shape == (4, 3, 16, 16)
    assert gradient.stride() != (0, 0, 0, 0)
    assert gradient.std() > 0.5
    assert all(p.grad is None for p in steps.model.parameters())
