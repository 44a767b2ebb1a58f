"""The header of a safetensors file, read with suspicion: it names what the rest of the file holds."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path

HEADER_BYTES = 50 * 2**20  # a hundred thousand tensors take a tenth of it
TENSORS = 200_000
BYTES = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1,
    "U16": 2, "U32": 4, "U64": 8,
}  # fmt: skip


class Unsound(Exception):
    """What the header says cannot be; says what."""


def shapes(file: Path) -> dict[str, tuple[int, ...]]:
    """Shape by name of every tensor; Unsound where header and file do not fit."""
    size = file.stat().st_size
    with file.open("rb") as data:
        start = data.read(8)
        if len(start) < 8:
            raise Unsound("the file is shorter than its own header")
        (length,) = struct.unpack("<Q", start)
        if length > min(size - 8, HEADER_BYTES):
            raise Unsound(f"the header claims {length} bytes")
        text = data.read(length)
    if not text.lstrip().startswith(b"{"):
        raise Unsound("there is no header")
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Unsound("the header is no JSON") from error
    header.pop("__metadata__", None)
    if len(header) > TENSORS:
        raise Unsound(f"it has {len(header)} tensors")
    spans, found = [], {}
    for name, entry in header.items():
        found[name], span = _one(name, entry)
        spans.append(span)
    end = 0
    for begin, stop in sorted(spans):
        if begin != end:
            raise Unsound("its tensors overlap or have gaps between them")
        end = stop
    if end != size - 8 - length:
        raise Unsound(f"its tensors take {end} bytes, the file has {size - 8 - length}")
    return found


def _one(name: str, entry: object) -> tuple[tuple[int, ...], tuple[int, int]]:
    known = isinstance(entry, Mapping) and {"dtype", "shape", "data_offsets"} <= set(entry)
    if not known or entry["dtype"] not in BYTES:
        raise Unsound(f"the tensor {name[:60]} is of an unknown kind")
    shape, offsets = entry["shape"], entry["data_offsets"]
    for numbers in (shape, offsets):
        if not isinstance(numbers, list) or len(numbers) > 16 or any(type(n) is not int or n < 0 for n in numbers):
            raise Unsound(f"the tensor {name[:60]} has no proper shape")
    if len(offsets) != 2:
        raise Unsound(f"the tensor {name[:60]} has no proper place")
    count = 1
    for number in shape:
        count *= number
    if count * BYTES[entry["dtype"]] != offsets[1] - offsets[0]:
        raise Unsound(f"the tensor {name[:60]} does not have the size of its shape")
    return tuple(shape), (offsets[0], offsets[1])
