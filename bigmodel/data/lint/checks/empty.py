"""Rows without content."""

from __future__ import annotations

import re
from collections.abc import Iterator

from bigmodel.core.words import Words, _
from bigmodel.data.lint.finding import ERROR, Check, Finding, Remedy, drop
from bigmodel.data.lint.rows import Rows

SAID = re.compile(r"[^\W_]")  # a letter, a digit, a character
# What tables hold where they hold nothing. Words that people also write ('none', 'unknown', '无') are not among them.
STAND_INS = re.compile(
    r"\s*(?:nan|null|n/?a|#n/a|#ref!|#value!|#name\?|#div/0!|undefined|\(null\)|\[object object\]|-?1\.#ind|lorem ipsum.*)\s*",
    re.IGNORECASE | re.DOTALL,
)


class Empty(Check):
    name = "empty"
    order = 4
    title = _("Empty rows")
    about = _("Rows whose text is missing, blank, without a letter or digit, or a table's sign for nothing.")

    def suits(self, rows: Rows) -> bool:
        return bool(rows.texts or rows.label)

    def look(self, rows: Rows) -> Iterator[Finding]:
        found: dict[int, Words] = {}
        for name in rows.texts:
            label = rows.data.columns[name].label
            for place, text in enumerate(rows.text(name)):
                if not text.strip():
                    found[place] = _("{column} is empty", column=label)
                elif not SAID.search(text):
                    found[place] = _("{column} has neither letters nor digits", column=label)
                elif STAND_INS.fullmatch(text):
                    found[place] = _("{column} is '{text}'", column=label, text=text.strip()[:30])
        if rows.label:
            for place, label in enumerate(rows.labels):
                if label is None:
                    found[place] = _("there is no class")
        if found:
            places = sorted(found)
            ids = rows.named(places)
            yield Finding(
                self.name,
                ERROR,
                _("{count} rows are empty.", count=len(ids)),
                _("There is nothing to learn from them but to say nothing."),
                ids,
                {int(rows.ids[place]): found[place] for place in places},
                Remedy(_("Leave these rows out"), (drop(ids),)),
            )
