"""Classes of very different size, or missing where the model is measured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from random import Random

from bigmodel.core.contracts import SPLITS
from bigmodel.core.words import Words, _
from bigmodel.data_checks.finding import LEAVE_OUT, NOTE, WARNING, Check, Finding, Remedy, drop, move
from bigmodel.data_checks.resplit import rebalanced_splits
from bigmodel.data_checks.row_batches import Rows

RATIO = 10  # the largest class to the smallest
ACCEPTABLE_RATIO = 4  # the same, where a model learns both without further ado: the smaller one is a fifth
MAX_KEPT_SHARE = 0.75  # of the largest class are kept at most, else leaving rows out is not worth it
MIN_CLASS_ROWS = 5  # rows of a class from which nothing can be learnt
MAX_NAMED_CLASSES = 8  # classes that a sentence names
TITLES = {"train": _("for training"), "validation": _("for validation"), "test": _("for the test")}


class Imbalance(Check):
    name = "imbalance"
    order = 15
    title = _("Balance of the classes")
    about = _("Classes that are ten times as frequent as others, have hardly any rows, or are missing in a part.")

    def applies_to(self, rows: Rows) -> bool:
        return rows.label is not None

    def run(self, rows: Rows) -> Iterator[Finding]:
        parts = {split: Counter() for split in SPLITS}
        for split, label in zip(rows.split, rows.labels, strict=True):
            if label is not None:
                parts[split][label] += 1
        everywhere = sum(parts.values(), Counter())
        few = [label for label, count in everywhere.items() if count < MIN_CLASS_ROWS]
        if few:
            yield self._too_few(rows, few)
        train = Counter({label: count for label, count in parts["train"].items() if label not in few})
        if len(train) > 1 and max(train.values()) >= RATIO * min(train.values()):
            yield self._imbalanced(rows, train)
        missing = {
            split: [label for label in everywhere if label not in few and not counts[label]]
            for split, counts in parts.items()
            if counts
        }
        if any(missing.values()):
            yield from self._missing(rows, [label for label in everywhere if label not in few], missing)

    def _too_few(self, rows: Rows, few: list) -> Finding:
        names = _class_titles(rows, few)
        sentence = _("Fewer than {few} rows of each of these classes: {names}.", few=MIN_CLASS_ROWS, names=names)
        why = _("A class cannot be learnt from a handful of rows, nor can it be measured.")
        return self.droppable(rows, WARNING, sentence, why, LEAVE_OUT, _positions_of(rows, few))

    def _imbalanced(self, rows: Rows, train: Counter) -> Finding:
        """Shows the rows of the rare classes; offers to keep fewer of the largest."""
        (most, many), *others = train.most_common()
        least, count = others[-1]
        rare = [label for label, count in others if many >= RATIO * count]
        kept = max(others[0][1], ACCEPTABLE_RATIO * count)
        sentence = _("The class '{most}' has {times} times as many rows as '{least}'.", most=_class_title(rows, most),
                     least=_class_title(rows, least), times=round(many / count))  # fmt: skip
        why = _("A model that always says the frequent class is often right: look at F1, not at accuracy alone.")
        remedy = self._undersample(rows, most, kept) if kept <= MAX_KEPT_SHARE * many else None
        return Finding(self.name, NOTE, sentence, why, rows.ids_of(_positions_of(rows, rare, "train")), remedy=remedy)

    def _undersample(self, rows: Rows, label: object, kept: int) -> Remedy:
        """Leaves out training rows of a class by chance; what the model is measured on stays as it is."""
        places = _positions_of(rows, [label], "train")
        gone = sorted(Random(0).sample(places, len(places) - kept))
        said = _(
            "Keep {count} of the {all} rows of '{name}'", count=kept, all=len(places), name=_class_title(rows, label)
        )
        return Remedy(said, (drop(rows.ids_of(gone)),))

    def _missing(self, rows: Rows, classes: list, missing: Mapping[str, list]) -> Iterator[Finding]:
        """Shows where the rows of these classes do stand; offers to cut all classes anew, in proportion."""
        moved = rebalanced_splits(
            rows.split, rows.labels, classes, rows.near_duplicate_images if rows.image else rows.near_duplicate_texts
        )
        step = move({int(rows.ids[place]): split for place, split in moved.items()})
        label = _("Move {count} rows: each part gets its share of each class", count=len(moved))
        for split, labels in missing.items():
            if labels:
                helps = any(to == split and rows.labels[place] in labels for place, to in moved.items())
                sentence = _("Among the rows {part} there is none of {names}.", part=TITLES[split],
                             names=_class_titles(rows, labels))  # fmt: skip
                why = _("What is not there can be neither learnt nor measured. Split the data anew, in proportion.")
                ids, remedy = rows.ids_of(_positions_of(rows, labels)), Remedy(label, (step,)) if helps else None
                yield Finding(self.name, WARNING, sentence, why, ids, remedy=remedy)


def _positions_of(rows: Rows, labels: list, split: str = "") -> list[int]:
    """The places of the rows of these classes, of a part or of all."""
    wanted = set(labels)
    return [
        index
        for index, (label, part) in enumerate(zip(rows.labels, rows.split, strict=True))
        if label in wanted and split in ("", part)
    ]


def _class_title(rows: Rows, label: object) -> Words | str:
    return rows.class_names[label] if isinstance(label, int) and label < len(rows.class_names) else str(label)


def _class_titles(rows: Rows, labels: list) -> Words | str:
    """The first few, in each person's language."""
    titles = [_class_title(rows, label) for label in sorted(labels, key=str)[:MAX_NAMED_CLASSES]]
    if len(labels) > MAX_NAMED_CLASSES:
        titles.append("…")
    joined = titles[0]
    for title in titles[1:]:
        joined = _("{names}, {name}", names=joined, name=title)
    return joined
