"""Forecasts that are measured while the person goes on filling in the form, one at a time, each spec once."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from functools import cache

from bigmodel.core.jobs import CANCELLED, QUEUED, Job, JobQueue
from bigmodel.core.spec import RunSpec
from bigmodel.training.forecast import Forecast

MAX_CACHED = 200


class ForecastQueue:
    """A spec's forecast as a job. A session's older wish that is still queued gives way to its newer one."""

    def __init__(self, measure: Callable[[RunSpec], Forecast]):
        self._measure = measure
        self._queue = JobQueue("bigmodel-forecast")
        self._jobs: OrderedDict[str, Job[Forecast]] = OrderedDict()
        self._latest_by_session: dict[str, str] = {}
        self._lock = threading.Lock()

    def submit(self, spec: RunSpec, session: str) -> Job[Forecast]:
        name = spec.fingerprint()
        with self._lock:
            self._cancel_superseded(self._latest_by_session.get(session), name)
            self._latest_by_session[session] = name
            if name not in self._jobs:
                self._jobs[name] = self._queue.put(Job(), lambda: self._measure(spec))
            self._jobs.move_to_end(name)
            while len(self._jobs) > MAX_CACHED:
                self._jobs.popitem(last=False)[1].cancel()
            while len(self._latest_by_session) > MAX_CACHED:
                self._latest_by_session.pop(next(iter(self._latest_by_session)))
            return self._jobs[name]

    def _cancel_superseded(self, old: str | None, new: str) -> None:
        wanted = [name for name in self._latest_by_session.values() if name == old]
        if old is None or old == new or len(wanted) > 1 or old not in self._jobs or self._jobs[old].state != QUEUED:
            return
        self._jobs[old].cancel()
        if self._jobs[old].state == CANCELLED:
            del self._jobs[old]


@cache
def forecast_queue(measure: Callable[[RunSpec], Forecast]) -> ForecastQueue:
    """The one of this server; `measure` is the studio's."""
    return ForecastQueue(measure)
