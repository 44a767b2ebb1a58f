"""Rows that ask, while they are read, whether anybody still wants what is made of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from bigmodel.core.jobs import Cancelled

CHECK_EVERY = 500  # values that are read between two questions


class CancelCheck:
    """`stopped()` says so; then whoever reads on is interrupted."""

    def __init__(self, stopped: Callable[[], bool]):
        self.stopped = stopped

    def __call__(self) -> None:
        if self.stopped():
            raise Cancelled


def interruptible(splits: Mapping[str, Any], ask: CancelCheck) -> _Splits:
    """The splits of a data set, of which every column asks while it is read."""
    return _Splits(splits, ask)


class _Splits(dict):
    """By name; whatever else is asked of them (`map`, `select_columns` ...) is done by the data set's own."""

    def __init__(self, splits: Mapping[str, Any], ask: CancelCheck):
        super().__init__({name: _Rows(rows, ask) for name, rows in splits.items()})
        self.splits = splits

    def __getattr__(self, name: str) -> Any:
        return getattr(self.splits, name)


class _Rows:
    """A split as a task reads it; all but its columns is the split's own."""

    def __init__(self, rows: Any, ask: CancelCheck):
        self.rows, self.check_cancelled = rows, ask

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Any]:
        return _iterate_checked(self.rows, self.check_cancelled)

    def __getitem__(self, what: Any) -> Any:
        self.check_cancelled()
        return _Column(self.rows[what], self.check_cancelled) if isinstance(what, str) else self.rows[what]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.rows, name)


class _Column:
    def __init__(self, values: Any, ask: CancelCheck):
        self.values, self.check_cancelled = values, ask

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Iterator[Any]:
        return _iterate_checked(self.values, self.check_cancelled)

    def __getitem__(self, what: Any) -> Any:
        self.check_cancelled()
        return self.values[what]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        import numpy as np

        self.check_cancelled()
        return np.asarray(self.values[:], dtype=dtype)


def _iterate_checked(values: Any, ask: CancelCheck) -> Iterator[Any]:
    for number, value in enumerate(values):
        if number % CHECK_EVERY == 0:
            ask()
        yield value
