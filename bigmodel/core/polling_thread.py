"""A background thread that looks again and again at what there is to do, and at once when it is woken."""

from __future__ import annotations

import logging
import threading

FAILED_SECONDS = 1.0  # of rest after a round that failed


class PollingThread:
    """Calls `tick` every so many seconds until it is stopped, then `close`. A round that fails is logged, and the next one
    is made all the same: much depends on it."""

    def __init__(self, name: str, seconds: float):
        self._seconds = seconds
        self._wake_event, self._stop_event = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run_loop, name=name, daemon=True)

    def tick(self) -> bool:
        """One round; whether there is anything left to do."""
        raise NotImplementedError

    def close(self) -> None:
        """Give back what is held."""
        raise NotImplementedError

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Leave. What is being trained goes on."""
        self._stop_event.set()
        self._wake_event.set()
        self._thread.join()

    def wake(self) -> None:
        """There may be something to do at once."""
        self._wake_event.set()

    def _run_loop(self) -> None:
        while not self._stop_event.is_set():
            self._wake_event.clear()
            try:
                self.tick()
            except Exception:
                logging.getLogger(type(self).__module__).exception("a round of %s failed", self._thread.name)
                self._stop_event.wait(FAILED_SECONDS)
            self._wake_event.wait(self._seconds)
        self.close()
