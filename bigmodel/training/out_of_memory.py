"""Out of memory: recognised by what the libraries say, and said in plain words."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from bigmodel.core.errors import Refusal
from bigmodel.core.words import Words, _

OOM_MESSAGES = ("out of memory", "can't allocate memory", "cannot allocate memory", "unable to allocate", "bad_alloc")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error is one of memory: Python's, torch's on any device, numpy's, the system's."""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    return isinstance(error, RuntimeError) and any(saying in str(error).lower() for saying in OOM_MESSAGES)


@contextmanager
def refuse_on_oom(phase: Words) -> Iterator[None]:
    """Refusal with `phase`, what was being done, where memory runs out within."""
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise oom_refusal(phase) from error


def oom_refusal(phase: Words | None) -> Refusal:
    """What to tell a person; `phase` says what was being done."""
    what = _("The memory was used up. This was being done: {phase}.", phase=phase) if phase else None
    return Refusal(
        what or _("The memory was used up."),
        do=_("Lower the batch size, the context length or the size of the network, or close other programs."),
    )
