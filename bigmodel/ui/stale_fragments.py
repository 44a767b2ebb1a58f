"""A page's timers end with it. Streamlit 1.67 takes what a timer of the page before still asks for, on a slow line or a busy
machine, for a way back to that page: the new one is cleared and its choices are forgotten."""

from __future__ import annotations

from streamlit.proto.ClientState_pb2 import ClientState
from streamlit.runtime.app_session import AppSession

_request_rerun = AppSession.request_rerun


def drop_stale_reruns() -> None:
    """From now on what comes from a timer of another page than the one that the session is on is not heard."""
    AppSession.request_rerun = _request_rerun_unless_stale


def _request_rerun_unless_stale(self: AppSession, client_state: ClientState | None) -> None:
    if client_state and client_state.is_auto_rerun and client_state.page_script_hash not in ("", self.page_script_hash):
        return
    _request_rerun(self, client_state)
