"""Text of a model or a person, as plain text: no markup in it is ever obeyed."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

HERE = Path(__file__).parent

_component = st.components.v2.component(
    "bigmodel_prose",
    html='<div class="prose" aria-live="polite"><span class="prompt"></span><span class="text"></span>'
    '<span class="caret" hidden></span></div>',
    css=(HERE / "streaming_text.css").read_text(encoding="utf-8"),
    js=(HERE / "streaming_text.js").read_text(encoding="utf-8"),
)


def streaming_text(text: str, *, key: str, prompt: str = "", done: bool = True, language: str = "") -> None:
    """Show `text`, after the `prompt` it goes on from; a caret blinks until it is done."""
    _component(key=key, data={"text": text, "prompt": prompt, "done": done, "language": language})
