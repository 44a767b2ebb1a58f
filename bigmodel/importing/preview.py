"""A first look at a file: what it is, what its columns hold, how they could be used, and what the first rows become."""

from __future__ import annotations

import base64
import dataclasses
import itertools
import json
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from bigmodel.core.errors import Refusal
from bigmodel.core.safe_open import list_files
from bigmodel.core.split_size import small_split_words
from bigmodel.core.words import Words, _
from bigmodel.importing import column_roles, picture_labels, to_rows
from bigmodel.importing.detect_format import DetectedFormat, detect_format
from bigmodel.importing.formats import (
    chat_formats,
    folder_labels,
    image_folder,
    labelling_exports,
    parquet,
    sharded_tables,
)
from bigmodel.importing.formats.bad_record import BadRecord
from bigmodel.importing.formats.label_tables import TABLE_COLUMN
from bigmodel.importing.formats.readers import records, sample_pictures
from bigmodel.importing.import_plan import (
    CONTINUOUS_SHARES,
    STORED_IMAGES,
    FilePreview,
    ImportPlan,
    are_trainable,
    parse_split,
)
from bigmodel.importing.picture_labels import PictureLabels
from bigmodel.importing.store.parquet_writer import rejected_entry

PREVIEW_RECORDS, PREVIEW_IMAGES, PREVIEW_ROWS = 1000, 50, 8  # records, pictures that are judged by; rows that are shown
MAX_SECONDS = 5.0  # seconds


def preview_file(path: Path, name: str, corrected: Mapping | None = None) -> FilePreview:
    """`corrected`: parts of a plan that a person has decided; the rest is found under these."""
    fixed = dict(corrected or {})
    kind = detect_format(path, name, str(fixed.get("member", "")).replace("(gzip)", ""))
    labels = None
    if kind.format == "pictures":
        labels = picture_labels.find(path, kind.folders, fixed.get("labels"))
        kind = dataclasses.replace(kind, labels=labels.tables, tables=labels.candidates, evidence=(
            *kind.evidence, *labels.evidence, *_deep_pictures(path)))  # fmt: skip
    plan = ImportPlan(
        format=kind.format, roles={}, encoding=kind.encoding, delimiter=kind.delimiter, header=kind.header,
        unit=kind.unit, member=kind.member, labels=kind.labels,
    )  # fmt: skip
    plan = dataclasses.replace(plan, **{key: value for key, value in fixed.items() if key not in ("roles", "split")})
    if plan.continuous:
        plan = dataclasses.replace(plan, **{key: share for key, share in CONTINUOUS_SHARES.items() if key not in fixed})
    columns, taken, ends, whole = _columns(path, plan)
    _refuse_empty(taken)
    if labels:  # of all rows of the tables, not only of the pictures that are shown
        named = {column.name: column for column in labels.columns}
        columns = [named.get(column.name, column) for column in columns if column.name != TABLE_COLUMN]
    chosen, split, why = _roles(plan, kind, columns, fixed, whole, labels)
    if plan.format in ("jsonl", "json"):
        why = [*labelling_exports.evidence(one[1] for one in taken if type(one) is not BadRecord), *why]
    plan = dataclasses.replace(plan, roles=chosen, split=split)
    plan, said = _with_literal_classes(plan, columns, fixed)
    why = [*why, *said, *([STORED_IMAGES] if "image" in chosen else [])]
    size = _size(path)
    left_out: Counter = Counter()
    preview, aside = _preview(taken, plan, left_out) if are_trainable(chosen) else ([], [])
    if left_out:
        why = [*why, chat_formats.left_out_sentence(left_out, len(taken))]
    rows = _estimate(path, plan, taken, ends, size, whole)
    if not whole:
        words = _("Judged by the first {count} rows of about {rows}.", count=len(taken), rows=f"{rows:,}")
        why = [*why, words]
    if not plan.split and not {"label", "target"}.isdisjoint(plan.roles):
        shares = {"validation": plan.validation, "test": plan.test}
        why += small_split_words(
            {part: round(share * rows) for part, share in shares.items()}, classes="label" in plan.roles
        )
    return FilePreview(
        plan=plan,
        evidence=(*kind.evidence, *why),
        columns={column.name: column.to_json() for column in columns},
        preview=tuple(preview),
        rejected=tuple(aside),
        tables=kind.tables,
        bytes=size,
        rows=rows,
    )


def _deep_pictures(path: Path) -> list[Words]:
    pixel_range, count = image_folder.common_pixel_range(path)
    if pixel_range is None:
        return []
    low, high = f"{pixel_range.low:g}", f"{pixel_range.high:g}"
    return [_("{count} grey pictures have more than 8 bits: in all of them {low} becomes black and {high} white.",
              count=count, low=low, high=high)]  # fmt: skip


def _columns(path: Path, plan: ImportPlan) -> tuple[list[column_roles.ColumnStats], list, int, bool]:
    """What stands in each column, by the first records; these records, how far they go, in bytes, and whether that is
    all there are."""
    if plan.format == "parquet":
        names = parquet.open_parquet(_tables(path)[0]).schema_arrow.names
        plan = dataclasses.replace(plan, roles={name: name for name in names})
    done, until = [0], time.monotonic() + MAX_SECONDS
    taken: list = []
    if plan.format == "pictures":
        left = iter(sample_pictures(path, plan, PREVIEW_IMAGES))
    else:
        left = iter(records(path, plan, done))
    for one in itertools.islice(left, PREVIEW_RECORDS):
        taken.append(one)
        if time.monotonic() > until:
            break
    ends = done[0]
    whole = [one[1] for one in taken if type(one) is not BadRecord]
    flat = [_flat(record) for record in whole]
    names = list(dict.fromkeys(name for record in flat for name in record))[:200]
    return (
        [column_roles.column_stats(name, [record.get(name) for record in flat]) for name in names],
        taken,
        ends,
        next(left, None) is None,
    )


def _tables(path: Path) -> list[Path]:
    return (sharded_tables.shard_files(path) if path.is_dir() else []) or [path]


def _refuse_empty(taken: list) -> None:
    """Where no record can be read there is nothing to choose."""
    if not taken:
        raise Refusal(_("There are no rows in this file."), do=_("Give a file with data in it."))
    if all(type(one) is BadRecord for one in taken):
        what = _("None of the first {count} rows can be read.", count=len(taken))
        raise Refusal(what, taken[0].reason, _("Mend the file, or give another one."))


def _flat(record: Mapping) -> dict:
    """{"translation": {"en": ...}} also as {"translation.en": ...}, which is how translations are commonly published."""
    found = {}
    for name, value in record.items():
        name = str(name)
        if isinstance(value, Mapping) and set(value) - {"bytes", "path"}:
            found |= {f"{name}.{inner}": part for inner, part in list(value.items())[:20]}
        else:
            found[name] = value
    return found


def _roles(
    plan: ImportPlan, kind: DetectedFormat, columns: list, fixed: Mapping, whole: bool, labels: PictureLabels | None
) -> tuple[dict[str, str], str, list[Words]]:
    """Roles, the column of parts or '', why. whole: the first records are all there are."""
    _refuse_unknown([*fixed.get("roles", {}).values(), fixed.get("split", "")], {column.name for column in columns})
    if "roles" in fixed:
        return dict(fixed["roles"]), fixed.get("split", ""), []
    if labels:
        label = {"label": labels.label_column} if labels.label_column else {}
        chosen, split, why = {"image": "picture"} | label, labels.split_column or kind.folders.split_column, []
    else:
        chosen, split, why = _roles_by_format(plan, kind, columns) or column_roles.choose(columns)
    if "split" in fixed or not split:
        return chosen, fixed.get("split", ""), why
    parts = next(column for column in columns if column.name == split)
    if whole and not any(parse_split(value) == "train" for value in parts.values):
        said = _("The column {name} says of no row that it is for training, so the rows are cut anew.", name=split)
        return chosen, "", [*why, said]
    return chosen, split, [*why, _("The column {name} says which rows are for training.", name=split)]


def _with_literal_classes(plan: ImportPlan, columns: list, fixed: Mapping) -> tuple[ImportPlan, list[Words]]:
    """The plan with the words for a missing value that are classes; and which words are taken for a missing class."""
    label = next((column for column in columns if column.name == plan.roles.get("label")), None)
    if label is None:
        return plan, []
    missing, literal = column_roles.missing_words(label)
    if "literal_classes" in fixed:
        missing, literal = missing - set(plan.literal_classes), set(plan.literal_classes)
    plan = dataclasses.replace(plan, literal_classes=tuple(sorted(literal)))
    said = _("In the column {name} these words are taken for a missing class: {words}.", name=label.name,
             words=", ".join(sorted(missing)))  # fmt: skip
    return plan, [said] if missing else []


def _refuse_unknown(named: list[str], names: set[str]) -> None:
    for name in filter(None, named):
        if name not in names:
            what = _("There is no {kind} named {name}.", kind=_("column"), name=str(name)[:60])
            raise Refusal(
                what, do=_("Choose one of: {options}.", options=", ".join(sorted(names))[:300]), field="roles"
            )


def _roles_by_format(plan: ImportPlan, kind: DetectedFormat, columns: list) -> tuple[dict, str, list] | None:
    """Formats whose columns say by themselves what they are."""
    if plan.format == "text":
        said = kind.folders if plan.unit == "files" else folder_labels.NO_FOLDER_LABELS
        if 1 < len(said.class_names) <= column_roles.MAX_CLASSES:
            return (
                {"text": "text", "label": said.class_column},
                said.split_column,
                [_("The folders can be taken for classes.")],
            )
        part = "part" if any(column.name == "part" for column in columns) else ""
        return {"text": "text"}, said.split_column or part, []
    if plan.format == "parallel":
        languages = [column.name for column in columns if column.name != "part"]
        part = "part" if any(column.name == "part" for column in columns) else ""
        return {"source": languages[0], "target": languages[1]}, part, []
    if plan.format in ("po", "xliff"):
        return {"source": "source", "target": "target"}, "", []
    if plan.format == "tmx":
        filled = sorted(columns, key=lambda column: -column.fill_rate)[:2]
        if len(filled) < 2:
            return {}, "", [_("Its texts are in one language only.")]
        first = [column for column in columns if column in filled]
        said = _("It holds {languages}.", languages=", ".join(f"{column.name} ({column.count})" for column in columns))
        return {"source": first[0].name, "target": first[1].name}, "", [said]
    return None


def _preview(taken: list, plan: ImportPlan, left_out: Counter) -> tuple[list[dict], list[dict]]:
    good: list[dict] = []
    bad: list[dict] = []
    named = {one[0]: one[1] for one in taken if type(one) is not BadRecord} if plan.format == "pictures" else {}
    for one in to_rows.rows(iter(taken), plan, left_out):
        if type(one) is BadRecord:
            bad.append(rejected_entry(one))
        elif len(good) < PREVIEW_ROWS:
            number, row = one
            shown = {
                role: _preview_value(value) if role != "messages" else chat_formats.truncate_conversation(value)
                for role, value in row.items()
            }
            origin = _origin(named[number]) if named else {}
            good.append({name: value for name, value in ({"row": number} | origin | shown).items() if name != "split"})
        if "messages" in plan.roles:  # all of them, as what is left out of them is counted
            continue
        if len(good) >= PREVIEW_ROWS and (len(bad) >= PREVIEW_ROWS or plan.format in ("pictures", "parquet")):
            break
    return good, bad[:PREVIEW_ROWS]


def _origin(record: Mapping) -> dict[str, str]:
    """Of a picture: its name, and the table that names its class."""
    return {"name": record["name"], "table": record.get(TABLE_COLUMN, "")}


def _preview_value(value: object) -> object:
    """A text's beginning; a picture so that JSON can carry it."""
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode()}
    return value[:500] if isinstance(value, str) else value


def _size(path: Path) -> int:
    if path.is_dir():
        return sum(file.stat().st_size for file in list_files(path))
    return path.stat().st_size


def _estimate(path: Path, plan: ImportPlan, taken: list, ends: int, size: int, whole: bool) -> int:
    """All rows where all were seen; else as many as the first ones let expect."""
    if plan.format == "parquet":
        return sum(parquet.open_parquet(table).metadata.num_rows for table in _tables(path))
    if plan.format == "pictures":
        return len(image_folder.names(path))
    if whole or not ends:
        return len(taken)
    numbers = [one.row if type(one) is BadRecord else one[0] for one in taken]
    read = sum(
        len(json.dumps(one[1], ensure_ascii=False, default=str).encode()) for one in taken if type(one) is not BadRecord
    )
    return max(len(numbers), round(len(numbers) * size / max(min(ends, max(read, 1)), 1)))
