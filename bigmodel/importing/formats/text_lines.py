"""A file of text as lines of bytes, however it is packed and whatever it is encoded in, in bounded memory."""

from __future__ import annotations

import gzip
import io
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from bigmodel.core import limits
from bigmodel.core.errors import Refusal
from bigmodel.core.words import _
from bigmodel.importing.formats.bad_record import BadRecord, printable
from bigmodel.importing.formats.zip_archive import open_member

CHUNK_BYTES = 2**20
WIDE_ENCODINGS = ("utf-16", "utf-32")  # encodings in which the byte of a line feed is no line feed
TOO_LONG = _("The line has more than {maximum} MB.", maximum=limits.LINE_BYTES // 2**20)
NOT_TEXT = _("The line holds bytes that are not text in this encoding.")


@contextmanager
def open_stream(path: Path, inside: str, done: list[int]) -> Iterator[BinaryIO]:
    """The bytes of a file, or of one inside an archive; `done[0]` follows how far the packed file has been read."""
    with path.open("rb") as raw:
        counted = io.BufferedReader(_CountingReader(raw, done), CHUNK_BYTES)
        if inside and inside != GZIP:
            with open_member(path, inside, done) as file:
                yield file
        elif inside == GZIP:
            with gzip.GzipFile(fileobj=counted) as file:
                yield io.BufferedReader(_GunzipReader(file, done), CHUNK_BYTES)
        else:
            yield counted


GZIP = "(gzip)"


class _CountingReader(io.RawIOBase):
    def __init__(self, raw: BinaryIO, done: list[int]):
        self.raw, self.done = raw, done

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        count = self.raw.readinto(buffer)
        self.done[0] += count
        return count


class _GunzipReader(io.RawIOBase):
    """What comes out of a packed file, as long as it is no bomb."""

    def __init__(self, file: gzip.GzipFile, done: list[int]):
        self.file, self.done, self.size = file, done, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        data = self.file.read(len(buffer))
        self.size += len(data)
        check_decompression_ratio(self.done[0], self.size)
        buffer[: len(data)] = data
        return len(data)


def check_decompression_ratio(packed: int, unpacked: int) -> None:
    """Text becomes three to twenty times as large when it is unpacked, a bomb a thousand times."""
    if unpacked > limits.UNPACKED_BYTES or (unpacked > 2**27 and unpacked > limits.UNPACKED_RATIO * max(packed, 1)):
        what = _("This archive becomes more than {times} times as large when it is unpacked.",
                 times=limits.UNPACKED_RATIO)  # fmt: skip
        raise Refusal(
            what, _("That is how files look which are made to fill a disk."), _("Unpack it yourself and give the data.")
        )


class _Utf8Reader(io.RawIOBase):
    """A wide encoding as UTF-8; what cannot be read becomes U+FFFD."""

    def __init__(self, file: BinaryIO, encoding: str):
        self.text, self.rest = io.TextIOWrapper(file, encoding, errors="replace"), b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        if not self.rest:
            self.rest = self.text.read(CHUNK_BYTES // 4).encode("utf-8", "replace")
        part, self.rest = self.rest[: len(buffer)], self.rest[len(buffer) :]
        buffer[: len(part)] = part
        return len(part)


class _CarriageReturnReader(io.RawIOBase):
    """Lines that end in a carriage return alone."""

    def __init__(self, file: BinaryIO):
        self.file = file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        data = self.file.read(len(buffer)).replace(b"\r", b"\n")
        buffer[: len(data)] = data
        return len(data)


def lines(file: BinaryIO, encoding: str) -> Iterator[tuple[int, bytes] | BadRecord]:
    """(number from 1, line with its end) as UTF-8 where the encoding is a wide one, else as it is. A line that is too
    long, and the rest of a packed file that is damaged, come as Broken."""
    number, longest = 0, limits.LINE_BYTES
    try:
        file = _normalize_newlines(file, encoding)
        while line := file.readline(longest):
            number += 1
            if len(line) == longest and not line.endswith(b"\n"):
                while (rest := file.readline(CHUNK_BYTES)) and not rest.endswith(b"\n"):
                    continue
                yield BadRecord(number, printable(line, encoding), TOO_LONG)
                continue
            yield number, line
    except (
        EOFError,
        zlib.error,
        zipfile.BadZipFile,
        OSError,
        ValueError,
    ) as error:  # of a packed file; OSError: gzip's, or of the disk
        yield BadRecord(number + 1, "", _("From here on the file cannot be read: {reason}.", reason=str(error)[:200]))


def _normalize_newlines(file: BinaryIO, encoding: str) -> BinaryIO:
    """Lines that end in a line feed, without a mark before the first."""
    first = file.peek(CHUNK_BYTES)[:CHUNK_BYTES]
    if encoding.startswith(WIDE_ENCODINGS):
        return io.BufferedReader(_Utf8Reader(file, encoding), CHUNK_BYTES)
    if first.startswith(b"\xef\xbb\xbf"):
        file.read(3)
    return (
        io.BufferedReader(_CarriageReturnReader(file), CHUNK_BYTES) if b"\r" in first and b"\n" not in first else file
    )


def decode_line(line: bytes, encoding: str) -> str | None:
    """The line as text without its end; None where it is none."""
    try:
        text = line.decode("utf-8" if encoding.startswith(WIDE_ENCODINGS) else encoding)
    except (UnicodeDecodeError, UnicodeError):
        return None
    return None if encoding.startswith(WIDE_ENCODINGS) and "\N{REPLACEMENT CHARACTER}" in text else text
