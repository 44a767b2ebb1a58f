"""The records of a file, whatever its format: one door to all readers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from bigmodel.core import limits
from bigmodel.core.errors import Refusal
from bigmodel.core.words import _
from bigmodel.data.own import columnar, lines, pairs, pictures, tables, texts
from bigmodel.data.own.broken import Broken
from bigmodel.data.own.plan import Plan
from bigmodel.data.own.recognise import text_kind
from bigmodel.data.own.tables import Record


def records(path: Path, plan: Plan, done: list[int]) -> Iterator[Record]:
    """(number, {column: value}) or Broken, in the file's order. `done[0]`: bytes of the file read so far."""
    if plan.format == "pictures":
        yield from _pictures(path, plan, done)
    elif plan.format == "parquet":
        columns = {name.partition(".")[0] for name in (*plan.roles.values(), plan.split) if name}
        columns |= {*plan.roles.values(), plan.split}
        yield from columnar.records(path, sorted(columns), done)
    elif plan.unit == "files":
        yield from texts.files(path)
    else:
        with lines.opened(path, plan.member, done) as file:
            yield from _of_text(file, plan)


def _of_text(file, plan: Plan) -> Iterator[Record]:
    if plan.format == "csv":
        return tables.table(file, plan.encoding, plan.delimiter, plan.header)
    if plan.format == "jsonl":
        return tables.json_lines(file, plan.encoding)
    if plan.format == "json":
        return tables.json_list(file, plan.encoding)
    if plan.format == "po":
        return pairs.po(file, plan.encoding)
    if plan.format == "tmx":
        return pairs.tmx(file)
    if plan.format == "xliff":
        return pairs.xliff(file)
    return texts.text(file, plan.encoding, plan.unit)


def _pictures(path: Path, plan: Plan, done: list[int]) -> Iterator[Record]:
    labels = _labels(path, plan.labels) if plan.labels else None
    if path.is_dir():
        return pictures.in_folder(path, labels, done)
    return pictures.in_archive(path, labels, plan.labels, done)


def _labels(path: Path, name: str) -> dict[str, Mapping]:
    """What the file of labels says of each picture, by every way to name it: with folders, without, without ending."""
    if path.is_dir():
        place = (path / name).resolve()
        if not place.is_relative_to(path.resolve()) or not place.is_file():
            raise Refusal(_("The folder holds no file {name}.", name=name[:200]), do=_("Choose another file."))
        table, member = place, ""
    else:
        table, member = path, name
    with lines.opened(table, member, [0]) as file:
        sample = file.read(2**20)
    kind = text_kind(sample, name, len(sample) < 2**20)
    if kind.format not in ("csv", "jsonl", "json"):
        what = _("The file {name} is no table that could name classes.", name=name[:200])
        raise Refusal(what, do=_("Choose another file, or sort the pictures into folders."), field="labels")
    plan = Plan(kind.format, {}, kind.encoding, kind.delimiter, kind.header)
    found: dict[str, Mapping] = {}
    column = ""
    with lines.opened(table, member, [0]) as file:
        for one in _of_text(file, plan):
            if type(one) is Broken:
                continue  # its picture is set aside, since nothing names it
            _number, record = one
            column = column or _names_pictures(record)
            if not column:
                what = _("No column of {name} names pictures.", name=name[:200])
                raise Refusal(what, do=_("Choose another file, or sort the pictures into folders."), field="labels")
            key = str(record.get(column, "")).replace("\\", "/").removeprefix("./")
            about = {f"{title}": value for title, value in record.items() if title != column}
            for way in (key, key.rpartition("/")[2]):
                found.setdefault(way, about)
            if len(found) > 2 * limits.ARCHIVE_FILES:
                break
    return found


def _names_pictures(record: Mapping) -> str:
    """The column whose value ends as pictures do; else the first one, which may leave the ending out."""
    named = (name for name, value in record.items() if isinstance(value, str) and pictures.is_picture(value))
    return next(named, "") or next(
        (name for name, value in record.items() if isinstance(value, str | int) and str(value).strip()), ""
    )
