"""Rows moved between the parts, so that each part has its share of each class, and no part sees another's rows."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from random import Random

NearDuplicates = Mapping[int, Mapping[int, float]]


def rebalanced_splits(
    splits: Sequence[str], labels: Sequence, classes: Sequence, twins: NearDuplicates
) -> dict[int, str]:
    """Place -> the part that it moves to; as few as will do.

    A part's share of a class is its share of all rows, and at least one row. Rows that are nearly the same move together;
    those that stand in several parts already, or in several classes, stay where they are.
    """
    sizes = Counter(splits)
    known = set(classes)
    movable: dict[object, dict[str, list[list[int]]]] = {label: {part: [] for part in sizes} for label in classes}
    counts = {label: Counter() for label in classes}
    for split, label in zip(splits, labels, strict=True):
        if label in known:
            counts[label][split] += 1
    for family in _connected_components(len(splits), twins):
        kinds = {(splits[place], labels[place]) for place in family}
        (split, label) = next(iter(kinds))
        if len(kinds) == 1 and label in known:
            movable[label][split].append(family)
    found: dict[int, str] = {}
    for label in classes:
        found |= _balance(movable[label], counts[label], _target_counts(counts[label].total(), sizes))
    return found


def _connected_components(count: int, twins: NearDuplicates) -> Iterator[list[int]]:
    """Places that are nearly the same, also by way of others; each place is in one family."""
    seen = [False] * count
    for place in range(count):
        if seen[place]:
            continue
        family, waiting = [], [place]
        seen[place] = True
        while waiting:
            family.append(waiting.pop())
            for other in twins.get(family[-1], ()):
                if not seen[other]:
                    seen[other] = True
                    waiting.append(other)
        yield family


def _target_counts(total: int, sizes: Mapping[str, int]) -> dict[str, int]:
    """How many rows of a class of `total` each part should have: shares rounded by largest remainders, at least one."""
    shares = {part: total * size / sum(sizes.values()) for part, size in sizes.items()}
    wanted = {part: max(int(share), 1) for part, share in shares.items()}
    while sum(wanted.values()) < total:
        wanted[max(wanted, key=lambda part: shares[part] - wanted[part])] += 1
    while sum(wanted.values()) > total:
        most = max((part for part in wanted if wanted[part] > 1), key=lambda part: wanted[part] - shares[part])
        wanted[most] -= 1
    return wanted


def _balance(
    there: Mapping[str, list[list[int]]], counts: Mapping[str, int], wanted: Mapping[str, int]
) -> dict[int, str]:
    """Families of one class moved from where there are too many to where there are too few."""
    left, found = dict.fromkeys(wanted, 0) | dict(counts), {}
    queues = {part: deque(sorted(Random(0).sample(some, len(some)), key=len)) for part, some in there.items()}
    for part in sorted(wanted, key=lambda part: left[part] - wanted[part]):
        for donor in sorted(wanted, key=lambda part: wanted[part] - left[part]):
            while queues[donor]:
                size = len(queues[donor][0])
                room = min(wanted[part] - left[part], left[donor] - wanted[donor])
                if size > room and (left[part] or left[donor] <= size):  # too many are better than none
                    break
                found |= dict.fromkeys(queues[donor].popleft(), part)
                left[part] += size
                left[donor] -= size
    return found
