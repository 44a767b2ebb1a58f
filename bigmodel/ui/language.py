"""The language of a session: asked of the URL, then of the browser; every sentence of a page is said in it."""

from __future__ import annotations

import streamlit as st

from bigmodel.core import words
from bigmodel.core.words import LANGUAGES, Words

HTML_LANG_CODES = {"en": "en", "zh": "zh-CN"}


def current() -> str:
    return st.session_state.get("language", "en")


def detect_language() -> None:
    """Decide on the language at the start of a run of the script: `?lang=`, what was chosen, the browser's."""
    asked = st.query_params.get("lang")
    if asked in LANGUAGES:
        st.session_state["language"] = asked
        st.session_state["language_chosen"] = True
    elif "language" not in st.session_state:
        st.session_state["language"] = _browser_language()


def _browser_language() -> str:
    locale = st.context.locale or ""
    return "zh" if locale.lower().startswith("zh") else "en"


def url_parameters() -> dict[str, str]:
    """What a link carries along so that the language stays in the URL; nothing as long as it is the browser's."""
    return {"lang": current()} if st.session_state.get("language_chosen") else {}


def language_switch() -> None:
    """中文 / English, wherever it is drawn."""
    st.session_state["language_switch"] = current()
    st.segmented_control(
        "中文 / English",
        list(LANGUAGES),
        format_func=LANGUAGES.__getitem__,
        key="language_switch",
        required=True,
        on_change=_on_switch,
        label_visibility="collapsed",
        width="stretch",
    )


def _on_switch() -> None:
    st.session_state["language"] = st.session_state["language_switch"]
    st.session_state["language_chosen"] = True
    st.query_params["lang"] = st.session_state["language"]


def set_document_language() -> None:
    """Screen readers pronounce, and browsers hyphenate, by the document's language, which Streamlit fixes to English."""
    name = HTML_LANG_CODES[current()]
    st.html(f"<script>document.documentElement.lang = '{name}'</script>", unsafe_allow_javascript=True)


def say(text: Words | str) -> str:
    """Words of a leaf, or a person's own, in the session's language."""
    return words.say(text, current())


def _(text: str, **values: object) -> str:
    """A page's own sentence, in the session's language. The name is the one gettext tools look for."""
    return say(Words(text, tuple(values.items())))


def escape_markdown(text: str) -> str:
    """Text for a place that obeys Markdown, with every sign as itself: names, inputs and errors are not markup."""
    return "".join(f"\\{sign}" if sign in "\\`*_{}[]<>()#+-.!|~$:" else sign for sign in text)
