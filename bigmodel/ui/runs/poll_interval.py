"""How often open pages look at what goes on: the more of them, the more rarely, so that training does not pay for it."""

from __future__ import annotations

import time

from streamlit.runtime.scriptrunner import get_script_run_ctx

FULL_RATE_SESSIONS = 3  # sessions; twice as many look half as often, and so on
MAX_FACTOR = 8.0  # times the interval
SESSION_TIMEOUT = (
    12.0  # seconds after which a session that has not looked is no longer there; the rarest look is more often
)

_last_poll: dict[str, float] = {}  # session -> when it looked last; shared by all of them


def interval(seconds: float) -> float:
    """`seconds`, stretched by how many sessions look at present, this one included."""
    now, context = time.monotonic(), get_script_run_ctx()
    if context is not None:
        _last_poll[context.session_id] = now
    for session in [one for one, last in list(_last_poll.items()) if now - last > SESSION_TIMEOUT]:
        _last_poll.pop(session, None)
    return scaled_interval(seconds, len(_last_poll))


def scaled_interval(seconds: float, sessions: int) -> float:
    """In whole powers of two, so that one who comes or goes seldom changes it for the others."""
    times = 1.0
    while sessions > FULL_RATE_SESSIONS * times and times < MAX_FACTOR:
        times *= 2
    return seconds * times
