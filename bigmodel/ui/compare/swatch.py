"""The colour of a group as the charts draw it, for a line of text."""

from __future__ import annotations

import streamlit as st


def swatch(number: int) -> str:
    """A small square, as HTML; says nothing to who cannot see it, since the letter stands beside it."""
    mode = "dark" if st.context.theme.type == "dark" else "light"
    colours = st.get_option(f"theme.{mode}.chartCategoricalColors") or ["#0B63B6"]
    colour = colours[number % len(colours)]
    return f'<span aria-hidden="true" style="display:block;width:0.8rem;height:0.8rem;border-radius:3px;background:{colour}"></span>'
