"""Answers that go on being written while the person looks elsewhere, and keep what they have when they are stopped."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress

from bigmodel.core.blocks import Block, Prose
from bigmodel.core.jobs import CANCELLED, Cancelled, Job


class Answer(Job[None]):
    """What a model says to some inputs. Pages look at `blocks` and `state`."""

    def __init__(self, model: str, inputs: Mapping, ask: Callable[[str, Mapping], Iterator[Block]]):
        super().__init__()
        self.model, self.inputs = model, dict(inputs)
        self.blocks: list[Block] = []
        self.asked_at = time.time()
        self._stream: Iterator[Block] | None = None
        self.start(lambda: self._consume(ask), "bigmodel-answer")

    def cancel(self) -> None:
        """At once, whether or not there is a block to come; what is there stays."""
        super().cancel()
        self.end(CANCELLED, Cancelled())
        if self._stream is not None:
            with suppress(ValueError):  # a generator at work cannot be closed from outside: it is after its next block
                self._stream.close()

    def _consume(self, ask: Callable[[str, Mapping], Iterator[Block]]) -> None:
        with closing(ask(self.model, self.inputs)) as self._stream:
            for block in () if self.stop.is_set() else self._stream:
                if self.stop.is_set():
                    return
                self._append(block)

    def _append(self, block: Block) -> None:
        """Each Prose replaces the one before it, so that a long text is kept once."""
        if isinstance(block, Prose):
            self.blocks = [kept for kept in self.blocks if not isinstance(kept, Prose)] + [block]
        else:
            self.blocks = [*self.blocks, block]
