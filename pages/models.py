"""What can be used: the models trained here and those that come along, each with its card."""

import streamlit as st

from bigmodel.ui import navigation
from bigmodel.ui.error_view import contained
from bigmodel.ui.language import _, escape_markdown
from bigmodel.ui.models import facts
from bigmodel.ui.models.card import model_card
from bigmodel.ui.state import studio
from bigmodel.ui.train.base_card import base_list

st.title(_("Models"))
models = facts.selectable_models()
own, starters = [model for model in models if not model.starter], [model for model in models if model.starter]

st.header(_("Trained here"))
if own:
    st.caption(escape_markdown(_("They lie in {folder}.", folder=str(studio().home / "runs"))))
    with st.grid(2, min_column_width=340, gap="medium"):
        for model in own:
            with contained():
                model_card(model)
else:
    st.markdown(_("Nothing yet. A first model takes about a minute."))
    if st.button(_("Train a model"), type="primary", icon=":material/model_training:"):
        navigation.go("train")

base_list()

if starters:
    st.header(_("Included with bigmodel"))
    with st.grid(3, min_column_width=270, gap="medium"):
        for model in starters:
            model_card(model)
