"""The same content with different classes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from bigmodel.core.words import _
from bigmodel.data_checks.finding import ERROR, Check, Finding
from bigmodel.data_checks.row_batches import Rows


class Contradictions(Check):
    name = "contradictions"
    order = 14
    title = _("Contradictory classes")
    about = _("The same text, or the same picture, with different classes.")

    def applies_to(self, rows: Rows) -> bool:
        return rows.label is not None and bool(rows.texts or rows.image)

    def run(self, rows: Rows) -> Iterator[Finding]:
        families: Mapping[object, list[int]] = defaultdict(list)
        contents = [seen.content for seen in rows.pictures] if rows.image else rows.normalized_texts
        for index, content in enumerate(contents):
            if content and any(content):
                families[content].append(index)
        found = {}
        for places in families.values():
            if len({rows.labels[place] for place in places}) > 1:
                for place in places:
                    found[place] = next(other for other in places if rows.labels[other] != rows.labels[place])
        if found:
            found = dict(sorted(found.items()))
            sentence = _("{count} rows have the same content as another row, and a different class.", count=len(found))
            why = _("No model can be right about both.")
            yield self.droppable(rows, ERROR, sentence, why, _("Leave all of them out"), found, like=found)
