"""Looking at a data set as a person does: rows that are searched and filtered, lengths and classes. No torch."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from bigmodel.core import catalog, limits
from bigmodel.core.contracts import Column, Dataset
from bigmodel.core.errors import Refusal
from bigmodel.core.files import write_atomic
from bigmodel.core.words import LANGUAGES, Words, _, say
from bigmodel.data import row_index
from bigmodel.data.prepare import SPLITS
from bigmodel.data.row_index import RowIndex
from bigmodel.data.sandbox import run_in_sandbox

if TYPE_CHECKING:
    import numpy as np
    import pyarrow

HISTOGRAM_BINS = 30  # of a histogram
IN_MEMORY_BYTES = (
    32 * 2**20
)  # bytes of a file whose rows are kept in memory; of a larger one the parts that are looked at
MAX_HITS = 10_000  # rows of a large file that a search finds
SEARCH_SECONDS = 60.0  # for which a large file is searched
CHARACTERS = "characters"


@dataclass(frozen=True)
class RowQuery:
    """Which rows are looked for. split: '' for all parts.  classes: places among the names of the class.
    column, unit, shortest, longest: how long the texts of a column are, in characters or in the tokens of a tokenizer
    (the name under which `seen` has counted them)."""

    split: str = ""
    search: str = ""
    classes: tuple[int, ...] = ()
    column: str = ""
    unit: str = CHARACTERS
    shortest: int = 0
    longest: int | None = None


@dataclass(frozen=True)
class Page:
    """Some of the rows that were found, each as a person reads it with its number (`row`) and its part (`split`).
    whole: False where more than could be looked for may be there."""

    rows: list[dict]
    total: int
    complete: bool = True


def find(dataset: str, wanted: RowQuery, start: int, count: int, cache: Path) -> Page:
    """At most `count` of the rows that are wanted, from the `start`-th on."""
    data = _existing_dataset(dataset)
    if wanted.split and wanted.split not in SPLITS:
        what = _("There is no split named {name}.", name=str(wanted.split)[:60])
        raise Refusal(what, do=_("Choose one of: {options}.", options=", ".join(SPLITS)), field="split")
    start, count = max(start, 0), min(max(count, 0), limits.TABLE_ROWS)
    known = row_index.load_or_build(data, cache)
    places, whole = _matching_positions(data, known, wanted, cache)
    return Page(_read_rows(data, known, places[start : start + count]), len(places), whole)


def rows_by_number(dataset: str, rows: Sequence[int], cache: Path) -> list[dict]:
    """The rows of these numbers as a person reads them, in the file's order. What ships is counted from 1."""
    data = _existing_dataset(dataset)
    known = row_index.load_or_build(data, cache)
    return _read_rows(data, known, known.positions(rows))


def _existing_dataset(name: str) -> Dataset:
    """A data set whose file is there."""
    data = catalog.dataset(name)
    if data.path().exists():
        return data
    what = _("The file of the data set {name} is missing: {path}.", name=name, path=str(data.path()))
    raise Refusal(
        what, do=_("Fetch the project again, or build the bundle with scripts/build_bundle.py."), field="dataset"
    )


# -- which rows --------------------------------------------------------------------------------------------
def _matching_positions(data: Dataset, known: RowIndex, wanted: RowQuery, cache: Path) -> tuple[np.ndarray, bool]:
    """(where the wanted rows stand, whether all of them were found)."""
    import numpy as np

    there = np.ones(len(known), dtype=bool)
    if wanted.split:
        there &= known.split == SPLITS.index(wanted.split)
    if wanted.classes and known.label is not None:
        there &= np.isin(known.label, wanted.classes)
    lengths = _lengths(data, known, wanted, cache)
    if lengths is not None:
        there &= lengths >= wanted.shortest
        if wanted.longest is not None:
            there &= lengths <= wanted.longest
    search = wanted.search.strip()
    if not search:
        return np.flatnonzero(there), True
    hits, whole = _hits(data.name, _version(data.path()), search, cache)
    return hits[there[hits]], whole


def _lengths(data: Dataset, known: RowIndex, wanted: RowQuery, cache: Path) -> np.ndarray | None:
    if not wanted.column or (not wanted.shortest and wanted.longest is None):
        return None
    if wanted.unit == CHARACTERS:
        return known.lengths.get(wanted.column)
    return token_counts(data, wanted.unit, cache)[wanted.column]


def token_counts(data: Dataset, tokenizer: str, cache: Path) -> dict[str, np.ndarray]:
    """Text column -> how many tokens its texts have; empty before they were counted by this tokenizer."""
    import numpy as np

    folder = token_counts_folder(data, tokenizer, cache)
    return {path.name.removesuffix(".npy"): np.load(path, mmap_mode="r") for path in folder.glob("*.npy")}


def token_counts_folder(data: Dataset, tokenizer: str, cache: Path) -> Path:
    return row_index.index_folder(data, cache).with_name(f"{data.fingerprint()}.{tokenizer}")


def _version(path: Path) -> tuple[int, int]:
    """Changes when the file does."""
    status = path.stat()
    return status.st_mtime_ns, status.st_size


@lru_cache(maxsize=32)
def _hits(name: str, version: tuple[int, int], search: str, cache: Path) -> tuple[np.ndarray, bool]:
    """Where the rows stand that hold these words in a text or in the name of their class."""
    import numpy as np

    data = catalog.dataset(name)
    known = row_index.load_or_build(data, cache)
    texts = [column for column in known.lengths if data.columns[column].kind == "text"]
    classes = np.empty(0, dtype=np.int64)
    if known.label is not None:
        names = next(column.names for column in data.columns.values() if column.kind == "class")
        right = [number for number, title in enumerate(names) if _title_contains(title, search)]
        classes = np.flatnonzero(np.isin(known.label, right)) if right else classes
    if version[1] <= IN_MEMORY_BYTES:
        return np.union1d(classes, matching_positions(_table(data.path(), version), texts, search)), True
    request = {"do": "search", "path": str(data.path()), "columns": texts, "search": search, "most": MAX_HITS}
    found = run_in_sandbox(request, seconds=SEARCH_SECONDS) if texts else {"places": [], "whole": True}
    return np.union1d(classes, np.asarray(found["places"], dtype=np.int64)), found["whole"]


def matching_positions(rows: pyarrow.Table, texts: Sequence[str], search: str) -> np.ndarray:
    """Where the rows stand one of whose texts holds these words, capitals or not."""
    import numpy as np
    import pyarrow.compute as compute

    hit = np.zeros(rows.num_rows, dtype=bool)
    fold = search.lower() != search.upper()  # where there are no capitals it is twenty times as fast without them
    for name in texts:
        found = compute.match_substring(rows[name], search, ignore_case=fold)
        hit |= compute.fill_null(found, False).to_numpy()
    return np.flatnonzero(hit)


def search_file(path: Path, texts: Sequence[str], search: str, most: int, tell: Callable) -> dict:
    """The same of a file that is too large to be held, a part at a time: {"places", "whole"}. For the reading process."""
    import pyarrow
    import pyarrow.parquet as parquet

    file, found, before = parquet.ParquetFile(path), [], 0
    for batch in file.iter_batches(row_index.BATCH_ROWS, columns=list(texts), use_threads=False):
        found += (matching_positions(pyarrow.Table.from_batches([batch]), texts, search) + before).tolist()
        before += len(batch)
        tell(done=before)
        if len(found) > most:
            return {"places": found[:most], "whole": False}
    return {"places": found, "whole": True}


def _title_contains(title: Words | str, search: str) -> bool:
    return any(search.lower() in say(title, language).lower() for language in LANGUAGES)


# -- the rows themselves -----------------------------------------------------------------------------------
def _read_rows(data: Dataset, known: RowIndex, places: np.ndarray) -> list[dict]:
    """As a person reads them, with number and part."""
    numbers = known.row_numbers(places).tolist()
    read = take_rows(data.path(), places).to_pylist() if len(places) else []
    return [
        _decode_row(row, data.columns) | {"row": number, "split": SPLITS[known.split[place]]}
        for row, number, place in zip(read, numbers, places.tolist(), strict=True)
    ]


def take_rows(path: Path, places: np.ndarray) -> pyarrow.Table:
    """The rows at these places, in their order."""
    import numpy as np
    import pyarrow
    import pyarrow.parquet as parquet

    version = _version(path)
    if version[1] <= IN_MEMORY_BYTES:
        return _table(path, version).take(places)
    metadata = parquet.read_metadata(path)
    ends = np.cumsum([metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)])
    parts = []
    for group in np.unique(np.searchsorted(ends, places, side="right")).tolist():
        begin = ends[group - 1] if group else 0
        inside = places[(places >= begin) & (places < ends[group])] - begin
        parts.append(_row_group(path, version, group).take(inside))
    return pyarrow.concat_tables(parts)


@lru_cache(maxsize=3)
def _table(path: Path, version: tuple[int, int]) -> pyarrow.Table:
    import pyarrow.parquet as parquet

    return parquet.read_table(path)


@lru_cache(maxsize=12)
def _row_group(path: Path, version: tuple[int, int], number: int) -> pyarrow.Table:
    """Rows that are stored together; an import keeps them to a few megabytes."""
    import pyarrow.parquet as parquet

    return parquet.ParquetFile(path).read_row_group(number)


def _decode_row(row: Mapping, columns: Mapping[str, Column]) -> dict:
    """Also of a row with a fault: a picture that cannot be shown is None."""
    read = {}
    for name, column in columns.items():
        if name not in row:
            continue
        try:
            read[name] = None if row[name] is None else _decode_value(row[name], column)
        except Exception:  # Pillow raises many kinds for broken files; that it is broken is what is said beside it
            read[name] = None
    return read


def _decode_value(value: object, column: Column) -> object:
    if column.kind == "class" and column.names:
        return column.names[value]
    return _png(value["bytes"]) if column.kind == "image" else value


def _png(data: bytes) -> bytes:
    from PIL import Image

    if data.startswith(b"\x89PNG"):
        return data
    with Image.open(io.BytesIO(data)) as picture:
        out = io.BytesIO()
        picture.save(out, "PNG")
        return out.getvalue()


# -- counted -----------------------------------------------------------------------------------------------
def dataset_stats(dataset: str, cache: Path) -> dict:
    """rows {split: n}, lengths {text column: [(from, to, rows)] in characters, both inclusive}, summary {text column:
    {shortest, median, mean, most (95 % have no more), longest, total} in characters}, classes {name: rows}, bytes (of
    the file)."""
    data = _existing_dataset(dataset)
    kept = _cached_stats(data.name, _version(data.path()), cache)
    named = [column for column in data.columns.values() if column.kind == "class"]
    classes = {named[0].names[int(label)]: rows for label, rows in kept["classes"].items()} if named else {}
    lengths = {name: [tuple(part) for part in parts] for name, parts in kept["lengths"].items()}
    return {**kept, "lengths": lengths, "classes": classes}


@lru_cache(maxsize=64)
def _cached_stats(name: str, version: tuple[int, int], cache: Path) -> dict:
    """As JSON, kept under the rows' fingerprint: counting is done once for each state of the data."""
    data = catalog.dataset(name)
    kept = cache / "facts" / f"{data.fingerprint()}.json"
    if kept.exists():
        facts = json.loads(kept.read_text("utf-8"))
        if "summary" in facts:  # else an older bigmodel has counted
            return facts
    facts = _compute_stats(data, row_index.load_or_build(data, cache))
    kept.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(kept, json.dumps(facts))
    return facts


def _compute_stats(data: Dataset, known: RowIndex) -> dict:
    return {
        "rows": {split: int((known.split == number).sum()) for number, split in enumerate(SPLITS)},
        "lengths": {name: histogram(_value_counts(lengths)) for name, lengths in known.lengths.items()},
        "summary": {name: summary(lengths) for name, lengths in known.lengths.items() if len(lengths)},
        "classes": {
            str(number): rows for number, rows in _value_counts(known.label).items() if number != row_index.NO_CLASS
        },
        "bytes": data.path().stat().st_size,
    }


def _value_counts(values: np.ndarray | None) -> dict[int, int]:
    """Value -> how often it is there."""
    import numpy as np

    if values is None:
        return {}
    return dict(zip(*(part.tolist() for part in np.unique(values, return_counts=True)), strict=True))


def summary(lengths: np.ndarray) -> dict[str, float]:
    """What a few numbers tell of them; a quantile is a length that is there."""
    import numpy as np

    median, most = np.quantile(lengths, (0.5, 0.95), method="inverted_cdf").tolist()
    told = {"shortest": lengths.min(), "median": median, "mean": lengths.mean(), "most": most, "longest": lengths.max()}
    return {name: float(value) for name, value in told.items()} | {"total": int(lengths.sum(dtype=np.int64))}


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
    width = max(1, -(-(high - low + 1) // HISTOGRAM_BINS))
    bars = [[start, start + width - 1, 0] for start in range(low, high + 1, width)]
    for length, rows in lengths.items():
        bars[min((length - low) // width, len(bars) - 1)][2] += rows
    bars[-1][1] = max(bars[-1][1], longest)
    return [tuple(bar) for bar in bars]
