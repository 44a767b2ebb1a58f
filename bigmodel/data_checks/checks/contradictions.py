"""The same content with different classes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from bigmodel.core.words import _
from bigmodel.data_checks.checks.duplicates import similar_rows
from bigmodel.data_checks.finding import ERROR, Check, Finding, Remedy, drop
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
        for place, content in enumerate(contents):
            if content and any(content):
                families[content].append(place)
        found = {}
        for places in families.values():
            classes = sorted({rows.labels[place] for place in places}, key=str)
            if len(classes) > 1:
                for place in places:
                    others = [other for other in places if rows.labels[other] != rows.labels[place]]
                    found[place] = others[0]
        if found:
            places = sorted(found)
            ids = rows.ids_of(places)
            yield Finding(
                self.name,
                ERROR,
                _("{count} rows have the same content as another row, and a different class.", count=len(ids)),
                _("No model can be right about both."),
                ids,
                remedy=Remedy(_("Leave all of them out"), (drop(ids),)),
                like=similar_rows(rows, {place: found[place] for place in places}),
            )
