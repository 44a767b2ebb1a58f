"""Looking at a data set as a person does: rows, lengths and classes, by pyarrow alone. No torch."""

from __future__ import annotations

import io
import json
import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from bigmodel.core import catalog, limits
from bigmodel.core.contracts import Column, Dataset
from bigmodel.core.errors import Refusal
from bigmodel.core.words import LANGUAGES, Words, _, say
from bigmodel.data.prepare import SPLITS

if TYPE_CHECKING:
    import pyarrow

BARS = 30  # of a histogram
LARGE = 64 * 2**20  # bytes of a file that is not held in memory
PART = 2000  # rows of it that are read at a time


def peek(dataset: str, split: str, start: int, count: int, search: str) -> list[dict]:
    """Rows as a person reads them: text, the name of a class, pictures as PNG bytes. `search` looks for a part
    of a text or of a class's name."""
    data = _data(dataset)
    if split not in SPLITS:
        what = _("There is no split named {name}.", name=str(split)[:60])
        raise Refusal(what, do=_("Choose one of: {options}.", options=", ".join(SPLITS)), field="split")
    start, count = max(start, 0), min(max(count, 0), limits.TABLE_ROWS)
    if data.path().stat().st_size > LARGE:
        return _page(data, split, start, count, search)
    rows = _find(_split(data.path(), _version(data.path()), split), data.columns, search)
    return [_readable(row, data.columns) for row in rows.slice(start, count).to_pylist()]


def _page(data: Dataset, split: str, start: int, count: int, search: str) -> list[dict]:
    """The same of a file that is too large to be held: a part at a time, as far as the page goes."""
    import pyarrow
    import pyarrow.compute as compute
    import pyarrow.parquet as parquet

    file, found = parquet.ParquetFile(data.path()), []
    shown = [name for name in (*data.columns, "split") if name in file.schema_arrow.names]
    for batch in file.iter_batches(PART, columns=shown):
        if len(found) == count:
            break
        rows = pyarrow.Table.from_batches([batch])
        rows = _find(rows.filter(compute.equal(rows["split"], split)), data.columns, search)
        found += rows.slice(start, count - len(found)).to_pylist()
        start = max(start - len(rows), 0)
    return [_readable(row, data.columns) for row in found]


def named(dataset: str, rows: Sequence[int]) -> list[dict]:
    """The rows of these numbers as a person reads them, each with its number (`row`) and its part (`split`). What
    ships is counted from 1, in the file's order."""
    import pyarrow
    import pyarrow.compute as compute
    import pyarrow.parquet as parquet

    data, wanted = _data(dataset), pyarrow.array(sorted({int(row) for row in rows}), pyarrow.int64())
    file, found, before = parquet.ParquetFile(data.path()), [], 0
    numbered = "row" in file.schema_arrow.names
    shown = [name for name in (*data.columns, "split", "row") if name in file.schema_arrow.names]
    for batch in file.iter_batches(PART, columns=shown):
        if len(found) == len(wanted):
            break
        numbers = (
            batch["row"] if numbered else pyarrow.array(range(before + 1, before + len(batch) + 1), pyarrow.int64())
        )
        before += len(batch)
        hit = compute.is_in(numbers, value_set=wanted)
        if not hit.true_count:
            continue
        parts = [_legible(row, data.columns) for row in batch.filter(hit).to_pylist()]
        found += [row | {"row": number} for row, number in zip(parts, numbers.filter(hit).to_pylist(), strict=True)]
    return found


def _legible(row: Mapping, columns: Mapping[str, Column]) -> dict:
    """Also of a row with a fault: a picture that cannot be shown is None."""
    read = {"split": row["split"]}
    for name, column in columns.items():
        if name not in row:
            continue
        try:
            read[name] = None if row[name] is None else _value(row[name], column)
        except Exception:  # Pillow raises many kinds for broken files; that it is broken is what is said beside it
            read[name] = None
    return read


def facts(dataset: str, cache: Path) -> dict:
    """rows {split: n}, lengths {text column: [(from, to, rows)] in characters, both inclusive},
    classes {name: rows}, bytes (of the file)."""
    data = _data(dataset)
    kept = _facts(data.name, _version(data.path()), cache)
    named = [column for column in data.columns.values() if column.kind == "class"]
    classes = {named[0].names[int(label)]: rows for label, rows in kept["classes"].items()} if named else {}
    lengths = {name: [tuple(part) for part in parts] for name, parts in kept["lengths"].items()}
    return {"rows": kept["rows"], "lengths": lengths, "classes": classes, "bytes": kept["bytes"]}


def _data(name: str) -> Dataset:
    """A data set whose file is there."""
    data = catalog.dataset(name)
    if data.path().exists():
        return data
    what = _("The file of the data set {name} is missing: {path}.", name=name, path=str(data.path()))
    raise Refusal(
        what, do=_("Fetch the project again, or build the bundle with scripts/build_bundle.py."), field="dataset"
    )


def _version(path: Path) -> tuple[int, int]:
    """Changes when the file does."""
    status = path.stat()
    return status.st_mtime_ns, status.st_size


@lru_cache(maxsize=3)
def _split(path: Path, version: tuple[int, int], split: str) -> pyarrow.Table:
    import pyarrow.parquet as parquet

    return parquet.read_table(path, filters=[("split", "==", split)])


def _find(rows: pyarrow.Table, columns: Mapping[str, Column], search: str) -> pyarrow.Table:
    import pyarrow
    import pyarrow.compute as compute

    shown = rows.select([name for name in columns if name in rows.column_names])
    if not search.strip():
        return shown
    hit = None
    for name in shown.column_names:
        column = columns[name]
        if column.kind == "image":
            continue
        if column.kind == "class":
            wanted = [number for number, title in enumerate(column.names) if _says(title, search)]
            found = compute.is_in(shown[name], value_set=pyarrow.array(wanted, shown[name].type))
        else:
            found = compute.match_substring(shown[name], search.strip(), ignore_case=True)
        found = compute.fill_null(found, False)
        hit = found if hit is None else compute.or_(hit, found)
    return shown if hit is None else shown.filter(hit)


def _says(title: Words | str, search: str) -> bool:
    return any(search.strip().lower() in say(title, language).lower() for language in LANGUAGES)


def _readable(row: Mapping, columns: Mapping[str, Column]) -> dict:
    return {name: _value(value, columns[name]) for name, value in row.items()}


def _value(value: object, column: Column) -> object:
    if column.kind == "class" and column.names:
        return column.names[value]
    return _png(value["bytes"]) if column.kind == "image" else value


def _png(data: bytes) -> bytes:
    if data.startswith(b"\x89PNG"):
        return data
    from PIL import Image

    with Image.open(io.BytesIO(data)) as picture:
        out = io.BytesIO()
        picture.save(out, "PNG")
        return out.getvalue()


@lru_cache(maxsize=64)
def _facts(name: str, version: tuple[int, int], cache: Path) -> dict:
    """As JSON, kept under the rows' fingerprint: counting is done once for each state of the data."""
    data = catalog.dataset(name)
    kept = cache / "facts" / f"{data.fingerprint()}.json"
    if kept.exists():
        return json.loads(kept.read_text("utf-8"))
    facts = _count(data)
    kept.parent.mkdir(parents=True, exist_ok=True)
    staging = kept.with_suffix(f".{secrets.token_hex(4)}")
    staging.write_text(json.dumps(facts), "utf-8")
    staging.replace(kept)
    return facts


def _count(data: Dataset) -> dict:
    """A part at a time: the file may be larger than the memory."""
    import pyarrow.compute as compute
    import pyarrow.parquet as parquet

    kinds = {name: column.kind for name, column in data.columns.items() if column.kind != "image"}
    file = parquet.ParquetFile(data.path())
    shown = [name for name in kinds if name in file.schema_arrow.names]
    label = next((name for name in shown if kinds[name] == "class"), None)
    splits, classes = Counter(), Counter()
    lengths = {name: Counter() for name in shown if kinds[name] == "text"}
    for batch in file.iter_batches(10 * PART, columns=["split", *shown]):
        _add(splits, batch["split"])
        for name, counted in lengths.items():
            _add(counted, compute.utf8_length(batch[name]).drop_null())
        if label:
            _add(classes, batch[label])
    return {
        "rows": {split: splits[split] for split in SPLITS},
        "lengths": {name: histogram(counted) for name, counted in lengths.items()},
        "classes": {str(number): classes[number] for number in sorted(classes)},
        "bytes": data.path().stat().st_size,
    }


def _add(counted: Counter, values: pyarrow.Array) -> None:
    for part in values.value_counts().to_pylist():
        counted[part["values"]] += part["counts"]


def histogram(lengths: Mapping[int, int]) -> list[tuple[int, int, int]]:
    """Bars of equal width over {length: rows}; the last holds the longest hundredth however long it is."""
    if not lengths:
        return []
    low, longest, hundredth = min(lengths), max(lengths), int(sum(lengths.values()) * 0.99)
    passed, high = 0, low
    for high in sorted(lengths):
        passed += lengths[high]
        if passed > hundredth:
            break
    width = max(1, -(-(high - low + 1) // BARS))
    bars = [[start, start + width - 1, 0] for start in range(low, high + 1, width)]
    for length, rows in lengths.items():
        bars[min((length - low) // width, len(bars) - 1)][2] += rows
    bars[-1][1] = max(bars[-1][1], longest)
    return [tuple(bar) for bar in bars]
