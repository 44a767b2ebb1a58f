"""Records of Parquet files, a few at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from bigmodel.core.errors import Refusal
from bigmodel.core.safe_open import open_source
from bigmodel.core.words import _
from bigmodel.importing.formats.bad_record import BadRecord
from bigmodel.importing.formats.csv_json import Record

BATCH = 500


def open_parquet(path: Path):
    """The file; Refusal where it is none."""
    import pyarrow
    import pyarrow.parquet as parquet

    try:
        return parquet.ParquetFile(open_source(path), memory_map=False, buffer_size=2**20)
    except MemoryError:  # Arrow's own is an ArrowException, too
        raise
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        what = _("This Parquet file cannot be read: {reason}.", reason=str(error).splitlines()[0][:200])
        raise Refusal(what, do=_("Write it again, or give the data as CSV or JSON lines.")) from error


def class_names(file) -> dict[str, list[str]]:
    """Column -> names of its classes, which `datasets` writes into the metadata; the rows have numbers."""
    try:
        about = json.loads((file.schema_arrow.metadata or {}).get(b"huggingface", b"{}"))
        features = about.get("info", {}).get("features", {}).items()
        typed = {name: feature.get("feature", feature) for name, feature in features if isinstance(feature, Mapping)}
        return {name: feature["names"] for name, feature in typed.items() if isinstance(feature.get("names"), list)}
    except (ValueError, AttributeError, TypeError):  # somebody else's metadata
        return {}


def class_name(value: object, names: Sequence[str]) -> object:
    """The name of a class instead of its number; None for -1 and the like: rows of a test whose classes are secret."""
    if isinstance(value, list):
        return [class_name(part, names) for part in value]
    if not isinstance(value, int) or isinstance(value, bool):
        return value
    return names[value] if 0 <= value < len(names) else None


def records(path: Path, columns: list[str], done: list[int]) -> Iterator[Record]:
    """(row from 1, {column: value}). The rows of a part that is damaged are set aside together."""
    import pyarrow

    file = open_parquet(path)
    total, size = max(file.metadata.num_rows, 0), path.stat().st_size
    wanted = [name for name in columns if name in file.schema_arrow.names]
    names = {name: known for name, known in class_names(file).items() if name in wanted}
    row = 0
    for group in range(file.metadata.num_row_groups):
        end = row + max(file.metadata.row_group(group).num_rows, 0)
        try:
            for batch in file.iter_batches(BATCH, row_groups=[group], columns=wanted, use_threads=False):
                for record in batch.to_pylist():
                    row += 1
                    yield row, record | {name: class_name(record[name], known) for name, known in names.items()}
                done[0] = size * row // max(total, 1)
        except MemoryError:
            raise
        except (pyarrow.ArrowException, OSError, ValueError, KeyError) as error:
            reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
            if row < end:
                yield BadRecord(row + 1, "", _("This part of the file is damaged: {reason}.", reason=reason), end - row)
        row = end
