"""Records to rows: each column in its role, or the reason why a record cannot be learnt from."""

from __future__ import annotations

import ast
import json
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache, partial

from bigmodel.core import limits
from bigmodel.core.words import Words, _
from bigmodel.importing import column_roles
from bigmodel.importing.formats import chat_formats, image_folder
from bigmodel.importing.formats.bad_record import BadRecord, cell_text, printable
from bigmodel.importing.formats.csv_json import Record
from bigmodel.importing.formats.plain_text import TOO_LONG
from bigmodel.importing.formats.text_lines import join_lines
from bigmodel.importing.import_plan import MISSING_WORDS, ROLES, ImportPlan, parse_split

INVALID_CHARACTERS = _("It holds characters that are no text.")
COMPOSED_ROLES = frozenset(["answer", "system"])  # roles whose columns are put together to a conversation
CONVERSATION_ROLES = frozenset(["messages", "history"])  # roles whose cells hold turns
CONTROL_CHARACTERS = {code: None for code in range(32) if chr(code) not in "\t\n\r\x0b\x0c"}


class InvalidValue(Exception):
    """A value that cannot be learnt from, and why."""

    def __init__(self, reason: Words):
        self.reason = reason


def rows(
    records: Iterator[Record], plan: ImportPlan, left_out: Counter | None = None
) -> Iterator[tuple[int, dict] | BadRecord]:
    """(number, {role: value, "split": name or ''}) of each record; BadRecord for those that will not do. `left_out`
    counts the messages that are left out of conversations, and these conversations."""
    parsers = PARSERS | {
        "messages": partial(parse_messages, left_out=left_out),
        "label": partial(parse_label, literal=plan.literal_classes),
    }
    parts = [(role, column, parsers[role]) for role, column in plan.roles.items()]
    composed = not COMPOSED_ROLES.isdisjoint(plan.roles)
    split = plan.split
    for found in records:
        if type(found) is BadRecord:
            yield replace(found, cells=cell_texts(found.cells, plan.roles)) if found.cells else found
            continue
        number, record = found
        row: dict = {}
        try:
            for role, column, read in parts:
                value = record.get(column)
                row[role] = read(value if value is not None else column_value(record, column), role)
            if composed:
                row = {"messages": _compose_conversation(row)}
            row["split"] = _required_split(record.get(split)) if split else ""
        except InvalidValue as unfit:
            yield _reject_record(number, record, plan, unfit.reason)
            continue
        yield number, row


def _reject_record(number: int, record: Mapping, plan: ImportPlan, reason: Words) -> BadRecord:
    by_folder = plan.format == "pictures" and not plan.labels  # its name, with the folders, is all there is
    raw, found = printable(record["name"] if by_folder else record_json(record)), cell_texts(record, plan.roles)
    if "image" not in plan.roles:
        return BadRecord(number, raw, reason, cells=found)
    return image_folder.rejected_image(
        number, raw, reason, _normalized_image(column_value(record, plan.roles["image"])), found
    )


def cell_texts(record: Mapping, roles: Mapping[str, str]) -> dict[str, str]:
    """What can be read of a record, by role, as text to begin with when it is mended."""
    found = {}
    for role, column in roles.items():
        value = column_value(record, column)
        try:
            read = PARSERS[role](value, role) if role != "image" else None
        except InvalidValue:
            read = value
        if text := cell_text(read if isinstance(read, str) else value):
            found[role] = text
    return found


def repaired_row(cells: Mapping[str, object], roles: Iterable[str]) -> dict:
    """The row {column: value} that cells by role make; Unfit where they will not do."""
    row = {role: PARSERS[role](_parse_transcript(cells.get(role, ""), role), role) for role in roles}
    return row if COMPOSED_ROLES.isdisjoint(row) else {"messages": _compose_conversation(row)}


def _parse_transcript(value: object, role: str) -> object:
    """A person may write a conversation a line a turn. A file may not: what is read of it must stay what it was."""
    if role not in CONVERSATION_ROLES or not isinstance(value, str) or value.lstrip().startswith(("[", "{")):
        return value
    try:
        return chat_formats.parse_turns(value) if value.strip() else ""
    except ValueError:
        what = _(
            "{role} must say who speaks, as in '{name}: ...'.", role=ROLES[role], name=chat_formats.ROLE_NAMES["user"]
        )
        raise InvalidValue(what) from None


def column_value(record: Mapping, column: str) -> object:
    """What stands in a column; 'translation.en' is the part 'en' of the column 'translation'."""
    if column in record or "." not in column:
        return record.get(column)
    outer, _dot, inner = column.partition(".")
    part = record.get(outer)
    return part.get(inner) if isinstance(part, Mapping) else None


def record_json(record: Mapping) -> str:
    """The record in a line, for people."""
    plain = {name: value for name, value in record.items() if not isinstance(value, bytes)}
    return json.dumps(plain, ensure_ascii=False, default=str)


def parse_text(value: object, role: str) -> str:
    value = join_lines(value)
    if type(value) is not str:
        if value is None:
            raise InvalidValue(_("{role} is missing.", role=ROLES[role]))
        raise InvalidValue(_("{role} is no text but {value}.", role=ROLES[role], value=str(value)[:60]))
    if not value or value.isspace():
        raise InvalidValue(_("{role} is empty.", role=ROLES[role]))
    if len(value) > limits.CELL_CHARACTERS:
        raise InvalidValue(TOO_LONG)
    if not value.isprintable():  # most values are, which is quickly seen
        _refuse_controls(value)
    return value


def _refuse_controls(value: str) -> None:
    """Line breaks and tabs are text; a zero byte or half a character is not."""
    if value.translate(CONTROL_CHARACTERS) != value:
        raise InvalidValue(INVALID_CHARACTERS)
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise InvalidValue(INVALID_CHARACTERS) from None


def parse_label(value: object, role: str, literal: Collection[str] = ()) -> str:
    """The name of a class, as text: 1, 1.0 and '1' are one, and a list of one is that one. `literal`: words for a
    missing value that are classes here."""
    if type(value) is str and value:
        values = _list_in_text(value) if value[0] == "[" else None
        return _name(value, role, value.strip() in literal) if values is None else parse_label(values, role, literal)
    if value is None or value == "" or value != value:
        raise InvalidValue(_("{role} is missing.", role=ROLES[role]))
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        value = int(value)
    if isinstance(value, Mapping) and set(value) == {"choices"}:  # Label Studio's, of a question with several answers
        value = value["choices"]
    if isinstance(value, list | tuple):
        return parse_label(_single_label(value, role), role, literal)
    if not isinstance(value, int | float):
        raise InvalidValue(_("{role} is no name but {value}.", role=ROLES[role], value=str(value)[:60]))
    return _name(str(value), role, True)


def _single_label(values: Sequence, role: str) -> object:
    if column_roles.is_spans(values):
        raise InvalidValue(_("{role} marks parts of a text (spans), and a class is learnt for a whole text.", role=ROLES[role]))  # fmt: skip
    if len(values) > 1:
        listed = ", ".join(map(str, values))[:100]
        raise InvalidValue(_("It has several classes ({values}), and a row can have one.", values=listed))
    if values and isinstance(values[0], list | tuple | Mapping):
        raise InvalidValue(_("{role} is no name but {value}.", role=ROLES[role], value=str(values)[:60]))
    return values[0] if values else None


@lru_cache(maxsize=2 * limits.CLASSES)  # many rows share one
def _name(value: str, role: str, literal: bool) -> str:
    name = unicodedata.normalize("NFC", " ".join(value.split()))  # an accent may be a character of its own
    if not literal and name in MISSING_WORDS:
        raise InvalidValue(_("{role} is missing: '{value}' stands there.", role=ROLES[role], value=name))
    if not name or len(name) > limits.CLASS_CHARACTERS or not name.isprintable():
        raise InvalidValue(_("{role} is no name but {value}.", role=ROLES[role], value=printable(value[:60])))
    return name


@lru_cache(maxsize=2 * limits.CLASSES)
def _list_in_text(value: str) -> Sequence | None:
    """A list as it stands in a cell of a table, as JSON or Python write it; None for a name in brackets."""
    with suppress(ValueError, SyntaxError, RecursionError, MemoryError):
        values = ast.literal_eval(value.strip()) if len(value) <= limits.CLASS_CHARACTERS else None
        return values if isinstance(values, list) else None
    return None


def parse_image(value: object, role: str) -> bytes:
    picture = _normalized_image(value)
    if isinstance(picture, Words):
        raise InvalidValue(picture)
    return picture


def _normalized_image(value: object) -> bytes | Words:
    return image_folder.normalize_image(
        value.get("bytes") if isinstance(value, Mapping) else value
    )  # as `datasets` writes them


def parse_messages(value: object, role: str, left_out: Counter | None = None) -> str:
    """A conversation as JSON: [{"role", "content"}], from the ways in which it is commonly written."""
    turns, dropped = _trainable_turns(_parse_turns(value, role))
    if left_out is not None and dropped:
        left_out["messages"] += dropped
        left_out["conversations"] += 1
    return json.dumps(turns, ensure_ascii=False)


def _trainable_turns(turns: list[dict[str, str]]) -> tuple[list[dict[str, str]], int]:
    kept, dropped = chat_formats.trainable_turns(turns)
    _refuse_role_order(kept or turns)  # where nothing is left, why it does not do as it stands there
    return kept, dropped


def _parse_turns(value: object, role: str) -> list[dict[str, str]]:
    if isinstance(value, str):
        try:
            value = chat_formats.parse_json(value)
        except ValueError:
            raise InvalidValue(_("{role} is no list of messages.", role=ROLES[role])) from None
    if not isinstance(value, list) or not value:
        raise InvalidValue(_("{role} is no list of messages.", role=ROLES[role]))
    said = []
    try:
        for speaker, content in chat_formats.messages(value):
            if speaker not in chat_formats.ROLE_NAMES:
                known = ", ".join(chat_formats.ROLE_NAMES)
                raise InvalidValue(
                    _("The role {role} of a message is none of: {known}.", role=speaker[:60], known=known)
                )
            if not isinstance(content, str):
                raise InvalidValue(_("A message has no text: {role}.", role=speaker))
            if not content.isprintable():
                _refuse_controls(content)
            if content.strip() or speaker != "system":  # an empty system prompt is none
                said.append({"role": speaker, "content": content})
    except ValueError:
        raise InvalidValue(_("{role} is no list of messages.", role=ROLES[role])) from None
    if sum(len(one["content"]) for one in said) > limits.CELL_CHARACTERS:
        raise InvalidValue(TOO_LONG)
    return said


def _refuse_role_order(said: list[dict[str, str]]) -> None:
    """Whoever learns to answer needs an answer, and to know what it answers to."""
    before = ""
    for one in said:
        if not one["content"].strip():
            raise InvalidValue(_("A message of the conversation is empty: {role}.", role=one["role"]))
        if one["role"] not in chat_formats.ALLOWED_NEXT_ROLES[before]:
            if not before:
                raise InvalidValue(_("The conversation is out of order: {role} speaks first.", role=one["role"]))
            raise InvalidValue(_("The conversation is out of order: {role} speaks after {before}.", role=one["role"], before=before))  # fmt: skip
        before = one["role"]
    if not any(one["role"] == "assistant" for one in said):
        raise InvalidValue(_("The conversation has no answer to learn."))


def _compose_conversation(row: Mapping) -> str:
    """What was written in columns of their own: a question and its answer, what came before, what a system says."""
    said = [{"role": "system", "content": row["system"]}] if row.get("system") else []
    if "messages" in row:
        turns = json.loads(row["messages"])
        return json.dumps(turns if turns[0]["role"] == "system" else [*said, *turns], ensure_ascii=False)
    said += row.get("history", [])
    said.append({"role": "user", "content": chat_formats.compose_prompt(row["question"], row.get("context", ""))})
    said.append({"role": "assistant", "content": row["answer"]})
    return json.dumps(_trainable_turns(said)[0], ensure_ascii=False)


def parse_history(value: object, role: str) -> list[dict[str, str]]:
    """The turns before a question, or none."""
    return _parse_turns(value, role) if value not in (None, "", [], "[]") else []


def parse_answer(value: object, role: str) -> str:
    """A text, or a number as one."""
    number = isinstance(value, int | float) and not isinstance(value, bool) and value == value
    return parse_text(str(value) if number else value, role)


def parse_optional_text(value: object, role: str) -> str:
    """'' where nothing is said; many instructions have no input."""
    return "" if value is None or value != value or not str(value).strip() else parse_text(value, role)


def _required_split(value: object) -> str:
    name = parse_split(str(value))
    if not name:
        raise InvalidValue(_("It belongs to no part that is known: {value}.", value=str(value)[:60]))
    return name


PARSERS: Mapping[str, Callable[[object, str], object]] = {
    "text": parse_text,
    "label": parse_label,
    "source": parse_text,
    "target": parse_text,
    "image": parse_image,
    "messages": parse_messages,
    "question": parse_text,
    "context": parse_optional_text,
    "answer": parse_answer,
    "system": parse_optional_text,
    "history": parse_history,
}
# of a cell that a person has changed: what is written there is meant
EDIT_PARSERS = PARSERS | {"label": partial(parse_label, literal=MISSING_WORDS)}
