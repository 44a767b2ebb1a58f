"""Tokens side by side, coloured by what they are for: a model's text as plain text, no markup in it is obeyed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import streamlit as st

HERE = Path(__file__).parent

_component = st.components.v2.component(
    "bigmodel_tokens",
    html='<div class="tokens" role="group"></div>',
    css=(HERE / "token_view.css").read_text(encoding="utf-8"),
    js=(HERE / "token_view.js").read_text(encoding="utf-8"),
)


def token_view(parts: Sequence[Sequence], *, key: str, alt: str, names: dict[str, str]) -> None:
    """`parts`: [text, id, kind]; `names`: kind -> what it is called when a token is pointed at."""
    _component(key=key, data={"tokens": [list(part) for part in parts], "alt": alt, "names": names})
