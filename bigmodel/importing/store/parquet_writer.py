"""A version's rows on the disk: Parquet in batches, cut into training, validation and test rows by their content."""

from __future__ import annotations

import hashlib
import itertools
import json
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from bigmodel.core import limits
from bigmodel.core.errors import Refusal
from bigmodel.core.words import _
from bigmodel.importing.formats.bad_record import BadRecord
from bigmodel.importing.formats.natural_order import natural_key
from bigmodel.importing.formats.text_lines import is_bomb

if TYPE_CHECKING:
    import pyarrow

BATCH_ROWS, BATCH_PICTURES, BATCH_BYTES = 10_000, 256, 2**23
SPLIT_NAMES = ("train", "validation", "test")
CUT_EXACTLY = 20_000  # rows up to which the shares are exact, not only about right
HASH_MULTIPLIER = 2654435761  # Knuth's: the golden ratio of 2^32
ZSTD_LEVEL = 1  # of zstd: text becomes half as large at the speed of writing it


class ImportCounts:
    """How far an import is; written down now and then for whoever looks. source_bytes: of the file, whose quota of rows
    and of bytes ends what would go on for ever; 0 for none of bytes."""

    def __init__(self, tell: Callable[[int, int], None] = lambda rows, aside: None, source_bytes: int = 0):
        self.rows = self.rejected = self.bytes = 0
        self.source_bytes = source_bytes
        self.reasons: Counter = Counter()
        self.left_out: Counter = Counter()  # messages, and the conversations that they are left out of
        self.on_progress = tell

    def report(self) -> None:
        self.on_progress(self.rows, self.rejected)

    def check_quota(self) -> None:
        if self.rows + self.rejected > limits.ROWS:
            what = _("The file has more than {count} rows.", count=limits.ROWS)
            raise Refusal(what, do=_("Give a part of it."))
        if self.source_bytes and is_bomb(self.source_bytes, self.bytes):
            what = _("The rows of this file become more than {times} times as large as the file.",
                     times=limits.UNPACKED_RATIO)  # fmt: skip
            raise Refusal(what, _("That is how files look which are made to fill a disk."), _("Give a part of it."))


def schema(columns: Mapping[str, str], folder: str = "split") -> pyarrow.Schema:
    """row, then each role, then split. `columns`: role -> kind."""
    import pyarrow

    types = {
        "text": pyarrow.string(),
        "class": pyarrow.int64(),
        "image": pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())]),
    }
    return pyarrow.schema(
        [("row", pyarrow.int64()), *((name, types[kind]) for name, kind in columns.items()), (folder, pyarrow.string())]
    )


class RejectedRowsWriter:
    """What is set aside, written as it is met: an entry a line, and beside them the pictures that entries have, in the
    same order. The second file is only there where there is a picture."""

    ENTRIES, PICTURES = "aside.jsonl", "aside.parquet"

    def __init__(self, folder: Path):
        self.folder = folder
        self.pending_images: list[dict] = []
        self.pending_bytes = 0  # bytes of them
        self.entries_file = self.images_writer = None

    def __enter__(self) -> RejectedRowsWriter:
        self.entries_file = (self.folder / self.ENTRIES).open("w", encoding="utf-8")
        return self

    def __exit__(self, error: type | None, *_more: object) -> None:
        try:
            if error is None:
                self._flush()
        finally:
            self.entries_file.close()
            if self.images_writer:
                self.images_writer.close()

    def add(self, entry: Mapping, picture: bytes = b"") -> int:
        """How many characters and bytes that is."""
        written = self.entries_file.write(json.dumps(entry, ensure_ascii=False) + "\n") + len(picture)
        if picture:
            self.pending_images.append({"row": entry["row"], "picture": picture})
            self.pending_bytes += len(picture)
        if len(self.pending_images) >= BATCH_PICTURES or self.pending_bytes >= BATCH_BYTES:
            self._flush()
        return written

    def _flush(self) -> None:
        import pyarrow
        import pyarrow.parquet as parquet

        if not self.pending_images:
            return
        form = pyarrow.schema([("row", pyarrow.int64()), ("picture", pyarrow.binary())])
        if self.images_writer is None:
            self.images_writer = parquet.ParquetWriter(self.folder / self.PICTURES, form, compression="zstd",
                                                  compression_level=ZSTD_LEVEL, write_statistics=["row"],
                                                  use_dictionary=False)  # fmt: skip
        self.images_writer.write_batch(pyarrow.RecordBatch.from_pylist(self.pending_images, form))
        self.pending_images, self.pending_bytes = [], 0


def write(
    found: Iterable[tuple[int, dict] | BadRecord], folder: Path, kinds: Mapping[str, str], shares: tuple[float, float],
    counts: ImportCounts,
) -> dict:  # fmt: skip
    """rows.parquet and what is set aside in `folder`; {"rows": {split: n}, "aside": n, "names": class names}.

    A row belongs to the split that its content says, so that equal rows never stand in two of them, and the same file
    is cut the same way by everybody. Validation is taken out of training where the file names splits but not this one.
    """
    import pyarrow.parquet as parquet

    names: dict[str, int] = {}
    drafted = folder / "draft.parquet"
    lists: dict[str, list] = {name: [] for name in ("row", *kinds, "split")}
    form, size, given = schema(kinds), 0, Counter()
    label = next((name for name, kind in kinds.items() if kind == "class"), "")
    keyed = [name for name, kind in kinds.items() if kind != "class"]
    pictures = "image" in kinds.values()
    most = BATCH_ROWS if not pictures else BATCH_PICTURES
    cut = _HashSplitter(*shares)
    with RejectedRowsWriter(folder) as rest, parquet.ParquetWriter(
        drafted, form, compression="zstd", compression_level=ZSTD_LEVEL, write_statistics=["row", "split"],
        use_dictionary=[label, "split"] if label else ["split"],
    ) as writer:  # fmt: skip
        columns = [(name, lists[name].append) for name in keyed]
        numbers, keys = lists["row"], []
        add_row, add_split, add_key = numbers.append, lists["split"].append, keys.append
        for one in found:
            if type(one) is BadRecord:
                counts.rejected += one.count
                counts.reasons[one.reason] += one.count
                counts.bytes += rest.add(rejected_entry(one), one.picture)
                counts.check_quota()
                continue
            number, row = one
            key = 0
            for name, add in columns:
                value = row[name]
                if type(value) is str:
                    data = value.encode()
                    key, size = zlib.crc32(data, key), size + len(data)
                    add(data)
                else:
                    key, size = zlib.crc32(value, key), size + len(value)
                    add({"bytes": value, "path": None})
            if label:
                lists[label].append(names.setdefault(row[label], len(names)))
            add_split(row["split"])
            add_key(key)
            add_row(number)
            if len(numbers) >= most or size >= BATCH_BYTES:
                if len(names) > limits.CLASSES:
                    raise _too_many(label)
                if label and not counts.rows:
                    _sort_classes(names, lists[label])
                counts.rows += len(numbers)
                counts.bytes += size
                counts.check_quota()
                given.update(lists["split"])
                writer.write_batch(_batch(lists, form, cut(keys)))
                for values in (*lists.values(), keys):
                    values.clear()
                size = 0
                counts.report()
        if len(names) > limits.CLASSES:
            raise _too_many(label)
        counts.rows += len(numbers)
        given.update(lists["split"])
        if numbers:
            writer.write_batch(_batch(lists, form, cut(keys)))
    counts.report()
    _refuse_too_few(counts, label, names)
    return finish(folder, drafted, label, list(names), shares, given) | {"aside": counts.rejected}


def _sort_classes(names: dict[str, int], labels: list[int]) -> None:
    """Number the classes that the first batch has in the order of their names: mostly these are all, and then the file
    need not be written again in the end."""
    order = sorted(names, key=natural_key)
    place = [order.index(name) for name in names]
    labels[:] = [place[label] for label in labels]
    names.clear()
    names.update((name, number) for number, name in enumerate(order))


def _refuse_too_few(counts: ImportCounts, label: str, names: Mapping) -> None:
    """Said with the commonest reason why rows were set aside."""
    if counts.rows < 3:
        what = _("Only {count} rows of this file can be learnt from.", count=counts.rows)
        why = counts.reasons.most_common(1)[0][0] if counts.reasons else None
        raise Refusal(what, why, _("Give at least three: one to train, one to validate, one to test."))
    if label and len(names) < 2:
        what = _("All rows are of one class: {name}.", name=next(iter(names)))
        raise Refusal(
            what,
            _("There is nothing to tell apart."),
            _("Choose another column for the class, or add rows of another class."),
            "roles",
        )


def _batch(lists: Mapping[str, list], form: pyarrow.Schema, cut: pyarrow.Array) -> pyarrow.RecordBatch:
    """Columns of a batch; where the file says nothing of a row's split, it is that of `cut`. Texts come as UTF-8 and are laid one after the other, as Arrow has them: to convert them one
    by one took a third of an import."""
    import numpy as np
    import pyarrow

    arrays = []
    for field in form:
        values = lists[field.name]
        if field.name == "split":
            given = any(values)
            arrays.append(pyarrow.array([mine or own for mine, own in zip(values, cut.to_pylist(), strict=True)], field.type)
                          if given else cut)  # fmt: skip
        elif field.type == pyarrow.string():
            ends = np.zeros(len(values) + 1, np.int32)
            np.cumsum(np.fromiter(map(len, values), np.int32, len(values)), out=ends[1:])
            parts = (pyarrow.py_buffer(ends), pyarrow.py_buffer(b"".join(values)))
            arrays.append(pyarrow.StringArray.from_buffers(len(values), *parts))
        else:
            arrays.append(pyarrow.array(values, field.type))
    return pyarrow.RecordBatch.from_arrays(arrays, schema=form)


def rejected_entry(one: BadRecord) -> dict:
    return {
        "row": one.row,
        "count": one.count,
        "raw": one.raw,
        "reason": one.reason.to_json(),
        "cells": dict(one.cells),
        **({"picture": True} if one.picture else {}),
    }


class _HashSplitter:
    """The splits that the contents of rows say, by their checksums."""

    def __init__(self, validation: float, test: float):
        self.validation, self.test = int(validation * 2**32), int((validation + test) * 2**32)

    def __call__(self, keys: list[int]) -> pyarrow.Array:
        import numpy as np
        import pyarrow

        mixed = _mix_hash(np.asarray(keys, dtype=np.uint64))
        places = np.where(mixed >= self.test, 0, np.where(mixed < self.validation, 1, 2))
        return pyarrow.array(SPLIT_NAMES).take(pyarrow.array(places))


def _mix_hash(key):
    """Neighbouring checksums, of 32 bits, far from each other; also of a whole array of them."""
    return (key * HASH_MULTIPLIER ^ key >> 15) & 0xFFFFFFFF


def _too_many(label: str) -> Refusal:
    what = _("This column holds more than {count} different values.", count=limits.CLASSES)
    return Refusal(
        what, _("A class has a name that many rows share."), _("Choose another column for the class."), "roles"
    )


# -- the second pass -----------------------------------------------------------------------------------
def finish(folder: Path, drafted: Path, label: str, names: list[str], shares: tuple[float, float],
           given: Mapping[str, int]) -> dict:  # fmt: skip
    """Classes in the order of their names; splits that are not empty. Most large files need no second writing."""
    import pyarrow
    import pyarrow.parquet as parquet

    file = parquet.ParquetFile(drafted)
    order = sorted(names, key=natural_key)
    place = pyarrow.array([order.index(name) for name in names], pyarrow.int64())
    moved = _splits(file, label, shares, given)
    target = folder / "rows.parquet"
    if order == names and moved is None:
        file.close()
        drafted.rename(target)
    else:
        _rewrite(file, target, label, place, moved)
        file.close()
        drafted.unlink()
    rows = count_splits(target)
    if not all(rows.values()):
        what = _("All rows of this file are the same, or nearly: there is nothing to test a model on.")
        raise Refusal(what, do=_("Give rows that differ."))
    return {"rows": rows, "names": order}


def _rewrite(file, target: Path, label: str, place: pyarrow.Array, moved: list[str] | None) -> None:
    import pyarrow
    import pyarrow.parquet as parquet

    form, start = file.schema_arrow, 0
    with parquet.ParquetWriter(target, form, compression="zstd", compression_level=ZSTD_LEVEL,
                               use_dictionary=[label, "split"] if label else ["split"]) as writer:  # fmt: skip
        for batch in file.iter_batches(BATCH_PICTURES if "image" in form.names else BATCH_ROWS, use_threads=False):
            columns = {name: batch[name] for name in form.names}
            if label:
                columns[label] = place.take(columns[label])
            if moved is not None:
                columns["split"] = pyarrow.array(moved[start : start + len(batch)], pyarrow.string())
            start += len(batch)
            writer.write_batch(pyarrow.RecordBatch.from_pydict(columns, form))


def _splits(file, label: str, shares: tuple[float, float], given: Mapping[str, int]) -> list[str] | None:
    """The split of each row where the first pass has not settled it: small files are cut exactly, class by class;
    a split that a file leaves out is taken from its training rows."""
    named = {name for name in SPLIT_NAMES if given.get(name)}
    total = file.metadata.num_rows
    if named == set(SPLIT_NAMES) or (not named and total > CUT_EXACTLY):
        return None
    splits: list[str] = []
    keys: list[int] = []
    classes: list[int] = []
    for batch in file.iter_batches(1000, use_threads=False):
        splits += batch["split"].to_pylist()
        classes += batch[label].to_pylist() if label else [0] * len(batch)
        keyed = [name for name in batch.schema.names if name not in ("row", "split", label)]
        for row in batch.select(keyed).to_pylist():
            key = 0
            for value in row.values():
                key = zlib.crc32(value.encode() if isinstance(value, str) else value["bytes"], key)
            keys.append(_mix_hash(key))
    validation, test = shares
    wanted = {"validation": validation if "validation" not in named else 0, "test": test if "test" not in named else 0}
    free = [row for row, split in enumerate(splits) if not named or split == "train"]
    if named and "train" not in named:
        do = _("Choose another column for the parts, or none.")
        raise Refusal(_("No row of this file is for training."), do=do, field="split")
    taken = _assign_splits(free, keys, classes, wanted)
    return [taken.get(row, split if named else "train") for row, split in enumerate(splits)]


def _assign_splits(free: list[int], keys: list[int], classes: list[int], wanted: Mapping[str, float]) -> dict[int, str]:
    """Rows for validation and test: of each class its share, equal rows together; at least one of each in all."""
    found: dict[int, str] = {}
    groups: dict[int, dict[int, list[int]]] = {}
    for row in free:
        groups.setdefault(classes[row], {}).setdefault(keys[row], []).append(row)
    owed = dict.fromkeys(wanted, 0.0)  # what small classes could not give is asked of the next
    for members in groups.values():
        count = sum(map(len, members.values()))
        queue = [members[key] for key in sorted(members)]
        for split, share in wanted.items():
            owed[split] += share * count
            while owed[split] >= 1 and len(queue) > 1:
                rows = queue.pop()
                found |= dict.fromkeys(rows, split)
                owed[split] -= len(rows)
    for split, share in wanted.items():
        if share and split not in found.values():
            left = [row for row in free if row not in found]
            if len({keys[row] for row in left}) > 1:
                key = max(keys[row] for row in left)
                found |= {row: split for row in left if keys[row] == key}
    return found


def count_splits(path: Path) -> dict[str, int]:
    import pyarrow.parquet as parquet

    counted: Counter = Counter()
    for batch in parquet.ParquetFile(path).iter_batches(100_000, columns=["split"], use_threads=False):
        for part in batch["split"].value_counts().to_pylist():
            counted[part["values"]] += part["counts"]
    return {name: counted[name] for name in SPLIT_NAMES}


def sha256(
    path: Path, done: list[int] | None = None, open: Callable[[Path], BinaryIO] = lambda path: path.open("rb")
) -> str:
    """Of a file's bytes, in pieces."""
    digest = hashlib.sha256()
    with open(path) as file:
        while piece := file.read(2**20):
            digest.update(piece)
            if done is not None:
                done[0] += len(piece)
    return digest.hexdigest()


def read_jsonl(path: Path, start: int = 0) -> Iterator[dict]:
    """The set-aside rows of a version, or the like: one JSON object a line. Those before `start` are not even read."""
    with path.open("r", encoding="utf-8") as file:
        for line in itertools.islice(file, start, None):
            yield json.loads(line)
