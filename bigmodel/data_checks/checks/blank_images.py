"""Pictures of one colour."""

from __future__ import annotations

from collections.abc import Iterator

from bigmodel.core.words import _
from bigmodel.data_checks.finding import LEAVE_OUT, WARNING, Check, Finding
from bigmodel.data_checks.row_batches import Rows


class BlankImages(Check):
    name = "plain-pictures"
    order = 6
    title = _("Pictures of one colour")
    about = _("Pictures on which nothing can be seen: every pixel is the same.")

    def applies_to(self, rows: Rows) -> bool:
        return rows.image is not None

    def run(self, rows: Rows) -> Iterator[Finding]:
        places = [index for index, stats in enumerate(rows.pictures) if stats.single_color]
        if places:
            sentence = _("{count} pictures are of one colour.", count=len(places))
            why = _("There is nothing on them to learn a class from; most often a conversion has failed.")
            yield self.droppable(rows, WARNING, sentence, why, LEAVE_OUT, places)
