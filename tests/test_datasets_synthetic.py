from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import islice

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional as F

from bench.datasets import synthetic

Reduction = Callable[[NDArray[np.uint8]], NDArray[np.float64]]
SETS = {"fine": synthetic.fine, "coarse": synthetic.coarse}
BOUND = 2.0  # grey levels, of 2 x 32 at full size


def box(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    return image.reshape(32, 2, 32, 2, 3).mean(axis=(1, 3))


def pillow(filter_name: str) -> Reduction:
    chosen = Image.Resampling[filter_name]
    return lambda image: np.asarray(Image.fromarray(image).resize((32, 32), chosen), np.float64)


def interpolate(**options: str | bool) -> Reduction:
    def reduce(image: NDArray[np.uint8]) -> NDArray[np.float64]:
        batch = torch.from_numpy(image).double().permute(2, 0, 1)[None]
        return F.interpolate(batch, (32, 32), **options)[0].permute(1, 2, 0).numpy()

    return reduce


REDUCTIONS = {
    "box": box,
    **{f"pillow-{name}": pillow(name) for name in Image.Resampling.__members__},
    "torch-nearest": interpolate(mode="nearest"),
    "torch-nearest-exact": interpolate(mode="nearest-exact"),
    "torch-area": interpolate(mode="area"),
    "torch-bilinear": interpolate(mode="bilinear"),
    "torch-bicubic": interpolate(mode="bicubic"),
    "torch-bilinear-antialias": interpolate(mode="bilinear", antialias=True),
    "torch-bicubic-antialias": interpolate(mode="bicubic", antialias=True),
}


@pytest.fixture(scope="module")
def drawn() -> dict[str, NDArray[np.uint8]]:
    """Of each set, (10, 64, 64, 3): every class at the same place on the same background."""
    background = synthetic.backgrounds(1, np.random.default_rng(0)).repeat(10, axis=0)
    # The same draw of place, size and polarity for every class: a generator of the same seed.
    masks = np.concatenate([synthetic.masks([k], np.random.default_rng(1)) for k in range(10)])
    coarse = [
        synthetic.draw_coarse(background[:1], mask[None], np.random.default_rng(2))
        for mask in masks
    ]
    return {
        "fine": synthetic.draw_fine(background, masks),
        "coarse": np.concatenate(coarse),
    }


@pytest.fixture(scope="module")
def splits() -> dict[tuple[str, str], list[tuple[str, int, NDArray[np.uint8]]]]:
    return {
        (kind, split): list(islice(generate(split), 200))
        for kind, generate in SETS.items()
        for split in ("train", "val")
    }


def spread(images: NDArray[np.uint8] | list[NDArray[np.float64]]) -> float:
    """Largest difference between two classes at any pixel, grey levels."""
    return float(np.ptp(np.stack(images).astype(np.float64), axis=0).max())


def closest_pair(images: NDArray[np.uint8] | list[NDArray[np.float64]]) -> float:
    """Largest difference at any pixel of the two classes most alike, grey levels."""
    return min(
        spread([one, other]) for i, one in enumerate(images) for other in list(images)[i + 1 :]
    )


@pytest.mark.parametrize("name", REDUCTIONS)
def test_no_plain_reduction_keeps_the_class_of_a_fine_image(
    drawn: dict[str, NDArray[np.uint8]], name: str
) -> None:
    assert spread([REDUCTIONS[name](image) for image in drawn["fine"]]) <= BOUND


@pytest.mark.parametrize("name", REDUCTIONS)
def test_every_reduction_keeps_the_class_of_a_coarse_image(
    drawn: dict[str, NDArray[np.uint8]], name: str
) -> None:
    reduced = [REDUCTIONS[name](image) for image in drawn["coarse"]]
    assert closest_pair(reduced) > synthetic.CONTRAST / 2


def test_fine_images_of_any_two_classes_differ_by_the_full_stripes_at_64_px(
    drawn: dict[str, NDArray[np.uint8]],
) -> None:
    assert closest_pair(drawn["fine"]) == 2 * synthetic.AMPLITUDE


@pytest.mark.parametrize("name", ["box", "torch-bilinear", "torch-area", "pillow-BOX"])
def test_a_mean_over_blocks_leaves_nothing_of_the_stripes_at_all(
    drawn: dict[str, NDArray[np.uint8]], name: str
) -> None:
    assert spread([REDUCTIONS[name](image) for image in drawn["fine"]]) == 0


@pytest.mark.parametrize("reduction", [slice(0, None, 2), slice(1, None, 2)])
def test_one_pixel_a_block_leaves_nothing_of_the_stripes_at_either_phase(
    drawn: dict[str, NDArray[np.uint8]], reduction: slice
) -> None:
    assert spread(drawn["fine"][:, reduction, reduction]) == 0


def test_the_picture_under_fine_images_has_nothing_at_the_stripes_frequency() -> None:
    background = synthetic.backgrounds(4, np.random.default_rng(0))
    rows = synthetic.draw_fine(background, np.ones((4, 32, 32))).astype(np.float64)
    detail = rows - rows.reshape(4, 32, 2, 32, 2, 3).mean(axis=(2, 4)).repeat(2, 1).repeat(2, 2)
    assert np.array_equal(np.unique(abs(detail)), [synthetic.AMPLITUDE])


def test_the_stripes_of_fine_images_are_never_clipped() -> None:
    assert synthetic.LOWEST - synthetic.AMPLITUDE >= 0
    assert synthetic.HIGHEST + synthetic.AMPLITUDE <= 255
    wild = np.linspace(-500, 800, 32 * 32 * 3).reshape(1, 32, 32, 3)
    image = synthetic.draw_fine(wild, np.ones((1, 32, 32)))
    assert image.min() == synthetic.LOWEST - synthetic.AMPLITUDE
    assert image.max() == synthetic.HIGHEST + synthetic.AMPLITUDE


@pytest.mark.parametrize("kind", SETS)
def test_hardly_a_pixel_is_clipped(
    splits: dict[tuple[str, str], list[tuple[str, int, NDArray[np.uint8]]]], kind: str
) -> None:
    pixels = np.stack([image for _, _, image in splits[kind, "train"]])
    assert ((pixels == 0) | (pixels == 255)).mean() < 0.01


@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize("kind", SETS)
def test_an_image_is_64_px_of_8_bit_colour_named_after_its_class(
    splits: dict[tuple[str, str], list[tuple[str, int, NDArray[np.uint8]]]], kind: str, split: str
) -> None:
    for name, label, image in splits[kind, split]:
        assert image.shape == (64, 64, 3)
        assert image.dtype == np.uint8
        assert name.split("/")[0] == synthetic.CLASSES[label]
    assert len({name for name, _, _ in splits[kind, split]}) == 200


@pytest.mark.parametrize("split", ["train", "val"])
def test_classes_are_balanced(split: str) -> None:
    labels = Counter(label for _, label, _ in synthetic.fine(split))
    assert set(labels) == set(range(10))
    assert set(labels.values()) == {synthetic.COUNTS[split] // 10}


@pytest.mark.parametrize("kind", SETS)
def test_the_same_split_is_the_same_images_again(
    splits: dict[tuple[str, str], list[tuple[str, int, NDArray[np.uint8]]]], kind: str
) -> None:
    again = islice(SETS[kind]("val"), 200)
    for (name, label, image), was in zip(again, splits[kind, "val"], strict=True):
        assert (name, label) == was[:2]
        assert np.array_equal(image, was[2])


def test_no_image_is_in_two_splits_or_sets(
    splits: dict[tuple[str, str], list[tuple[str, int, NDArray[np.uint8]]]],
) -> None:
    pixels = [image.tobytes() for images in splits.values() for _, _, image in images]
    assert len(set(pixels)) == len(pixels) == 800


@pytest.mark.parametrize("name", synthetic.CLASSES)
def test_every_shape_lies_inside_the_picture_and_covers_a_fair_part(name: str) -> None:
    labels = [synthetic.CLASSES.index(name)] * 100
    covered = synthetic.masks(labels, np.random.default_rng(0))
    assert 0.05 < covered.mean(axis=(1, 2)).min()
    assert covered.mean(axis=(1, 2)).max() < 0.7
    corners = covered[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    assert corners.max() < 0.5
