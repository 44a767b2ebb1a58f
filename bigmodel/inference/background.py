"""Work that takes long, in a thread of its own: whoever shares the process goes on, and it ends early where nobody waits for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from typing import Any, TypeVar

from bigmodel.core.jobs import Cancelled, Job

POLL_SECONDS = 0.002  # seconds between two looks at whether it is over; the answers of others wait for as long
THREAD_LOCAL = threading.local()

T = TypeVar("T")


class BackgroundJob(Job[T]):
    """A job that is done once, for all who wait for it, and is cancelled when nobody does any more."""

    def __init__(self, do: Callable[[], T]):
        super().__init__()
        self.function = do
        self.waiters = 0
        self.started = False

    def poll(self, nothing: Any = None) -> Generator[Any, None, T]:
        """`nothing` now and then while it lasts; gives back what came of it, or raises. Closed, it waits no more."""
        self.waiters += 1
        try:
            if not self.started:
                self.started = True
                self.start(self._work, "bigmodel-background")
            while not self.finished.wait(POLL_SECONDS):
                yield nothing
        finally:
            self.waiters -= 1
        return self.outcome()

    def _work(self) -> T:
        THREAD_LOCAL.job = self
        return self.function()

    def explain(self, error: BaseException) -> BaseException:
        """Raised where somebody waits for it, and logged there."""
        return error


RunFunction = Callable[[Callable[[], T]], Generator[None, None, T]]


def run_in_thread(do: Callable[[], T], nothing: Any = None) -> Generator[Any, None, T]:
    """To be used as `result = yield from run_in_thread(...)`."""
    return (yield from BackgroundJob(do).poll(nothing))


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
    job = getattr(THREAD_LOCAL, "job", None)
    return lambda: job is not None and not job.waiters


def check_cancelled() -> None:
    """A place where work can be left. Raises Cancelled where nobody waits for it."""
    if cancel_checker()():
        raise Cancelled
