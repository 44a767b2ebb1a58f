"""Rows that are there already, within one part of the data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from bigmodel.core.contracts import SPLITS
from bigmodel.core.words import _
from bigmodel.data_checks.finding import WARNING, Check, Finding
from bigmodel.data_checks.minhash import later_duplicates
from bigmodel.data_checks.row_batches import Rows

COUNTS_TWICE = _("What stands in the data twice counts twice; the model learns it by heart.")
KEEP_ONE = _("Keep one of each")


class Duplicates(Check):
    name = "duplicates"
    order = 10
    title = _("Duplicates")
    about = _("Rows with the same texts and the same class as an earlier row of the same part.")

    def run(self, rows: Rows) -> Iterator[Finding]:
        labels = rows.labels if rows.label else [None] * len(rows)
        texts = [rows.column_texts(name) for name in rows.texts]
        first: dict[tuple, int] = {}
        gone = {}
        for index, (split, label, *parts) in enumerate(zip(rows.split, labels, *texts, strict=True)):
            key = (split, label, *(part.strip() for part in parts))
            if not any(key[2:]):
                continue  # empty: another check's
            earlier = first.setdefault(key, index)
            if earlier != index:
                gone[index] = earlier
        if gone:
            sentence = _("{count} rows are there already.", count=len(gone))
            yield self.droppable(rows, WARNING, sentence, COUNTS_TWICE, KEEP_ONE, gone, like=gone)


def within_splits(rows: Rows, twins: Mapping[int, Mapping[int, float]]) -> dict[int, int]:
    """Of each split, the places that resemble an earlier one of the same split that is kept."""
    gone = {}
    for split in SPLITS:
        among = [twin for twin in sorted(twins) if rows.split[twin] == split]
        gone |= later_duplicates(dict(twins), among)
    return gone
