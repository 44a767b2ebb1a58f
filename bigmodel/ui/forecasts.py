"""Forecasts that are measured while the person goes on filling in the form, one at a time, each spec once."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache

from bigmodel.core.spec import RunSpec
from bigmodel.studio import Forecast

KEPT = 200


class Forecasts:
    """A spec's forecast as a Future. A session's older wish that has not begun yet gives way to its newer one."""

    def __init__(self, measure: Callable[[RunSpec], Forecast]):
        self._measure = measure
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="bigmodel-forecast")
        self._known: OrderedDict[str, Future] = OrderedDict()
        self._wishes: dict[str, str] = {}
        self._lock = threading.Lock()

    def of(self, spec: RunSpec, session: str) -> Future[Forecast]:
        name = spec.fingerprint()
        with self._lock:
            self._give_way(self._wishes.get(session), name)
            self._wishes[session] = name
            if name not in self._known:
                self._known[name] = self._pool.submit(self._measure, spec)
            self._known.move_to_end(name)
            while len(self._known) > KEPT:
                self._known.popitem(last=False)[1].cancel()
            while len(self._wishes) > KEPT:
                self._wishes.pop(next(iter(self._wishes)))
            return self._known[name]

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
