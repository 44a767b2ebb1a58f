"""Records of Parquet files, a few at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bigmodel.core.errors import Refusal
from bigmodel.core.words import _
from bigmodel.importing.formats.bad_record import BadRecord
from bigmodel.importing.formats.csv_json import Record

BATCH = 500


def open_parquet(path: Path):
    """The file; Refusal where it is none."""
    import pyarrow
    import pyarrow.parquet as parquet

    try:
        return parquet.ParquetFile(path, memory_map=False, buffer_size=2**20)
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        what = _("This Parquet file cannot be read: {reason}.", reason=str(error).splitlines()[0][:200])
        raise Refusal(what, do=_("Write it again, or give the data as CSV or JSON lines.")) from error


def records(path: Path, columns: list[str], done: list[int]) -> Iterator[Record]:
    """(row from 1, {column: value}). The rows of a part that is damaged are set aside together."""
    import pyarrow

    file = open_parquet(path)
    total, size = max(file.metadata.num_rows, 0), path.stat().st_size
    wanted = [name for name in columns if name in file.schema_arrow.names]
    row = 0
    for group in range(file.metadata.num_row_groups):
        end = row + max(file.metadata.row_group(group).num_rows, 0)
        try:
            for batch in file.iter_batches(BATCH, row_groups=[group], columns=wanted, use_threads=False):
                for record in batch.to_pylist():
                    row += 1
                    yield row, record
                done[0] = size * row // max(total, 1)
        except (pyarrow.ArrowException, OSError, ValueError, KeyError) as error:
            reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
            if row < end:
                yield BadRecord(row + 1, "", _("This part of the file is damaged: {reason}.", reason=reason), end - row)
        row = end
