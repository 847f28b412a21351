"""The embedded controls: shapes to tell apart, generated from a seed and never downloaded.

Both sets are 64 x 64 pictures of one of ten shapes, at a random place and size, on a coloured
1/f background under noise. Background, noise and shape live on a grid of 2 x 2 pixel blocks, 32 to
a side; the sets differ in how the shape is drawn.

`coarse`: by brightness. The shape is lighter or darker than what is around it by `CONTRAST` grey
levels, in all channels alike: any reduction to 32 px keeps it.

`fine`: by the direction of 1-px stripes. With +a on even and -a on odd rows, or columns, of pixels,
the shape has rows and the surround has columns, mixed in proportion over its soft edge:

    rows         columns
    +a +a        +a -a
    -a -a        +a -a

Either one has mean zero in each block, so a box or bilinear reduction to 32 px gives the bare
background, whatever the class. A wider kernel (antialiased bilinear, bicubic, Lanczos) also reaches
into the neighbouring blocks and keeps a few percent of `a` along the edge, which the soft edge makes
small and the noise drowns. The two patterns agree on the diagonal of the block, so that nearest,
which takes one pixel a block, finds the same value on both sides. At 64 px the patterns differ by 2a
in half of the pixels: positive control (a model that sees the pixels can learn it) and negative
control (a model that is given 32 px after plain interpolation cannot) in one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Images = NDArray[np.uint8]
Integers = TypeVar("Integers", Images, NDArray[np.int16])

VERSION = 1
"""Raised by hand when the same split gives other pixels."""

COUNTS = {"train": 3000, "val": 1000}
SIDE = 64
BLOCKS = SIDE // 2
AMPLITUDE = 32
"""Of the stripes of `fine`: grey levels above and below the background."""
CONTRAST = 110.0
"""Of the shape of `coarse`, grey levels."""
LOWEST, HIGHEST = 48, 207
"""What the picture under the stripes is clipped to: the stripes cannot leave 0..255."""
NOISE = 6.0
"""Standard deviation of the independent noise of each block and channel, grey levels."""
SOFTNESS = 2.0
"""Width of the edge of a shape, blocks."""
RADII = (10.0, 14.0)
"""Of the circle that a shape is about as large as, blocks: smallest, largest."""
CHUNK = 250
STREAMS = {"fine": 0, "coarse": 1, "train": 0, "val": 1}


def plus(u: Floats, v: Floats) -> Floats:
    return np.maximum(bar(u, v), bar(v, u))


def bar(u: Floats, v: Floats) -> Floats:
    return np.minimum(1.0 - abs(u), 0.3 - abs(v))


def largest(u: Floats, v: Floats) -> Floats:
    return np.maximum(abs(u), abs(v))


HALF = 0.5**0.5
# Signed distance to the edge, positive inside; (u, v) is right and down of the centre, in radii.
SHAPES: dict[str, Callable[[Floats, Floats], Floats]] = {
    "disc": lambda u, v: 0.9 - np.hypot(u, v),
    "ring": lambda u, v: 0.25 - abs(np.hypot(u, v) - 0.75),
    "square": lambda u, v: 0.8 - largest(u, v),
    "frame": lambda u, v: 0.25 - abs(largest(u, v) - 0.75),
    "triangle": lambda u, v: np.minimum(0.8 - v, (v + 1.0 - 2.0 * abs(u)) * 0.2**0.5),
    "diamond": lambda u, v: (1.0 - abs(u) - abs(v)) * HALF,
    "plus": plus,
    "cross": lambda u, v: plus((u + v) * HALF, (u - v) * HALF),
    "horizontal": bar,
    "vertical": lambda u, v: bar(v, u),
}
CLASSES: tuple[str, ...] = tuple(SHAPES)


def fine(split: str) -> Iterator[tuple[str, int, Images]]:
    """(name, label, (64, 64, 3) image) of each image whose class is in detail above 32 px.

    Args:
        split: train or val.
    """
    return _generate("fine", split)


def coarse(split: str) -> Iterator[tuple[str, int, Images]]:
    """(name, label, (64, 64, 3) image) of each image whose class is in brightness.

    Args:
        split: train or val.
    """
    return _generate("coarse", split)


def _generate(kind: str, split: str) -> Iterator[tuple[str, int, Images]]:
    rng = np.random.default_rng([STREAMS[kind], STREAMS[split]])
    draw = draw_fine if kind == "fine" else draw_coarse
    for start in range(0, COUNTS[split], CHUNK):
        indices = range(start, min(start + CHUNK, COUNTS[split]))
        labels = [index % len(CLASSES) for index in indices]
        images = draw(backgrounds(len(labels), rng), masks(labels, rng), rng)
        for index, label, image in zip(indices, labels, images, strict=True):
            yield f"{CLASSES[label]}/{index:06d}.png", label, image


def backgrounds(count: int, rng: np.random.Generator) -> Floats:
    """(count, 32, 32, 3) grey levels: coloured noise whose amplitude falls as 1/f, and plain noise."""
    frequency = np.hypot(np.fft.fftfreq(BLOCKS)[:, None], np.fft.rfftfreq(BLOCKS))
    frequency[0, 0] = np.inf  # the mean is drawn below
    white = rng.standard_normal((count, 3, BLOCKS, BLOCKS))
    pink = np.fft.irfft2(np.fft.rfft2(white) / frequency, s=(BLOCKS, BLOCKS))
    pink /= pink.std(axis=(2, 3), keepdims=True)
    # Three pink fields mixed by a random matrix: one main brightness, weaker colours.
    mixing = rng.normal(0.0, 5.0, (count, 3, 3))
    mixing[:, :, 0] += rng.uniform(8.0, 20.0, (count, 1))
    mean = rng.uniform(96.0, 160.0, (count, 1, 1, 3))
    colour = np.einsum("nij,njyx->nyxi", mixing, pink)
    out: Floats = mean + colour + rng.normal(0.0, NOISE, colour.shape)
    return out


def masks(labels: list[int], rng: np.random.Generator) -> Floats:
    """(len(labels), 32, 32) coverage, 1 inside the shape and 0 outside, at random place and size."""
    radius = rng.uniform(*RADII, len(labels))
    centre = BLOCKS / 2 + rng.uniform(-1.0, 1.0, (2, len(labels))) * (BLOCKS / 2 - radius)
    at = np.arange(BLOCKS) + 0.5
    out = np.empty((len(labels), BLOCKS, BLOCKS))
    for i, label in enumerate(labels):
        u, v = (at - centre[0, i]) / radius[i], (at - centre[1, i]) / radius[i]
        distance = SHAPES[CLASSES[label]](*np.meshgrid(u, v)) * radius[i]
        out[i] = np.clip(0.5 + distance / SOFTNESS, 0.0, 1.0)
    return out


def draw_fine(background: Floats, mask: Floats, _: np.random.Generator | None = None) -> Images:
    """(N, 64, 64, 3) images: rows of pixels striped inside the mask, columns outside."""
    picture = doubled(np.clip(np.rint(background), LOWEST, HIGHEST).astype(np.int16))
    # Whole grey levels that add up to AMPLITUDE everywhere: rounding leaves nothing behind.
    rows = doubled(np.rint(AMPLITUDE * mask).astype(np.int16))
    sign = (1 - 2 * (np.arange(SIDE) % 2)).astype(np.int16)
    stripes = rows * sign[:, None] + (AMPLITUDE - rows) * sign
    return (picture + stripes[..., None]).astype(np.uint8)


def draw_coarse(background: Floats, mask: Floats, rng: np.random.Generator) -> Images:
    """(N, 64, 64, 3) images: the shape lighter or darker than the rest, half the contrast each."""
    polarity = rng.choice([-1.0, 1.0], len(mask))[:, None, None, None]
    picture = background + polarity * CONTRAST * (mask[..., None] - 0.5)
    return doubled(np.clip(np.rint(picture), 0, 255).astype(np.uint8))


def doubled(grid: Integers) -> Integers:
    """(N, 32, 32, ...) -> (N, 64, 64, ...): each value to a block of 2 x 2 pixels."""
    return grid.repeat(2, axis=1).repeat(2, axis=2)
