"""A choice among named things. Streamlit knows what was chosen by its words alone: so what is called alike is told apart, and
where the words change, with the language or the hour, the choice is put in again under the new ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

import streamlit as st


def disambiguate(said: Mapping[str, str], more: Callable[[str], str] = str) -> dict[str, str]:
    """What each thing is called, by its id; those called alike with `more` of each behind it, which no two may share."""
    often = Counter(said.values())
    return {id: words if often[words] == 1 else f"{words} · {more(id)}" for id, words in said.items()}


def pin_choice(key: str, named: Mapping[str, str], first: str | None, typed: bool = False) -> None:
    """Before the choice with this key is drawn: what was chosen stays chosen for as long as it is there, and `first` is before
    anything else. `named`: id -> the words it is drawn with, no two alike. typed: what is not among them may be asked for."""
    if not named:
        return
    held, words = st.session_state.get(f"{key}.held", (first, ""))
    chosen = st.session_state.get(key)
    if chosen not in named and (chosen == words or not typed):
        chosen = held if held in named else first
    drawn = named.get(chosen, chosen)
    if chosen != st.session_state.get(key) or drawn != words:
        st.session_state[key] = chosen
    st.session_state[f"{key}.held"] = chosen, drawn
