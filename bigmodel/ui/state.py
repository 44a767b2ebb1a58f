"""What is remembered: by the server (the studio), by a session (the last choice, tokens against a second click)."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import streamlit as st

from bigmodel.studio import Studio, home


def studio() -> Studio:
    """The one studio of this server. Kept by the module, so that clearing Streamlit's caches makes no second one."""
    return _studio(home())


@cache
def _studio(folder: Path) -> Studio:
    return Studio(folder)


def session_token(name: str) -> str:
    """The same until `spend`: an action sent twice (a double click, a stale tab) carries it twice and is done once."""
    return st.session_state.setdefault(f"token.{name}", secrets.token_hex(16))


def discard_token(name: str) -> None:
    st.session_state.pop(f"token.{name}", None)


def remember(name: str, choice: Mapping[str, str]) -> None:
    """Keep a choice for as long as the session lives, on whichever page the person is."""
    st.session_state[f"last.{name}"] = dict(choice)


def remembered(name: str) -> dict[str, str]:
    return st.session_state.get(f"last.{name}", {})
