"""A row of trials: what is made to go wrong, what must hold, and with what switched off it must fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar


class FirstFailure(Exception):
    """Ends a row of which nobody wants to know more than that it fails."""


@dataclass
class Outcome:
    """What came out: `worst` is the figure that comes nearest to breaking the promise."""

    until_failure: ClassVar[bool] = False
    timed: ClassVar[bool] = True  # whether slowness breaks a promise

    trials: int = 0
    failures: list[str] = field(default_factory=list)
    worst: str = ""
    note: str = ""

    def fail(self, words: str) -> None:
        self.failures.append(words)
        if self.until_failure:
            raise FirstFailure(words)

    def expect(self, holds: bool, words: str) -> bool:
        if not holds:
            self.fail(words)
        return holds

    def expect_within(self, seconds: float, most: float, words: str) -> bool:
        """Left open where a machine of any speed must come to the same verdict."""
        return self.expect(seconds <= most or not self.timed, words)


@contextmanager
def outcomes(**flags: bool) -> Iterator[None]:
    """Class variables of Outcome for a while."""
    before = {name: getattr(Outcome, name) for name in flags}
    for name, value in flags.items():
        setattr(Outcome, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(Outcome, name, value)


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
