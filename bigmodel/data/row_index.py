"""What can be asked of rows without reading them: their part, their class and how long they are, as arrays on the disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bigmodel.core.contracts import SPLITS, Dataset
from bigmodel.core.files import staged
from bigmodel.data.sandbox import run_in_sandbox

if TYPE_CHECKING:
    import numpy as np

JSON_SYNTAX = r'\[?\{"role": "\w+", "content": "|"\}(, |\])'  # of conversations, around each message
INLINE_BYTES = 32 * 2**20  # bytes of a file that is counted at once; a larger one in a process of its own
BATCH_ROWS = 20_000  # rows read at a time
NO_CLASS = -1  # as a class: the row has none


@dataclass(frozen=True)
class RowIndex:
    """Arrays over the rows of a file, in its order, mapped from the disk.

    split: places among SPLITS.  row: what own data sets name their rows by, None where they are counted from 1.
    label: places among the names of the classes, None without a class.  lengths: text column -> characters.
    """

    split: np.ndarray
    row: np.ndarray | None
    label: np.ndarray | None
    lengths: Mapping[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.split)

    def row_numbers(self, places: np.ndarray) -> np.ndarray:
        """What the rows at these places are called."""
        return places + 1 if self.row is None else self.row[places]

    def positions(self, numbers: object) -> np.ndarray:
        """Where the rows of these numbers stand; those that are not there are left out."""
        import numpy as np

        wanted = np.unique(np.asarray(list(numbers), dtype=np.int64))
        if self.row is None:
            return wanted[(wanted >= 1) & (wanted <= len(self))] - 1
        return np.flatnonzero(np.isin(self.row, wanted))


def load_or_build(data: Dataset, cache: Path) -> RowIndex:
    """The index of a data set's file, made first where it is missing."""
    folder = index_folder(data, cache)
    if not (folder / "split.npy").exists():
        kinds = {name: column.kind for name, column in data.columns.items()}
        if data.path().stat().st_size <= INLINE_BYTES:
            build(data.path(), kinds, folder)
        else:
            run_in_sandbox({"do": "index", "path": str(data.path()), "kinds": kinds, "folder": str(folder)})
    return _load_mmap(folder)


def index_folder(data: Dataset, cache: Path) -> Path:
    return cache / "index" / data.fingerprint()


def _load_mmap(folder: Path) -> RowIndex:
    import numpy as np

    arrays = {path.name.removesuffix(".npy"): np.load(path, mmap_mode="r") for path in folder.glob("*.npy")}
    lengths = {name.removeprefix("length."): one for name, one in arrays.items() if name.startswith("length.")}
    return RowIndex(arrays["split"], arrays.get("row"), arrays.get("label"), lengths)


def build(path: Path, kinds: Mapping[str, str], folder: Path) -> None:
    """Write the arrays of a Parquet file, whole or not at all. `kinds`: column -> 'text', 'class', 'image'."""
    import numpy as np
    import pyarrow.parquet as parquet

    file = parquet.ParquetFile(path)
    there = set(file.schema_arrow.names)
    texts = [name for name, kind in kinds.items() if kind == "text" and name in there]
    label = next((name for name, kind in kinds.items() if kind == "class" and name in there), None)
    types = {"split": np.int8, **{f"length.{name}": np.int32 for name in texts}}
    types |= ({"row": np.int64} if "row" in there else {}) | ({"label": np.int32} if label else {})
    total = file.metadata.num_rows
    wanted = ["split", *(["row"] if "row" in there else []), *texts, *([label] if label else [])]
    with staged(folder, shared=True) as staging:
        if not total:  # nothing can be mapped over no byte
            for name, kind in types.items():
                np.save(staging / f"{name}.npy", np.empty(0, dtype=kind))
            return
        arrays = {
            name: np.lib.format.open_memmap(staging / f"{name}.npy", mode="w+", dtype=kind, shape=(total,))
            for name, kind in types.items()
        }
        start = 0
        for batch in file.iter_batches(BATCH_ROWS, columns=wanted, use_threads=False):
            part = slice(start, start + len(batch))
            for name, values in _index_columns(batch, texts, label, "row" in there).items():
                arrays[name][part] = values
            start += len(batch)
        for array in arrays.values():
            array.flush()


def _index_columns(batch, texts: list[str], label: str | None, numbered: bool) -> dict:
    import pyarrow
    import pyarrow.compute as compute

    found = {"split": compute.index_in(batch["split"], value_set=pyarrow.array(SPLITS)).fill_null(0).to_numpy()}
    for name in texts:
        said = batch[name]
        if name == "messages":  # what is said counts, not how it is written down
            said = compute.replace_substring_regex(said, JSON_SYNTAX, "")
        found[f"length.{name}"] = compute.utf8_length(said).fill_null(0).to_numpy()
    if label:
        found["label"] = batch[label].fill_null(NO_CLASS).to_numpy()
    if numbered:
        found["row"] = batch["row"].to_numpy()
    return found
