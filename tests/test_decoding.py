"""What becomes of an image that is not 8-bit RGB, upright and opaque."""

from __future__ import annotations

import io
import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from bench.data.decoding import (
    COMPOSITED,
    FIRST_FRAME,
    SCALED,
    TURNED,
    UndecodableError,
    decode,
    pixel_count,
    suffixes,
)

RAMP = np.array([[0, 128, 257, 32896], [65535, 65407, 1, 25700]], np.uint16)
RAMP_8 = np.array([[0, 0, 1, 128], [255, 255, 0, 100]], np.uint8)
"""Each value times 255 / 65535, to the nearest."""


def saved(image: PIL.Image.Image, kind: str, **options: Any) -> io.BytesIO:
    image.save(file := io.BytesIO(), kind, **options)
    return file


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_grey_of_16_bits_is_scaled_and_told(kind: str) -> None:
    found = decode(saved(PIL.Image.fromarray(RAMP), kind))
    assert np.array_equal(found.image, np.repeat(RAMP_8[:, :, None], 3, axis=2))
    assert found.changes == (SCALED,)


def test_grey_of_16_bits_with_a_transparent_value_is_scaled_and_white_there() -> None:
    found = decode(saved(PIL.Image.fromarray(RAMP), "PNG", transparency=0))
    assert found.image[0, 0].tolist() == [255, 255, 255]
    assert found.image[0, 3].tolist() == [128, 128, 128]
    assert found.changes == (SCALED, COMPOSITED)


def see_through(mode: str) -> PIL.Image.Image:
    """Two pixels of dark red or grey: the first transparent, the second opaque."""
    image = PIL.Image.new("RGBA", (2, 1), (100, 0, 0, 255))
    image.putpixel((0, 0), (100, 0, 0, 0))
    return image.convert(mode)


@pytest.mark.parametrize(
    ("mode", "kind", "second"),
    [
        ("RGBA", "PNG", [100, 0, 0]),
        ("LA", "PNG", [30, 30, 30]),
        ("RGBA", "TIFF", [100, 0, 0]),
        ("RGBA", "WEBP", [100, 0, 0]),
    ],
)
def test_transparency_is_laid_on_white_and_told(mode: str, kind: str, second: list[int]) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    found = decode(saved(see_through(mode), kind, **options))
    assert found.image.tolist() == [[[255, 255, 255], second]]
    assert found.changes == (COMPOSITED,)


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_a_transparent_colour_of_a_palette_is_white(kind: str) -> None:
    image = PIL.Image.new("P", (2, 1), 1)
    image.putpalette([0, 0, 0, 0, 100, 0])
    image.putpixel((0, 0), 0)
    found = decode(saved(image, kind, transparency=0))
    assert found.image.tolist() == [[[255, 255, 255], [0, 100, 0]]]
    assert found.changes == (COMPOSITED,)


def test_half_transparent_is_half_white_and_opaque_changes_nothing() -> None:
    half = decode(saved(PIL.Image.new("RGBA", (1, 1), (0, 0, 0, 128)), "PNG"))
    assert half.image.tolist() == [[[127, 127, 127]]]
    opaque = decode(saved(PIL.Image.new("RGBA", (1, 1), (9, 8, 7, 255)), "PNG"))
    assert (opaque.image.tolist(), opaque.changes) == ([[[9, 8, 7]]], ())


TURNS = {
    1: [[1, 2, 3], [4, 5, 6]],
    2: [[3, 2, 1], [6, 5, 4]],
    3: [[6, 5, 4], [3, 2, 1]],
    4: [[4, 5, 6], [1, 2, 3]],
    5: [[1, 4], [2, 5], [3, 6]],
    6: [[4, 1], [5, 2], [6, 3]],
    7: [[6, 3], [5, 2], [4, 1]],
    8: [[3, 6], [2, 5], [1, 4]],
}
"""What each orientation of EXIF makes of [[1, 2, 3], [4, 5, 6]]."""


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "JPEG"])
def test_an_image_is_turned_as_its_exif_says_and_told(kind: str, orientation: int) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    pixels = np.array(TURNS[1], np.uint8) * 40
    options = {"lossless": True} if kind == "WEBP" else {}
    if kind == "JPEG":
        pixels, options = pixels.repeat(8, axis=0).repeat(8, axis=1), {"quality": 100}
    image = PIL.Image.fromarray(pixels).convert("RGB")
    found = decode(saved(image, kind, exif=exif, **options))
    step = 8 if kind == "JPEG" else 1
    got = np.round(found.image[step // 2 :: step, step // 2 :: step, 0] / 40)
    assert got.tolist() == TURNS[orientation]
    assert found.changes == ((TURNED,) if orientation > 1 else ())


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_changes_nothing(orientation: int) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    found = decode(saved(PIL.Image.new("RGB", (3, 2)), "PNG", exif=exif))
    assert (found.image.shape, found.changes) == ((2, 3, 3), ())


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_beside_sound_pixels_changes_nothing() -> None:
    found = decode(saved(PIL.Image.new("RGB", (3, 2)), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff"))
    assert (found.image.shape, found.changes) == ((2, 3, 3), ())


def test_an_image_is_turned_whatever_else_is_damaged_in_its_exif() -> None:
    entries = ((0x0112, 3, 1, 6 << 16), (0x0132, 2, 40, 0xFFFFFF))  # the date's place is nowhere
    directory = b"".join(struct.pack(">HHII", *entry) for entry in entries)
    exif = b"Exif\0\0MM\0*" + struct.pack(">IH", 8, len(entries)) + directory + bytes(4)
    image = PIL.Image.new("RGB", (3, 2))
    with warnings.catch_warnings(action="ignore"):
        found = decode(saved(image, "JPEG", exif=exif))
    assert (found.image.shape, found.changes) == ((3, 2, 3), (TURNED,))


def grey_tiff(bits: int, interpretation: int, pixels: bytes) -> io.BytesIO:
    """A TIFF of two pixels, side by side."""
    tags = {256: 2, 257: 1, 258: bits, 259: 1, 262: interpretation, 273: 8, 277: 1, 278: 1}
    tags[279] = len(pixels)
    entries = [struct.pack("<HHIHH", tag, 3, 1, value, 0) for tag, value in tags.items()]
    directory = struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)
    return io.BytesIO(b"II*\0" + struct.pack("<I", 8 + len(pixels)) + pixels + directory)


@pytest.mark.parametrize(
    ("bits", "interpretation", "pixels", "wanted"),
    [
        (12, 1, b"\x00\x0f\xff", [0, 255]),
        (16, 1, b"\x00\x00\xff\xff", [0, 255]),
        (16, 0, b"\x00\x00\xff\xff", [255, 0]),
    ],
)
def test_grey_has_its_whole_range_whatever_its_bits_and_its_white(
    bits: int, interpretation: int, pixels: bytes, wanted: list[int]
) -> None:
    found = decode(grey_tiff(bits, interpretation, pixels))
    assert (found.image[0, :, 0].tolist(), found.changes) == (wanted, (SCALED,))


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "WEBP"])
def test_of_several_frames_the_first_is_taken_and_told(kind: str) -> None:
    first, second = PIL.Image.new("RGB", (2, 2), "white"), PIL.Image.new("RGB", (2, 2), "black")
    found = decode(saved(first, kind, save_all=True, append_images=[second]))
    assert found.image.min() > 250
    assert FIRST_FRAME in found.changes


@pytest.mark.parametrize(
    ("values", "mode"), [(np.float32, "F"), (np.int32, "I")], ids=["float", "32 bits"]
)
def test_values_whose_range_is_not_known_are_refused(values: type, mode: str) -> None:
    image = PIL.Image.fromarray(np.ones((2, 2), values))
    with pytest.raises(UndecodableError, match=f"32 bits \\(mode {mode}\\), whose range is not"):
        decode(saved(image, "TIFF"))


@pytest.mark.parametrize("at", [60, 100, -20, -13])
def test_a_flipped_bit_in_the_pixels_of_a_png_is_found(at: int) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    damaged = bytearray(saved(PIL.Image.fromarray(noise), "PNG", compress_level=0).getvalue())
    damaged[at] ^= 1
    with pytest.raises(UndecodableError, match="checksum"):
        decode(io.BytesIO(damaged))


def test_what_is_written_under_any_suffix_that_counts_is_read(tmp_path: Path) -> None:
    wanted = {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"}
    assert wanted <= suffixes()
    for suffix in wanted:
        path = tmp_path / f"a{suffix}"
        PIL.Image.new("L", (3, 2), 200).save(path)
        assert decode(path).image.shape == (2, 3, 3)
        assert pixel_count(path) == 6


def test_what_is_no_picture_does_not_count() -> None:
    assert not {".pdf", ".eps", ".h5", ".mpg", ".svg", ".txt", ""} & suffixes()
