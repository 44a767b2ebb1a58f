"""Slices: groups of rows on which a model does better or worse than elsewhere, corrected for looking at many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from bigmodel.metrics.paired_test import holm
from bigmodel.metrics.row_metric import Records, RowMetric, Values, row_count

if TYPE_CHECKING:
    import numpy as np

MIN_ROWS = 20  # of a slice: fewer say nothing
MAX_VALUES = 30  # different ones of a column that is sliced by its values; the lengths of other texts are
DRAWS = 400  # random groups of rows of the size of a slice


@dataclass(frozen=True)
class Slice:
    """Rows whose `column` is `value`, or, where that is '', has `low` to `high` characters. score: the metric on these rows.
    p: of so large a difference from as many rows drawn at random, after Holm over all slices."""

    column: str
    value: str
    low: int
    high: int
    rows: int
    score: float
    p: float


def slice_masks(columns: Mapping[str, Sequence]) -> dict[tuple[str, str, int, int], np.ndarray]:
    """(column, value, low, high) -> which rows are in it, (rows,). columns: of the same rows, texts or numbers of classes.

    A column with few values is sliced by them, a text by the quarters of its length."""
    import numpy as np

    masks = {}
    for name, cells in columns.items():
        values = np.asarray([str(cell) for cell in cells])
        names = np.unique(values)
        if 1 < len(names) <= MAX_VALUES:
            masks |= {(name, str(value), 0, 0): values == value for value in names}
        elif len(names) > MAX_VALUES:
            lengths = np.asarray([len(value) for value in values])
            edges = np.unique(np.quantile(lengths, [0, 0.25, 0.5, 0.75, 1], method="lower"))
            for low, high in pairwise(edges):
                first = int(low) if low == edges[0] else int(low) + 1
                masks[name, "", first, int(high)] = (lengths >= first) & (lengths <= high)
    return {name: mask for name, mask in masks.items() if MIN_ROWS <= mask.sum() < len(mask)}


def find_slices(
    row_metric: RowMetric, records: Records, masks: Mapping[tuple[str, str, int, int], np.ndarray], seed: int = 0
) -> list[Slice]:
    """All slices, the worst first. masks: over the records."""
    import numpy as np

    if not masks:
        return []
    values, count = row_metric.bind(records), row_count(records)
    scores = values(np.stack(list(masks.values())).astype(np.float64))
    chance = {size: _random_groups(values, count, size, seed) for size in {int(mask.sum()) for mask in masks.values()}}
    ps = [
        _two_sided(score, *chance[int(mask.sum())]) for score, mask in zip(scores.tolist(), masks.values(), strict=True)
    ]
    found = [
        Slice(*name, int(mask.sum()), score, p)
        for (name, mask), score, p in zip(masks.items(), scores.tolist(), holm(ps), strict=True)
        if np.isfinite(score)
    ]
    return sorted(found, key=lambda one: one.score, reverse=not row_metric.metric.higher_is_better)


def _random_groups(values: Values, count: int, size: int, seed: int) -> tuple[float, float]:
    """(mean, standard deviation) of the metric over groups of `size` rows that are drawn without replacement."""
    import numpy as np

    random = np.random.default_rng([seed, size])
    weights = np.zeros((DRAWS, count))
    chosen = np.argpartition(random.random((DRAWS, count)), size - 1, axis=1)[:, :size]
    np.put_along_axis(weights, chosen, 1.0, axis=1)
    drawn = values(weights)
    return float(np.nanmean(drawn)), float(np.nanstd(drawn))


def _two_sided(score: float, mean: float, deviation: float) -> float:
    from scipy.stats import norm

    return float(2 * norm.sf(abs(score - mean) / deviation)) if deviation > 0 else float("nan")
