"""A file of text as lines of bytes, however it is packed and whatever it is encoded in, in bounded memory."""

from __future__ import annotations

import gzip
import io
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from bigmodel.core import limits
from bigmodel.core.errors import Refusal
from bigmodel.core.safe_open import open_source
from bigmodel.core.words import Words, _
from bigmodel.importing.formats import zip_archive
from bigmodel.importing.formats.bad_record import BadRecord, printable

CHUNK_BYTES = 2**20
GZIP = "(gzip)"  # as the member of a file that is packed by gzip
BOM = b"\xef\xbb\xbf"
WIDE_ENCODINGS = ("utf-16", "utf-32")  # encodings in which the byte of a line feed is no line feed
# of a packed file that is damaged; OSError: gzip's, or of the disk
READ_ERRORS = (EOFError, zlib.error, zipfile.BadZipFile, OSError, ValueError)
TOO_LONG = _("The line has more than {maximum} MB.", maximum=limits.LINE_BYTES // 2**20)
NOT_TEXT = _("The line holds bytes that are not text in this encoding.")


@contextmanager
def open_stream(path: Path, member: str, done: list[int]) -> Iterator[BinaryIO]:
    """The bytes of a file, or of `member`: one inside a ZIP archive, or GZIP. `done[0]` follows how far the packed file
    has been read."""
    if member and member != GZIP:
        with zip_archive.open_zip(path) as archive:
            entry = next((entry for entry in zip_archive.entries(archive) if entry.name == member), None)
            why = zip_archive.unreadable_reason(entry) if entry else _("The archive holds no such file.")
            if why is not None:
                what = _("{name} cannot be read.", name=member[:200])
                raise Refusal(what, why, _("Choose another file of the archive."))
            with archive.open(entry.info) as file:
                yield _buffered(_zip_reader(file, entry, done))
        return
    with open_source(path) as raw:
        counted = _buffered(_counting_reader(raw, done))
        if member == GZIP:
            with open_gzip(counted, done) as file:
                yield file
        else:
            yield counted


@contextmanager
def open_gzip(packed: BinaryIO, done: list[int]) -> Iterator[BinaryIO]:
    """What comes out of a packed stream. done[0]: bytes of it read so far."""
    with gzip.GzipFile(fileobj=packed) as file:
        yield _buffered(_gunzip_reader(file, done))


class _Reader(io.RawIOBase):
    """A raw stream of what `read(most bytes)` gives."""

    def __init__(self, read: Callable[[int], bytes]):
        self.read_part = read

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        data = self.read_part(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _buffered(read: Callable[[int], bytes]) -> io.BufferedReader:
    return io.BufferedReader(_Reader(read), CHUNK_BYTES)


def _counting_reader(raw: BinaryIO, done: list[int]) -> Callable[[int], bytes]:
    def read(most: int) -> bytes:
        data = raw.read(most)
        done[0] += len(data)
        return data

    return read


def _gunzip_reader(file: gzip.GzipFile, done: list[int]) -> Callable[[int], bytes]:
    """What comes out of a packed file, as long as it is no bomb."""
    size = 0

    def read(most: int) -> bytes:
        nonlocal size
        data = file.read(most)
        size += len(data)
        check_decompression_ratio(done[0], size)
        return data

    return read


def _zip_reader(file: BinaryIO, entry: zip_archive.Entry, done: list[int]) -> Callable[[int], bytes]:
    size, packed = 0, entry.info.compress_size

    def read(most: int) -> bytes:
        nonlocal size
        data = file.read(most)
        size += len(data)
        done[0] = min(size * packed // max(entry.size, 1), packed)
        check_decompression_ratio(packed, size)
        return data

    return read


def _utf8_reader(file: BinaryIO, encoding: str) -> Callable[[int], bytes]:
    """A wide encoding as UTF-8; what cannot be read becomes U+FFFD."""
    text, rest = io.TextIOWrapper(file, encoding, errors="replace"), b""

    def read(most: int) -> bytes:
        nonlocal rest
        rest = rest or text.read(CHUNK_BYTES // 4).encode("utf-8", "replace")
        part, rest = rest[:most], rest[most:]
        return part

    return read


def check_decompression_ratio(packed: int, unpacked: int) -> None:
    """Text becomes three to twenty times as large when it is unpacked, a bomb a thousand times."""
    if is_bomb(packed, unpacked):
        what = _("This archive becomes more than {times} times as large when it is unpacked.",
                 times=limits.UNPACKED_RATIO)  # fmt: skip
        raise Refusal(
            what, _("That is how files look which are made to fill a disk."), _("Unpack it yourself and give the data.")
        )


def is_bomb(packed: int, unpacked: int) -> bool:
    return unpacked > limits.UNPACKED_BYTES or (unpacked > 2**27 and unpacked > limits.UNPACKED_RATIO * max(packed, 1))


def lines(file: BinaryIO, encoding: str, split_long: bool = False) -> Iterator[tuple[int, bytes] | BadRecord]:
    """(number from 1, line with its end) as UTF-8 where the encoding is a wide one, else as it is. A line that is too
    long, and the rest of a packed file that is damaged, come as Broken. split_long: a long line comes in parts instead."""
    number, longest = 0, CHUNK_BYTES if split_long else limits.LINE_BYTES
    utf8 = encoding.startswith(("utf-8", *WIDE_ENCODINGS))
    try:
        file = _normalize_newlines(file, encoding)
        while line := file.readline(longest):
            number += 1
            if not split_long and len(line) == longest and not line.endswith(b"\n"):
                while (rest := file.readline(CHUNK_BYTES)) and not rest.endswith(b"\n"):
                    continue
                yield BadRecord(number, printable(line, encoding), TOO_LONG)
                continue
            while (utf8 or number == 1) and line.startswith(
                BOM
            ):  # files that were put together have one in the middle, some one a line
                line = line[len(BOM) :]
            yield number, line
    except READ_ERRORS as error:
        yield BadRecord(number + 1, "", unreadable_rest(error))


def unreadable_rest(error: Exception) -> Words:
    return _("From here on the file cannot be read: {reason}.", reason=str(error)[:200])


def _normalize_newlines(file: BinaryIO, encoding: str) -> BinaryIO:
    """Lines that end in a line feed."""
    first = file.peek(CHUNK_BYTES)[:CHUNK_BYTES]
    if encoding.startswith(WIDE_ENCODINGS):
        return _buffered(_utf8_reader(file, encoding))
    if b"\r" in first and b"\n" not in first:  # lines that end in a carriage return alone
        return _buffered(lambda most: file.read(most).replace(b"\r", b"\n"))
    return file


def decode_line(line: bytes, encoding: str) -> str | None:
    """The line as text without its end; None where it is none."""
    try:
        text = line.decode("utf-8" if encoding.startswith(WIDE_ENCODINGS) else encoding)
    except (UnicodeDecodeError, UnicodeError):
        return None
    return None if encoding.startswith(WIDE_ENCODINGS) and "\N{REPLACEMENT CHARACTER}" in text else text


def join_lines(value: object) -> object:
    """A list of texts as one text, a line each; anything else as it is."""
    lines_of_text = isinstance(value, list) and value and all(type(line) is str for line in value)
    return "\n".join(value) if lines_of_text else value
