from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import combinations, islice
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional as F

from bench.data import synthetic

Images = NDArray[np.uint8]
Reduction = Callable[[Images], NDArray[np.float64]]
SETS = {"fine": synthetic.fine, "coarse": synthetic.coarse}
Sets = dict[tuple[str, str], list[tuple[str, int, Images]]]
LEAK = 0.11  # of the stripes' amplitude; a wide kernel keeps this much along a shape's edge


def box(image: Images) -> NDArray[np.float64]:
    return image.reshape(32, 2, 32, 2, 3).mean(axis=(1, 3))


def pillow(filter_name: str) -> Reduction:
    chosen = Image.Resampling[filter_name]
    return lambda image: np.asarray(Image.fromarray(image).resize((32, 32), chosen), np.float64)


def interpolate(**options: str | bool) -> Reduction:
    def reduce(image: Images) -> NDArray[np.float64]:
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


def draw(kind: str, background: NDArray[np.float64], masks: NDArray[np.float64]) -> Images:
    """(N, 64, 64, 3): each mask on the one background, with the same random sign."""
    drawing = {"fine": synthetic.draw_fine, "coarse": synthetic.draw_coarse}[kind]
    return np.concatenate(
        [drawing(background, mask[None], np.random.default_rng(2)) for mask in masks]
    )


@pytest.fixture(scope="module")
def drawn() -> dict[str, Images]:
    """Of each set, (11, 64, 64, 3): no shape, then every class at one place on one background."""
    background = synthetic.backgrounds(1, np.random.default_rng(0))
    masks = [synthetic.masks([label], np.random.default_rng(1)) for label in range(10)]
    every = np.concatenate([np.zeros((1, 32, 32)), *masks])
    return {kind: draw(kind, background, every) for kind in SETS}


@pytest.fixture(scope="module")
def splits() -> Sets:
    return {
        (kind, split): list(islice(generate(split), 200))
        for kind, generate in SETS.items()
        for split in ("train", "val")
    }


def gap(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Largest difference at any pixel, grey levels."""
    return float(abs(one.astype(np.float64) - other).max())


def closest(images: Sequence[NDArray[Any]]) -> float:
    """The gap between the two images most alike, grey levels."""
    return min(gap(one, other) for one, other in combinations(images, 2))


@pytest.mark.parametrize("name", REDUCTIONS)
def test_a_plain_reduction_leaves_less_of_a_fine_shape_than_there_is_noise(
    drawn: dict[str, Images], name: str
) -> None:
    bare, *reduced = [REDUCTIONS[name](image) for image in drawn["fine"]]
    worst = max(gap(image, bare) for image in reduced)
    rounding = 1.0 if name.startswith("pillow") else 0.0  # half a level in each image
    assert worst <= LEAK * synthetic.AMPLITUDE + rounding
    assert worst < synthetic.NOISE


@pytest.mark.parametrize("name", REDUCTIONS)
def test_every_reduction_keeps_a_coarse_shape(drawn: dict[str, Images], name: str) -> None:
    reduced = [REDUCTIONS[name](image) for image in drawn["coarse"]]
    assert closest(reduced) > synthetic.CONTRAST / 3


def test_any_two_fine_shapes_differ_by_at_least_the_amplitude_at_64_px(
    drawn: dict[str, Images],
) -> None:
    assert closest(drawn["fine"]) >= synthetic.AMPLITUDE


def test_inside_and_outside_a_fine_shape_differ_by_twice_the_amplitude_at_64_px() -> None:
    background = synthetic.backgrounds(1, np.random.default_rng(0))
    columns, rows = draw("fine", background, np.stack([np.zeros((32, 32)), np.ones((32, 32))]))
    assert gap(rows, columns) == 2 * synthetic.AMPLITUDE
    assert gap(box(rows), box(columns)) == 0


@pytest.mark.parametrize("name", ["box", "pillow-BOX", "torch-area", "torch-bilinear"])
def test_a_mean_over_blocks_leaves_nothing_at_all_of_a_fine_shape(
    drawn: dict[str, Images], name: str
) -> None:
    bare, *reduced = [REDUCTIONS[name](image) for image in drawn["fine"]]
    assert all(gap(image, bare) == 0 for image in reduced)


@pytest.mark.parametrize("phase", [0, 1])
def test_one_pixel_of_each_block_leaves_nothing_at_all_of_a_fine_shape(
    drawn: dict[str, Images], phase: int
) -> None:
    bare, *reduced = drawn["fine"][:, phase::2, phase::2]
    assert all(gap(image, bare) == 0 for image in reduced)


def test_the_picture_under_the_stripes_has_no_detail_of_its_own() -> None:
    background = synthetic.backgrounds(1, np.random.default_rng(0))
    (rows,) = draw("fine", background, np.ones((1, 32, 32)))
    detail = rows - box(rows).repeat(2, axis=0).repeat(2, axis=1)
    assert np.array_equal(np.unique(abs(detail)), [synthetic.AMPLITUDE])


def test_the_stripes_are_never_clipped() -> None:
    wild = np.linspace(-500, 800, 32 * 32 * 3).reshape(1, 32, 32, 3)
    image = draw("fine", wild, np.ones((1, 32, 32)))
    assert image.min() == synthetic.LOWEST - synthetic.AMPLITUDE > 0
    assert image.max() == synthetic.HIGHEST + synthetic.AMPLITUDE < 255


@pytest.mark.parametrize("kind", SETS)
def test_hardly_a_pixel_is_clipped(splits: Sets, kind: str) -> None:
    pixels = np.stack([image for _, _, image in splits[kind, "train"]])
    assert ((pixels == 0) | (pixels == 255)).mean() < 0.01


@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize("kind", SETS)
def test_an_image_is_64_px_of_8_bit_colour_named_after_its_class(
    splits: Sets, kind: str, split: str
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
def test_the_same_split_is_the_same_images_again(splits: Sets, kind: str) -> None:
    again = islice(SETS[kind]("val"), 200)
    for (name, label, image), was in zip(again, splits[kind, "val"], strict=True):
        assert (name, label) == was[:2]
        assert np.array_equal(image, was[2])


def test_no_image_is_in_two_splits_or_sets(
    splits: Sets,
) -> None:
    pixels = [image.tobytes() for images in splits.values() for _, _, image in images]
    assert len(set(pixels)) == len(pixels) == 800


@pytest.mark.parametrize("name", synthetic.CLASSES)
def test_every_shape_lies_inside_the_picture_and_covers_a_fair_part(name: str) -> None:
    labels = [synthetic.CLASSES.index(name)] * 100
    covered = synthetic.masks(labels, np.random.default_rng(0))
    assert covered.mean(axis=(1, 2)).min() > 0.05
    assert covered.mean(axis=(1, 2)).max() < 0.7
    sides = np.maximum(covered[:, [0, -1]], covered[:, :, [0, -1]].swapaxes(1, 2))
    assert sides.max() < 0.01
