"""Classes that are another class, misspelt."""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from bigmodel.core.words import Words, _, say
from bigmodel.data_checks.finding import ERROR, Check, Finding, Remedy, edit
from bigmodel.data_checks.row_batches import Rows

RARE = 0.25  # as often as the class it resembles, at most: 'cat' and 'bat' are both common
SLIPS = ((4, 1), (8, 2))  # from so many characters on, so many slips of the pen


class LabelTypos(Check):
    name = "label-typos"
    order = 9
    title = _("Misspelt classes")
    about = _(
        "Rare classes whose name is nearly that of a common one: a letter more, less, other or swapped, other case or spaces."
    )

    def suits(self, rows: Rows) -> bool:
        return rows.label is not None

    def look(self, rows: Rows) -> Iterator[Finding]:
        counts = Counter(label for label in rows.labels if label is not None)
        names = {label: _name(rows, label) for label in counts}
        meant = _meant(names, counts)
        if not meant:
            return
        places: dict[object, list[int]] = defaultdict(list)
        for place, label in enumerate(rows.labels):
            if label in meant:
                places[label].append(place)
        for label, right in meant.items():
            ids = rows.named(places[label])
            yield Finding(
                self.name,
                ERROR,
                _(
                    "{count} rows have the class '{wrong}', which looks like '{right}' misspelt.",
                    count=len(ids),
                    wrong=names[label],
                    right=names[right],
                ),
                _("For the model these are two classes that have nothing to do with each other."),
                ids,
                {},
                Remedy(
                    _("Change '{wrong}' to '{right}'", wrong=names[label], right=names[right]),
                    (edit({row: {rows.label: names[right]} for row in ids}),),
                ),
            )


def _name(rows: Rows, label: object) -> str:
    """As it stands in the file, which is English where the class has words."""
    if isinstance(label, int) and label < len(rows.names):
        name = rows.names[label]
        return say(name, "en") if isinstance(name, Words) else str(name)
    return str(label)


def _meant(names: dict, counts: Counter) -> dict:
    """Misspelt class -> the class that is meant."""
    meant = {}
    for label, name in names.items():
        alike = [
            other
            for other, right in names.items()
            if other != label and counts[label] <= RARE * counts[other] and alike_names(name, right)
        ]
        if alike:
            meant[label] = max(alike, key=lambda other: (-slips(_plain(name), _plain(names[other])), counts[other]))
    return {label: right for label, right in meant.items() if right not in meant}


def alike_names(one: str, other: str) -> bool:
    """Whether one may be the other misspelt."""
    one, other = _plain(one), _plain(other)
    if one == other:
        return True
    if _numbers(one) != _numbers(other):
        return False  # 'grade 1' and 'grade 2'
    longer = max(len(one), len(other))
    allowed = max((count for length, count in SLIPS if longer >= length), default=0)
    return slips(one, other) <= allowed


def _plain(name: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", name).casefold().replace("_", " ").replace("-", " ").split()).strip(
        ".,;:!'\""
    )


def _numbers(name: str) -> list[str]:
    return [character for character in name if character.isdigit()]


def slips(one: Sequence, other: Sequence) -> int:
    """How many letters were added, left out, mistaken or swapped with their neighbour (Damerau 1964)."""
    before, row = [], list(range(len(other) + 1))
    for i, left in enumerate(one, start=1):
        earlier, before, row = before, row, [i]
        for j, right in enumerate(other, start=1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (left != right))
            if i > 1 and j > 1 and left == other[j - 2] and one[i - 2] == right:
                cost = min(cost, earlier[j - 2] + 1)
            row.append(cost)
    return row[-1]
