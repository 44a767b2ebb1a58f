"""Browsing a data set: rows by search and filter, statistics of lengths and classes. No torch."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bigmodel.core import catalog, files, limits
from bigmodel.core.contracts import SPLITS, Column, Dataset
from bigmodel.core.errors import Refusal
from bigmodel.core.files import write_atomic
from bigmodel.core.words import LANGUAGES, Words, _, say
from bigmodel.data import row_index
from bigmodel.data.row_index import RowIndex
from bigmodel.data.sandbox import run_in_sandbox

if TYPE_CHECKING:
    import numpy as np
    import pyarrow

HISTOGRAM_BINS = 30
IN_MEMORY_BYTES = 32 * 2**20  # a larger file is cached by row group
MAX_HITS = 10_000  # of a search in a larger file
SEARCH_SECONDS = 60.0  # for one
CHARACTERS = "characters"


@dataclass(frozen=True)
class RowQuery:
    """A filter. split: '' for all.  classes: class indices.  column, shortest, longest: bounds, inclusive, on the text
    length of a column.  unit: CHARACTERS, or tokens: the name under which `model_view.count_tokens` keeps its counts."""

    split: str = ""
    search: str = ""
    classes: tuple[int, ...] = ()
    column: str = ""
    unit: str = CHARACTERS
    shortest: int = 0
    longest: int | None = None


@dataclass(frozen=True)
class Page:
    """One page of the matching rows, decoded, each with its number (`row`) and `split`. total: matches in all.
    complete: False where the search was cut short, by MAX_HITS or SEARCH_SECONDS."""

    rows: list[dict]
    total: int
    complete: bool = True


def find(dataset: str, query: RowQuery, start: int, count: int, cache: Path) -> Page:
    """At most `count` of the rows that match, from the `start`-th on. Refusal for an unknown data set or split."""
    data = _existing_dataset(dataset)
    if query.split and query.split not in SPLITS:
        what = _("There is no split named {name}.", name=str(query.split)[:60])
        raise Refusal(what, do=_("Choose one of: {options}.", options=", ".join(SPLITS)), field="split")
    start, count = max(start, 0), min(max(count, 0), limits.TABLE_ROWS)
    index = row_index.load_or_build(data, cache)
    positions, complete = _matching_positions(data, index, query, cache)
    return Page(_read_rows(data, index, positions[start : start + count]), len(positions), complete)


def rows_by_number(dataset: str, rows: Sequence[int], cache: Path) -> list[dict]:
    """The rows of these numbers, decoded, in the file's order. Those of a data set that ships are counted from 1."""
    data = _existing_dataset(dataset)
    index = row_index.load_or_build(data, cache)
    return _read_rows(data, index, index.positions(rows))


def split_rows(dataset: str, split: str, numbers: Sequence[int], cache: Path) -> list[dict]:
    """The rows at these places of a split, decoded, in the order in which they are asked for, each once."""
    import numpy as np

    data = _existing_dataset(dataset)
    index = row_index.load_or_build(data, cache)
    positions = np.flatnonzero(index.split == SPLITS.index(split))[np.unique(np.asarray(numbers, dtype=np.int64))]
    by_number = dict(zip(np.unique(numbers).tolist(), _read_rows(data, index, positions), strict=True))
    return [by_number[number] for number in dict.fromkeys(numbers)]


def _existing_dataset(name: str) -> Dataset:
    """A data set whose file is there."""
    data = catalog.dataset(name)
    if data.path().exists():
        return data
    what = _("The file of the data set {name} is missing: {path}.", name=name, path=str(data.path()))
    do = _("Fetch the project again, or build the bundle with scripts/build_bundle.py.")
    raise Refusal(what, do=do, field="dataset")


# -- which rows --------------------------------------------------------------------------------------------
def _matching_positions(data: Dataset, index: RowIndex, query: RowQuery, cache: Path) -> tuple[np.ndarray, bool]:
    """(int64 positions of the matching rows in the file, ascending; whether these are all)."""
    import numpy as np

    mask = np.ones(len(index), dtype=bool)
    if query.split:
        mask &= index.split == SPLITS.index(query.split)
    if query.classes and index.label is not None:
        mask &= np.isin(index.label, query.classes)
    lengths = _lengths(data, index, query, cache)
    if lengths is not None:
        mask &= lengths >= query.shortest
        if query.longest is not None:
            mask &= lengths <= query.longest
    search = query.search.strip()
    if not search:
        return np.flatnonzero(mask), True
    hits, complete = _hits(data.name, _version(data.path()), search, cache)
    return hits[mask[hits]], complete


def _lengths(data: Dataset, index: RowIndex, query: RowQuery, cache: Path) -> np.ndarray | None:
    if not query.column or (not query.shortest and query.longest is None):
        return None
    if query.unit == CHARACTERS:
        return index.lengths.get(query.column)
    return token_counts(data, query.unit, cache)[query.column]


def token_counts(data: Dataset, tokenizer: str, cache: Path) -> dict[str, np.ndarray]:
    """Text column -> int32 (rows,): tokens of each text; empty before `model_view.count_tokens` has run."""
    import numpy as np

    folder = token_counts_folder(data, tokenizer, cache)
    return {path.name.removesuffix(".npy"): np.load(path, mmap_mode="r") for path in folder.glob("*.npy")}


def token_counts_folder(data: Dataset, tokenizer: str, cache: Path) -> Path:
    return row_index.index_folder(data, cache).with_name(f"{data.fingerprint()}.{tokenizer}")


def _version(path: Path) -> tuple[int, int]:
    """(mtime in nanoseconds, bytes)."""
    status = path.stat()
    return status.st_mtime_ns, status.st_size


@lru_cache(maxsize=32)
def _hits(name: str, version: tuple[int, int], search: str, cache: Path) -> tuple[np.ndarray, bool]:
    """(positions of the rows that contain `search` in a text or in the name of their class, whether these are all)."""
    import numpy as np

    data = catalog.dataset(name)
    index = row_index.load_or_build(data, cache)
    texts = [column for column in index.lengths if data.columns[column].kind == "text"]
    classes = np.empty(0, dtype=np.int64)
    if index.label is not None:
        names = next(column.names for column in data.columns.values() if column.kind == "class")
        matches = [number for number, title in enumerate(names) if _title_contains(title, search)]
        classes = np.flatnonzero(np.isin(index.label, matches))
    if version[1] <= IN_MEMORY_BYTES:
        return np.union1d(classes, matching_positions(_table(data.path(), version), texts, search)), True
    request = {"do": "search", "path": str(data.path()), "columns": texts, "search": search, "most": MAX_HITS}
    found = run_in_sandbox(request, seconds=SEARCH_SECONDS) if texts else {"places": [], "whole": True}
    return np.union1d(classes, np.asarray(found["places"], dtype=np.int64)), found["whole"]


def matching_positions(rows: pyarrow.Table, texts: Sequence[str], search: str) -> np.ndarray:
    """int64 positions of the rows one of whose `texts` columns contains `search`, case-insensitively."""
    import numpy as np
    import pyarrow.compute as compute

    mask = np.zeros(rows.num_rows, dtype=bool)
    cased = search.lower() != search.upper()  # a search without letters is 20 times as fast with case
    for name in texts:
        contains = compute.match_substring(rows[name], search, ignore_case=cased)
        mask |= compute.fill_null(contains, False).to_numpy()
    return np.flatnonzero(mask)


def search_file(path: Path, texts: Sequence[str], search: str, most: int, tell: Callable) -> dict:
    """`matching_positions` of a file that does not fit in memory, batch by batch, in the sandbox: {"places", "whole"}."""
    import pyarrow
    import pyarrow.parquet as parquet

    positions: list[int] = []
    done = 0
    for batch in parquet.ParquetFile(path).iter_batches(row_index.BATCH_ROWS, columns=list(texts), use_threads=False):
        positions += (matching_positions(pyarrow.Table.from_batches([batch]), texts, search) + done).tolist()
        done += len(batch)
        tell(done=done)
        if len(positions) > most:
            return {"places": positions[:most], "whole": False}
    return {"places": positions, "whole": True}


def _title_contains(title: Words | str, search: str) -> bool:
    return any(search.lower() in say(title, language).lower() for language in LANGUAGES)


# -- the rows themselves -----------------------------------------------------------------------------------
def _read_rows(data: Dataset, index: RowIndex, positions: np.ndarray) -> list[dict]:
    """Decoded, with `row` and `split`."""
    rows = take_rows(data.path(), positions).to_pylist() if len(positions) else []
    return [
        _decode_row(row, data.columns) | {"row": number, "split": SPLITS[split]}
        for row, number, split in zip(rows, index.row_numbers(positions).tolist(), index.split[positions], strict=True)
    ]


def take_rows(path: Path, positions: np.ndarray) -> pyarrow.Table:
    """The rows at these int64 positions of a Parquet file, which must be ascending if it is larger than IN_MEMORY_BYTES."""
    import numpy as np
    import pyarrow
    import pyarrow.parquet as parquet

    version = _version(path)
    if version[1] <= IN_MEMORY_BYTES:
        return _table(path, version).take(positions)
    metadata = parquet.read_metadata(path)
    ends = np.cumsum([metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)])
    tables = []
    for group in np.unique(np.searchsorted(ends, positions, side="right")).tolist():
        begin = ends[group - 1] if group else 0
        inside = positions[(positions >= begin) & (positions < ends[group])] - begin
        tables.append(_row_group(path, version, group).take(inside))
    return pyarrow.concat_tables(tables)


@lru_cache(maxsize=3)
def _table(path: Path, version: tuple[int, int]) -> pyarrow.Table:
    import pyarrow.parquet as parquet

    return parquet.read_table(path)


@lru_cache(maxsize=12)
def _row_group(path: Path, version: tuple[int, int], number: int) -> pyarrow.Table:
    """An import bounds row groups to a few megabytes."""
    import pyarrow.parquet as parquet

    return parquet.ParquetFile(path).read_row_group(number)


def _decode_row(row: Mapping, columns: Mapping[str, Column]) -> dict:
    return {name: _decode_value(row[name], column) for name, column in columns.items() if name in row}


def _decode_value(value: Any, column: Column) -> object:
    """Class index to name, image to PNG bytes; None for what is missing, or an image that cannot be decoded."""
    if value is None:
        return None
    if column.kind == "class" and column.names:
        return column.names[value]
    with suppress(Exception):  # Pillow raises many kinds for corrupt files
        return _png(value["bytes"]) if column.kind == "image" else value
    return None


def _png(data: bytes) -> bytes:
    from PIL import Image

    if data.startswith(b"\x89PNG"):
        return data
    with Image.open(io.BytesIO(data)) as image:
        out = io.BytesIO()
        image.save(out, "PNG")
        return out.getvalue()


# -- counted -----------------------------------------------------------------------------------------------
def dataset_stats(dataset: str, cache: Path) -> dict:
    """rows {split: n}, lengths {text column: histogram, in characters}, summary {text column: `summary`, in characters},
    classes {name: rows}, bytes (of the file)."""
    data = _existing_dataset(dataset)
    stats = _cached_stats(data.name, _version(data.path()), cache)
    names = next((column.names for column in data.columns.values() if column.kind == "class"), ())
    classes = {names[int(label)]: rows for label, rows in stats["classes"].items()} if names else {}
    lengths = {name: [tuple(bar) for bar in bars] for name, bars in stats["lengths"].items()}
    return {**stats, "lengths": lengths, "classes": classes}


@lru_cache(maxsize=64)
def _cached_stats(name: str, version: tuple[int, int], cache: Path) -> dict:
    """As JSON, cached on the disk under the fingerprint of the rows."""
    data = catalog.dataset(name)
    file = cache / "facts" / f"{data.fingerprint()}.json"
    if file.exists():
        stats = json.loads(file.read_text("utf-8"))
        if "summary" in stats:  # else an older version has written it
            return stats
    stats = _compute_stats(data, row_index.load_or_build(data, cache))
    files.make_folder(file.parent)
    write_atomic(file, json.dumps(stats))
    return stats


def _compute_stats(data: Dataset, index: RowIndex) -> dict:
    import numpy as np

    labels = index.label[index.label != row_index.NO_CLASS] if index.label is not None else np.empty(0, dtype=np.int32)
    classes, counts = np.unique(labels, return_counts=True)
    return {
        "rows": {split: int((index.split == number).sum()) for number, split in enumerate(SPLITS)},
        "lengths": {name: histogram(lengths) for name, lengths in index.lengths.items()},
        "summary": {name: summary(lengths) for name, lengths in index.lengths.items() if len(lengths)},
        "classes": dict(zip(map(str, classes.tolist()), counts.tolist(), strict=True)),
        "bytes": data.path().stat().st_size,
    }


def summary(lengths: np.ndarray) -> dict[str, float]:
    """Statistics of (rows,) lengths, at least one: shortest, median, mean, most (the 95 % quantile), longest, total. Quantiles are lengths that
    occur."""
    import numpy as np

    median, most = np.quantile(lengths, (0.5, 0.95), method="inverted_cdf").tolist()
    stats = {
        "shortest": lengths.min(),
        "median": median,
        "mean": lengths.mean(),
        "most": most,
        "longest": lengths.max(),
    }
    return {name: float(value) for name, value in stats.items()} | {"total": int(lengths.sum(dtype=np.int64))}


def histogram(lengths: np.ndarray) -> list[tuple[int, int, int]]:
    """(from, to, rows) of at most HISTOGRAM_BINS bars of equal width over (rows,) integer lengths, both inclusive. The
    last bar takes the longest 1 % in, however long they are."""
    import numpy as np

    if not len(lengths):
        return []
    low, longest = int(lengths.min()), int(lengths.max())
    rank = int(len(lengths) * 0.99)
    high = int(np.partition(lengths, rank)[rank])
    width = -(-(high - low + 1) // HISTOGRAM_BINS)
    starts = range(low, high + 1, width)
    rows = np.bincount(np.minimum((lengths - low) // width, len(starts) - 1), minlength=len(starts)).tolist()
    ends = [start + width - 1 for start in starts]
    ends[-1] = max(ends[-1], longest)
    return list(zip(starts, ends, rows, strict=True))
