"""Answers that go on being written while the person looks elsewhere, and keep what they have when they are stopped."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress

from bigmodel.core.blocks import Block, Prose
from bigmodel.core.errors import Refusal

log = logging.getLogger("bigmodel.ui")

RUNNING, DONE, STOPPED, REFUSED, FAILED = "running", "done", "stopped", "refused", "failed"


class Answer:
    """What a model says to some inputs, read by a thread of its own. Pages look at `blocks` and `state`."""

    def __init__(self, model: str, inputs: Mapping, ask: Callable[[str, Mapping], Iterator[Block]]):
        self.model, self.inputs = model, dict(inputs)
        self.blocks: list[Block] = []
        self.state = RUNNING
        self.error: Exception | None = None
        self.asked_at = time.time()
        self._stop, self._lock = threading.Event(), threading.Lock()
        self._stream: Iterator[Block] | None = None
        threading.Thread(target=self._consume, args=(ask,), name="bigmodel-answer", daemon=True).start()

    def stop(self) -> None:
        """At once, whether or not there is a block to come; what is there stays."""
        self._stop.set()
        self._finish(STOPPED)
        if self._stream is not None:
            with suppress(ValueError):  # a generator at work cannot be closed from outside: it is after its next block
                self._stream.close()

    def _consume(self, ask: Callable[[str, Mapping], Iterator[Block]]) -> None:
        try:
            with closing(ask(self.model, self.inputs)) as self._stream:
                for block in () if self._stop.is_set() else self._stream:
                    if self._stop.is_set():
                        return
                    self._append(block)
            self._finish(DONE)
        except Refusal as refusal:
            self._finish(REFUSED, refusal)
        except Exception as error:  # a thread has nobody above it: the page shows it, the log has the traceback
            log.exception("an answer of %s", self.model)
            self._finish(FAILED, error)

    def _finish(self, state: str, error: Exception | None = None) -> None:
        """The first end is the one."""
        with self._lock:
            if self.state == RUNNING:
                self.error, self.state = error, state

    def _append(self, block: Block) -> None:
        """Each Prose replaces the one before it, so that a long text is kept once."""
        if isinstance(block, Prose):
            self.blocks = [one for one in self.blocks if not isinstance(one, Prose)] + [block]
        else:
            self.blocks = [*self.blocks, block]
