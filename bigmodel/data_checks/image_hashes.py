"""Pictures as the checks see them: whether they open, what colour they are, which are nearly the same."""

from __future__ import annotations

import hashlib
import io
import warnings
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bigmodel.core import limits
from bigmodel.core.words import Words, _

THUMBNAIL_SIDE = 16  # pixels of the small picture that is compared
SINGLE_COLOR_RANGE = 3  # levels of 256 between the darkest and the brightest pixel of a picture of one colour
MAX_RMS_DISTANCE = (
    4.0  # levels of 256, root mean square over the small picture: another compression or size of the same picture
)
PCA_COMPONENTS = 8  # directions in which the small pictures differ most


@dataclass(frozen=True)
class ImageStats:
    """One picture, looked at. `wrong` says why it could not be opened; then the rest says nothing."""

    error: Words | None = None
    size: tuple[int, int] = (0, 0)
    mode: str = ""
    content: bytes = b""  # a hash of the pixels
    spread: int = 255  # levels between the darkest and the brightest pixel
    small: np.ndarray | None = None  # (SIDE, SIDE) grey, float32

    @property
    def single_color(self) -> bool:
        return self.error is None and self.spread <= SINGLE_COLOR_RANGE


def inspect_image(data: bytes | None) -> ImageStats:
    """Open and decode a picture. What is broken, cut off or too large is said and not raised."""
    from PIL import Image

    if not data:
        return ImageStats(_("there is no picture"))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns before it refuses; our own bound comes first
            with Image.open(io.BytesIO(data)) as picture:
                if picture.width * picture.height > limits.IMAGE_PIXELS:
                    return ImageStats(
                        _("{width} x {height} pixels are too many", width=picture.width, height=picture.height)
                    )
                picture.load()
                return _image_stats(picture)
    except Exception as error:  # Pillow raises many kinds for broken files; all mean the same to a person
        cut = "truncated" in str(error).lower() or isinstance(error, EOFError)
        return ImageStats(_("the file is cut off") if cut else _("this is not a picture that can be read"))


def _image_stats(picture) -> ImageStats:
    from PIL import Image

    grey = picture.mode in ("L", "1", "I", "F", "I;16")
    pixels = picture.convert("L" if grey else "RGBA")
    values = np.asarray(pixels)
    flat = values.reshape(-1, 1 if grey else 4).astype(np.int16)
    spread = flat.max(0) - flat.min(0)
    # A tiny picture's pixels stay squares, so that it resembles itself drawn larger; a large one's are averaged.
    way = Image.Resampling.BOX if max(picture.size) <= THUMBNAIL_SIDE else Image.Resampling.BILINEAR
    small = pixels.convert("L").resize((THUMBNAIL_SIDE, THUMBNAIL_SIDE), way)
    return ImageStats(
        size=picture.size,
        mode="L" if grey else "RGB",
        content=hashlib.sha256(repr(pixels.size).encode() + values.tobytes()).digest(),
        spread=int(spread.max()),
        small=np.asarray(small, dtype=np.float32),
    )


def find_near_duplicates(seen: Sequence[ImageStats]) -> dict[int, dict[int, float]]:
    """Place -> places of pictures with the same pixels (1) or nearly the same ones (less).

    Near ones are looked for by their first few principal axes: a projection never makes two pictures look farther
    apart than they are, so that none is missed.
    """
    from scipy.spatial import cKDTree

    found: dict[int, dict[int, float]] = defaultdict(dict)
    first: dict[bytes, int] = {}
    for index, one in enumerate(seen):
        if one.error or one.single_color:
            continue
        earlier = first.setdefault(one.content, index)
        if earlier != index:
            found[earlier][index] = found[index][earlier] = 1.0
    places = list(first.values())
    if len(places) < 3:
        return dict(found)
    small = (
        np.stack([seen[place].small.ravel() for place in places]) / THUMBNAIL_SIDE
    )  # a distance is a root mean square
    middle = small - small.mean(0)
    _values, axes = np.linalg.eigh(middle.T @ middle)
    flat = middle @ axes[:, -PCA_COMPONENTS:]
    for pairs in _chunks(cKDTree(flat).query_pairs(MAX_RMS_DISTANCE, output_type="ndarray")):
        apart = np.sqrt(((small[pairs[:, 0]] - small[pairs[:, 1]]) ** 2).sum(1))
        for (one, other), distance in zip(
            pairs[apart < MAX_RMS_DISTANCE].tolist(), apart[apart < MAX_RMS_DISTANCE].tolist(), strict=True
        ):
            alike = 1.0 - max(distance, 0.01) / 256
            found[places[one]][places[other]] = found[places[other]][places[one]] = alike
    return dict(found)


def _chunks(pairs: np.ndarray, size: int = 50_000) -> list[np.ndarray]:
    """As many at a time as fit the memory beside everything else."""
    return [pairs[start : start + size] for start in range(0, len(pairs), size)]
