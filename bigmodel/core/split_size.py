"""Whether the validation and test splits are large enough to choose models by."""

from __future__ import annotations

import math
from collections.abc import Mapping

from bigmodel.core.words import Words, _

MIN_ROWS = 100  # of fewer an accuracy is uncertain by ten points and more
CONFIDENCE = 1.96  # standard deviations of a 95 % interval


def small_split_words(rows: Mapping[str, int], classes: bool) -> list[Words]:
    """What is to be said of splits with too few rows, by the rows of each split, where each row is one answer: with
    `classes` one that is right or wrong."""
    say = _uncertain_accuracy if classes else _too_few
    small = {split: rows[split] for split in ("validation", "test") if 0 < rows.get(split, 0) < MIN_ROWS}
    if len(set(small.values())) == 1 and len(small) == 2:  # the usual case: shares of the same size
        return [say(_("validation and test splits have"), small["validation"])]
    names = {"validation": _("validation split has"), "test": _("test split has")}
    return [say(names[split], count) for split, count in small.items()]


def accuracy_margin(rows: int) -> float:
    """Half the width of the 95 % interval of an accuracy near one half, in points."""
    return 100 * CONFIDENCE * math.sqrt(0.25 / rows)


def _too_few(subject: Words, rows: int) -> Words:
    return _(
        "The {subject} only {rows} rows: small differences between models are chance there. Bring more rows, or set aside a larger share when the data are imported.",
        subject=subject,
        rows=rows,
    )


def _uncertain_accuracy(subject: Words, rows: int) -> Words:
    return _(
        "The {subject} only {rows} rows: by chance alone an accuracy is off by up to ±{points} points there. Do not choose between models by less than that. Bring more rows, or set aside a larger share when the data are imported.",
        subject=subject,
        rows=rows,
        points=round(accuracy_margin(rows)),
    )
