"""How often open pages look at what goes on: the more of them, the more rarely, so that training does not pay for it."""

from __future__ import annotations

import time

from streamlit.runtime.scriptrunner import get_script_run_ctx

AT_FULL_PACE = 3  # sessions; twice as many look half as often, and so on
RAREST = 8.0  # times the interval
GONE = 12.0  # seconds after which a session that has not looked is no longer there; the rarest look is more often

_seen: dict[str, float] = {}  # session -> when it looked last; shared by all of them


def interval(seconds: float) -> float:
    """`seconds`, stretched by how many sessions look at present, this one included."""
    now, context = time.monotonic(), get_script_run_ctx()
    if context is not None:
        _seen[context.session_id] = now
    for session in [one for one, last in list(_seen.items()) if now - last > GONE]:
        _seen.pop(session, None)
    return stretched(seconds, len(_seen))


def stretched(seconds: float, sessions: int) -> float:
    """In whole powers of two, so that one who comes or goes seldom changes it for the others."""
    times = 1.0
    while sessions > AT_FULL_PACE * times and times < RAREST:
        times *= 2
    return seconds * times
