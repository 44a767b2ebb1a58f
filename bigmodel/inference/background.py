"""Work that takes long, in a thread of its own: whoever shares the process goes on, and it ends early where nobody waits for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from typing import Any, Generic, TypeVar

POLL_SECONDS = 0.002  # seconds between two looks at whether it is over; the answers of others wait for as long
THREAD_LOCAL = threading.local()

T = TypeVar("T")


class Cancelled(BaseException):
    """Nobody waits for this work any more. No failure: whoever takes exceptions for one must not meet it."""


class BackgroundJob(Generic[T]):
    """Done once, in a thread that begins with the first who waits for it."""

    def __init__(self, do: Callable[[], T]):
        self.function = do
        self.waiters = 0
        self.thread: threading.Thread | None = None
        self.finished = threading.Event()
        self.error: BaseException | None = None

    def wait(self, nothing: Any = None) -> Generator[Any, None, T]:
        """`nothing` now and then while it lasts; gives back what came of it, or raises. Closed, it waits no more."""
        self.waiters += 1
        try:
            if self.thread is None:
                thread = threading.Thread(target=self._run, name="aside", daemon=True)
                thread.start()
                self.thread = thread
            while not self.finished.wait(POLL_SECONDS):
                yield nothing
        finally:
            self.waiters -= 1
        if self.error is not None:
            raise self.error
        return self.result

    def _run(self) -> None:
        THREAD_LOCAL.work = self
        try:
            self.result = self.function()
        except BaseException as error:  # raised where somebody waits for it
            self.error = error
        self.finished.set()


RunFunction = Callable[[Callable[[], T]], Generator[None, None, T]]


def run_in_thread(do: Callable[[], T], nothing: Any = None) -> Generator[Any, None, T]:
    """To be used as `found = yield from aside(...)`."""
    return (yield from BackgroundJob(do).wait(nothing))


def run_inline(do: Callable[[], T]) -> Generator[None, None, T]:
    """The same for whoever has nobody else to listen to: in this thread, without a pause."""
    yield from ()
    return do()


def drain(parts: Generator[None, None, T]) -> T:
    """What comes of it in the end."""
    while True:
        try:
            next(parts)
        except StopIteration as end:
            return end.value


def cancel_checker() -> Callable[[], bool]:
    """Says, from any thread, whether nobody waits any more for what this one is working at."""
    work = getattr(THREAD_LOCAL, "work", None)
    return lambda: work is not None and not work.waiters


def check_cancelled() -> None:
    """A place where work can be left. Raises Left where nobody waits for it."""
    if cancel_checker()():
        raise Cancelled
