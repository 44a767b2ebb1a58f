"""Rows that check for cancellation while they are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from bigmodel.core.jobs import Cancelled

CHECK_EVERY = 500  # values


class CancelCheck:
    """Raises Cancelled once `stopped()` is true."""

    def __init__(self, stopped: Callable[[], bool]):
        self.stopped = stopped

    def __call__(self) -> None:
        if self.stopped():
            raise Cancelled


def interruptible(splits: Mapping[str, Any], check_cancelled: CancelCheck) -> _Splits:
    """The splits of a data set, by name; reading rows or a column of one raises Cancelled when asked to stop."""
    return _Splits(splits, check_cancelled)


class _Splits(dict):
    """Whatever else is asked of it (`map`, `select_columns` ...) is the data set's own."""

    def __init__(self, splits: Mapping[str, Any], check_cancelled: CancelCheck):
        super().__init__({name: _Checked(rows, check_cancelled) for name, rows in splits.items()})
        self.splits = splits

    def __getattr__(self, name: str) -> Any:
        return getattr(self.splits, name)


class _Checked:
    """A split, or a column of one, as a task reads it."""

    def __init__(self, values: Any, check_cancelled: CancelCheck):
        self.values, self.check_cancelled = values, check_cancelled

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Iterator[Any]:
        for number, value in enumerate(self.values):
            if number % CHECK_EVERY == 0:
                self.check_cancelled()
            yield value

    def __getitem__(self, key: Any) -> Any:
        self.check_cancelled()
        return _Checked(self.values[key], self.check_cancelled) if isinstance(key, str) else self.values[key]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        import numpy as np

        self.check_cancelled()
        return np.asarray(self.values[:], dtype=dtype)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.values, name)
