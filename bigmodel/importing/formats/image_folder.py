"""Records of pictures: from an archive or a folder, classed by the folder they lie in or by tables that name them."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath

from bigmodel.core import limits
from bigmodel.core.safe_open import list_files, open_source
from bigmodel.core.words import Words, _
from bigmodel.importing.formats import folder_labels, pixel_depth, zip_archive
from bigmodel.importing.formats.bad_record import BadRecord
from bigmodel.importing.formats.csv_json import Record
from bigmodel.importing.formats.pixel_depth import PixelRange

EXTENSIONS = (
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".heic", ".heif", ".hif", ".avif",
)  # fmt: skip
DEEP_EXTENSIONS = (".png", ".tif", ".tiff")  # of files that can have more than 8 bits a pixel
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIF")
LabelLookup = Callable[[str], Mapping | Words]
UNREADABLE_IMAGE = _("It is no picture that can be read.")
NEEDS_MEMORY = _("It needs more than {maximum} MB of memory when it is opened.", maximum=limits.CHILD_BYTES // 2**20)
NO_PICTURE = _("It is no picture.")
NO_PIXEL_RANGE = _("Its pixels are floating-point numbers, of which nothing says what is black and what is white.")


def is_picture(name: str) -> bool:
    return name.lower().endswith(EXTENSIONS)


@dataclass(frozen=True)
class _File:
    """A file of a folder or of an archive that is open. size: what it takes there."""

    number: int
    name: str
    size: int
    read: Callable[[], bytes | Words]
    read_header: Callable[[], bytes]


def names(path: Path) -> list[str]:
    """Of all pictures of an archive or a folder, with the folders that they lie in."""
    return [name for name in all_names(path) if is_picture(name)]


def all_names(path: Path) -> list[str]:
    """Of all files that a person has put in."""
    if path.is_dir():
        return [file.relative_to(path).as_posix() for file in _files_in(path)]
    with zip_archive.open_zip(path) as packed:
        return [entry.name for entry in zip_archive.entries(packed)]


def read(
    path: Path, lookup: LabelLookup | None, tables: Collection[str], done: list[int], only: Collection[str] = ()
) -> Iterator[Record]:
    """(number in the folder or archive, {"picture": bytes, "name", the columns of its folders, ...}). lookup: what the
    tables say of a picture, or why they say nothing. tables: their names; they are no pictures, and not set aside
    either. only: the pictures that are wanted, all where it is empty."""
    pixel_range, _count = common_pixel_range(path)
    deep = folder_labels.depth(names(path))
    unpacked = 0
    with closing(_files(path, done)) as files:
        for file in files:
            if file.name in tables or (only and file.name not in only):
                continue
            if not is_picture(file.name):
                yield BadRecord(file.number, file.name, NO_PICTURE)
                continue
            about = lookup(file.name) if lookup else {}
            data = file.read()
            if isinstance(data, Words):
                yield BadRecord(file.number, file.name, data)
                continue
            unpacked += len(data)
            if unpacked > limits.UNPACKED_BYTES:
                yield BadRecord(file.number, file.name, _("The archive becomes too large when it is unpacked."))
                return
            if pixel_range and pixel_depth.may_be_deep(data[: pixel_depth.HEADER_BYTES]):
                data = _in_range(data, pixel_range)
            yield _record(file.number, file.name, deep, data, about)


@cache
def common_pixel_range(path: Path) -> tuple[PixelRange | None, int]:
    """The one scale of all grey pictures of more than 8 bits, and how many there are. A process reads one source."""
    with closing(_files(path, [0])) as files:
        return pixel_depth.common_range(
            data
            for file in files
            if file.name.lower().endswith(DEEP_EXTENSIONS)
            and pixel_depth.may_be_deep(file.read_header())
            and isinstance(data := file.read(), bytes)
        )


def _in_range(data: bytes, pixel_range: PixelRange) -> bytes:
    """A picture of more than 8 bits as one of 8; any other as it is."""
    picture = _decode(data, pixel_range)
    if isinstance(picture, Words):
        return data  # which is said when it becomes a row
    return data if picture is None else _png(picture)


def _decode(data: bytes, pixel_range: PixelRange):
    """The upright 8-bit picture; None where it has 8 bits already, Words where it cannot be read."""
    from PIL import Image, ImageOps

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=("PNG", "TIFF")) as picture:
                if not pixel_depth.is_deep(picture.mode) or picture.width * picture.height > limits.IMAGE_PIXELS:
                    return None
                upright = ImageOps.exif_transpose(picture)
                return pixel_depth.to_8_bits(upright, pixel_range)
    except MemoryError:
        return NEEDS_MEMORY
    except Exception:  # Pillow raises many kinds for broken files; all mean the same to a person
        return UNREADABLE_IMAGE


def _png(picture) -> bytes:
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()


def _files(path: Path, done: list[int]) -> Iterator[_File]:
    return _folder_files(path, done) if path.is_dir() else _archive_files(path, done)


def _folder_files(folder: Path, done: list[int]) -> Iterator[_File]:
    """Pictures first, so that their numbers are those of the pictures."""
    found = sorted(_files_in(folder), key=lambda path: not is_picture(path.name))
    for number, path in enumerate(found, 1):
        size = path.stat().st_size
        yield _File(number, path.relative_to(folder).as_posix(), size, lambda path=path: _read_file(path),
                    lambda path=path: _read_header(path))  # fmt: skip
        done[0] += size


def _read_file(path: Path) -> bytes | Words:
    with open_source(path) as file:
        data = file.read(limits.PICTURE_BYTES + 1)
    if len(data) > limits.PICTURE_BYTES:
        return _("It has more than {maximum} MB.", maximum=limits.PICTURE_BYTES // 2**20)
    return data


def _read_header(path: Path) -> bytes:
    with open_source(path) as file:
        return file.read(pixel_depth.HEADER_BYTES)


def _archive_files(path: Path, done: list[int]) -> Iterator[_File]:
    with zip_archive.open_zip(path) as packed:
        entries = zip_archive.entries(packed)
        total = sum(entry.info.compress_size for entry in entries) or 1
        size, read_bytes = path.stat().st_size, 0
        for entry in entries:
            read_bytes += entry.info.compress_size
            done[0] = size * min(read_bytes, total) // total
            yield _File(
                entry.number, entry.name, entry.info.compress_size,
                lambda entry=entry: zip_archive.read(packed, entry, limits.PICTURE_BYTES),
                lambda entry=entry: zip_archive.read_header(packed, entry, pixel_depth.HEADER_BYTES),
            )  # fmt: skip


def _files_in(folder: Path) -> list[Path]:
    """What lies elsewhere by a link, or is hidden, is left out."""
    return [path for path in list_files(folder) if not zip_archive.is_hidden(path.relative_to(folder).as_posix())]


def count_by_extension(names: Collection[str]) -> str:
    """'.heic (4), .txt (2)'"""
    counted: dict[str, int] = {}
    for name in names:
        path = PurePosixPath(name)
        key = path.suffix.lower() or path.name
        counted[key] = counted.get(key, 0) + 1
    listed = sorted(counted.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{key} ({count})" for key, count in listed[:8]) + (" ..." if len(listed) > 8 else "")


def _record(number: int, name: str, deep: int, data: bytes, about: Mapping | Words) -> Record:
    if isinstance(about, Words):
        return rejected_image(number, name, about, normalize_image(data))
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
    if data[4:8] == b"ftyp":
        _register_heif()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns before it refuses; our own bound comes first
            with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
                width, height = picture.size
                if width * height > limits.IMAGE_PIXELS:
                    return _("It has {width} x {height} pixels.", width=width, height=height)
                if picture.mode == "F":
                    return NO_PIXEL_RANGE
                as_it_is = (
                    picture.format in ("PNG", "JPEG")
                    and max(width, height) <= limits.PICTURE_SIDE
                    and picture.mode in ("L", "RGB", "1")
                    and picture.getexif().get(0x0112, 1) == 1
                    and getattr(picture, "n_frames", 1) == 1
                )
                # a JPEG is decoded at about the size that is needed
                picture.draft("RGB", (2 * limits.PICTURE_SIDE, 2 * limits.PICTURE_SIDE))
                picture.load()
                return data if as_it_is else _reencode(ImageOps.exif_transpose(picture))
    except Image.DecompressionBombError:
        return _("It has more than {maximum} million pixels.", maximum=limits.IMAGE_PIXELS // 10**6)
    except MemoryError:
        return NEEDS_MEMORY
    except Exception:  # Pillow raises many kinds for broken files; all mean the same to a person
        return UNREADABLE_IMAGE


@cache
def _register_heif() -> None:
    import pi_heif

    pi_heif.register_heif_opener(thumbnails=False)


def _reencode(picture) -> bytes:
    from PIL import Image

    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        ground = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(ground, picture)
    if pixel_depth.is_deep(picture.mode):  # alone, as in a table: no other tells its scale
        picture = pixel_depth.to_8_bits(picture, pixel_depth.SIXTEEN_BITS)
    grey = picture.mode in ("1", "L")
    picture = picture.convert("L" if grey else "RGB")
    picture.thumbnail((limits.PICTURE_SIDE, limits.PICTURE_SIDE))
    out = io.BytesIO()
    picture.save(out, "PNG") if max(picture.size) <= 64 else picture.save(out, "JPEG", quality=92)
    return out.getvalue()
