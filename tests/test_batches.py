"""Batches: what is paired between arms, and how a picture is made from its master copy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from bench.data.batches import Loader, fit_boxes, train_boxes
from bench.data.library import Dataset
from bench.errors import InputError
from bench.lab.stepper import Stepper
from bench.spec.trial import Trial


def trial(**fields: Any) -> Trial:
    given = {"dataset": "toy", "backbone": "b", "input_size": 16, "epochs": 1, "batch_size": 6}
    return Trial(**{**given, **fields})


def epoch(dataset: Dataset, number: int = 1, **fields: Any) -> tuple[torch.Tensor, torch.Tensor]:
    batches = list(Loader(dataset.train, trial(**fields), threads=2).train(number))
    return torch.cat([images for images, _ in batches]), torch.cat([y for _, y in batches])


def test_every_arm_of_a_seed_sees_the_same_crops(toy: Dataset) -> None:
    small, small_labels = epoch(toy, input_size=12)
    large, large_labels = epoch(toy, input_size=48)
    assert torch.equal(small_labels, large_labels)
    reduced = torch.nn.functional.interpolate(large.float(), 12, mode="area")
    own = (reduced - small.float()).abs().mean(dim=(1, 2, 3))
    other = (reduced.roll(1, 0) - small.float()).abs().mean(dim=(1, 2, 3))
    assert (own < 6).all()  # grey levels: the same box, resampled to two sizes
    assert other.mean() > 3 * own.mean()


def test_another_seed_or_epoch_sees_other_crops_and_the_same_one_the_same(toy: Dataset) -> None:
    first, _ = epoch(toy)
    assert torch.equal(first, epoch(toy)[0])
    assert not torch.equal(first, epoch(toy, number=2)[0])
    assert not torch.equal(first, epoch(toy, seed=1)[0])


def test_what_differs_between_arms_does_not_touch_the_pictures(toy: Dataset) -> None:
    plain, _ = epoch(toy)
    learned, _ = epoch(toy, resizer="learned", output_size=8, backbone="x", lr=0.1)
    assert torch.equal(plain, learned)


def test_fewer_images_than_a_batch_are_refused_wherever_batches_are_asked_for(toy: Dataset) -> None:
    said = "toy has 20 training images, fewer than one batch of 21"
    with pytest.raises(InputError, match=said):
        Loader(toy.train, trial(batch_size=21), threads=1).train(1)
    stepper = Stepper(trial(batch_size=21, backbone="test_resnet"), 2)
    with pytest.raises(InputError, match=said):  # and not sought epoch after epoch, for ever
        next(stepper.batches(toy.train))


def test_an_epoch_leaves_out_only_the_last_incomplete_batch(toy: Dataset) -> None:
    images, labels = epoch(toy)
    assert images.shape == (18, 3, 16, 16)
    assert images.dtype == torch.uint8
    assert images[:6].is_contiguous(memory_format=torch.channels_last)
    assert labels.shape == (18,)


def test_evaluation_shows_every_image_once_in_order(toy: Dataset) -> None:
    batches = list(Loader(toy.val, trial(), threads=1).evaluate())
    assert [len(y) for _, y in batches] == [6, 6]
    assert torch.equal(torch.cat([y for _, y in batches]), torch.from_numpy(toy.val.labels))


@pytest.mark.parametrize(("fit", "box"), [("squash", (0, 0, 57, 40)), ("center_crop", None)])
def test_evaluation_resamples_the_declared_fit_once(
    toy: Dataset, fit: str, box: tuple[int, ...] | None
) -> None:
    image = toy.val.image(0)
    assert image.shape[:2] == (40, 57)
    images, _ = next(Loader(toy.val, trial(eval_fit=fit), threads=1).evaluate())
    wanted = Image.fromarray(image).resize(
        (16, 16), Image.Resampling.BILINEAR, box=box or (8.5, 0, 48.5, 40)
    )
    np.testing.assert_array_equal(images[0].permute(1, 2, 0).numpy(), np.asarray(wanted))


def test_a_mirrored_picture_is_the_mirror_of_the_same_box(toy: Dataset) -> None:
    with_flips, _ = epoch(toy)
    without, _ = epoch(toy, flip=False)
    mirrored = [torch.equal(a, b.flip(2)) for a, b in zip(with_flips, without, strict=True)]
    same = [torch.equal(a, b) for a, b in zip(with_flips, without, strict=True)]
    assert all(m != s for m, s in zip(mirrored, same, strict=True))
    assert 0 < sum(mirrored) < len(mirrored)


def test_random_boxes_lie_inside_and_have_the_area_and_aspect_asked_for() -> None:
    sizes = np.array([[160, 240]] * 4000)
    boxes = train_boxes(sizes, trial(crop_min_area=0.35), np.random.default_rng(0))
    left, top, right, bottom = boxes.T
    assert (left >= 0).all()
    assert (top >= 0).all()
    assert (right <= 240).all()
    assert (bottom <= 160).all()
    area, aspect = (right - left) * (bottom - top) / (160 * 240), (right - left) / (bottom - top)
    assert 0.35 <= area.min() < 0.37
    assert 0.85 < area.max() <= 1
    assert 3 / 4 <= aspect.min() < 0.77
    assert 1.3 < aspect.max() <= 4 / 3 + 1e-9


def test_a_box_that_never_fits_becomes_the_central_square() -> None:
    sizes = np.array([[10, 1000]])
    boxes = train_boxes(sizes, trial(crop_min_area=0.9), np.random.default_rng(0))
    np.testing.assert_allclose(boxes, fit_boxes(sizes, "center_crop"))
    np.testing.assert_allclose(boxes, [[495, 0, 505, 10]])


@pytest.mark.parametrize("resample", ["bilinear", "nearest"])
def test_without_antialias_a_picture_is_sampled_as_torch_samples_it(
    toy: Dataset, resample: str
) -> None:
    """Of whole images, which need no fractional box, within a level of rounding."""
    fields = {"crop": "squash", "eval_fit": "squash", "resample": resample}
    fields |= {} if resample == "nearest" else {"load_antialias": False}
    (shown, _), *_ = Loader(toy.val, trial(**fields), threads=1).evaluate()
    mode = "nearest-exact" if resample == "nearest" else resample
    for row, picture in enumerate(shown):
        whole = torch.from_numpy(toy.val.image(row).copy()).permute(2, 0, 1)[None].float()
        sampled = torch.nn.functional.interpolate(whole, (16, 16), mode=mode)
        assert float((sampled - picture).abs().max()) <= 1.0


def test_validation_images_are_loaded_as_the_trial_says_of_them(toy: Dataset) -> None:
    otherwise = trial(eval_resample="nearest", eval_size=24).evaluated
    (shown, _), *_ = Loader(toy.val, otherwise, threads=1).evaluate()
    (wanted, _), *_ = Loader(toy.val, trial(resample="nearest", input_size=24), 1).evaluate()
    assert torch.equal(shown, wanted)
    assert trial().evaluated == trial()
