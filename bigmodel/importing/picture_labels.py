"""What names the classes of pictures: the folders they lie in, or tables beside them. Boxes of detectors name none."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath

from bigmodel.core.errors import Refusal
from bigmodel.core.words import Words, _
from bigmodel.importing import column_roles
from bigmodel.importing.column_roles import ColumnStats
from bigmodel.importing.formats import folder_labels, image_folder, label_tables, text_lines, zip_archive
from bigmodel.importing.formats.folder_labels import FolderLabels
from bigmodel.importing.formats.label_tables import ONE_HOT_COLUMN, LabelTables, PictureIndex, TableInfo
from bigmodel.importing.formats.readers import table_records

TABLE_EXTENSIONS = (".csv", ".tsv", ".tab", ".jsonl", ".ndjson", ".json", ".txt", ".parquet")
MAX_TABLES = 100  # that are looked into
SAMPLE_FILES, SAMPLE_BYTES = 20, 2**16  # by which the files beside pictures are judged
LABEL_FILE_NAMES = re.compile(r"label|meta|annot|class|train|标", re.IGNORECASE)
NO_LABELS = re.compile(
    r"submission|sample|example", re.IGNORECASE
)  # Kaggle's form to be filled in names a class for all
DETECTION_DO = _(
    "Put the pictures of each class into a folder of its own, or add a table that gives each picture one class."
)
# what beside a picture holds boxes -> (ending, pattern of its text)
DETECTION_FORMATS: Mapping[str, tuple[str, re.Pattern]] = {
    "YOLO": (".txt", re.compile(r"\A\s*(?:\d+(?:\s+[\d.eE+-]+){4,}\s*(?:\n|\Z))+")),
    "Pascal VOC": (".xml", re.compile(r"<bndbox>")),
    "LabelMe": (".json", re.compile(r'"shapes"\s*:')),
}
COCO = re.compile(r'"(?:bbox|segmentation|annotations)"\s*:')
BOX_COLUMNS = ({"xmin", "xmax"}, {"x_min", "x_max"}, {"x1", "x2"}, {"bbox"}, {"boundingbox"}, {"encodedpixels"})


@dataclass(frozen=True)
class PictureLabels:
    """tables: as a plan names them, '' where folders name the classes.  candidates: what a person could choose instead.
    columns: what the tables say of the pictures."""

    tables: str
    label_column: str
    split_column: str
    candidates: tuple[str, ...]
    columns: tuple[ColumnStats, ...]
    evidence: tuple[Words, ...]


def find(path: Path, folders: FolderLabels, chosen: str | None) -> PictureLabels:
    """chosen: the tables that a person names, '' for the folders, None where it is to be found out."""
    names = image_folder.all_names(path)
    pictures = [name for name in names if image_folder.is_picture(name)]
    index = PictureIndex(pictures)
    boxes = _detection_format(path, names, index)
    infos = [] if boxes == "COCO" else _table_infos(path, names, index)
    groups = _groups(infos)
    candidates = tuple(dict.fromkeys([*map(label_tables.join_names, groups), *(info.name for info in infos)]))
    if chosen is not None:
        if not chosen:
            return _by_folders(folders, candidates, names, ())
        tables = LabelTables(path, label_tables.split_names(chosen, names), table_records)
        return _by_tables(tables, pictures, candidates, names)
    for group in groups:
        found = _by_tables(LabelTables(path, group, table_records), pictures, candidates, names)
        if not found.label_column or _has_boxes(infos, group):
            continue
        if _beats_folders(found, folders):
            return found
        said = _("{name} names their classes, too. Choose it, if not the folders.", name=found.tables)
        return _by_folders(folders, candidates, names, (said,))
    boxes = boxes or ("CSV" if any(_has_boxes(infos, group) for group in groups) else "")
    if boxes and len(folders.class_names) < 2:
        what = _("These pictures come with boxes for object detection ({format}), not with a class each.", format=boxes)
        why = _("A box says what is where in a picture. Here a picture as a whole is of one class.")
        raise Refusal(what, why, DETECTION_DO, field="labels")
    said = (
        (_("Boxes for object detection ({format}) lie beside them; they are not read.", format=boxes),) if boxes else ()
    )
    return _by_folders(folders, candidates, names, said)


# -- the folders -------------------------------------------------------------------------------------------
def _by_folders(folders: FolderLabels, candidates: tuple[str, ...], names: Sequence[str], said: tuple) -> PictureLabels:
    classes = folders.class_names
    if classes:
        listed = ", ".join(classes[:8]) + (" ..." if len(classes) > 8 else "")
        lie = _("They lie in {count} folders: {names}.", count=len(classes), names=listed)
    else:
        lie = _("Neither folders nor a file name their classes.")
    evidence = (lie, *said, *_skipped(names, ()))
    return PictureLabels("", folders.class_column, folders.split_column, candidates, (), evidence)


def _skipped(names: Sequence[str], tables: Sequence[str]) -> tuple[Words, ...]:
    """So that the sum is that of all files."""
    others = [name for name in names if not image_folder.is_picture(name) and name not in tables]
    if not others:
        return ()
    kinds = image_folder.count_by_extension(others)
    return (_("Of {files} files {count} are no pictures and are set aside: {kinds}.",
              files=len(names), count=len(others), kinds=kinds),)  # fmt: skip


def _beats_folders(found: PictureLabels, folders: FolderLabels) -> bool:
    """Folders that are named after classes beat a column that may be one or not."""
    if len(folders.class_names) < 2 or all(map(folder_labels.names_portion, folders.class_names)):
        return True
    label = next(column for column in found.columns if column.name == found.label_column)
    same = {str(value).lower() for value in label.values} == {name.lower() for name in folders.class_names}
    return not same and (label.name == ONE_HOT_COLUMN or column_roles.name_matches(label, "label"))


# -- tables ------------------------------------------------------------------------------------------------
def _table_infos(path: Path, names: Sequence[str], index: PictureIndex) -> list[TableInfo]:
    """Of the tables that name pictures which are there."""
    stems = {PurePosixPath(name).stem for name in index.names}
    tables = [
        name for name in names
        if name.lower().endswith(TABLE_EXTENSIONS) and PurePosixPath(name).stem not in stems
    ]  # fmt: skip
    found = []
    for name in sorted(tables, key=lambda name: (not LABEL_FILE_NAMES.search(name), len(name), name))[:MAX_TABLES]:
        with suppress(Refusal):  # it is no table
            found.append(label_tables.table_info(name, table_records(path, name), index))
    return [info for info in found if info.name_column and info.matched]


def _groups(infos: Sequence[TableInfo]) -> list[list[str]]:
    """Tables with the same columns belong together; those that name the most pictures come first."""
    by_columns: dict[frozenset, list[TableInfo]] = {}
    for info in infos:
        if not NO_LABELS.search(PurePosixPath(info.name).name):
            by_columns.setdefault(frozenset(info.columns), []).append(info)
    ranked = sorted(by_columns.values(), key=lambda group: -sum(info.matched for info in group))
    return [[info.name for info in group] for group in ranked]


def _has_boxes(infos: Sequence[TableInfo], group: Sequence[str]) -> bool:
    columns = {column.lower().replace(" ", "") for info in infos if info.name in group for column in info.columns}
    return any(needed <= columns for needed in BOX_COLUMNS)


def _by_tables(
    tables: LabelTables, pictures: Sequence[str], candidates: tuple[str, ...], names: Sequence[str]
) -> PictureLabels:
    rows = [row for _number, row in tables.rows.values()]
    rows = rows[:: max(1, len(rows) // label_tables.SAMPLE_ROWS)]
    titles = list(dict.fromkeys(title for row in rows for title in row))
    columns = tuple(column_roles.column_stats(title, [row.get(title) for row in rows]) for title in titles)
    label = _label_column(columns)
    split = next((info.split_column for info in tables.infos.values() if info.split_column), "")
    said = [
        _("{name} names {count} pictures.", name=name, count=tables.counts[name]["named"]) for name in tables.tables
    ]
    one_hot = next((info.one_hot for info in tables.infos.values() if info.one_hot), ())
    if label == ONE_HOT_COLUMN:
        said.append(_("Of the columns {names} the one that is 1 is the class.", names=", ".join(one_hot[:20])))
    elif label:
        said.append(_("Its column {name} is the class.", name=label))
    said += _left_rows(tables)
    if left := len(pictures) - len(tables.rows):
        said.append(
            _("Of {pictures} pictures {count} have no row and are set aside.", pictures=len(pictures), count=left)
        )
    said += _skipped(names, tables.tables)
    joined = label_tables.join_names(tables.tables)
    return PictureLabels(joined, label, split, candidates or (joined,), columns, tuple(said))


def _left_rows(tables: LabelTables) -> Iterable[Words]:
    for name in tables.tables:
        counts = tables.counts[name]
        if counts["no picture"]:
            yield _("{count} rows of {name} name no picture that is there.", count=counts["no picture"], name=name)
        if other := counts["other"] + counts["unreadable"]:
            yield _("{count} more rows of {name} are set aside.", count=other, name=name)


def _label_column(columns: Sequence[ColumnStats]) -> str:
    """One that is called a class, the columns of which one is 1, else the one with the fewest values."""
    fitting = [
        column for column in columns
        if column.kind in ("text", "number", "other") and column.mean_length <= 60
        and not any(column_roles.name_matches(column, role) for role in ("split", "image"))
        and not set(column_roles.name_words(column.name)) & column_roles.ID_COLUMN_NAMES
        and (1 < column.distinct <= max(2, column.count / 2) or column_roles.name_matches(column, "label"))
    ]  # fmt: skip
    best = min(fitting, default=None, key=lambda column: (
        not column_roles.name_matches(column, "label") or column.name == ONE_HOT_COLUMN, column.name != ONE_HOT_COLUMN,
        column.distinct > column_roles.MAX_CLASSES, column.kind == "number" and column.distinct > 20, column.distinct))  # fmt: skip
    return best.name if best else ""


# -- boxes -------------------------------------------------------------------------------------------------
def _detection_format(path: Path, names: Sequence[str], index: PictureIndex) -> str:
    """The format of the files that hold boxes, one beside each picture or one for all; '' where there are none."""
    for format, (ending, pattern) in DETECTION_FORMATS.items():
        beside = (name for name in names if name.lower().endswith(ending) and PurePosixPath(name).stem in index.by_name)
        texts = [text for name in islice(beside, SAMPLE_FILES) if (text := _text(path, name)).strip()]
        if texts and sum(bool(pattern.search(text)) for text in texts) > len(texts) / 2:
            return format
    others = (name for name in names if name.lower().endswith(".json"))
    coco = any(
        len(set(COCO.findall(text))) > 0 and '"images"' in text
        for text in (_text(path, name) for name in islice(others, SAMPLE_FILES))
    )
    return "COCO" if coco else ""


def _text(path: Path, name: str) -> str:
    """The beginning of a file."""
    file, member = (path / name, "") if path.is_dir() else (path, name)
    try:
        with text_lines.open_stream(file, member, [0]) as stream:
            return stream.read(SAMPLE_BYTES).decode("utf-8", "replace")
    except (Refusal, *zip_archive.ARCHIVE_ERRORS):
        return ""
