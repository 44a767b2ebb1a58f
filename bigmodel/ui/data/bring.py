"""The four ways in which data come: a file, pasted text, a folder of the server, a data set of the Hub."""

from __future__ import annotations

import streamlit as st

from bigmodel.core import limits
from bigmodel.importing.import_jobs import UploadedFile
from bigmodel.ui import navigation, number_format
from bigmodel.ui.data.upload import upload_field
from bigmodel.ui.error_view import refusals
from bigmodel.ui.language import _, escape_markdown
from bigmodel.ui.state import studio
from bigmodel.ui.streaming_text import streaming_text

CARD_HEIGHT = 360  # pixels of what the authors of a data set say; more is scrolled to
SHORT_CARD_CHARACTERS = 400  # characters that take less on a phone, too


def add_dataset_form() -> None:
    """A field for each way; what has come is looked at on a page of its own."""
    ways = {
        "file": _("File"),
        "paste": _("Pasted text"),
        "path": _("Folder"),
        "hub": _("Hugging Face"),
    }
    with st.container(border=True):
        way = st.segmented_control(
            _("Bring your own data"),
            list(ways),
            format_func=ways.__getitem__,
            default="file",
            required=True,
            key="bring.way",
        )
        {"file": _file, "paste": _paste, "path": _path, "hub": _hub}[way]()
        _running_imports()


def _running_imports() -> None:
    """Files that are being read for whoever has left their page."""
    for job in studio().imports.running():
        said = _("{name} is being read: {share} %", name=job.title, share=round(100 * job.fraction_done))
        navigation.link("data", said, icon=":material/hourglass_top:", parcel=job.upload.id)


def _file() -> None:
    parcel = upload_field("bring.file")
    if parcel and parcel != st.session_state.get("bring.seen"):  # the field keeps its value when people come back
        st.session_state["bring.seen"] = parcel
        ids = parcel.split(",")
        if len(ids) == 1:
            navigation.go("data", parcel=parcel)
        with refusals():
            _open_import(studio().imports.combine_uploads(ids))
    st.caption(_("It stays on this machine. What cannot be read is set aside with the reason, and nothing is lost."))


def _paste() -> None:
    with st.form("bring.pasted", border=False):
        text = st.text_area(
            _("Rows of a table, JSON lines, or texts with blank lines between"),
            height=180,
            max_chars=limits.PASTED_CHARACTERS,
            key="bring.text",
        )
        if st.form_submit_button(_("Look at it"), type="primary", icon=":material/search:"):
            with refusals():
                _open_import(studio().imports.paste(text))


def _path() -> None:
    with st.form("bring.place", border=False):
        roots = ", ".join(f"`{root}`" for root in studio().imports.roots())
        path = st.text_input(_("Path of a file or folder"), key="bring.path", max_chars=4000)
        st.caption(_("Inside: {folders}", folders=roots))
        if st.form_submit_button(_("Look at it"), type="primary", icon=":material/search:"):
            with refusals():
                _open_import(studio().imports.add_path(path))


def _hub() -> None:
    with st.form("bring.hub", border=False):
        name = st.text_input(_("Name of the data set"), placeholder="owner/name", key="bring.hub.name", max_chars=200)
        revision = st.text_input(
            _("Revision"), placeholder="main", key="bring.hub.revision", max_chars=100,
            help=_("A branch, a tag or a commit. What is fetched is pinned to the commit that it means today."),
        )  # fmt: skip
        asked = st.form_submit_button(_("Look for it"), type="primary", icon=":material/search:")
    if asked:
        st.session_state.pop("bring.hub.about", None)
        with refusals(), st.spinner(_("Asking the Hub ...")):
            st.session_state["bring.hub.about"] = studio().imports.hub_info(name, revision)
    about = st.session_state.get("bring.hub.about")
    if about:
        _hub_choice(about)


def _hub_choice(about: dict) -> None:
    """What the Hub says of it, and which part is wanted."""
    facts = {
        _("Data set"): about["id"],
        _("Commit"): about["revision"][:12],
        _("Licence"): about.get("licence") or _("not stated"),
        _("Downloads"): f"{about.get('downloads') or 0:,}",
    }
    st.table({title: escape_markdown(value) for title, value in facts.items()}, border="horizontal")
    if about.get("card"):
        said = st.expander(_("What its authors say"), icon=":material/description:")
        long = len(about["card"]) > SHORT_CARD_CHARACTERS
        with said, st.container(height=CARD_HEIGHT if long else "content", border=False):
            streaming_text(about["card"], key=f"bring.hub.card.{about['id']}")
    configs = list(about["configs"])
    config = st.selectbox(_("Configuration"), configs, key="bring.hub.config") if len(configs) > 1 else configs[0]
    if not about["configs"][config]:
        with refusals(), st.spinner(_("Asking the Hub ...")):
            about["configs"][config] = studio().imports.hub_splits(about, config)
    splits = about["configs"][config]
    if not splits:
        return
    said = lambda split: f"{split} ({number_format.count(splits[split])})" if splits[split] else split  # noqa: E731
    chosen = st.multiselect(
        _("Parts"), list(splits), default=list(splits), format_func=said, key=f"bring.hub.splits.{config}"
    )
    most = st.number_input(
        _("At most so many rows of each part"), min_value=100, max_value=limits.ROWS, value=100_000, step=1000,
        key="bring.hub.most",
    )  # fmt: skip
    if st.button(_("Look at its rows"), type="primary", icon=":material/visibility:", disabled=not chosen):
        with refusals():
            _open_import(studio().imports.add_hub_dataset(about, config, chosen, int(most)))


def _open_import(parcel: UploadedFile) -> None:
    navigation.go("data", parcel=parcel.id)
