"""The data sets that come along; with ?dataset=NAME one of them: rows, lengths, classes, pictures, licence."""

import streamlit as st

from bigmodel.core import catalog
from bigmodel.core.contracts import Dataset
from bigmodel.ui import places
from bigmodel.ui.data_view import about, card, distributions, rows
from bigmodel.ui.language import _, plain, say
from bigmodel.ui.trouble import refusals


def one(dataset: Dataset) -> None:
    places.link("data", _("All data sets"), icon=":material/arrow_back:")
    st.title(say(dataset.title))
    st.markdown(plain(say(dataset.about)))
    if st.button(_("Train on this"), type="primary", icon=":material/model_training:"):
        places.go("train", dataset=dataset.name)
    with refusals():
        about(dataset)
        distributions(dataset)
        rows(dataset)


name = st.query_params.get("dataset", "")
chosen = None
if name:
    with refusals():
        chosen = catalog.dataset(name)
if chosen:
    one(chosen)
else:
    st.title(_("Data"))
    st.caption(
        _(
            "These data sets come with bigmodel and need no network. Each is cut into training, validation and test rows once and for all."
        )
    )
    with st.grid(3, min_column_width=260, gap="medium"):
        for dataset in catalog.datasets().values():
            card(dataset)
