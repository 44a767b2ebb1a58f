"""The header of a safetensors file, read with suspicion: it names what the rest of the file holds."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path

MAX_HEADER_BYTES = 50 * 2**20  # a hundred thousand tensors take a tenth of it
MAX_TENSORS = 200_000
DTYPE_SIZES = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1,
    "U16": 2, "U32": 4, "U64": 8,
}  # fmt: skip

QUANTIZED_DTYPES = ("F8_", "F6_", "F4", "U4", "I4")


class InvalidHeader(Exception):
    """What the header says cannot be; says what."""


class QuantizedTensor(InvalidHeader):
    """A number format of fewer bits than can be trained; says which."""


def tensor_shapes(file: Path) -> dict[str, tuple[int, ...]]:
    """Shape by name of every tensor; InvalidHeader where header and file do not fit."""
    size = file.stat().st_size
    with file.open("rb") as data:
        start = data.read(8)
        if len(start) < 8:
            raise InvalidHeader("the file is shorter than its own header")
        (length,) = struct.unpack("<Q", start)
        if length > min(size - 8, MAX_HEADER_BYTES):
            raise InvalidHeader(f"the header claims {length} bytes")
        text = data.read(length)
    if not text.lstrip().startswith(b"{"):
        raise InvalidHeader("there is no header")
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidHeader("the header is no JSON") from error
    header.pop("__metadata__", None)
    if len(header) > MAX_TENSORS:
        raise InvalidHeader(f"it has {len(header)} tensors")
    spans, found = [], {}
    for name, entry in header.items():
        found[name], span = _parse_tensor(name, entry)
        spans.append(span)
    end = 0
    for begin, stop in sorted(spans):
        if begin != end:
            raise InvalidHeader("its tensors overlap or have gaps between them")
        end = stop
    if end != size - 8 - length:
        raise InvalidHeader(f"its tensors take {end} bytes, the file has {size - 8 - length}")
    return found


def _parse_tensor(name: str, entry: object) -> tuple[tuple[int, ...], tuple[int, int]]:
    known = isinstance(entry, Mapping) and {"dtype", "shape", "data_offsets"} <= set(entry)
    if known and str(entry["dtype"]).startswith(QUANTIZED_DTYPES):
        raise QuantizedTensor(str(entry["dtype"])[:20])
    if not known or entry["dtype"] not in DTYPE_SIZES:
        raise InvalidHeader(f"the tensor {name[:60]} is of an unknown kind")
    shape, offsets = entry["shape"], entry["data_offsets"]
    for numbers in (shape, offsets):
        if not isinstance(numbers, list) or len(numbers) > 16 or any(type(n) is not int or n < 0 for n in numbers):
            raise InvalidHeader(f"the tensor {name[:60]} has no proper shape")
    if len(offsets) != 2:
        raise InvalidHeader(f"the tensor {name[:60]} has no proper place")
    count = 1
    for number in shape:
        count *= number
    if count * DTYPE_SIZES[entry["dtype"]] != offsets[1] - offsets[0]:
        raise InvalidHeader(f"the tensor {name[:60]} does not have the size of its shape")
    return tuple(shape), (offsets[0], offsets[1])
