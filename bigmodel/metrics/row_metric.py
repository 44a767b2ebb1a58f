"""A metric over rows: its value for the whole, for any weighting of the rows, and with an interval."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from bigmodel.core.contracts import Metric

if TYPE_CHECKING:
    import numpy as np

Records = Mapping[str, Any]  # of the rows of an evaluation: name -> array (rows, ...) or list of strings
DRAWS = 1000  # resamples of an interval
JACKKNIFE_GROUPS = 200  # of rows that are left out together, where there are more rows
CHUNK_ELEMENTS = 2**22  # weights that are held at the same time
CONFIDENCE = 0.95


Values = Callable[["np.ndarray"], "np.ndarray"]


@dataclass(frozen=True)
class RowMetric:
    """`bind(records)` gives a function of weights (draws, rows): the metric, (draws,), where row i counts weights[d, i] times.

    So one definition gives the value (all weights 1), its bootstrap interval, that of any slice (weights 0 and 1), and
    that of two models whose answers are swapped at random. What is counted in each row is counted once, by `bind`.

    hits: of a share of the rows, whether each counts, (rows,) of 0 and 1.  unit: the column that a mean is weighted by,
    such as the tokens of a row: where two models count different ones, as of other tokenizers, it does not compare them.
    """

    metric: Metric
    bind: Callable[[Records], Values]
    hits: Callable[[Records], np.ndarray] | None = None
    unit: str = ""

    def value(self, records: Records) -> float:
        """Over all rows; nan where it is not defined, as recall is for a class without rows."""
        return _over_all(self.bind(records), row_count(records))


def _over_all(values: Values, count: int) -> float:
    import numpy as np

    return float(values(np.ones((1, count)))[0])


def row_count(records: Records) -> int:
    return len(records["row"])


def additive(
    metric: Metric,
    statistics: Callable[[Records], np.ndarray],
    value: Callable[[np.ndarray], np.ndarray],
    unit: str = "",
) -> RowMetric:
    """A metric of sums over the rows, as nearly all are.

    statistics: records -> (rows, k) that are added, float64, or sparse.  value: their sums (draws, k) -> (draws,).
    """

    def bind(records: Records) -> Values:
        counted = statistics(records)

        def values(weights: np.ndarray) -> np.ndarray:
            import numpy as np

            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                return value(weights @ counted)

        return values

    return RowMetric(metric, bind, unit=unit)


def share(metric: Metric, hits: Callable[[Records], np.ndarray]) -> RowMetric:
    """The share of the rows that count. hits: records -> (rows,) of 0 and 1."""

    def statistics(records: Records) -> np.ndarray:
        import numpy as np

        counted = np.asarray(hits(records), dtype=np.float64)
        return np.stack([counted, np.ones_like(counted)], axis=1)

    return replace(additive(metric, statistics, lambda sums: sums[:, 0] / sums[:, 1]), hits=hits)


def mean(metric: Metric, column: str, weight: str = "", transform: Callable | None = None) -> RowMetric:
    """The mean of a column, or the ratio of the sums of two: nats by tokens. transform: of the result, as exp."""

    def statistics(records: Records) -> np.ndarray:
        import numpy as np

        top = np.asarray(records[column], dtype=np.float64)
        return np.stack([top, np.asarray(records[weight], dtype=np.float64) if weight else np.ones_like(top)], axis=1)

    def value(sums: np.ndarray) -> np.ndarray:
        ratio = sums[:, 0] / sums[:, 1]
        return transform(ratio) if transform else ratio

    return additive(metric, statistics, value, weight)


@dataclass(frozen=True)
class Estimate:
    """A value with its interval at 95 % and its standard error; nan where there is none."""

    value: float
    low: float = float("nan")
    high: float = float("nan")
    error: float = float("nan")


def measure(row_metric: RowMetric, records: Records, seed: int = 0) -> tuple[float, float, float]:
    """(value, low, high): over all rows, as `bootstrap` has it. nan where there is none.

    Where all resamples give the same share, as with 177 of 177 right, the bootstrap says nothing: then the interval of
    Clopper and Pearson (1934).
    """
    count = row_count(records)
    found = bootstrap(row_metric.bind(records), count, seed)
    if row_metric.metric.percent and found.low == found.high:
        return (found.value, *_exact_share(found.value, count))
    return found.value, found.low, found.high


def bootstrap(values: Values, count: int, seed: int = 0) -> Estimate:
    """Over `count` rows: the value, its interval by the bias-corrected and accelerated bootstrap (Efron 1987), and the
    standard deviation of the resamples. Acceleration by a jackknife over at most JACKKNIFE_GROUPS groups of rows."""
    import numpy as np
    from scipy.stats import norm

    estimate = _over_all(values, count)
    if count < 2 or not np.isfinite(estimate):
        return Estimate(estimate)
    draws = _resampled(values, count, seed)
    draws = draws[np.isfinite(draws)]
    if len(draws) == 0 or draws.min() == draws.max():
        return Estimate(estimate, estimate, estimate, 0.0)
    below = (np.sum(draws < estimate) + 0.5 * np.sum(draws == estimate)) / len(draws)
    bias = norm.ppf(np.clip(below, 1 / len(draws), 1 - 1 / len(draws)))
    acceleration = _acceleration(_jackknife(values, count))
    z = norm.ppf([(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    levels = norm.cdf(bias + (bias + z) / (1 - acceleration * (bias + z)))
    low, high = np.quantile(draws, levels)
    return Estimate(estimate, float(min(low, estimate)), float(max(high, estimate)), float(draws.std()))


def _resampled(values: Values, count: int, seed: int) -> np.ndarray:
    """(DRAWS,) values over `count` rows drawn with replacement."""
    import numpy as np

    random, drawn_values = np.random.default_rng(seed), []
    step = max(1, min(DRAWS, CHUNK_ELEMENTS // count))
    for start in range(0, DRAWS, step):
        size = min(step, DRAWS - start)
        drawn = random.integers(0, count, (size, count)) + count * np.arange(size)[:, None]
        weights = np.bincount(drawn.ravel(), minlength=size * count).reshape(size, count)
        drawn_values.append(values(weights.astype(np.float64)))
    return np.concatenate(drawn_values)


def _jackknife(values: Values, count: int) -> np.ndarray:
    """Values with each row, or each group of rows, left out."""
    import numpy as np

    groups = np.arange(count) * min(count, JACKKNIFE_GROUPS) // count
    return values((groups[None] != np.arange(groups[-1] + 1)[:, None]).astype(np.float64))


def _acceleration(left_out: np.ndarray) -> float:
    import numpy as np

    left_out = left_out[np.isfinite(left_out)]
    deviation = left_out.mean() - left_out if len(left_out) else np.zeros(1)
    spread = float((deviation**2).sum()) ** 1.5
    return float((deviation**3).sum()) / (6 * spread) if spread > 0 else 0.0


def _exact_share(share: float, count: int) -> tuple[float, float]:
    from scipy.stats import beta

    hits, tail = round(share * count), (1 - CONFIDENCE) / 2
    low = float(beta.ppf(tail, hits, count - hits + 1)) if hits else 0.0
    return low, float(beta.ppf(1 - tail, hits + 1, count - hits)) if hits < count else 1.0
