"""The same picture twice, also where it has been saved anew or in another size."""

from __future__ import annotations

from collections.abc import Iterator

from bigmodel.core.words import _
from bigmodel.data_checks.checks.duplicates import similar_rows, within_splits
from bigmodel.data_checks.finding import WARNING, Check, Finding, Remedy, drop
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
        if not gone:
            return
        ids = rows.ids_of(gone)
        yield Finding(
            self.name,
            WARNING,
            _("{count} pictures are there already.", count=len(ids)),
            _("What stands in the data twice counts twice; the model learns it by heart."),
            ids,
            remedy=Remedy(_("Keep one of each"), (drop(ids),)),
            like=similar_rows(rows, gone),
        )
