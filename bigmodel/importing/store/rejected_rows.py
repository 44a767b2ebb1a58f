"""What of a file was set aside, beside the rows of a version: an entry for each, and the pictures that only lack a class."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from bigmodel.core.words import _
from bigmodel.importing.store.parquet_writer import RejectedRowsWriter, read_jsonl
from bigmodel.importing.store.registry import Version

PARTS = 64  # pictures that are read at once
IMAGE_NOT_KEPT = _("No picture of it was kept that could be taken in.")


def entries(version: Version, start: int = 0) -> Iterator[dict]:
    """{"row", "count", "raw", "reason", "cells"} of each part of the file that is not among the rows. cells: what could
    be read of it, by role; versions of old have none. picture: true where it has one that can be read."""
    for one in read_jsonl(version.folder / RejectedRowsWriter.ENTRIES, start):
        yield {"cells": {}} | one


def has_images(version: Version) -> bool:
    """Whether there are any; versions of old have kept none."""
    return RejectedRowsWriter.PICTURES in version.manifest["files"]


def is_repairable(one: Mapping, version: Version) -> bool:
    """Whether a row can be made of an entry. Pictures are not typed in: it must have one."""
    return "image" not in version.manifest["columns"] or one.get("picture", False)


def pictures(version: Version, rows: Collection[int]) -> Iterator[tuple[int, bytes]]:
    """(row, picture) of those of the rows that have one, in the order of the entries. Only the parts of the file in
    which they can stand are read."""
    import pyarrow.parquet as parquet

    if not rows or not has_images(version):
        return
    wanted, first, last = set(rows), min(rows), max(rows)
    with parquet.ParquetFile(version.folder / RejectedRowsWriter.PICTURES) as file:
        for group in range(file.num_row_groups):
            stands = file.metadata.row_group(group).column(0).statistics
            if stands.min > last or stands.max < first:
                continue
            for batch in file.iter_batches(PARTS, row_groups=[group], use_threads=False):
                for row, picture in zip(batch["row"].to_pylist(), batch["picture"], strict=True):
                    if row in wanted:
                        yield row, picture.as_py()


def copy_remaining(version: Version, without: set[int], folder: Path) -> int:
    """Write all but the rows that were taken in for another version; how many rows that are."""
    count, left = 0, set(without)
    kept = _all_pictures(version)
    with RejectedRowsWriter(folder) as out:
        for entry in entries(version):
            picture = next(kept) if entry.get("picture") else b""
            taken = rows_in_entry(entry, left, version)
            left -= taken
            for part in _remaining_ranges(entry, sorted(taken)):
                count += part["count"]
                out.add(part, picture)
    return count


def _all_pictures(version: Version) -> Iterator[bytes]:
    import pyarrow.parquet as parquet

    if has_images(version):
        with parquet.ParquetFile(version.folder / RejectedRowsWriter.PICTURES) as file:
            for batch in file.iter_batches(PARTS, columns=["picture"], use_threads=False):
                yield from batch["picture"].to_pylist()


def rows_in_entry(one: Mapping, rows: set[int], version: Version) -> set[int]:
    """Those of `rows` that can be made of an entry."""
    if not is_repairable(one, version):
        return set()
    if one["count"] == 1:
        return {one["row"]} & rows
    return {row for row in rows if one["row"] <= row < one["row"] + one["count"]}


def _remaining_ranges(one: Mapping, without: Sequence[int]) -> Iterator[dict]:
    """What is left of an entry: where it stands for several rows, those before, between and behind the ones taken out."""
    begin, end = one["row"], one["row"] + one["count"]
    for row in (*without, end):
        if begin < row:
            yield {**one, "row": begin, "count": row - begin}
        begin = row + 1
