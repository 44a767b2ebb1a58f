"""Classes that are another class, misspelt."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from bigmodel.core.words import Words, _, say
from bigmodel.data_checks.finding import ERROR, Check, Finding, Remedy, edit
from bigmodel.data_checks.row_batches import Rows

MAX_FREQUENCY_RATIO = 0.25  # as often as the class it resembles, at most: 'cat' and 'bat' are both common
MAX_EDITS = ((4, 1), (8, 2))  # from so many characters on, so many slips of the pen


class LabelTypos(Check):
    name = "label-typos"
    order = 9
    title = _("Misspelt classes")
    about = _(
        "Rare classes whose name is nearly that of a common one: a letter more, less, other or swapped. Classes, rare or not, that differ in case, spaces or the way an accent is written."
    )

    def applies_to(self, rows: Rows) -> bool:
        return rows.label is not None

    def run(self, rows: Rows) -> Iterator[Finding]:
        counts = Counter(label for label in rows.labels if label is not None)
        names = {label: _name(rows, label) for label in counts}
        meant = _corrections(names, counts)
        if not meant:
            return
        places: dict[object, list[int]] = defaultdict(list)
        for index, label in enumerate(rows.labels):
            if label in meant:
                places[label].append(index)
        for label, right in meant.items():
            ids = rows.ids_of(places[label])
            said = {"count": len(ids), "wrong": names[label], "right": names[right]}
            sentence = _("{count} rows have the class '{wrong}', which looks like '{right}' misspelt.", **said)
            if is_same_name(names[label], names[right]):
                sentence = _("{count} rows have the class '{wrong}', which differs from '{right}' in case, spaces or accents only.", **said)  # fmt: skip
            why = _("For the model these are two classes that have nothing to do with each other.")
            change = _("Change '{wrong}' to '{right}'", wrong=names[label], right=names[right])
            remedy = Remedy(change, (edit({row: {rows.label: names[right]} for row in ids}),))
            yield Finding(self.name, ERROR, sentence, why, ids, remedy=remedy)


def _name(rows: Rows, label: object) -> str:
    """As it stands in the file, which is English where the class has words."""
    if isinstance(label, int) and label < len(rows.class_names):
        name = rows.class_names[label]
        return say(name, "en") if isinstance(name, Words) else str(name)
    return str(label)


def _corrections(names: dict, counts: Counter) -> dict:
    """Misspelt class -> the class that is meant."""
    meant = {}
    for label, name in names.items():
        alike = [
            other
            for other, right in names.items()
            if other != label
            and (
                (counts[label] <= MAX_FREQUENCY_RATIO * counts[other] and is_misspelling(name, right))
                or (is_same_name(name, right) and (counts[label], name) < (counts[other], right))
            )
        ]
        if alike:
            meant[label] = max(
                alike, key=lambda other: (-edit_distance(_normalize(name), _normalize(names[other])), counts[other])
            )
    return {label: right for label, right in meant.items() if right not in meant}


def is_same_name(one: str, other: str) -> bool:
    """Whether two names differ in nothing that a reader would see as another word. Single letters may be told apart by
    their case alone."""
    one, other = (
        " ".join(re.split(r"[\s_]+", unicodedata.normalize("NFKC", name).casefold().strip())) for name in (one, other)
    )
    return one == other and len(one) > 1


def is_misspelling(one: str, other: str) -> bool:
    """Whether one may be the other misspelt."""
    one, other = _normalize(one), _normalize(other)
    if one == other:
        return True
    if _digits(one) != _digits(other):
        return False  # 'grade 1' and 'grade 2'
    longer = max(len(one), len(other))
    allowed = max((count for length, count in MAX_EDITS if longer >= length), default=0)
    return edit_distance(one, other) <= allowed


def _normalize(name: str) -> str:
    words = re.sub(r"(?<=\w)[-_]|_", " ", unicodedata.normalize("NFKC", name).casefold())  # not the sign of -1
    return " ".join(words.split()).strip(".,;:!'\"")


def _digits(name: str) -> list[str]:
    return [character for character in name if character.isdigit()]


def edit_distance(one: Sequence, other: Sequence) -> int:
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
