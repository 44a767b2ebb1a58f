"""Records of pictures: from an archive or a folder, classed by the folder they lie in or by a file of labels."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from bigmodel.core import limits
from bigmodel.core.words import Words, _
from bigmodel.importing.formats import folder_labels, zip_archive
from bigmodel.importing.formats.bad_record import BadRecord
from bigmodel.importing.formats.csv_json import Record

EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".jfif")
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
SIDE = 256  # pixels of the longer side that are kept: more than the networks look at
LabelLookup = Callable[[str], Mapping | None]
UNREADABLE_IMAGE = _("It is no picture that can be read.")


def is_picture(name: str) -> bool:
    return name.lower().endswith(EXTENSIONS)


def names(path: Path) -> list[str]:
    """Of all pictures of an archive or a folder, with the folders that they lie in."""
    if path.is_dir():
        return [one.relative_to(path).as_posix() for one in pictures_in(path)]
    with zip_archive.open_zip(path) as packed:
        return [entry.name for entry in zip_archive.entries(packed) if is_picture(entry.name)]


def read_archive(path: Path, told: LabelLookup | None, leave_out: str, done: list[int]) -> Iterator[Record]:
    """(place in the archive, {"picture": bytes, "name", the columns of its folders, ...}); `told`: what a file of labels
    says of a name, None where it does not know it."""
    with zip_archive.open_zip(path) as packed:
        unpacked = 0
        found = zip_archive.entries(packed)
        total = sum(entry.info.compress_size for entry in found) or 1
        size, read = path.stat().st_size, 0
        deep = folder_labels.depth(entry.name for entry in found if is_picture(entry.name))
        for entry in found:
            read += entry.info.compress_size
            done[0] = size * min(read, total) // total
            if entry.name == leave_out:
                continue
            if not is_picture(entry.name):
                yield BadRecord(entry.number, entry.name, UNREADABLE_IMAGE)
                continue
            about = told(entry.name) if told else {}
            data = zip_archive.read(packed, entry, limits.PICTURE_BYTES)
            if isinstance(data, Words):
                yield BadRecord(entry.number, entry.name, data)
                continue
            unpacked += len(data)
            if unpacked > limits.UNPACKED_BYTES:
                yield BadRecord(entry.number, entry.name, _("The archive becomes too large when it is unpacked."))
                return
            yield _record(entry.number, entry.name, deep, data, about)


def read_folder(folder: Path, told: LabelLookup | None, done: list[int]) -> Iterator[Record]:
    """The same of a folder on the disk; what lies elsewhere by a link is left out."""
    found = pictures_in(folder)
    deep = folder_labels.depth(path.relative_to(folder).as_posix() for path in found)
    for number, path in enumerate(found, 1):
        name = path.relative_to(folder).as_posix()
        about = told(name) if told else {}
        size = path.stat().st_size
        done[0] += size
        if size > limits.PICTURE_BYTES:
            reason = _("It has more than {maximum} MB.", maximum=limits.PICTURE_BYTES // 2**20)
            yield BadRecord(number, name, reason)
            continue
        yield _record(number, name, deep, path.read_bytes(), about)


def pictures_in(folder: Path) -> list[Path]:
    here = folder.resolve()
    found = (path for path in folder.rglob("*") if is_picture(path.name) and path.is_file())
    return sorted((path for path in found if path.resolve().is_relative_to(here)), key=lambda path: path.as_posix())


def _record(number: int, name: str, deep: int, data: bytes, about: Mapping | None) -> Record:
    if about is None:
        return rejected_image(number, name, _("The file of labels does not name it."), normalize_image(data))
    return number, {**about, "picture": data, **folder_labels.columns(name, deep), "name": name}


def rejected_image(
    number: int, raw: str, reason: Words, picture: bytes | Words, cells: Mapping | None = None
) -> BadRecord:
    """A picture that lacks something else. That it cannot be read comes first: whatever is given, it stays set aside."""
    if isinstance(picture, Words):
        return BadRecord(number, raw, picture, cells=cells or {})
    return BadRecord(number, raw, reason, cells=cells or {}, picture=picture)


def normalize_image(data: bytes) -> bytes | Words:
    """A picture as it is kept: upright, its first frame, no larger than needed; the words where it is none."""
    from PIL import Image, ImageOps

    if not isinstance(data, bytes):
        return UNREADABLE_IMAGE
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns before it refuses; our own bound comes first
            with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
                width, height = picture.size
                if width * height > limits.IMAGE_PIXELS:
                    return _("It has {width} x {height} pixels.", width=width, height=height)
                as_it_is = (
                    picture.format in ("PNG", "JPEG")
                    and max(width, height) <= SIDE
                    and picture.mode in ("L", "RGB", "1")
                    and picture.getexif().get(0x0112, 1) == 1
                    and getattr(picture, "n_frames", 1) == 1
                )
                picture.draft("RGB", (2 * SIDE, 2 * SIDE))  # a JPEG is decoded at about the size that is needed
                picture.load()
                return data if as_it_is else _reencode(ImageOps.exif_transpose(picture))
    except Image.DecompressionBombError:
        return _("It has more than {maximum} million pixels.", maximum=limits.IMAGE_PIXELS // 10**6)
    except Exception:  # Pillow raises many kinds for broken files; all mean the same to a person
        return UNREADABLE_IMAGE


def _reencode(picture) -> bytes:
    from PIL import Image

    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        ground = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(ground, picture)
    grey = picture.mode in ("1", "L", "I", "I;16", "F")
    if picture.mode in ("I", "I;16", "F"):
        low, high = picture.getextrema()
        picture = picture.point(lambda value: (value - low) * (255.0 / max(high - low, 1)))
    picture = picture.convert("L" if grey else "RGB")
    picture.thumbnail((SIDE, SIDE))
    out = io.BytesIO()
    picture.save(out, "PNG") if max(picture.size) <= 64 else picture.save(out, "JPEG", quality=92)
    return out.getvalue()
