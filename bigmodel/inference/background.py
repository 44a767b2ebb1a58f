"""Work that takes long, in a thread of its own: whoever shares the process goes on, and it ends early where nobody waits for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from typing import Any, Generic, TypeVar

MOMENT = 0.002  # seconds between two looks at whether it is over; the answers of others wait for as long
HERE = threading.local()

T = TypeVar("T")


class Left(BaseException):
    """Nobody waits for this work any more. No failure: whoever takes exceptions for one must not meet it."""


class Work(Generic[T]):
    """Done once, in a thread that begins with the first who waits for it."""

    def __init__(self, do: Callable[[], T]):
        self.do = do
        self.waiting = 0
        self.thread: threading.Thread | None = None
        self.over = threading.Event()
        self.error: BaseException | None = None

    def wait(self, nothing: Any = None) -> Generator[Any, None, T]:
        """`nothing` now and then while it lasts; gives back what came of it, or raises. Closed, it waits no more."""
        self.waiting += 1
        try:
            if self.thread is None:
                thread = threading.Thread(target=self._work, name="aside", daemon=True)
                thread.start()
                self.thread = thread
            while not self.over.wait(MOMENT):
                yield nothing
        finally:
            self.waiting -= 1
        if self.error is not None:
            raise self.error
        return self.result

    def _work(self) -> None:
        HERE.work = self
        try:
            self.result = self.do()
        except BaseException as error:  # raised where somebody waits for it
            self.error = error
        self.over.set()


Do = Callable[[Callable[[], T]], Generator[None, None, T]]


def aside(do: Callable[[], T], nothing: Any = None) -> Generator[Any, None, T]:
    """To be used as `found = yield from aside(...)`."""
    return (yield from Work(do).wait(nothing))


def here(do: Callable[[], T]) -> Generator[None, None, T]:
    """The same for whoever has nobody else to listen to: in this thread, without a pause."""
    yield from ()
    return do()


def whole(parts: Generator[None, None, T]) -> T:
    """What comes of it in the end."""
    while True:
        try:
            next(parts)
        except StopIteration as end:
            return end.value


def unwanted() -> Callable[[], bool]:
    """Says, from any thread, whether nobody waits any more for what this one is working at."""
    work = getattr(HERE, "work", None)
    return lambda: work is not None and not work.waiting


def seam() -> None:
    """A place where work can be left. Raises Left where nobody waits for it."""
    if unwanted()():
        raise Left
