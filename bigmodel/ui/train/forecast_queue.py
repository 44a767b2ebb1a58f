"""Forecasts that are measured while the person goes on filling in the form, one at a time, each spec once."""

from __future__ import annotations

import queue
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from functools import cache

from bigmodel.core.spec import RunSpec
from bigmodel.training.forecast import Forecast

MAX_CACHED = 200


class ForecastQueue:
    """A spec's forecast as a Future. A session's older wish that has not begun yet gives way to its newer one."""

    def __init__(self, measure: Callable[[RunSpec], Forecast]):
        self._measure = measure
        self._pending: queue.SimpleQueue[tuple[RunSpec, Future]] = queue.SimpleQueue()
        self._futures: OrderedDict[str, Future] = OrderedDict()
        self._latest_by_session: dict[str, str] = {}
        self._lock = threading.Lock()
        # a daemon and no pool: a server that is told to stop does not wait for a measurement
        threading.Thread(target=self._run, name="bigmodel-forecast", daemon=True).start()

    def submit(self, spec: RunSpec, session: str) -> Future[Forecast]:
        name = spec.fingerprint()
        with self._lock:
            self._cancel_superseded(self._latest_by_session.get(session), name)
            self._latest_by_session[session] = name
            if name not in self._futures:
                self._futures[name] = Future()
                self._pending.put((spec, self._futures[name]))
            self._futures.move_to_end(name)
            while len(self._futures) > MAX_CACHED:
                self._futures.popitem(last=False)[1].cancel()
            while len(self._latest_by_session) > MAX_CACHED:
                self._latest_by_session.pop(next(iter(self._latest_by_session)))
            return self._futures[name]

    def _run(self) -> None:
        while True:
            spec, future = self._pending.get()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(self._measure(spec))
            except Exception as error:  # it is the one who asked that can do something about it
                future.set_exception(error)

    def _cancel_superseded(self, old: str | None, new: str) -> None:
        wanted = [name for name in self._latest_by_session.values() if name == old]
        if old is None or old == new or len(wanted) > 1 or old not in self._futures:
            return
        if self._futures[old].cancel():
            del self._futures[old]


@cache
def forecast_queue(measure: Callable[[RunSpec], Forecast]) -> ForecastQueue:
    """The one of this server; `measure` is the studio's."""
    return ForecastQueue(measure)
