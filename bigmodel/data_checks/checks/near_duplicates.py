"""Rows that nearly repeat an earlier one: another spelling, a word more or less."""

from __future__ import annotations

from collections.abc import Iterator

from bigmodel.core.words import _
from bigmodel.data_checks.checks.duplicates import KEEP_ONE, within_splits
from bigmodel.data_checks.finding import NOTE, WARNING, Check, Finding
from bigmodel.data_checks.row_batches import Rows

WARNING_SHARE = 0.02  # of the rows; fewer are of little weight


class NearDuplicates(Check):
    name = "near-duplicates"
    order = 11
    title = _("Near duplicates")
    about = _(
        "Rows that share three quarters of their character triples with an earlier row of the same part, or differ from it "
        "in case and punctuation only."
    )

    def run(self, rows: Rows) -> Iterator[Finding]:
        twins = within_splits(rows, rows.near_duplicate_texts)
        gone = {place: other for place, other in twins.items() if not _equal(rows, place, other)}
        if gone:
            severity = WARNING if len(gone) > WARNING_SHARE * len(rows) else NOTE
            sentence = _("{count} rows nearly repeat another one.", count=len(gone))
            why = _("They teach little that is new, and weigh more than their share.")
            yield self.droppable(rows, severity, sentence, why, KEEP_ONE, gone, like=gone)


def _equal(rows: Rows, one: int, other: int) -> bool:
    """Then it is a duplicate, or, with another class, a contradiction: other checks' findings."""
    return all(rows.column_texts(name)[one].strip() == rows.column_texts(name)[other].strip() for name in rows.texts)
