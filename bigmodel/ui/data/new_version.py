"""A new version of a data set on its way, and what has become of one that was made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from bigmodel.core import catalog, jobs
from bigmodel.core.contracts import Dataset
from bigmodel.importing.store.registry import ImportedDataset
from bigmodel.importing.store.version_jobs import VersionJob
from bigmodel.ui import navigation, number_format
from bigmodel.ui.error_view import refusals, show_refusal
from bigmodel.ui.language import _, escape_markdown
from bigmodel.ui.state import studio

REFRESH_SECONDS = 0.4


def create_version(dataset: Dataset, steps: Sequence[Mapping]) -> None:
    """After a button: begin to make a version; `change_bar` shows how far it is, and goes there."""
    with refusals():
        st.session_state["data.change"] = studio().versions.begin(dataset.name, steps).id
        st.rerun()


def version_progress(dataset: Dataset) -> None:
    """For everybody who looks: how far it is. For who asked: what has become of it."""
    found = studio().versions.jobs.get(dataset.name)
    mine = found is not None and st.session_state.get("data.change") == found.id
    if found is None or not (found.running or mine):
        return
    if found.running:
        st.fragment(_progress, run_every=REFRESH_SECONDS)(found)
        return
    st.session_state.pop("data.change")
    if found.state == jobs.DONE:
        navigation.go("data", dataset=found.name)
    elif found.state == jobs.FAILED:
        show_refusal(found.refusal)
    else:
        st.info(_("No new version was made."), icon=":material/cancel:")


def _progress(found: VersionJob) -> None:
    if not found.running:
        st.rerun()
    with st.container(horizontal=True, vertical_alignment="center"):
        st.progress(found.fraction_done, text=_("A new version is being made"))
        st.button(_("Cancel"), icon=":material/close:", on_click=found.cancel, key=f"change.cancel.{found.id}")


def derived_from(dataset: Dataset) -> None:
    """What a version's steps have done, and the way back."""
    if not isinstance(dataset, ImportedDataset):
        return
    manifest = dataset.version.manifest
    parent = catalog.find_dataset(manifest.get("parent", ""))
    if parent is None:
        return
    rows, before = (sum(one["rows"].values()) for one in (manifest, parent.version.manifest))
    steps = manifest["steps"][len(parent.version.manifest["steps"]) :]
    said = _(
        "Version {number}, made from version {before}: {steps}.",
        number=manifest["number"],
        before=parent.version.manifest["number"],
        steps=number_format.join_list([describe_step(step) for step in steps]),
    )
    with st.container(border=True, horizontal=True, vertical_alignment="center"):
        st.markdown(f":material/healing: {escape_markdown(said)} **{escape_markdown(_row_difference(rows - before))}**")
        navigation.link("data", _("The version before"), icon=":material/undo:", dataset=parent.name)


def _row_difference(rows: int) -> str:
    if not rows:
        return _("As many rows as before.")
    if rows < 0:
        return _("{count} rows fewer.", count=number_format.count(-rows))
    return _("{count} rows more.", count=number_format.count(rows))


def describe_step(one: Mapping) -> str:
    """A step in words."""
    ((kind, what),) = one.items()
    if kind == "about":
        said, none = {"title": _("Title"), "licence": _("Licence")}, _("not stated")
        return number_format.join_list([f"{said[name]}: {value or none}" for name, value in what.items()])
    words = {
        "drop": _("{count} rows left out", count=number_format.count(len(what))),
        "edit": _("{count} rows changed", count=number_format.count(len(what))),
        "split": _("{count} rows moved", count=number_format.count(len(what))),
        "mend": _("{count} rows mended", count=number_format.count(len(what))),
    }
    return words[kind]
