"""A row of trials: what is made to go wrong, what must hold, and with what switched off it must fail."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Outcome:
    """What came out: `worst` is the figure that comes nearest to breaking the promise."""

    trials: int = 0
    failures: list[str] = field(default_factory=list)
    worst: str = ""
    note: str = ""

    def fail(self, words: str) -> None:
        self.failures.append(words)

    def expect(self, holds: bool, words: str) -> bool:
        if not holds:
            self.fail(words)
        return holds


@dataclass(frozen=True)
class Row:
    """`run(trials, place)` works in an empty folder. `without`: what can be switched off, and how; the trials must
    then report failures, or they show nothing. `fewer`: as many trials are enough to see that."""

    number: int
    injected: str
    promise: str
    trials: int
    run: Callable[[int, Path], Outcome]
    without: Mapping[str, Callable[[], AbstractContextManager]]
    fewer: int = 6
    each: int = 1  # kinds of which so many trials are made
