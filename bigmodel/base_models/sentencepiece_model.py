"""A SentencePiece file, a protocol buffer: how many pieces it has, and the table by which it normalizes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PIECE_FIELD, NORMALIZER_FIELD, DENORMALIZER_FIELD = 1, 3, 5  # of ModelProto in sentencepiece_model.proto
CHARSMAP_FIELD = 2  # of NormalizerSpec
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


class InvalidProto(Exception):
    """The bytes are no protocol buffer of this kind."""


@dataclass(frozen=True)
class SentencePieceModel:
    pieces: int
    charsmaps: tuple[bytes, ...]


def read(file: Path) -> SentencePieceModel:
    """Raises InvalidProto."""
    pieces, charsmaps = 0, []
    for field, value in _fields(file.read_bytes()):
        pieces += field == PIECE_FIELD
        if field in (NORMALIZER_FIELD, DENORMALIZER_FIELD) and isinstance(value, bytes):
            charsmaps += [part for name, part in _fields(value) if name == CHARSMAP_FIELD and isinstance(part, bytes)]
    return SentencePieceModel(pieces, tuple(filter(None, charsmaps)))


def _fields(data: bytes) -> Iterator[tuple[int, bytes | int]]:
    """(number, value) of each field."""
    position = 0
    while position < len(data):
        key, position = _varint(data, position)
        kind = key & 7
        if kind == VARINT:
            value, position = _varint(data, position)
            yield key >> 3, value
            continue
        if kind not in (BYTES, FIXED64, FIXED32):
            raise InvalidProto
        length, position = _varint(data, position) if kind == BYTES else ({FIXED64: 8, FIXED32: 4}[kind], position)
        if position + length > len(data):
            raise InvalidProto
        yield key >> 3, data[position : position + length]
        position += length


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while position < len(data) and shift < 64:
        byte = data[position]
        value |= (byte & 127) << shift
        position, shift = position + 1, shift + 7
        if byte < 128:
            return value, position
    raise InvalidProto
