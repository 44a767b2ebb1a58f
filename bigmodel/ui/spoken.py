"""A conversation of a data set as a person reads it: who says what, a line each."""

from __future__ import annotations

import json

from bigmodel.ui.language import _


def spoken(row: str) -> str:
    names = {"user": _("User"), "assistant": _("Assistant"), "system": _("System"), "tool": _("Tool")}
    try:
        return "\n".join(f"{names.get(turn['role'], turn['role'])}: {turn['content']}" for turn in json.loads(row))
    except (ValueError, KeyError, TypeError):  # not one that we have written; shown as it is
        return row
