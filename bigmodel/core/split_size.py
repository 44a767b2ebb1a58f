"""Whether the validation and test splits are large enough to choose models by."""

from __future__ import annotations

import math
from collections.abc import Mapping

from bigmodel.core.words import Words, _

MIN_ROWS = 100  # of fewer an accuracy is uncertain by ten points and more
CONFIDENCE = 1.96  # standard deviations of a 95 % interval


def small_split_words(rows: Mapping[str, int]) -> list[Words]:
    """What is to be said of splits with too few rows, by the rows of each split."""
    return [_too_few(split, rows[split]) for split in ("validation", "test") if 0 < rows.get(split, 0) < MIN_ROWS]


def accuracy_margin(rows: int) -> float:
    """Half the width of the 95 % interval of an accuracy near one half, in points."""
    return 100 * CONFIDENCE * math.sqrt(0.25 / rows)


def _too_few(split: str, rows: int) -> Words:
    names = {"validation": _("validation split"), "test": _("test split")}
    return _(
        "The {split} has only {rows} rows: by chance alone an accuracy on it is off by up to ±{points} points. Do not choose between models by less than that. Bring more rows, or set aside a larger share of them when they are imported.",
        split=names[split],
        rows=rows,
        points=round(accuracy_margin(rows)),
    )
