"""A conversation of a data set as a person reads it: who says what, a line each."""

from __future__ import annotations

import json

from bigmodel.importing.formats import chat_formats
from bigmodel.ui.language import say


def format_transcript(row: str) -> str:
    try:
        return chat_formats.transcript(json.loads(row), say)
    except (ValueError, KeyError, TypeError):  # not one that we have written; shown as it is
        return row


def format_cell(value: object, column: str) -> str:
    """What a table shows of a row's column: a conversation as it is spoken."""
    if value is None:
        return ""
    return format_transcript(value) if column == "messages" and isinstance(value, str) else say(value)
