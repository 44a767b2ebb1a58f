"""Pictures of one colour."""

from __future__ import annotations

from collections.abc import Iterator

from bigmodel.core.words import _
from bigmodel.data_checks.finding import WARNING, Check, Finding, Remedy, drop
from bigmodel.data_checks.row_batches import Rows


class BlankImages(Check):
    name = "plain-pictures"
    order = 6
    title = _("Pictures of one colour")
    about = _("Pictures on which nothing can be seen: every pixel is the same.")

    def applies_to(self, rows: Rows) -> bool:
        return rows.image is not None

    def run(self, rows: Rows) -> Iterator[Finding]:
        ids = rows.ids_of(place for place, seen in enumerate(rows.pictures) if seen.single_color)
        if ids:
            yield Finding(
                self.name,
                WARNING,
                _("{count} pictures are of one colour.", count=len(ids)),
                _("There is nothing on them to learn a class from; most often a conversion has failed."),
                ids,
                {},
                Remedy(_("Leave these rows out"), (drop(ids),)),
            )
