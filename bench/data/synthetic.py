"""The embedded controls: shapes to tell apart, generated from a seed and never downloaded.

Both sets are 64 x 64 pictures of one of ten shapes, at a random place and size, on a coloured
1/f background under noise. Background, noise and shape live on a grid of 2 x 2 pixel blocks, 32 to
a side; the sets differ in how the shape is drawn.

`coarse`: by brightness. The shape is lighter or darker than what is around it by `CONTRAST` grey
levels, in all channels alike. Any reduction to 32 px keeps it: every model can learn it.

`fine`: by the direction of 1-px stripes, a = `AMPLITUDE` grey levels above and below the picture.
The shape has rows and the surround has columns, mixed in proportion over the shape's soft edge:

    rows         columns
    +a +a        +a -a
    -a -a        +a -a

Reduced to 32 px by plain interpolation, nothing is left of it that a model can learn:

- Both patterns have mean zero in each block: box, area and bilinear give the bare picture exactly.
- They agree on the diagonal of the block: nearest, which takes one pixel of each block, finds the
  same on both sides.
- Wider kernels (bicubic, Lanczos, antialiased bilinear) reach into neighbouring blocks and keep up
  to a tenth of a along the edge: less than the noise, which lives on the same grid, and of
  either sign, because the sign of a is drawn for each image.

At 64 px the two patterns differ by 2a in half of the pixels, and any model that sees them can
learn it. So `fine` tells a resizer that carries detail over from one that does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Images = NDArray[np.uint8]
Integers = TypeVar("Integers", Images, NDArray[np.int16])
Draw = Callable[[Floats, Floats, np.random.Generator], Images]

NAME = "bench.datasets.synthetic"
"""What fingerprints call this module: its first name, so that trials outlive a move of the file."""

VERSION = 1  # raised by hand when the same split gives other pixels
COUNTS = {"train": 1500, "val": 1000}
SIDE = 64
BLOCKS = SIDE // 2
AMPLITUDE = 40  # of the stripes of `fine`: grey levels above and below the background
CONTRAST = 110.0  # of the shape of `coarse`, grey levels
LOWEST, HIGHEST = 48, 207
"""What the picture under the stripes is clipped to: the stripes cannot leave 0..255."""
NOISE = 8.0  # standard deviation of the independent noise of each block and channel, grey levels
SOFTNESS = 4.0  # width of the edge of a shape, blocks
RADII = (9.0, 13.0)  # half the side of the square around a shape, blocks: smallest, largest
MARGIN = 2.5
"""Between that square and the picture's sides, blocks: where filters are cut off is no shape."""
CHUNK = 250
STREAMS = {"train": 0, "val": 1}


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
    """(name, label, (64, 64, 3) image) of each image of train or val: the class is in detail."""
    return _generate(draw_fine, np.random.default_rng([0, STREAMS[split]]), COUNTS[split])


def coarse(split: str) -> Iterator[tuple[str, int, Images]]:
    """The same, with the class in brightness."""
    return _generate(draw_coarse, np.random.default_rng([1, STREAMS[split]]), COUNTS[split])


def _generate(
    draw: Draw, rng: np.random.Generator, count: int
) -> Iterator[tuple[str, int, Images]]:
    for start in range(0, count, CHUNK):
        indices = range(start, min(start + CHUNK, count))
        labels = [index % len(CLASSES) for index in indices]
        images = draw(backgrounds(len(labels), rng), masks(labels, rng), rng)
        for index, label, image in zip(indices, labels, images, strict=True):
            yield f"{CLASSES[label]}/{index:06d}.png", label, image


def backgrounds(count: int, rng: np.random.Generator) -> Floats:
    """(count, 32, 32, 3) grey levels: coloured noise with an amplitude of 1/f, and plain noise."""
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
    """(len(labels), 32, 32) coverage, 1 inside the shape to 0 outside, of random place and size."""
    radius = rng.uniform(*RADII, len(labels))
    play = BLOCKS / 2 - MARGIN - radius
    centre = BLOCKS / 2 + rng.uniform(-1.0, 1.0, (2, len(labels))) * play
    at = np.arange(BLOCKS) + 0.5
    out = np.empty((len(labels), BLOCKS, BLOCKS))
    for i, label in enumerate(labels):
        u, v = np.meshgrid((at - centre[0, i]) / radius[i], (at - centre[1, i]) / radius[i])
        # The soft edge of a sharp corner reaches far; the square around the shape bounds it.
        distance = np.minimum(SHAPES[CLASSES[label]](u, v), 1.0 - largest(u, v))
        out[i] = np.clip(0.5 + distance * radius[i] / SOFTNESS, 0.0, 1.0)
    return out


def draw_fine(background: Floats, mask: Floats, rng: np.random.Generator) -> Images:
    """(N, 64, 64, 3) images: the background under rows inside the mask and columns outside."""
    picture = doubled(np.clip(np.rint(background), LOWEST, HIGHEST).astype(np.int16))
    # Whole grey levels that add up to AMPLITUDE everywhere: rounding leaves nothing behind.
    rows = doubled(np.rint(AMPLITUDE * mask).astype(np.int16))
    sign = (1 - 2 * (np.arange(SIDE) % 2)).astype(np.int16)
    stripes = rows * sign[:, None] + (AMPLITUDE - rows) * sign
    stripes *= rng.choice(np.array([-1, 1], np.int16), (len(mask), 1, 1))
    return (picture + stripes[..., None]).astype(np.uint8)


def draw_coarse(background: Floats, mask: Floats, rng: np.random.Generator) -> Images:
    """(N, 64, 64, 3) images: the shape lighter or darker than the rest, half the contrast each."""
    polarity = rng.choice([-1.0, 1.0], len(mask))[:, None, None, None]
    picture = background + polarity * CONTRAST * (mask[..., None] - 0.5)
    return doubled(np.clip(np.rint(picture), 0, 255).astype(np.uint8))


def doubled(grid: Integers) -> Integers:
    """(N, 32, 32, ...) -> (N, 64, 64, ...): each value to a block of 2 x 2 pixels."""
    return grid.repeat(2, axis=1).repeat(2, axis=2)
