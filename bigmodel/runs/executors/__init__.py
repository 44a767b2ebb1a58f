"""Where a worker runs. The supervisor knows nothing but what stands here."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from bigmodel.core.words import Words


class Handle(Protocol):
    """A worker that was started."""

    def exit_reason(self) -> Words | None:
        """None while it works; then how it came to an end, in words."""


class Executor(Protocol):
    """Starts workers. A worker holds the lock of its run's folder for as long as it lives."""

    def start(self, folder: Path) -> Handle:
        """Give the run in `folder` to a worker."""
