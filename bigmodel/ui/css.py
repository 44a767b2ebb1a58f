"""The few rules of look and reach that Streamlit has no setting for."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

CSS_FILE = Path(__file__).parent / "style.css"
PHONE_WIDTH = 640  # pixels; narrower screens have one column


def inject_css() -> None:
    """Put the style sheet on the page."""
    st.html(CSS_FILE)


def scroll_into_view(key: str) -> None:
    """Scroll to the container of this key on a phone, where what has just been asked for appears below the screen."""
    place = f".st-key-{key.replace('.', '-')}"
    st.html(
        f"<script>if (matchMedia('(max-width: {PHONE_WIDTH}px)').matches)"
        f" document.querySelector('{place}')?.scrollIntoView({{behavior:"
        " matchMedia('(prefers-reduced-motion: reduce)').matches ? 'auto' : 'smooth'})</script>",
        unsafe_allow_javascript=True,
    )
