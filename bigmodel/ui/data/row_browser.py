"""The rows of a data set: searched, filtered by part, class and length, a page at a time; one of them can be chosen."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from bigmodel.core import limits
from bigmodel.core.contracts import Dataset
from bigmodel.data.browse import CHARACTERS, Page, RowQuery
from bigmodel.ui import number_format
from bigmodel.ui.data.overview import learned_columns, split_titles
from bigmodel.ui.data.processor_choice import selected_processor
from bigmodel.ui.data.token_counts import token_unit
from bigmodel.ui.data.transcript import format_cell
from bigmodel.ui.image_widgets import gallery, thumbnail
from bigmodel.ui.language import _, say
from bigmodel.ui.state import studio

IMAGES_PER_PAGE = 40  # on one screen
ALL_SPLITS = "all"
TOKENS = "tokens"


def row_browser(dataset: Dataset) -> int:
    """A page of the rows that are wanted; the number of the one that was chosen among them, 0 for none."""
    st.header(_("Rows"))
    key = f"data.{dataset.name}"
    wanted = _filters(dataset, key)
    if wanted is None:
        return 0
    pictures = any(column.kind == "image" for column in dataset.columns.values())
    size = IMAGES_PER_PAGE if pictures else limits.TABLE_ROWS
    page = st.session_state.get(f"{key}.page", 0)
    with st.spinner(_("Looking for them ...")):  # shown where it takes a while: a gigabyte is searched in seconds
        found = studio().data.find_rows(dataset.name, wanted, page * size, size)
    if not found.total:
        st.caption(_("No row is like that.") if _is_filtered(wanted) else _("There are no rows."))
        return 0
    if page and not found.rows:  # others have been taken away since
        _set_page(f"{key}.page", 0)
        st.rerun()
    chosen = _gallery(dataset, found, f"{key}.{page}") if pictures else _table(dataset, found, f"{key}.{page}")
    _pagination(found, page, size, key)
    return chosen


# -- which ---------------------------------------------------------------------------------------------------
def _filters(dataset: Dataset, key: str) -> RowQuery | None:
    """What the widgets ask for; None while the tokens are still being counted."""
    parts = {ALL_SPLITS: _("All"), **split_titles()}
    changed = {"on_change": _set_page, "args": (f"{key}.page", 0)}
    with st.container(horizontal=True, vertical_alignment="bottom", key=f"{key}.bar"):
        split = st.segmented_control(
            _("Part"), list(parts), format_func=parts.__getitem__, default=ALL_SPLITS, key=f"{key}.split",
            required=True, label_visibility="collapsed", width="content", **changed,
        )  # fmt: skip
        classes = _class_filter(dataset, key, changed)
        length = _length_filter(dataset, key, changed)
        search = st.text_input(
            _("Search"), key=f"{key}.search", type="search", label_visibility="collapsed", live="400ms",
            placeholder=_("Search"), **changed,
        )  # fmt: skip
    if length is None:
        return None
    return RowQuery("" if split == ALL_SPLITS else split, search, classes, **length)


def _class_filter(dataset: Dataset, key: str, changed: Mapping) -> tuple[int, ...]:
    counted = studio().data.stats(dataset.name)["classes"]
    names = next((column.names for column in dataset.columns.values() if column.kind == "class"), ())
    if not counted:
        return ()
    said = {
        index: f"{say(name)} · {number_format.count(counted[name])}"
        for index, name in enumerate(names)
        if name in counted
    }
    chosen = st.multiselect(
        _("Class"),
        list(said),
        format_func=said.__getitem__,
        key=f"{key}.classes",
        width=240,
        label_visibility="collapsed",
        placeholder=_("All classes"),
        **changed,
    )
    return tuple(chosen)


def _length_filter(dataset: Dataset, key: str, changed: Mapping) -> dict | None:
    """What `Wanted` says of lengths; None while somebody counts."""
    lengths = {
        name: bins
        for name, bins in studio().data.stats(dataset.name)["lengths"].items()
        if name in learned_columns(dataset)
    }
    if not lengths:
        return {}
    shortest, longest = st.session_state.get(f"{key}.shortest"), st.session_state.get(f"{key}.longest")
    with st.popover(_length_label(key, shortest, longest), icon=":material/straighten:", width="content"):
        names = list(lengths)
        column = names[0]
        if len(names) > 1:
            titles = {name: say(dataset.columns[name].label) for name in names}
            column = st.segmented_control(
                _("Column"), names, format_func=titles.__getitem__, default=names[0], key=f"{key}.column", required=True,
                **changed,
            )  # fmt: skip
        units = {CHARACTERS: _("Characters"), TOKENS: _("Tokens")}
        unit = st.segmented_control(
            _("Counted in"), list(units), format_func=units.__getitem__, default=CHARACTERS, key=f"{key}.unit",
            required=True, **changed,
        )  # fmt: skip
        with st.container(horizontal=True):
            least = st.number_input(_("At least"), min_value=0, value=None, step=1, key=f"{key}.shortest", **changed)
            most = st.number_input(_("At most"), min_value=0, value=None, step=1, key=f"{key}.longest", **changed)
        if unit == TOKENS:
            spec, tokenizer = selected_processor(dataset)
            st.caption(
                _("By the tokenizer of '{name}', which can be chosen under 'What the model sees'.", name=tokenizer)
            )
    if least is None and most is None:
        return {}
    asked = {"column": column, "shortest": least or 0, "longest": most}
    if unit == CHARACTERS:
        return asked
    counted = token_unit(spec)
    return asked | {"unit": counted} if counted else None


def _length_label(key: str, shortest: int | None, longest: int | None) -> str:
    if shortest is None and longest is None:
        return _("Length")
    span = f"{shortest or 0} - {longest}" if longest is not None else f"≥ {shortest}"
    if st.session_state.get(f"{key}.unit") == TOKENS:
        return _("{span} tokens", span=span)
    return _("{span} characters", span=span)


def _is_filtered(wanted: RowQuery) -> bool:
    return wanted != RowQuery(wanted.split)


# -- shown ---------------------------------------------------------------------------------------------------
def _pagination(found: Page, page: int, size: int, key: str) -> None:
    total = number_format.count(found.total) if found.complete else f"≥ {number_format.count(found.total)}"
    first, last = page * size + 1, page * size + len(found.rows)
    with st.container(horizontal=True, horizontal_alignment="right", vertical_alignment="center"):
        st.caption(f"{number_format.count(first)} - {number_format.count(last)} / {total}")
        st.button(
            _("Previous"), icon=":material/chevron_left:", disabled=page == 0, key=f"{key}.before",
            on_click=_set_page, args=(f"{key}.page", page - 1),
        )  # fmt: skip
        st.button(
            _("Next"), icon=":material/chevron_right:", disabled=last >= found.total, key=f"{key}.after",
            on_click=_set_page, args=(f"{key}.page", page + 1),
        )  # fmt: skip


def _set_page(key: str, page: int) -> None:
    st.session_state[key] = page


def _gallery(dataset: Dataset, found: Page, key: str) -> int:
    picture = next(name for name, column in dataset.columns.items() if column.kind == "image")
    label = next((name for name, column in dataset.columns.items() if column.kind == "class"), None)
    names = [say(row[label]) if label else _("A picture of this data set") for row in found.rows]
    numbers = [row["row"] for row in found.rows]
    chosen = st.session_state.get(f"{key}.chosen")
    place = numbers.index(chosen) if chosen in numbers else None
    picked = gallery(
        [thumbnail(row[picture]) for row in found.rows], names, key=f"{key}.gallery", label=_("Rows"), chosen=place,
        captions=names if label else (),
    )  # fmt: skip
    if picked is not None and 0 <= picked < len(numbers) and numbers[picked] != chosen:
        st.session_state[f"{key}.chosen"] = numbers[picked]
        st.rerun()
    return chosen if chosen in numbers else 0


def _table(dataset: Dataset, found: Page, key: str) -> int:
    import pandas

    order = sorted(dataset.columns, key=lambda name: name not in learned_columns(dataset))
    numbers = pandas.Index([row["row"] for row in found.rows], name=_("Row"))
    cells = [{name: format_cell(row.get(name), name) for name in order} for row in found.rows]
    frame = pandas.DataFrame(cells, numbers, order)
    config = {name: st.column_config.TextColumn(say(dataset.columns[name].label)) for name in order}
    chosen = st.dataframe(
        frame, column_config=config, key=f"{key}.table", alt=_("Rows of this data set"), height=420,
        on_select="rerun", selection_mode="single-row",
    )  # fmt: skip
    places = [row for row in chosen.selection.rows if row < len(found.rows)]
    return found.rows[places[0]]["row"] if places else 0
