"""The data sets there are, and the ways to bring one; with ?parcel=ID a file that has come, with ?dataset=NAME one of
them: rows, lengths, classes, pictures, licence."""

import streamlit as st

from bigmodel.core import catalog
from bigmodel.core.contracts import Dataset
from bigmodel.ui import navigation
from bigmodel.ui.data.batch_view import dataset_batch_view
from bigmodel.ui.data.bring import add_dataset_form
from bigmodel.ui.data.import_form import import_page
from bigmodel.ui.data.lint_findings import lint_section
from bigmodel.ui.data.new_version import derived_from, version_progress
from bigmodel.ui.data.overview import dataset_card, dataset_summary, distributions, tasks_of, train_query
from bigmodel.ui.data.own_dataset import own_cards, own_sections, rejected_rows
from bigmodel.ui.data.row_browser import row_browser
from bigmodel.ui.error_view import contained, refusals
from bigmodel.ui.language import _, escape_markdown, say
from bigmodel.ui.state import studio


def dataset_page(dataset: Dataset) -> None:
    navigation.link("data", _("All data sets"), icon=":material/arrow_back:")
    st.title(escape_markdown(say(dataset.title)))
    st.markdown(escape_markdown(say(dataset.about)))
    if not tasks_of(dataset):
        st.info(_("No task can learn from these columns yet: it can be looked at."), icon=":material/info:")
    elif st.button(_("Train with this data"), type="primary", icon=":material/model_training:"):
        navigation.go("train", **train_query(dataset))
    with refusals():
        version_progress(dataset)
        derived_from(dataset)
        dataset_summary(dataset)
        lint_section(dataset)
        rejected_rows(dataset)
        distributions(dataset)
        chosen = row_browser(dataset)
        dataset_batch_view(dataset, chosen)
        own_sections(dataset)


def cards(title: str, about: str, datasets: list[Dataset]) -> None:
    st.header(title)
    st.caption(about)
    with st.grid(3, min_column_width=260, gap="medium"):
        for dataset in datasets:
            with contained():
                dataset_card(dataset)


name, parcel = st.query_params.get("dataset", ""), st.query_params.get("parcel", "")
chosen = None
if name:
    with refusals():
        chosen = catalog.dataset(name)
if chosen:
    dataset_page(chosen)
elif parcel:
    import_page(parcel)
else:
    st.title(_("Data"))
    add_dataset_form()
    if damage := studio().data.registry.damage():
        st.warning(escape_markdown(say(damage)), icon=":material/heart_broken:")
    own = own_cards()
    if own:
        cards(_("Your own"), _("Each is kept in versions that never change; the newest is shown."), own)
    cards(
        _("Ready to use"),
        _(
            "These data sets come with bigmodel and need no network. Each is cut into training, validation and test rows once and for all."
        ),
        list(catalog.datasets().values()),
    )
