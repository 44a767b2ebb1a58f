"""Records to rows: each column in its role, or the reason why a record cannot be learnt from."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache

from bigmodel.core import limits
from bigmodel.core.words import Words, _
from bigmodel.importing.formats import chat_formats, image_folder
from bigmodel.importing.formats.bad_record import Broken, cell, shown
from bigmodel.importing.formats.csv_json import Record
from bigmodel.importing.formats.plain_text import TOO_LONG
from bigmodel.importing.import_plan import ROLES, Plan, part_of

NO_TEXT_SIGNS = _("It holds characters that are no text.")
COMPOSED = frozenset(["answer", "system"])  # roles whose columns are put together to a conversation
CONVERSATIONS = frozenset(["messages", "history"])  # roles whose cells hold turns
CONTROLS = {code: None for code in range(32) if chr(code) not in "\t\n\r\x0b\x0c"}


class Unfit(Exception):
    """A value that cannot be learnt from, and why."""

    def __init__(self, reason: Words):
        self.reason = reason


def rows(records: Iterator[Record], plan: Plan) -> Iterator[tuple[int, dict] | Broken]:
    """(number, {role: value, "split": name or ''}) of each record; Broken for those that will not do."""
    parts = [(role, column, READ[role]) for role, column in plan.roles.items()]
    composed = not COMPOSED.isdisjoint(plan.roles)
    split = plan.split
    for found in records:
        if type(found) is Broken:
            yield replace(found, cells=cells(found.cells, plan.roles)) if found.cells else found
            continue
        number, record = found
        row: dict = {}
        try:
            for role, column, read in parts:
                value = record.get(column)
                row[role] = read(value if value is not None else value_of(record, column), role)
            if composed:
                row = {"messages": _conversation(row)}
            row["split"] = _split(record.get(split)) if split else ""
        except Unfit as unfit:
            yield _unfit(number, record, plan, unfit.reason)
            continue
        yield number, row


def _unfit(number: int, record: Mapping, plan: Plan, reason: Words) -> Broken:
    by_folder = plan.format == "pictures" and not plan.labels  # its name, with the folders, is all there is
    raw, found = shown(record["name"] if by_folder else raw_of(record)), cells(record, plan.roles)
    if "image" not in plan.roles:
        return Broken(number, raw, reason, cells=found)
    return image_folder.unclassed(number, raw, reason, _picture(value_of(record, plan.roles["image"])), found)


def cells(record: Mapping, roles: Mapping[str, str]) -> dict[str, str]:
    """What can be read of a record, by role, as text to begin with when it is mended."""
    found = {}
    for role, column in roles.items():
        value = value_of(record, column)
        try:
            read = READ[role](value, role) if role != "image" else None
        except Unfit:
            read = value
        if text := cell(read if isinstance(read, str) else value):
            found[role] = text
    return found


def mended(cells: Mapping[str, object], roles: Iterable[str]) -> dict:
    """The row {column: value} that cells by role make; Unfit where they will not do."""
    row = {role: READ[role](_spoken(cells.get(role, ""), role), role) for role in roles}
    return row if COMPOSED.isdisjoint(row) else {"messages": _conversation(row)}


def _spoken(value: object, role: str) -> object:
    """A person may write a conversation a line a turn. A file may not: what is read of it must stay what it was."""
    if role not in CONVERSATIONS or not isinstance(value, str) or value.lstrip().startswith(("[", "{")):
        return value
    try:
        return chat_formats.turns_of(value) if value.strip() else ""
    except ValueError:
        what = _("{role} must say who speaks, as in '{name}: ...'.", role=ROLES[role], name=chat_formats.NAMES["user"])
        raise Unfit(what) from None


def value_of(record: Mapping, column: str) -> object:
    """What stands in a column; 'translation.en' is the part 'en' of the column 'translation'."""
    if column in record or "." not in column:
        return record.get(column)
    outer, _dot, inner = column.partition(".")
    part = record.get(outer)
    return part.get(inner) if isinstance(part, Mapping) else None


def raw_of(record: Mapping) -> str:
    """The record in a line, for people."""
    plain = {name: value for name, value in record.items() if not isinstance(value, bytes)}
    return json.dumps(plain, ensure_ascii=False, default=str)


def text(value: object, role: str) -> str:
    if type(value) is not str:
        if value is None:
            raise Unfit(_("{role} is missing.", role=ROLES[role]))
        raise Unfit(_("{role} is no text but {value}.", role=ROLES[role], value=str(value)[:60]))
    if not value or value.isspace():
        raise Unfit(_("{role} is empty.", role=ROLES[role]))
    if len(value) > limits.CELL_CHARACTERS:
        raise Unfit(TOO_LONG)
    if not value.isprintable():  # most values are, which is quickly seen
        _refuse_controls(value)
    return value


def _refuse_controls(value: str) -> None:
    """Line breaks and tabs are text; a zero byte or half a character is not."""
    if value.translate(CONTROLS) != value:
        raise Unfit(NO_TEXT_SIGNS)
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise Unfit(NO_TEXT_SIGNS) from None


def label(value: object, role: str) -> str:
    """The name of a class, as text: 1, 1.0 and '1' are one."""
    if type(value) is str and value:
        return _name(value, role)
    if value is None or value == "" or value != value:
        raise Unfit(_("{role} is missing.", role=ROLES[role]))
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        value = int(value)
    if not isinstance(value, int | float):
        raise Unfit(_("{role} is no name but {value}.", role=ROLES[role], value=str(value)[:60]))
    return _name(str(value), role)


@lru_cache(maxsize=2 * limits.CLASSES)  # many rows share one
def _name(value: str, role: str) -> str:
    name = " ".join(value.split())
    if not name or len(name) > limits.CLASS_CHARACTERS or not name.isprintable():
        raise Unfit(_("{role} is no name but {value}.", role=ROLES[role], value=shown(value[:60])))
    return name


def image(value: object, role: str) -> bytes:
    picture = _picture(value)
    if isinstance(picture, Words):
        raise Unfit(picture)
    return picture


def _picture(value: object) -> bytes | Words:
    return image_folder.small(value.get("bytes") if isinstance(value, Mapping) else value)  # as `datasets` writes them


def messages(value: object, role: str) -> str:
    """A conversation as JSON: [{"role", "content"}], from the ways in which it is commonly written."""
    said = _turns(value, role)
    _refuse_disorder(said)
    return json.dumps(said, ensure_ascii=False)


def _turns(value: object, role: str) -> list[dict[str, str]]:
    if isinstance(value, str):
        try:
            value = chat_formats.parsed(value)
        except ValueError:
            raise Unfit(_("{role} is no list of messages.", role=ROLES[role])) from None
    if not isinstance(value, list) or not value:
        raise Unfit(_("{role} is no list of messages.", role=ROLES[role]))
    said = []
    try:
        for speaker, content in chat_formats.messages(value):
            if speaker is None or not isinstance(content, str):
                raise Unfit(_("A message has no known role or no text."))
            if not content.isprintable():
                _refuse_controls(content)
            if content.strip() or speaker != "system":  # an empty system prompt is none
                said.append({"role": speaker, "content": content})
    except ValueError:
        raise Unfit(_("{role} is no list of messages.", role=ROLES[role])) from None
    if sum(len(one["content"]) for one in said) > limits.CELL_CHARACTERS:
        raise Unfit(TOO_LONG)
    return said


def _refuse_disorder(said: list[dict[str, str]]) -> None:
    """Whoever learns to answer needs an answer, and to know what it answers to."""
    before = ""
    for one in said:
        if not one["content"].strip():
            raise Unfit(_("A message of the conversation is empty: {role}.", role=one["role"]))
        if one["role"] not in chat_formats.FOLLOWS[before]:
            if not before:
                raise Unfit(_("The conversation is out of order: {role} speaks first.", role=one["role"]))
            raise Unfit(_("The conversation is out of order: {role} speaks after {before}.", role=one["role"], before=before))  # fmt: skip
        before = one["role"]
    if not any(one["role"] == "assistant" for one in said):
        raise Unfit(_("The conversation has no answer to learn."))


def _conversation(row: Mapping) -> str:
    """What was written in columns of their own: a question and its answer, what came before, what a system says."""
    said = [{"role": "system", "content": row["system"]}] if row.get("system") else []
    if "messages" in row:
        turns = json.loads(row["messages"])
        return json.dumps(turns if turns[0]["role"] == "system" else [*said, *turns], ensure_ascii=False)
    said += row.get("history", [])
    said.append({"role": "user", "content": chat_formats.asked(row["question"], row.get("context", ""))})
    said.append({"role": "assistant", "content": row["answer"]})
    _refuse_disorder(said)
    return json.dumps(said, ensure_ascii=False)


def history(value: object, role: str) -> list[dict[str, str]]:
    """The turns before a question, or none."""
    return _turns(value, role) if value not in (None, "", [], "[]") else []


def answer(value: object, role: str) -> str:
    """A text, or a number as one."""
    number = isinstance(value, int | float) and not isinstance(value, bool) and value == value
    return text(str(value) if number else value, role)


def text_or_none(value: object, role: str) -> str:
    """'' where nothing is said; many instructions have no input."""
    return "" if value is None or value != value or not str(value).strip() else text(value, role)


def _split(value: object) -> str:
    name = part_of(str(value))
    if not name:
        raise Unfit(_("It belongs to no part that is known: {value}.", value=str(value)[:60]))
    return name


READ: Mapping[str, Callable[[object, str], object]] = {
    "text": text,
    "label": label,
    "source": text,
    "target": text,
    "image": image,
    "messages": messages,
    "question": text,
    "context": text_or_none,
    "answer": answer,
    "system": text_or_none,
    "history": history,
}
