"""Pictures that cannot be opened."""

from __future__ import annotations

from collections.abc import Iterator

from bigmodel.core.words import _
from bigmodel.data_checks.finding import ERROR, LEAVE_OUT, Check, Fact, Finding
from bigmodel.data_checks.row_batches import Rows

PROGRESS_EVERY = 500  # pictures between two words on how far it is


class BrokenImages(Check):
    name = "broken-pictures"
    order = 5
    title = _("Broken pictures")
    about = _("Files that are cut off, empty, no pictures, or too large to be opened.")

    def applies_to(self, rows: Rows) -> bool:
        return rows.image is not None

    def run(self, rows: Rows) -> Iterator[Finding | Fact | float]:
        wrong, sizes = {}, {}
        for index, seen in enumerate(rows.inspect_images()):
            if seen.error:
                wrong[index] = seen.error
            else:
                sizes[seen.size] = sizes.get(seen.size, 0) + 1
            if index % PROGRESS_EVERY == PROGRESS_EVERY - 1:
                yield index / len(rows)
        common = sorted(sizes.items(), key=lambda item: -item[1])[:10]
        yield Fact("sizes", [[*size, count] for size, count in common])
        if wrong:
            sentence = _("{count} pictures cannot be opened.", count=len(wrong))
            why = _("A training stops at a picture that it cannot read.")
            yield self.droppable(rows, ERROR, sentence, why, LEAVE_OUT, wrong, wrong)
