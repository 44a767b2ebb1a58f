"""Forecasts that are measured while the person goes on filling in the form, one at a time, each spec once."""

from __future__ import annotations

import queue
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from functools import cache

from bigmodel.core.spec import RunSpec
from bigmodel.studio import Forecast

KEPT = 200


class Forecasts:
    """A spec's forecast as a Future. A session's older wish that has not begun yet gives way to its newer one."""

    def __init__(self, measure: Callable[[RunSpec], Forecast]):
        self._measure = measure
        self._waiting: queue.SimpleQueue[tuple[RunSpec, Future]] = queue.SimpleQueue()
        self._known: OrderedDict[str, Future] = OrderedDict()
        self._wishes: dict[str, str] = {}
        self._lock = threading.Lock()
        # a daemon and no pool: a server that is told to stop does not wait for a measurement
        threading.Thread(target=self._work, name="bigmodel-forecast", daemon=True).start()

    def of(self, spec: RunSpec, session: str) -> Future[Forecast]:
        name = spec.fingerprint()
        with self._lock:
            self._give_way(self._wishes.get(session), name)
            self._wishes[session] = name
            if name not in self._known:
                self._known[name] = Future()
                self._waiting.put((spec, self._known[name]))
            self._known.move_to_end(name)
            while len(self._known) > KEPT:
                self._known.popitem(last=False)[1].cancel()
            while len(self._wishes) > KEPT:
                self._wishes.pop(next(iter(self._wishes)))
            return self._known[name]

    def _work(self) -> None:
        while True:
            spec, future = self._waiting.get()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(self._measure(spec))
            except Exception as error:  # it is the one who asked that can do something about it
                future.set_exception(error)

    def _give_way(self, old: str | None, new: str) -> None:
        wanted = [name for name in self._wishes.values() if name == old]
        if old is None or old == new or len(wanted) > 1 or old not in self._known:
            return
        if self._known[old].cancel():
            del self._known[old]


@cache
def forecasts(measure: Callable[[RunSpec], Forecast]) -> Forecasts:
    """The one of this server; `measure` is the studio's."""
    return Forecasts(measure)
