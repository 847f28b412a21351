"""One image file: what Pillow reads, and how it becomes upright 8-bit RGB."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any

import numpy as np
import PIL.Image
from numpy.typing import NDArray

Image = NDArray[np.uint8]
"""(H, W, 3), RGB."""

COMMON = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "MPO", "PNG", "TIFF", "WEBP")
SELDOM = ("DDS", "DIB", "ICO", "PCX", "PPM", "QOI", "SGI", "TGA", "XBM", "XPM")
FORMATS = (*COMMON, *SELDOM)
"""What is read, where this Pillow can. Not documents, films, or what needs another program."""

TURNED = "turned upright, as EXIF says"
COMPOSITED = "transparency laid on white"
SCALED = "grey of more than 8 bits scaled to 8"
FIRST_FRAME = "first of several frames taken"

ORIENTATION = 0x0112  # EXIF
BITS, INTERPRETATION, WHITE_IS_ZERO = 258, 262, 0  # TIFF
UPRIGHT = {
    2: PIL.Image.Transpose.FLIP_LEFT_RIGHT,
    3: PIL.Image.Transpose.ROTATE_180,
    4: PIL.Image.Transpose.FLIP_TOP_BOTTOM,
    5: PIL.Image.Transpose.TRANSPOSE,
    6: PIL.Image.Transpose.ROTATE_270,
    7: PIL.Image.Transpose.TRANSVERSE,
    8: PIL.Image.Transpose.ROTATE_90,
}
"""What turns an image upright, by its orientation."""
SIXTEEN_BIT = ("I;16", "I;16B", "I;16L", "I;16N")


class UndecodableError(Exception):
    """The file is not a whole image that can be shown in 8 bits; the text says why."""


@dataclass(frozen=True)
class Decoded:
    """An image as (H, W, 3) uint8 RGB, and what was done to it besides decoding."""

    image: Image
    changes: tuple[str, ...] = ()


@cache
def suffixes() -> frozenset[str]:
    """Of the files that count as images: ".jpeg", …, in lower case; other files are passed over."""
    kinds = PIL.Image.registered_extensions()
    return frozenset(suffix for suffix, kind in kinds.items() if kind in FORMATS)


def pixel_count(file: Path | IO[bytes]) -> int:
    """Height times width, from the header alone.

    Raises:
        UndecodableError: if there is no header of an image.
    """
    with _opened(file) as image:
        return image.width * image.height


def decode(file: Path | IO[bytes]) -> Decoded:
    """Decode an image at its native size: upright, in 8 bits, transparency laid on white.

    Raises:
        UndecodableError: if it is not a whole image, or its values have no known range.
    """
    with _opened(file) as image:
        if image.format == "PNG":  # whose check sums are not looked at when it is loaded
            image.verify()
    with _opened(file) as image:
        turned = _orientation(image) in UPRIGHT
        frames = bool(getattr(image, "is_animated", False))
        image.load()
        left = UPRIGHT.get(_orientation(image))  # Pillow itself turns a TIFF as it loads it
        upright = image if left is None else image.transpose(left)
        rgb, how = _as_rgb(upright, image.format, getattr(image, "tag_v2", {}))
        changes = [TURNED] * turned + [FIRST_FRAME] * frames + how
        return Decoded(rgb, tuple(changes))


@contextmanager
def _opened(file: Path | IO[bytes]) -> Iterator[PIL.Image.Image]:
    """The image with its header read; all that Pillow raises becomes one error."""
    try:
        with PIL.Image.open(file, formats=_readable_formats()) as image:
            yield image
    except UndecodableError:
        raise
    except PIL.UnidentifiedImageError as error:
        raise UndecodableError("no known image format") from error
    except OSError as error:
        raise UndecodableError(error.strerror or str(error)) from error
    # Pillow's plug-ins raise SyntaxError, struct.error and others besides OSError.
    except Exception as error:
        raise UndecodableError(str(error) or type(error).__name__) from error


@cache
def _readable_formats() -> tuple[str, ...]:
    """Those of `FORMATS` that this Pillow was built with."""
    PIL.Image.init()
    return tuple(kind for kind in FORMATS if kind in PIL.Image.OPEN)


def _orientation(image: PIL.Image.Image) -> int:
    """EXIF's, 1 to 8; 1 where there is none, or none that can be read."""
    with suppress(Exception):  # damaged EXIF beside sound pixels
        return int(image.getexif().get(ORIENTATION, 1))
    return 1


def _as_rgb(
    image: PIL.Image.Image, kind: str | None, tags: Mapping[int, Any]
) -> tuple[Image, list[str]]:
    """The pixels as RGB, and what that took; the tags are a TIFF's."""
    if image.mode in SIXTEEN_BIT or (image.mode == "I" and kind in ("PNG", "PPM")):
        return _scaled(np.asarray(image), image.info.get("transparency"), tags)
    if image.mode in ("I", "F"):
        raise UndecodableError(f"pixels of 32 bits (mode {image.mode}), whose range is not known")
    if not image.has_transparency_data:
        return np.asarray(image.convert("RGB")), []
    layered = image.convert("RGBA")
    white = PIL.Image.new("RGBA", layered.size, "white")
    pixels = np.asarray(PIL.Image.alpha_composite(white, layered).convert("RGB"))
    opaque = bool((np.asarray(layered)[:, :, 3] == 255).all())
    return pixels, [] if opaque else [COMPOSITED]


def _scaled(
    grey: NDArray[np.integer], transparent: object, tags: Mapping[int, Any]
) -> tuple[Image, list[str]]:
    """Values of up to 16 bits as the nearest of 0 to 255; the transparent one, if any, is white."""
    most = 2 ** tags.get(BITS, (16,))[0] - 1
    eight = ((grey.astype(np.uint32) * 255 + most // 2) // most).astype(np.uint8)
    if tags.get(INTERPRETATION) == WHITE_IS_ZERO:
        eight = 255 - eight
    see_through = isinstance(transparent, int) and bool((grey == transparent).any())
    if see_through:
        eight[grey == transparent] = 255
    rgb = np.repeat(eight[:, :, None], 3, axis=2)
    return rgb, [SCALED] + [COMPOSITED] * see_through
