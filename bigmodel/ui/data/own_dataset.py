"""What only own data sets have: rows that were set aside and can be mended, versions, an end."""

from __future__ import annotations

import base64
import textwrap
import time
from collections.abc import Mapping, Sequence

import streamlit as st

from bigmodel.core import limits
from bigmodel.core.contracts import Dataset
from bigmodel.core.words import Words
from bigmodel.importing import import_plan
from bigmodel.importing.formats import chat_formats
from bigmodel.importing.store import originals, repair_rows
from bigmodel.importing.store.registry import ImportedDataset
from bigmodel.ui import navigation, number_format
from bigmodel.ui.data.new_version import create_version, describe_step
from bigmodel.ui.data.upload import upload_field
from bigmodel.ui.error_view import refusals
from bigmodel.ui.image_widgets import pad_to_square, thumbnail
from bigmodel.ui.language import _, current, escape_markdown, say
from bigmodel.ui.state import studio

TAKE_COLUMN = "take"  # the column with the ticks
PICTURE_COLUMN = "picture"  # and that with the pictures
PICTURE_HEIGHT, TURNS_HEIGHT = 72, 96  # of a row, pixels
MAX_TABLE_HEIGHT = 640  # of the table
MAX_CLASSES = 30  # whose names are told
MAX_CONTENT_CHARACTERS = 2000  # characters of a row that are shown beside its cells; the download has them all


def own_cards() -> list[Dataset]:
    return list(studio().data.registry.values())


def own_sections(dataset: Dataset) -> None:
    """The sections of an own data set; nothing for one that ships."""
    if not isinstance(dataset, ImportedDataset):
        return
    _metadata_form(dataset)
    _versions(dataset)
    _delete_section(dataset)


# -- set aside -----------------------------------------------------------------------------------------
def rejected_rows(dataset: Dataset) -> None:
    """What could not be taken in, to be mended; nothing for what ships."""
    count = dataset.version.manifest["aside"] if isinstance(dataset, ImportedDataset) else 0
    if not count:
        return
    st.header(_("Rows that were set aside"))
    first = studio().data.registry.versions(dataset.version.slug)[-1].manifest  # as it was read, before any step
    said = _("{count} of {rows} rows could not be taken in.", count=number_format.count(count),
             rows=number_format.count(first["aside"] + sum(first["rows"].values())))  # fmt: skip
    st.caption(escape_markdown(f"{said} {_original_status(dataset)}"))
    key = f"own.{dataset.name}.aside"
    page = st.session_state.get(f"{key}.page", 0)
    size, roles = limits.TABLE_ROWS, repair_rows.editable_roles(dataset.version)
    rows = studio().data.rejected_rows(dataset.name, page * size, size + 1)  # one more: is there a next page?
    whole = _editor(dataset, rows[:size], roles, key, page) if roles else _read_only_table(rows[:size])
    with st.container(horizontal=True, vertical_alignment="center"):
        label = _("Take {count} rows in", count=len(whole)) if len(whole) > 1 else _("Take rows in")
        if roles and st.button(label, type="primary", icon=":material/healing:", disabled=not whole):
            create_version(dataset, [{"mend": whole}])
        _download(dataset)
        _pagination(page, len(rows[:size]), len(rows) > size, key)
    if roles:
        _external_edit(dataset, key)


def _read_only_table(rows: list[dict]) -> dict[int, dict]:
    """Pictures of which none was kept can only be looked through."""
    st.dataframe(
        [_table_row(row, [], {}) for row in rows], alt=_("Rows that were set aside"), **_table_options(rows, [])
    )
    return {}


def _table_options(rows: list[dict], roles: Sequence[str], pictures: bool = False) -> dict:
    """How the table is drawn; how many rows an entry stands for is only said where one stands for several."""
    several = any(row["count"] > 1 for row in rows)
    turns = not repair_rows.CONVERSATION_ROLES.isdisjoint(roles)
    config = {
        TAKE_COLUMN: st.column_config.CheckboxColumn(_("Take in"), width=90),
        "row": st.column_config.NumberColumn(_("Row"), disabled=True, width=60, pinned=True),
        "count": st.column_config.NumberColumn(_("Rows"), disabled=True, width=60),
        PICTURE_COLUMN: st.column_config.ImageColumn(say(import_plan.ROLES["image"]), width=90),
        "reason": st.column_config.TextColumn(_("Reason"), disabled=True, width=280),
        "raw": st.column_config.TextColumn(_("Content"), disabled=True, width=300),
        **{
            role: st.column_config.TextColumn(say(import_plan.ROLES[role]), width=_column_width(role)) for role in roles
        },
    }
    wide = pictures or "messages" in roles  # one cell, which a phone shows without scrolling
    order = [*([TAKE_COLUMN] if roles else []), "row", *(["count"] if several else []),
             *([PICTURE_COLUMN] if pictures else []), *([*roles, "reason"] if wide else ["reason", *roles]), "raw"]  # fmt: skip
    size = _row_heights(len(rows), PICTURE_HEIGHT if pictures else TURNS_HEIGHT) if pictures or turns else {}
    return {"hide_index": True, "column_config": config, "column_order": order, **size}


def _row_heights(rows: int, height: int) -> dict:
    """Of rows that are higher than a line: few are all seen, many are scrolled."""
    return {"row_height": height, "height": "content" if rows * height <= MAX_TABLE_HEIGHT else MAX_TABLE_HEIGHT}


def _column_width(role: str) -> int:
    return 320 if role in repair_rows.CONVERSATION_ROLES else 150


def _editor(dataset: ImportedDataset, rows: list[dict], roles: Sequence[str], key: str, page: int) -> dict[int, dict]:
    """A page of them, each beginning with what could be read of it; the cells of all rows, on whatever page, that have
    been mended and are whole."""
    pictures = "image" in dataset.columns
    editor, drafts = f"{key}.table.{page}.{current()}", st.session_state.setdefault(f"{key}.drafts", {})
    if editor not in st.session_state:  # what it begins with must not change while it is being edited
        st.session_state[f"{key}.begun"] = dict(drafts)
    before = st.session_state[f"{key}.begun"]
    shown = studio().data.rejected_images(dataset.name, [row["row"] for row in rows if row.get("picture")])
    lost = [row for row in rows if pictures and not row.get("picture")]  # no row can be made of them
    table = [_table_row(row, roles, {} if row in lost else before.get(row["row"], {})) for row in rows]
    for line, row in zip(table, rows, strict=True):
        line[PICTURE_COLUMN] = _data_url(shown.get(row["row"]) if row.get("picture") else None)
    _instructions(dataset, roles, bool(lost))
    wrong = []
    for row, now in zip(rows, st.data_editor(table, key=editor, **_table_options(rows, roles, pictures)), strict=True):
        draft = {TAKE_COLUMN: bool(now[TAKE_COLUMN])} | {role: now[role] or "" for role in roles}
        same = draft == {name: value for name, value in _table_row(row, roles, {}).items() if name in draft}
        if row in lost:
            wrong += [] if same else [row["row"]]
        elif same:
            drafts.pop(row["row"], None)
        else:
            drafts[row["row"]] = draft
    if wrong:
        numbers = number_format.join_list([number_format.count(row) for row in wrong])
        st.warning(_("These rows stay set aside, as they have no picture that can be read: {rows}.", rows=numbers),
                   icon=":material/broken_image:")  # fmt: skip
    needed = repair_rows.required_roles(roles)
    whole = {
        row: {role: draft[role] for role in roles if draft[role]}
        for row, draft in drafts.items()
        if all(map(draft.get, needed))
    }
    _new_classes(dataset, whole)
    return whole


def _instructions(dataset: ImportedDataset, roles: Sequence[str], lost: bool) -> None:
    """What is to be done with the table."""
    said = [_("Put right what is wrong and fill in what is missing; tick a row that may be taken in as it stands. Taking "
              "them in makes a new version.")]  # fmt: skip
    if not repair_rows.CONVERSATION_ROLES.isdisjoint(roles):
        names = [say(name) for name in chat_formats.ROLE_NAMES.values()]
        said.append(_("In a conversation each turn begins a line with who speaks: {names}. A double click shows it line "
                      "by line; Shift+Enter begins a new line.", names=number_format.join_list([f"'{name}:'" for name in names])))  # fmt: skip
    if lost:
        said.append(_("Where the picture is struck out there is none that can be read: such a row stays set aside."))
    if classes := _classes(dataset):
        more = "" if len(classes) <= MAX_CLASSES else " ..."
        said.append(_("Classes so far: {names}", names=number_format.join_list(classes[:MAX_CLASSES])) + more)
    st.caption("  \n".join(escape_markdown(one) for one in said))


def _classes(dataset: ImportedDataset) -> Sequence[str]:
    return next((column.names for column in dataset.columns.values() if column.kind == "class"), ())


def _new_classes(dataset: ImportedDataset, whole: Mapping[int, Mapping]) -> None:
    """A class that is only misspelt is seen before it is there."""
    known = _classes(dataset)
    given = {" ".join(cells["label"].split()): None for cells in whole.values() if "label" in cells}
    if new := [name for name in given if name not in known]:
        st.caption(
            escape_markdown(_("Classes that are new: {names}", names=number_format.join_list(new[:MAX_CLASSES])))
        )


def _data_url(picture: bytes | None) -> str:
    """Of a picture of the table; of a sign where there is none."""
    return "data:image/png;base64," + base64.b64encode(pad_to_square(thumbnail(picture))).decode()


def _table_row(row: Mapping, roles: Sequence[str], draft: Mapping) -> dict:
    """A line of the table: what has been made of it already, else what could be read."""
    cells = {role: draft.get(role, cell) for role, cell in repair_rows.editable_cells(row, roles, say).items()}
    raw = row["raw"] if len(row["raw"]) <= MAX_CONTENT_CHARACTERS else f"{row['raw'][:MAX_CONTENT_CHARACTERS]} ..."
    ticked = {TAKE_COLUMN: draft.get(TAKE_COLUMN, False)} if roles else {}
    return {**ticked, "row": row["row"], "count": row["count"], "reason": say(repair_rows.reject_reason(row)), **cells,
            "raw": raw}  # fmt: skip


def _pagination(page: int, count: int, more: bool, key: str) -> None:
    if not page and not more:
        return
    first = page * limits.TABLE_ROWS
    with st.container(horizontal=True, horizontal_alignment="right", vertical_alignment="center"):
        st.caption(f"{number_format.count(first + 1)} - {number_format.count(first + count)}")
        st.button(
            _("Previous"), icon=":material/chevron_left:", disabled=not page, key=f"{key}.before",
            on_click=_set_page, args=(f"{key}.page", page - 1),
        )  # fmt: skip
        st.button(
            _("Next"), icon=":material/chevron_right:", disabled=not more, key=f"{key}.after",
            on_click=_set_page, args=(f"{key}.page", page + 1),
        )  # fmt: skip


def _set_page(key: str, page: int) -> None:
    st.session_state[key] = page


def _download(dataset: ImportedDataset) -> None:
    language = current()
    st.download_button(
        _("Download as CSV"), lambda: studio().data.rejected_csv(dataset.name, language),
        file_name=f"{dataset.version.slug}-aside.csv", mime="text/csv", icon=":material/download:", on_click="ignore",
    )  # fmt: skip


def _external_edit(dataset: ImportedDataset, key: str) -> None:
    """The same table, mended in another program and given back."""
    with st.expander(_("Mend them in another program"), icon=":material/table_edit:"):
        st.caption(
            _("Download them as CSV, put right what is wrong, and give the file back. A row is taken in when one of its "
              "cells has changed, or when something stands in its column '{name}'.", name=repair_rows.TAKE)
        )  # fmt: skip
        if not repair_rows.fits_in_table(dataset.version):
            st.caption(_("A table holds the first {size} of them; the next ones come when these have been taken in.",
                         size=number_format.byte_size(limits.TABLE_BYTES)))  # fmt: skip
        parcel = upload_field(f"{key}.given", _("or drop it here: the CSV with the mended rows"))
        if not parcel:
            return
        with refusals():
            if st.session_state.get(f"{key}.found", ("",))[0] != parcel:
                st.session_state[f"{key}.found"] = parcel, studio().imports.parse_repairs(dataset.name, parcel)
            _uploaded_repairs(dataset, st.session_state[f"{key}.found"][1], key)


def _uploaded_repairs(dataset: ImportedDataset, found: Mapping, key: str) -> None:
    count = len(found["mends"])
    st.markdown(_("Rows that can be taken in: **{count}**. Rows that still will not do: **{left}**.",
                  count=number_format.count(count), left=number_format.count(found["left"])))  # fmt: skip
    if found["reasons"]:
        reasons = [
            {_("Row"): reason["row"], _("Reason"): say(Words.from_json(reason["reason"]))}
            for reason in found["reasons"]
        ]
        st.dataframe(reasons, hide_index=True, height="content", alt=_("Rows that still will not do"))
    label = _("Take these rows in")
    if st.button(label, type="primary", icon=":material/healing:", disabled=not count, key=f"{key}.take"):
        create_version(dataset, [{"mend": found["mends"]}])


# -- versions ------------------------------------------------------------------------------------------
def _versions(dataset: ImportedDataset) -> None:
    """Which there are, which is used; an older one can be taken again."""
    manifest, versions = dataset.version.manifest, studio().data.registry.versions(dataset.version.slug)
    newest = studio().data.registry.newest(dataset.version.slug)
    with st.expander(_("Versions and origin"), icon=":material/history:"):
        source = manifest["source"]
        hash = source.get("content") or source["sha256"]  # the second is, of a data set of the Hub, that of its commit
        facts = {
            _("File"): source["name"],
            **({_("Pictures"): say(import_plan.STORED_IMAGES)} if "image" in manifest["columns"] else {}),
            **({_("Commit"): source["revision"]} if "revision" in source else {}),
            _("Hash of the file (SHA-256)"): " ".join(textwrap.wrap(hash, 16)),  # so that it can be broken
            _("Original"): _original_status(dataset),
            _("Read as"): say(import_plan.FORMATS[manifest["plan"]["format"]]),
            _("Columns"): ", ".join(
                f"{say(import_plan.ROLES[role])}: {one['from']}" for role, one in manifest["columns"].items()
            ),
        }
        st.table({title: escape_markdown(value) for title, value in facts.items() if value}, border="horizontal")
        _check_original(dataset)
        for version in versions:
            _version(version, current=version.name == dataset.name, newest=version.hash == newest)


def _original_status(dataset: ImportedDataset) -> str:
    """What has become of the file that it was made of; '' where there never was one."""
    found = studio().data.original(dataset.name)
    if found is None:
        return ""
    if found.storage == originals.LEFT_IN_PLACE and found.path is not None:
        return _(
            "The file was not kept, and stays at {path}. {why}",
            path=str(found.path),
            why=say(found.not_kept_reason or ""),
        )
    return {
        originals.MOVED: _("The file is kept as it came."),
        originals.COPIED: _("A copy of the file is kept as it came."),
        originals.LINKED: _("The file is kept under a second name, as a hard link: what a program writes into the file "
                            "later, it writes into both."),
        originals.LEFT_IN_PLACE: _("The file was not kept."),
    }[found.storage]  # fmt: skip


def _check_original(dataset: ImportedDataset) -> None:
    found = studio().data.original(dataset.name)
    if found is None or found.path is None:
        return
    if st.button(_("Check the original"), icon=":material/fact_check:", key=f"own.check.{dataset.name}"):
        with refusals(), st.spinner(_("Computing the file's hash")):
            if studio().imports.check_original(dataset.name):
                st.success(_("It is what it was when it was read."), icon=":material/check:")
            else:
                st.warning(_("It has been changed since it was read. The rows here are those from before."),
                           icon=":material/warning:")  # fmt: skip


def _version(version, current: bool, newest: bool) -> None:
    manifest = version.manifest
    steps = number_format.join_list([describe_step(step) for step in manifest["steps"]]) or _("as it was read")
    day = time.strftime("%Y-%m-%d %H:%M", time.localtime(manifest["created"]))
    with st.container(horizontal=True, vertical_alignment="center"):
        rows = _("{count} rows", count=number_format.count(sum(manifest["rows"].values())))
        st.markdown(f"**{manifest['number']}** · `{version.hash}` · {rows} · {escape_markdown(steps)} · {day}")
        if newest:
            st.badge(_("in use"), icon=":material/check:", color="green")
        if not current:
            navigation.link("data", _("Look at it"), icon=":material/visibility:", dataset=version.name)
        if not newest and st.button(_("Use this one"), key=f"own.use.{version.name}", icon=":material/undo:"):
            with refusals():
                navigation.go("data", dataset=studio().data.set_newest(version.name))


# -- what is said of it ---------------------------------------------------------------------------------
def _metadata_form(dataset: ImportedDataset) -> None:
    """Title and licence, to be put right."""
    now = {"title": say(dataset.title), "licence": dataset.metadata.get("licence", "")}
    with (
        st.expander(_("Title and licence"), icon=":material/edit:"),
        st.form(f"own.{dataset.name}.stated", border=False),
    ):
        title = st.text_input(_("Title"), now["title"], max_chars=limits.TITLE_CHARACTERS)
        licence = st.text_input(
            _("Licence"), now["licence"], max_chars=limits.LICENCE_CHARACTERS, placeholder=_("not stated"),
            help=_("What others allow you to do with these data. Shown wherever they are used."),
        )  # fmt: skip
        st.caption(_("This makes a new version of the same rows. Older versions, and models that were trained on them, "
                     "keep what was stated then."))  # fmt: skip
        if st.form_submit_button(_("Save as a new version"), icon=":material/save:"):
            asked = {"title": title, "licence": licence}
            anew = {name: value for name, value in asked.items() if value.strip() != now[name]}
            if anew:
                create_version(dataset, [{"about": anew}])


# -- the end -------------------------------------------------------------------------------------------
def _delete_section(dataset: ImportedDataset) -> None:
    with st.expander(_("Delete this data set"), icon=":material/delete:"):
        st.caption(_("With all its versions and the file as it came. Models that were trained on it stay."))
        if st.button(_("Delete for good"), icon=":material/delete_forever:", key=f"own.delete.{dataset.name}"):
            with refusals():
                studio().data.delete(dataset.version.slug)
                navigation.go("data")
