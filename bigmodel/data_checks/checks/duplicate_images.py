"""The same picture twice, also where it has been saved anew or in another size."""

from __future__ import annotations

from collections.abc import Iterator

from bigmodel.core.words import _
from bigmodel.data_checks.checks.duplicates import COUNTS_TWICE, KEEP_ONE, within_splits
from bigmodel.data_checks.finding import WARNING, Check, Finding
from bigmodel.data_checks.row_batches import Rows


class DuplicateImages(Check):
    name = "same-pictures"
    order = 12
    title = _("Pictures that are there twice")
    about = _("The same pixels, or the same picture compressed anew or in another size, within one part of the data.")

    def applies_to(self, rows: Rows) -> bool:
        return rows.image is not None

    def run(self, rows: Rows) -> Iterator[Finding]:
        gone = within_splits(rows, rows.near_duplicate_images)
        if gone:
            sentence = _("{count} pictures are there already.", count=len(gone))
            yield self.droppable(rows, WARNING, sentence, COUNTS_TWICE, KEEP_ONE, gone, like=gone)
