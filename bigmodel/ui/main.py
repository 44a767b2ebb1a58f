"""The frame round every page: its title, the language, the way to the other pages, what is going on."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from bigmodel.ui import frame, language, navigation
from bigmodel.ui.css import inject_css

ASSETS = Path(__file__).parent / "assets"

SIDEBAR = 240  # pixels; hidden at first on a phone

st.set_page_config(
    page_title="bigmodel", page_icon=str(ASSETS / "icon.png"), layout="wide", initial_sidebar_state=SIDEBAR
)
language.detect_language()
inject_css()
page = st.navigation(navigation.pages(), position="hidden")
st.set_page_config(page_title=f"{page.title} · bigmodel")
st.logo(str(ASSETS / "logo.png"), icon_image=str(ASSETS / "icon.png"), size="large")
frame.sidebar()
frame.notices()
page.run()
