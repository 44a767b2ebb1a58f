"""Tables that name the classes of pictures: which rows speak of which picture. A table only speaks of its own folder."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path, PurePosixPath

from bigmodel.core.errors import Refusal
from bigmodel.core.words import Words, _
from bigmodel.importing.formats import image_folder
from bigmodel.importing.formats.bad_record import BadRecord, printable
from bigmodel.importing.formats.csv_json import Record
from bigmodel.importing.import_plan import parse_split, split_in_name

SEPARATOR = " + "  # between the names of several tables
TABLE_COLUMN = "label file"  # of the records: the table that names the picture
ONE_HOT_COLUMN = "one-hot class"  # of the records: the column that is 1
SAMPLE_ROWS = 1000  # by which the columns of a table are judged
Row = tuple[int, Mapping]
ReadRows = Callable[[Path, str], Iterator[Record]]  # the records of the table of this name in a folder or archive

NO_ROW = _("The file of labels does not name it.")
NO_SUCH_PICTURE = _("There is no picture of this name.")
NAMED_BEFORE = _("An earlier row names this picture, too.")


def join_names(names: Iterable[str]) -> str:
    return SEPARATOR.join(names)


def split_names(joined: str, known: Iterable[str]) -> list[str]:
    """The tables that a plan names."""
    return [joined] if joined in known else joined.split(SEPARATOR)


# -- the pictures ------------------------------------------------------------------------------------------
class PictureIndex:
    """The pictures of a folder or an archive, by the names that a table can give them."""

    def __init__(self, names: Sequence[str]):
        self.names = names
        self.folders = {part for name in names for part in _folders(name)}
        self.by_name: dict[str, list[str]] = {}
        for name in names:
            path = PurePosixPath(_normalize(name))
            for key in {path.name, path.stem}:
                self.by_name.setdefault(key, []).append(name)

    def named(self, key: str) -> list[str]:
        """All whose file is called so, wherever they lie; with the ending, without, or with that of another kind."""
        path = PurePosixPath(key)
        if path.name in self.by_name:
            return self.by_name[path.name]
        return self.by_name.get(path.stem, []) if image_folder.is_picture(path.name) else []

    def scope(self, table: str) -> str:
        """The folder, with '/' at its end, whose pictures a table can name: its own, or the next above that has some."""
        for folder in (*PurePosixPath(table).parents,):
            prefix = "" if str(folder) == "." else f"{folder}/"
            if any(name.startswith(prefix) for name in self.names):
                return prefix
        return ""


def _normalize(name: str) -> str:
    """Of the two ways to write é in Unicode that of most files; a Mac writes the other."""
    return unicodedata.normalize("NFC", name)


def _folders(name: str) -> tuple[str, ...]:
    return PurePosixPath(_normalize(name)).parts[:-1]


def _split_of(folders: Iterable[str]) -> str:
    return next((split for folder in folders if (split := split_in_name(folder))), "")


# -- a table -----------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class TableInfo:
    """What the first rows of a table show. name_column: that names pictures, '' where none does; matched: pictures that
    these rows name; one_hot: columns of which one is 1 in each row."""

    name: str
    columns: tuple[str, ...]
    name_column: str
    split_column: str
    one_hot: tuple[str, ...]
    matched: int
    rows: tuple[Mapping, ...]


def table_info(name: str, records: Iterator[Record], index: PictureIndex) -> TableInfo:
    rows = [record[1] for record in islice(records, SAMPLE_ROWS) if type(record) is not BadRecord]
    columns = tuple(dict.fromkeys(f"{column}" for row in rows for column in row))[:500]
    values = {column: [row.get(column) for row in rows] for column in columns}
    named = {column: _matched(cells, index) for column, cells in values.items()}
    looks = {column: sum(isinstance(cell, str) and image_folder.is_picture(cell.strip()) for cell in cells) for column, cells in values.items()}  # fmt: skip
    best = max(columns, key=lambda column: (looks[column] > len(rows) / 2, named[column]), default="")
    if best and not (named[best] or looks[best] > len(rows) / 2):
        best = ""
    others = [column for column in columns if column != best]
    splits = (column for column in others if _all_splits(values[column]))
    return TableInfo(
        name, columns, best, next(splits, ""), one_hot_columns(others, values), named.get(best, 0), tuple(rows)
    )


def _matched(cells: Iterable[object], index: PictureIndex) -> int:
    keys = {key for cell in cells if (key := picture_key(cell))}
    return sum(bool(index.named(key)) for key in keys)


def picture_key(cell: object) -> str:
    """How a cell names a picture, '' where it does not."""
    if not isinstance(cell, str | int) or isinstance(cell, bool):
        return ""
    key = _normalize(str(cell).strip()).replace("\\", "/")
    return key.removeprefix("./").strip("/") if len(key) < 1000 else ""


def _all_splits(cells: Sequence[object]) -> bool:
    there = {cell for cell in cells if isinstance(cell, str) and cell.strip()}
    return 0 < len(there) <= 4 and all(parse_split(cell) for cell in there)


def one_hot_columns(columns: Sequence[str], values: Mapping[str, Sequence[object]]) -> tuple[str, ...]:
    """The columns of 0 and 1 of which in nearly every row one is 1; () where there are none."""
    binary = [
        column
        for column in columns
        if not parse_split(column.lower().removeprefix("is_")) and _is_binary(values[column])
    ]
    runs = [binary, *_neighbours(binary, columns)]
    return next((tuple(run) for run in runs if len(run) > 1 and _is_one_hot(run, values)), ())


def _is_binary(cells: Sequence[object]) -> bool:
    return bool(cells) and {_bit(cell) for cell in cells} == {0, 1}


def _bit(cell: object) -> int | None:
    """0 or 1, however it is written."""
    text = str(cell).strip().lower()
    return 1 if text in ("1", "1.0", "true") else 0 if text in ("0", "0.0", "false") else None


def _neighbours(chosen: Sequence[str], columns: Sequence[str]) -> list[list[str]]:
    """Those that stand side by side, the longest row of them first."""
    runs: list[list[str]] = [[]]
    for column in columns:
        if column in chosen:
            runs[-1].append(column)
        elif runs[-1]:
            runs.append([])
    return sorted(runs, key=len, reverse=True)


def _is_one_hot(columns: Sequence[str], values: Mapping[str, Sequence[object]]) -> bool:
    sums = [
        sum(_bit(cell) or 0 for cell in cells) for cells in zip(*(values[column] for column in columns), strict=True)
    ]
    return sum(total == 1 for total in sums) >= 0.9 * len(sums)


def one_hot_class(row: Mapping, columns: Sequence[str]) -> str | list[str]:
    """The name of the column that is 1; a list where several are, '' where none is."""
    ones = [column for column in columns if _bit(row.get(column)) == 1]
    return ones[0] if len(ones) == 1 else ones or ""


# -- tables and pictures -----------------------------------------------------------------------------------
class LabelTables:
    """What tables say of pictures; then what of them belongs to no picture."""

    def __init__(self, path: Path, tables: Sequence[str], read_rows: ReadRows):
        self.path, self.read_rows = path, read_rows
        self.index = PictureIndex(image_folder.names(path))
        # one deeper in the folders is nearer to its pictures
        self.tables = sorted(tables, key=lambda name: (-len(PurePosixPath(name).parts), name))
        self.infos = {name: table_info(name, read_rows(path, name), self.index) for name in self.tables}
        self.rows: dict[str, Row] = {}  # of each picture, the first that names it
        self.table_of: dict[str, str] = {}
        self.several: dict[str, Words] = {}  # pictures that share a name, so that a row may mean each of them
        self.counts = {name: Counter() for name in self.tables}  # rows by what became of them
        self.reasons: dict[tuple[str, int], Words] = {}  # (table, row) that label no picture, and why
        for name in self.tables:
            self._read(self.infos[name])

    def lookup(self, picture: str) -> Mapping | Words:
        """What stands in the row of a picture, or why there is none."""
        if picture not in self.rows:
            return self.several.get(picture, NO_ROW)
        return self.rows[picture][1] | {TABLE_COLUMN: self.table_of[picture]}

    def unmatched(self) -> Iterator[BadRecord]:
        """Rows that label no picture, by their lines. Read again: they may be more than the memory holds."""
        for name in self.tables:
            for record in self.read_rows(self.path, name):
                if type(record) is BadRecord:
                    yield replace(record, reason=_("In {file}: {reason}", file=name, reason=record.reason))
                elif reason := self.reasons.get((name, record[0])):
                    key = picture_key(record[1].get(self.infos[name].name_column))
                    yield BadRecord(record[0], printable(key), _("In {file}: {reason}", file=name, reason=reason))

    def _read(self, info: TableInfo) -> None:
        if not info.name_column:
            what = _("No column of {name} names pictures.", name=info.name[:200])
            raise Refusal(what, do=_("Choose another file, or sort the pictures into folders."), field="labels")
        scope, split = self.index.scope(info.name), split_in_name(PurePosixPath(info.name).stem)
        for record in self.read_rows(self.path, info.name):
            if type(record) is BadRecord:
                self.counts[info.name]["unreadable"] += record.count
                continue
            number, row = record
            picture = self._picture_of(row, info, scope, split)
            if isinstance(picture, Words):
                self._leave(info.name, number, picture)
            elif picture in self.rows:
                self._leave(info.name, number, NAMED_BEFORE)
            else:
                self.rows[picture], self.table_of[picture] = (number, _values(row, info)), info.name
                self.counts[info.name]["named"] += 1

    def _leave(self, table: str, number: int, reason: Words) -> None:
        self.reasons[table, number] = reason
        self.counts[table]["no picture" if reason is NO_SUCH_PICTURE else "other"] += 1

    def _picture_of(self, row: Mapping, info: TableInfo, scope: str, split: str) -> str | Words:
        """The one picture that a row speaks of, or why there is none."""
        key = picture_key(row.get(info.name_column))
        found = [name for name in self.index.named(key) if name.startswith(scope)] if key else []
        exact = [name for name in found if _is_called(name, key, scope)]
        if len(exact) == 1:
            return exact[0]
        named = set(PurePosixPath(key).parts[:-1])
        said = _split_of(PurePosixPath(key).parts[:-1]) or parse_split(str(row.get(info.split_column) or "")) or split
        left = [name for name in found if self._may_mean(name[len(scope) :], named & self.index.folders, said)]
        if len(left) > 1:
            left = _by_other_columns(left, row, info) or left
        if len(left) == 1:
            return left[0]
        if not left:
            return NO_SUCH_PICTURE
        reason = _("Several pictures bear this name: {names}.", names=", ".join(left[:3]))
        self.several.update((name, reason) for name in left)
        return reason

    @staticmethod
    def _may_mean(name: str, folders: set[str], split: str) -> bool:
        """Whether a picture lies in the folders that a row names, and in no part that is another than the row's."""
        own = _folders(name)
        own_split = _split_of(own)
        return folders <= set(own) and not (split and own_split and own_split != split)


def _values(row: Mapping, info: TableInfo) -> dict[str, object]:
    """What a row says of its picture."""
    said = {f"{column}": value for column, value in row.items() if column != info.name_column}
    return said | ({ONE_HOT_COLUMN: one_hot_class(row, info.one_hot)} if info.one_hot else {})


def _is_called(name: str, key: str, scope: str) -> bool:
    """Whether a key is the path of a picture, from the table's folder or the outermost, with or without its ending."""
    path = _normalize(name)
    ways = {path, path[len(scope) :]}
    ways |= {str(PurePosixPath(way).with_suffix("")) for way in ways}
    return key in ways or (image_folder.is_picture(key) and str(PurePosixPath(key).with_suffix("")) in ways)


def _by_other_columns(names: Sequence[str], row: Mapping, info: TableInfo) -> list[str]:
    """Of pictures that share a name those in whose folder's name another cell of the row occurs."""
    cells = {_normalize(str(value).strip()) for column, value in row.items() if column != info.name_column}
    return [name for name in names if cells & set(_folders(name))]
