"""ZIP archives from strangers: looked into, never unpacked to the disk. No name inside one becomes a path of ours."""

from __future__ import annotations

import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from bigmodel.core import limits
from bigmodel.core.errors import Refusal
from bigmodel.core.safe_open import open_source
from bigmodel.core.words import Words, _
from bigmodel.importing.formats.encodings import detect_name_encoding

UTF8_FLAG = 0x800
HIDDEN = ("__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini")
METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA}
ARCHIVE_ERRORS = (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError, KeyError)


def is_zip(path: Path) -> bool:
    with open_source(path) as file:
        return zipfile.is_zipfile(file)


@dataclass(frozen=True)
class Entry:
    """A file inside an archive, under the name it was given."""

    number: int
    name: str
    size: int  # as the archive says
    info: zipfile.ZipInfo


@contextmanager
def open_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """Refuses what is no archive, or one of too many files."""
    try:
        with open_source(path) as file, zipfile.ZipFile(file) as archive:
            if len(archive.filelist) > limits.ARCHIVE_FILES:
                what = _("The archive holds {count} files.", count=len(archive.filelist))
                raise Refusal(what, do=_("Give at most {maximum}.", maximum=limits.ARCHIVE_FILES))
            yield archive
    except ARCHIVE_ERRORS as error:
        what = _("This ZIP archive cannot be read: {reason}.", reason=str(error)[:200] or type(error).__name__)
        raise Refusal(what, do=_("Pack it again, or give the files themselves.")) from error


def entries(archive: zipfile.ZipFile) -> list[Entry]:
    """Every file that a person has put in, in the archive's order."""
    found = []
    names = _decode_names(archive.filelist)
    for number, (info, name) in enumerate(zip(archive.filelist, names, strict=True), 1):
        name = name.replace("\\", "/")
        if not is_hidden(name) and not name.endswith("/"):
            found.append(Entry(number, name, info.file_size, info))
    return found


def is_hidden(name: str) -> bool:
    """Whether a file is one of the system's, or lies in a folder of these."""
    return any(part in HIDDEN or (part.startswith(".") and part.strip(".")) for part in PurePosixPath(name).parts)


def unreadable_reason(entry: Entry) -> Words | None:
    """Why a file inside an archive is not opened."""
    if stat.S_ISLNK(entry.info.external_attr >> 16):
        return _("It is a link to another place.")
    if ".." in PurePosixPath(entry.name).parts or entry.name.startswith("/") or entry.name[1:2] == ":":
        return _("Its name leads out of the archive.")
    if entry.info.flag_bits & 1:
        return _("It is locked with a password.")
    if entry.info.compress_type not in METHODS:
        return _("It is packed in a way that is not known here.")
    return None


def read(archive: zipfile.ZipFile, entry: Entry, most: int) -> bytes | Words:
    """Its bytes, or why not. Never more than `most`, whatever the archive says of its size."""
    why = unreadable_reason(entry)
    if why is not None:
        return why
    if entry.size > most:
        return _("It has more than {maximum} MB.", maximum=most // 2**20)
    try:
        with archive.open(entry.info) as file:
            data = file.read(most + 1)
    except ARCHIVE_ERRORS as error:
        return _("It cannot be unpacked: {reason}.", reason=str(error)[:200] or type(error).__name__)
    if len(data) != entry.size:
        return _("It has another size than the archive says.")
    return data


def read_header(archive: zipfile.ZipFile, entry: Entry, count: int) -> bytes:
    """Its first bytes; b'' where it cannot be opened."""
    if unreadable_reason(entry) is not None:
        return b""
    try:
        with archive.open(entry.info) as file:
            return file.read(count)
    except ARCHIVE_ERRORS:
        return b""


def _decode_names(infos: Sequence[zipfile.ZipInfo]) -> Iterator[str]:
    """As they were meant. An archive says that a name is UTF-8, or brings it so beside; else all its names are in the
    encoding of the system that made it, which is not said."""
    said = [info.filename if info.flag_bits & UTF8_FLAG else _unicode_path(info) for info in infos]
    silent = [_raw_name(info) for info, name in zip(infos, said, strict=True) if name is None]
    wide = [name for name in dict.fromkeys(silent) if name and not name.isascii()][:500]
    encoding = detect_name_encoding(wide) if wide else "utf-8"
    for info, name in zip(infos, said, strict=True):
        raw = _raw_name(info)
        yield name if name is not None else info.filename if raw is None else raw.decode(encoding, "replace")


def _raw_name(info: zipfile.ZipInfo) -> bytes | None:
    try:
        return info.orig_filename.encode("cp437")  # as which zipfile has read it
    except UnicodeEncodeError:
        return None


def _unicode_path(info: zipfile.ZipInfo) -> str | None:
    """The name of the extra field 0x7075 of Info-ZIP, where it belongs to the name that is there (APPNOTE.TXT, 4.6.9)."""
    extra, raw = info.extra, _raw_name(info)
    checksum = zlib.crc32(raw).to_bytes(4, "little") if raw is not None else None
    while len(extra) >= 4:
        kind, size = struct.unpack_from("<HH", extra)
        data, extra = extra[4 : 4 + size], extra[4 + size :]
        if kind == 0x7075 and data[:1] == b"\1" and data[1:5] == checksum:
            with suppress(UnicodeDecodeError):
                return data[5:].decode("utf-8")
    return None
