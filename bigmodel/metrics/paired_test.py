"""Whether two models differ in a metric by more than chance, from what both made of the same rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import TYPE_CHECKING

from bigmodel.core.errors import Refusal
from bigmodel.core.words import _
from bigmodel.metrics.row_metric import CHUNK_ELEMENTS, CONFIDENCE, Estimate, Records, RowMetric, Values, bootstrap

if TYPE_CHECKING:
    import numpy as np

ALPHA = 1 - CONFIDENCE
POWER = 0.8  # with which `rows_needed` would show the difference
MAX_PERMUTATIONS, ENOUGH_EXCEEDANCES = 9_999, 100
MAX_DRAWS_AT_ONCE = 500
TOLERANCE = 1e-9  # between two sums of the same numbers in another order, relative to the value
MCNEMAR, PERMUTATION, SEEDS = "mcnemar", "permutation", "seeds"


@dataclass(frozen=True)
class PairedTest:
    """first, second: the metric on the rows that both have, the mean over the seeds where there are several.
    difference: second less first, with its interval at 95 %.  p: of so large a difference, in either direction, were both
    equally good.  method: MCNEMAR, PERMUTATION or SEEDS.  only: of a share of the rows, those that only the first and only
    the second got right.  seed_spread: the standard deviation between seeds of a group.
    """

    rows: int
    first: float
    second: float
    difference: Estimate
    p: float
    method: str
    only: tuple[int, int] | None = None
    seed_spread: float | None = None

    @property
    def effect_size(self) -> float:
        """Cohen's d (1988): the difference in standard deviations of what a row adds to it; of what seeds differ by, where
        there are several."""
        rows_differ = self.difference.error * math.sqrt(self.rows)
        spread = rows_differ if self.seed_spread is None else self.seed_spread
        return self.difference.value / spread if spread > 0 else 0.0

    def rows_needed(self, tests: int = 1) -> float:
        """About how many rows would show this difference with a probability of 80 %, were it the true one and corrected
        for so many tests; inf where there is none."""
        from scipy.stats import norm

        if not self.difference.value or not math.isfinite(self.difference.error):
            return math.inf
        z = norm.isf(ALPHA / tests / 2) + norm.isf(1 - POWER)
        return self.rows * float(z * self.difference.error / self.difference.value) ** 2


def paired_test(
    row_metric: RowMetric, first: Sequence[Records], second: Sequence[Records], seed: int = 0
) -> PairedTest:
    """Two models, or two groups of models that differ in their random seed alone, on the rows that all of them have.

    Two models: the exact test of McNemar (1947) for a share of the rows, else a permutation test that swaps the answers
    within random rows (Fisher 1935), whose draws end early where the difference is nothing special (Besag and Clifford
    1991). Says something of these two models.

    Several seeds: Welch's t test with the variance between seeds and that between rows added up, degrees of freedom by
    Satterthwaite (1946), as for several readers of the same cases (Obuchowski and Rockette 1995). A group with one seed
    borrows the other's variance. Says something of the way they are trained.

    Refusal where the two cannot be compared on the same rows.
    """
    count, indices = shared_rows(row_metric, [*first, *second])
    bound = [
        _spread(row_metric.bind(records), index) for records, index in zip([*first, *second], indices, strict=True)
    ]
    ours, theirs = _mean(bound[: len(first)]), _mean(bound[len(first) :])
    whole = _ones(count)
    values = float(ours(whole)[0]), float(theirs(whole)[0])
    difference = bootstrap(lambda weights: theirs(weights) - ours(weights), count, seed)
    test = PairedTest(count, *values, difference, math.nan, PERMUTATION)
    if not math.isfinite(difference.value):
        return test
    if len(first) > 1 or len(second) > 1:
        seeds = [[float(one(whole)[0]) for one in part] for part in (bound[: len(first)], bound[len(first) :])]
        return _welch(test, *seeds)
    if row_metric.hits is not None:
        hits = [row_metric.hits(records) for records in (*first, *second)]
        return _mcnemar(test, *(_in_rows(hit, index, count) for hit, index in zip(hits, indices, strict=True)))
    joint = row_metric.bind(concatenate_rows(first[0], second[0]))
    return replace(test, p=_permutation_p(joint, indices, count, abs(difference.value), seed))


def holm(ps: Sequence[float]) -> list[float]:
    """p values corrected for how many there are, so that one false one among all is as rare as ALPHA (Holm 1979). Those
    that are nan stay and do not count."""
    known = sorted((p, number) for number, p in enumerate(ps) if not math.isnan(p))
    corrected, highest = list(ps), 0.0
    for rank, (p, number) in enumerate(known):
        highest = max(highest, min(1.0, (len(known) - rank) * p))
        corrected[number] = highest
    return corrected


# -- the same rows ----------------------------------------------------------------------------------------
def shared_rows(row_metric: RowMetric, records: Sequence[Records]) -> tuple[int, list[np.ndarray]]:
    """(how many rows all of them have, for each of the records the number of its row among these, -1 for none).

    Several records may belong to a row, as the parts of a long text: where all have the same parts each counts for itself.
    """
    import numpy as np

    rows = [np.asarray(one["row"]) for one in records]
    units = [
        np.asarray(one[row_metric.unit], float) if row_metric.unit else np.ones(len(one["row"])) for one in records
    ]
    common = reduce(np.intersect1d, rows)
    if _same_parts(rows, units):
        return len(rows[0]), [np.arange(len(rows[0]))] * len(rows)
    if len(common) < 2:
        what = _("These models were not evaluated on the same rows.")
        raise Refusal(what, do=_("Evaluate them on the same split of the same data set."), field="split")
    indices = [np.where(np.isin(row, common), np.searchsorted(common, row), -1) for row in rows]
    sums = [_in_rows(unit, index, len(common)) for unit, index in zip(units, indices, strict=True)]
    if row_metric.unit and not all(np.allclose(one, sums[0], rtol=1e-6) for one in sums):
        what = _("{metric} cannot be compared between these models.", metric=row_metric.metric.label)
        why = _("They cut the texts into different tokens, and it is a mean over tokens.")
        raise Refusal(what, why, _("Choose a metric that does not depend on the tokenizer."), field="metric")
    return len(common), indices


def _same_parts(rows: Sequence[np.ndarray], units: Sequence[np.ndarray]) -> bool:
    import numpy as np

    return len(rows[0]) > 1 and all(
        np.array_equal(row, rows[0]) and np.allclose(unit, units[0]) for row, unit in zip(rows, units, strict=True)
    )


def _in_rows(values: np.ndarray, index: np.ndarray, count: int) -> np.ndarray:
    """Sums of the values of each row's records."""
    import numpy as np

    return np.bincount(index[index >= 0], np.asarray(values, float)[index >= 0], count)


def _spread(values: Values, index: np.ndarray) -> Values:
    """`values` of weights of the records, as a function of weights of the shared rows."""
    return lambda weights: values(_by_record(weights, index))


def _by_record(weights: np.ndarray, index: np.ndarray) -> np.ndarray:
    import numpy as np

    return np.where(index >= 0, weights[:, index], 0.0)


def _mean(bound: Sequence[Values]) -> Values:
    return lambda weights: sum(values(weights) for values in bound) / len(bound)


def _ones(count: int) -> np.ndarray:
    import numpy as np

    return np.ones((1, count))


def concatenate_rows(first: Records, second: Records) -> Records:
    """The records of both, one after the other, of the columns that both have."""
    import numpy as np

    return {
        name: [*first[name], *second[name]]
        if isinstance(first[name], list)
        else np.concatenate([first[name], second[name]])
        for name in first
        if name in second
    }


# -- the tests --------------------------------------------------------------------------------------------
def _mcnemar(test: PairedTest, first: np.ndarray, second: np.ndarray) -> PairedTest:
    """Exact: of the rows that one alone got right, each is as likely the one's as the other's."""
    from scipy.stats import binomtest

    only = int(((first > 0) & (second == 0)).sum()), int(((second > 0) & (first == 0)).sum())
    p = float(binomtest(only[0], sum(only)).pvalue) if sum(only) else 1.0
    return replace(test, p=p, method=MCNEMAR, only=only)


def _permutation_p(joint: Values, indices: Sequence[np.ndarray], count: int, observed: float, seed: int) -> float:
    """The share of swaps within rows that differ as much. joint: of the records of both, one after the other."""
    import numpy as np

    random, exceeding, drawn = np.random.default_rng(seed), 0, 0
    step = max(1, min(MAX_DRAWS_AT_ONCE, CHUNK_ELEMENTS // (2 * count)))
    slack = TOLERANCE * max(observed, abs(float(joint(_joint_weights(np.zeros((1, count)), indices))[0])))
    while drawn < MAX_PERMUTATIONS:
        swapped = random.integers(0, 2, (min(step, MAX_PERMUTATIONS - drawn), count)).astype(np.float64)
        differences = joint(_joint_weights(1 - swapped, indices)) - joint(_joint_weights(swapped, indices))
        hits = exceeding + np.cumsum(~(np.abs(differences) < observed - slack))
        if hits[-1] >= ENOUGH_EXCEEDANCES:
            return ENOUGH_EXCEEDANCES / (drawn + int(np.searchsorted(hits, ENOUGH_EXCEEDANCES)) + 1)
        exceeding, drawn = int(hits[-1]), drawn + len(swapped)
    return (exceeding + 1) / (drawn + 1)


def _joint_weights(swapped: np.ndarray, indices: Sequence[np.ndarray]) -> np.ndarray:
    """Of one model that takes the second's answers in the rows that are swapped, and the first's elsewhere."""
    import numpy as np

    return np.concatenate([_by_record(1 - swapped, indices[0]), _by_record(swapped, indices[1])], axis=1)


def _welch(test: PairedTest, first: Sequence[float], second: Sequence[float]) -> PairedTest:
    """first, second: the metric of each seed."""
    import numpy as np
    from scipy.stats import t

    variances = [(float(np.var(part, ddof=1)), len(part)) for part in (first, second) if len(part) > 1]
    if len(variances) == 1:  # the other group has one seed
        (variance, many), *_none = variances
        sources = [(variance * (1 + 1 / many), many - 1)]
    else:
        sources = [(variance / many, many - 1) for variance, many in variances]
    sources.append((test.difference.error**2, test.rows - 1))
    test = replace(test, method=SEEDS, seed_spread=math.sqrt(sum(pair[0] for pair in variances) / len(variances)))
    total = sum(variance for variance, _degrees in sources)
    if total == 0:
        return replace(test, p=0.0 if test.difference.value else 1.0)
    freedom = total**2 / sum(variance**2 / degrees for variance, degrees in sources)
    error, value = math.sqrt(total), test.difference.value
    margin = float(t.ppf(1 - ALPHA / 2, freedom)) * error
    difference = Estimate(value, value - margin, value + margin, error)
    return replace(test, difference=difference, p=float(2 * t.sf(abs(value) / error, freedom)))
