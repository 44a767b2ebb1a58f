"""Tables that lie in several files of a folder: those of one kind, read one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from bigmodel.core.safe_open import list_files, open_source
from bigmodel.importing.formats.text_lines import GZIP
from bigmodel.importing.import_plan import splits_in_names

TABLE_EXTENSIONS = {
    "parquet": (".parquet",),
    "jsonl": (".jsonl", ".ndjson"),
    "csv": (".csv", ".tsv", ".tab"),
    "json": (".json",),
}


def list_tables(folder: Path) -> list[Path]:
    """Every table, in the order of their names; what lies elsewhere by a link, or is hidden, is left out."""
    return [
        path
        for path in list_files(folder)
        if _kind(path) and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]


def shard_files(folder: Path) -> list[Path]:
    """The tables of the kind that holds the most: beside shards lie small files that describe them."""
    found = list_tables(folder)
    held = {kind: sum(path.stat().st_size for path in found if _kind(path) == kind) for kind in TABLE_EXTENSIONS}
    most = max(held, key=held.__getitem__)
    return [path for path in found if _kind(path) == most]


def _kind(path: Path) -> str:
    name = path.name.lower().removesuffix(".gz")
    return next((kind for kind, ends in TABLE_EXTENSIONS.items() if name.endswith(ends)), "")


def compression(path: Path) -> str:
    with open_source(path) as file:
        return GZIP if file.read(2) == b"\x1f\x8b" else ""


def shard_splits(folder: Path, files: Sequence[Path]) -> Iterator[str]:
    """The part that each file's name says, as in train-00000-of-00002.parquet; '' for all where one says none."""
    return iter(splits_in_names([path.relative_to(folder).as_posix() for path in files]))
