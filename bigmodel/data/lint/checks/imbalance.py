"""Classes of very different size, or missing where the model is measured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from bigmodel.core.words import Words, _
from bigmodel.data.lint.finding import NOTE, WARNING, Check, Finding, Remedy, drop
from bigmodel.data.lint.rows import Rows

RATIO = 10  # the largest class to the smallest
FEW = 5  # rows of a class from which nothing can be learnt
NAMED = 8  # classes that a sentence names


class Imbalance(Check):
    name = "imbalance"
    order = 15
    title = _("Balance of the classes")
    about = _("Classes that are ten times as frequent as others, have hardly any rows, or are missing in a part.")

    def suits(self, rows: Rows) -> bool:
        return rows.label is not None

    def look(self, rows: Rows) -> Iterator[Finding]:
        splits = {split: Counter() for split in ("train", "validation", "test")}
        for split, label in zip(rows.split, rows.labels, strict=True):
            if label is not None:
                splits[split][label] += 1
        train = splits["train"]
        everywhere = sum(splits.values(), Counter())
        few = [label for label, count in everywhere.items() if count < FEW]
        if few:
            places = [place for place, label in enumerate(rows.labels) if label in few]
            ids = rows.named(places)
            yield Finding(
                self.name,
                WARNING,
                _("Fewer than {few} rows of each of these classes: {names}.", few=FEW, names=_names(rows, few)),
                _("A class cannot be learnt from a handful of rows, nor can it be measured."),
                ids,
                {},
                Remedy(_("Leave these rows out"), (drop(ids),)),
            )
        common = [(label, count) for label, count in train.most_common() if label not in few]
        if len(common) > 1 and common[0][1] >= RATIO * common[-1][1]:
            yield Finding(
                self.name,
                NOTE,
                _(
                    "The class '{most}' has {times} times as many rows as '{least}'.",
                    most=_title(rows, common[0][0]),
                    least=_title(rows, common[-1][0]),
                    times=round(common[0][1] / common[-1][1]),
                ),
                _("A model that always says the frequent class is often right: look at F1, not at accuracy alone."),
            )
        for split, title in (
            ("train", _("for training")),
            ("validation", _("for validation")),
            ("test", _("for the test")),
        ):
            missing = [label for label in everywhere if label not in few and not splits[split][label]]
            if missing and splits[split]:
                yield Finding(
                    self.name,
                    WARNING,
                    _("Among the rows {part} there is none of {names}.", part=title, names=_names(rows, missing)),
                    _("What is not there can be neither learnt nor measured. Split the data anew, in proportion."),
                )


def _title(rows: Rows, label: object) -> Words | str:
    return rows.names[label] if isinstance(label, int) and label < len(rows.names) else str(label)


def _names(rows: Rows, labels: list) -> Words | str:
    """The first few, in each person's language."""
    titles = [_title(rows, label) for label in sorted(labels, key=str)[:NAMED]]
    if len(labels) > NAMED:
        titles.append("…")
    joined = titles[0]
    for title in titles[1:]:
        joined = _("{names}, {name}", names=joined, name=title)
    return joined
