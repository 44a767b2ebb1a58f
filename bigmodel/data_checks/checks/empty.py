"""Rows without content."""

from __future__ import annotations

import re
from collections.abc import Iterator

from bigmodel.core.words import Words, _
from bigmodel.data_checks.finding import ERROR, LEAVE_OUT, Check, Finding
from bigmodel.data_checks.row_batches import Rows

HAS_CONTENT = re.compile(r"[^\W_]|[\u2600-\u27bf\U0001f000-\U0001faff]")  # a letter, a digit, a character, an emoji
# What tables hold where they hold nothing. Words that people also write ('none', 'unknown', '无') are not among them.
NULL_MARKERS = re.compile(
    r"\s*(?:nan|null|n/?a|#n/a|#ref!|#value!|#name\?|#div/0!|undefined|\(null\)|\[object object\]|-?1\.#ind|lorem ipsum.*)\s*",
    re.IGNORECASE | re.DOTALL,
)

ROLE_LABELS = {
    "user": _("the question"),
    "assistant": _("the answer"),
    "system": _("the system prompt"),
    "tool": _("what a tool says"),
}


class Empty(Check):
    name = "empty"
    order = 4
    title = _("Empty rows")
    about = _("Rows whose text is missing, blank, without a letter or digit, or a table's sign for nothing.")

    def applies_to(self, rows: Rows) -> bool:
        return bool(rows.texts or rows.label)

    def run(self, rows: Rows) -> Iterator[Finding]:
        found: dict[int, Words] = {}
        for name in rows.texts:
            label, said = rows.data.columns[name].label, rows.message_texts(name)
            for index, text in enumerate(rows.column_texts(name)):
                if not text.strip():
                    found[index] = _("{column} is empty", column=label)
            for place, role, text in zip(said.row_positions, said.roles, said.texts, strict=True):
                wrong = _reason_empty(text, ROLE_LABELS.get(role, label))
                if wrong is not None:
                    found[place] = wrong
        if rows.label:
            for index, label in enumerate(rows.labels):
                if label is None:
                    found[index] = _("there is no class")
        if found:
            found = dict(sorted(found.items()))
            why = _("There is nothing to learn from them but to say nothing.")
            sentence = _("{count} rows are empty.", count=len(found))
            yield self.droppable(rows, ERROR, sentence, why, LEAVE_OUT, found, found)


def _reason_empty(text: str, name: Words | str) -> Words | None:
    if not text.strip():
        return _("{column} is empty", column=name)
    if not HAS_CONTENT.search(text):
        return _("{column} has neither letters nor digits", column=name)
    return _("{column} is '{text}'", column=name, text=text.strip()[:30]) if NULL_MARKERS.fullmatch(text) else None
