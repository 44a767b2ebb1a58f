"""Grey pictures of more than 8 bits: one scale for all of a data set, so that what is darker in one stays darker in another."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterable
from dataclasses import dataclass

from bigmodel.core import limits

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
TIFF_SIGNATURES = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
HEADER_BYTES = 26  # of a PNG, up to its bit depth and colour type
BIT_DEPTHS = (8, 10, 12, 14, 16, 24, 32)  # of sensors: pixels are taken to have the least that holds all of them


@dataclass(frozen=True)
class PixelRange:
    """The values that become black and white."""

    low: float
    high: float


SIXTEEN_BITS = PixelRange(0, 2**16 - 1)


def may_be_deep(header: bytes) -> bool:
    """By the first bytes of a file; only TIFF must be opened to know."""
    if header.startswith(PNG_SIGNATURE):
        return header[24:25] == b"\x10"
    return header.startswith(TIFF_SIGNATURES)


def is_deep(mode: str) -> bool:
    return mode in ("I", "F") or mode.startswith("I;16")


def common_range(pictures: Iterable[bytes]) -> tuple[PixelRange | None, int]:
    """The range of all deep pictures among these, None where there is none; how many they are."""
    extrema = [found for data in pictures if (found := _extrema(data))]
    if not extrema:
        return None, 0
    low, high = min(low for low, _high, _whole in extrema), max(high for _low, high, _whole in extrema)
    return _round_range(low, high, all(whole for _low, _high, whole in extrema)), len(extrema)


def _extrema(data: bytes) -> tuple[float, float, bool] | None:
    """(darkest, brightest, whether all are whole numbers); None where it is not deep or no picture."""
    import numpy as np
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=("PNG", "TIFF")) as picture:
                if not is_deep(picture.mode) or picture.width * picture.height > limits.IMAGE_PIXELS:
                    return None
                pixels, floating = np.asarray(picture), picture.mode == "F"
    except Exception:  # Pillow raises many kinds for broken files; it is refused when it is read
        return None
    if floating:
        pixels = pixels[np.isfinite(pixels)]
    return (float(pixels.min()), float(pixels.max()), not floating) if pixels.size else None


def _round_range(low: float, high: float, whole: bool) -> PixelRange:
    """0 is black and the largest number of so many bits is white, however much of that a few pictures use."""
    if low < 0:
        return PixelRange(low, max(high, low + 1e-12))
    if not whole and high <= 1:
        return PixelRange(0, 1)
    return PixelRange(0, next((2.0**bits - 1 for bits in BIT_DEPTHS if high <= 2.0**bits - 1), high))


def to_8_bits(picture, pixel_range: PixelRange):
    """A deep picture of Pillow as one of mode 'L'."""
    import numpy as np
    from PIL import Image

    pixels = np.nan_to_num(np.asarray(picture, np.float32), nan=pixel_range.low)
    scaled = (pixels - pixel_range.low) * (255.0 / (pixel_range.high - pixel_range.low))
    return Image.fromarray(np.clip(np.rint(scaled), 0, 255).astype(np.uint8))
