"""What only own data sets have: rows that were set aside and can be mended, versions, an end."""

from __future__ import annotations

import csv
import io
import textwrap
import time

import streamlit as st

from bigmodel.core.contracts import Dataset
from bigmodel.core.words import Words
from bigmodel.studio import OwnDataset, plans
from bigmodel.ui import amounts, places
from bigmodel.ui.data_change import change, step
from bigmodel.ui.language import _, plain, say
from bigmodel.ui.state import studio
from bigmodel.ui.trouble import refusals

MENDED = 200  # rows in the table that is edited, at most


def own_cards() -> list[Dataset]:
    return studio().own_datasets()


def own_parts(dataset: Dataset) -> None:
    """The sections of an own data set; nothing for one that ships."""
    if not isinstance(dataset, OwnDataset):
        return
    _versions(dataset)
    _end(dataset)


# -- set aside -----------------------------------------------------------------------------------------
def set_aside(dataset: Dataset) -> None:
    """What could not be taken in, to be mended; nothing for what ships."""
    count = dataset.version.manifest["aside"] if isinstance(dataset, OwnDataset) else 0
    if not count:
        return
    st.header(_("Rows that were set aside"))
    first = studio().data_versions(dataset.version.slug)[-1].manifest  # as it was read, before any step
    said = _("{count} of {rows} rows could not be taken in. The file itself is kept as it came.",
             count=amounts.count(count), rows=amounts.count(first["aside"] + sum(first["rows"].values())))  # fmt: skip
    st.caption(said)
    rows = studio().set_aside(dataset.name, count=MENDED)
    pictures = "image" in dataset.columns
    roles = [] if pictures else [role for role in plans.KINDS if role in dataset.columns]
    table = [
        {
            "row": row["row"],
            "reason": say(Words.from_json(row["reason"])),
            **dict.fromkeys(roles, ""),
            "raw": row["raw"],
        }
        for row in rows
    ]
    config = {
        "row": st.column_config.NumberColumn(_("Row"), disabled=True, width=60, pinned=True),
        "reason": st.column_config.TextColumn(_("Reason"), disabled=True, width=280),
        "raw": st.column_config.TextColumn(_("Content"), disabled=True, width=300),
        **{role: st.column_config.TextColumn(say(plans.ROLES[role]), width=150) for role in roles},
    }
    whole = {}
    if not roles:
        st.dataframe(table, hide_index=True, column_config=config, alt=_("Rows that were set aside"))
    else:
        st.caption(_("Fill in what they should say, and take them in: that makes a new version."))
        edited = st.data_editor(table, hide_index=True, column_config=config, key=f"own.{dataset.name}.aside")
        whole = {row["row"]: {role: row[role] for role in roles} for row in edited if all(map(row.get, roles))}
    if count > len(rows):
        st.caption(_("The first {count} are shown; the download has them all.", count=len(rows)))
    with st.container(horizontal=True):
        label = _("Take {count} rows in", count=len(whole)) if len(whole) > 1 else _("Take rows in")
        if roles and st.button(label, type="primary", icon=":material/healing:", disabled=not whole):
            change(dataset, [{"mend": whole}])
        st.download_button(
            _("Download as CSV"), lambda: _csv(dataset), file_name=f"{dataset.version.slug}-aside.csv", mime="text/csv",
            icon=":material/download:", on_click="ignore",
        )  # fmt: skip


def _csv(dataset: OwnDataset) -> bytes:
    """With a mark that lets Excel read it as UTF-8; a cell that would be taken for a formula is given an apostrophe."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["row", "reason", "content"])
    for row in studio().set_aside(dataset.name, count=1_000_000):
        cells = (say(Words.from_json(row["reason"])), row["raw"])
        writer.writerow([row["row"], *(f"'{cell}" if cell[:1] in "=+-@\t" else cell for cell in cells)])
    return b"\xef\xbb\xbf" + out.getvalue().encode("utf-8", "replace")


# -- versions ------------------------------------------------------------------------------------------
def _versions(dataset: OwnDataset) -> None:
    """Which there are, which is used; an older one can be taken again."""
    manifest, versions = dataset.version.manifest, studio().data_versions(dataset.version.slug)
    newest = studio().newest_version(dataset.version.slug)
    with st.expander(_("Versions and origin"), icon=":material/history:"):
        source = manifest["source"]
        facts = {
            _("File"): source["name"],
            _("Hash of the file (SHA-256)"): " ".join(textwrap.wrap(source["sha256"], 16)),  # so that it can be broken
            _("Read as"): say(plans.FORMATS[manifest["plan"]["format"]]),
            _("Columns"): ", ".join(
                f"{say(plans.ROLES[role])}: {one['from']}" for role, one in manifest["columns"].items()
            ),
        }
        st.table({title: plain(value) for title, value in facts.items()}, border="horizontal")
        for version in versions:
            _version(version, current=version.name == dataset.name, newest=version.hash == newest)


def _version(version, current: bool, newest: bool) -> None:
    manifest = version.manifest
    steps = amounts.joined([step(one) for one in manifest["steps"]]) or _("as it was read")
    day = time.strftime("%Y-%m-%d %H:%M", time.localtime(manifest["created"]))
    with st.container(horizontal=True, vertical_alignment="center"):
        rows = _("{count} rows", count=amounts.count(sum(manifest["rows"].values())))
        st.markdown(f"**{manifest['number']}** · `{version.hash}` · {rows} · {plain(steps)} · {day}")
        if newest:
            st.badge(_("in use"), icon=":material/check:", color="green")
        if not current:
            places.link("data", _("Look at it"), icon=":material/visibility:", dataset=version.name)
        if not newest and st.button(_("Use this one"), key=f"own.use.{version.name}", icon=":material/undo:"):
            with refusals():
                places.go("data", dataset=studio().use_version(version.name))


# -- the end -------------------------------------------------------------------------------------------
def _end(dataset: OwnDataset) -> None:
    with st.expander(_("Delete this data set"), icon=":material/delete:"):
        st.caption(_("With all its versions and the file as it came. Models that were trained on it stay."))
        if st.button(_("Delete for good"), icon=":material/delete_forever:", key=f"own.delete.{dataset.name}"):
            with refusals():
                studio().delete_dataset(dataset.version.slug)
                places.go("data")
