"""A data set on the screen: its card, its facts, how long and how many its rows are, and the rows themselves."""

from __future__ import annotations

import streamlit as st

from bigmodel.core import catalog, limits
from bigmodel.core.contracts import Dataset, fits
from bigmodel.core.errors import Refusal
from bigmodel.ui import amounts, charts, places
from bigmodel.ui.language import _, current, plain, say
from bigmodel.ui.picture import enlarged
from bigmodel.ui.state import studio

SPLITS = ("train", "validation", "test")
PICTURES = 40  # on one screen
LANGUAGES = {"zh": "中文", "en": "English", "de": "Deutsch"}  # as their speakers write them


def split_titles() -> dict[str, str]:
    return {"train": _("Training"), "validation": _("Validation"), "test": _("Test")}


def card(dataset: Dataset) -> None:
    """What it is, how much of it there is, and the way to it."""
    with st.container(border=True, height="stretch"):
        st.markdown(f"{_icon(dataset)} **{plain(say(dataset.title))}**")
        st.caption(plain(say(dataset.about)))
        badges = [f":blue-badge[{LANGUAGES.get(language, language)}]" for language in dataset.facts.languages]
        try:
            rows = _("{count} rows", count=amounts.count(sum(_facts(dataset)["rows"].values())))
            badges.append(f":gray-badge[{rows}]")
        except Refusal as refusal:
            st.caption(f":red[{plain(refusal.say(current()))}]")
        licence = say(dataset.facts.licence).split(" (")[0]
        badges.append(f":gray-badge[{plain(licence)}]")
        st.markdown(" ".join(badges))
        st.space("stretch")
        with st.container(horizontal=True):
            places.link("data", _("Look at it"), icon=":material/visibility:", dataset=dataset.name)
            places.link("train", _("Train on this"), icon=":material/model_training:", dataset=dataset.name)


def _icon(dataset: Dataset) -> str:
    """That of the first task that it suits."""
    return next(
        (task.icon for task in catalog.tasks().values() if fits(task, dataset=dataset)), ":material/table_view:"
    )


def _facts(dataset: Dataset) -> dict:
    return studio().data_facts(dataset.name)


def about(dataset: Dataset) -> None:
    """Rows by split, then where it comes from and what may be done with it."""
    facts = _facts(dataset)
    with st.grid(4, min_column_width=120, gap="small"):
        for split, title in split_titles().items():
            st.metric(title, amounts.count(facts["rows"].get(split, 0)), border=True)
        st.metric(_("Size"), amounts.size(facts["bytes"]), border=True)
    words = {
        _("Licence"): dataset.facts.licence,
        _("Source"): dataset.facts.source,
        _("Citation"): dataset.facts.citation,
        _("Suits"): amounts.joined(
            [say(task.title) for task in catalog.tasks().values() if fits(task, dataset=dataset)]
        ),
    }
    rows = {title: plain(say(text)) for title, text in words.items() if text}
    st.table(rows, border="horizontal", alt=_("Where this data set comes from"))


def distributions(dataset: Dataset) -> None:
    """How long the texts are; how many rows each class has."""
    facts = _facts(dataset)
    if facts["classes"]:
        st.header(_("Rows of each class"))
        names = [say(name) for name in facts["classes"]]
        alt = _("Rows of each of {count} classes", count=len(names))
        charts.bars(names, list(facts["classes"].values()), key="data.classes", alt=alt)
    lengths = {name: bins for name, bins in facts["lengths"].items() if name in _needed(dataset)}
    if not lengths:
        return
    st.header(_("Length of the texts"))
    grid = st.grid(2, min_column_width=320, gap="medium")
    for name, bins in lengths.items():
        label = say(dataset.columns[name].label)
        with grid.cell():
            st.markdown(f"**{plain(label)}**")
            charts.histogram(
                bins,
                key=f"data.lengths.{name}",
                title=_("Characters"),
                alt=_("How many texts of {column} have which length", column=label),
            )


def _needed(dataset: Dataset) -> set[str]:
    """The columns that are learnt from; a title or an author is only there to be read."""
    return {name for task in catalog.tasks().values() if fits(task, dataset=dataset) for name in task.needs}


def rows(dataset: Dataset) -> None:
    """A page of rows, of one split, with what is searched for in them."""
    st.header(_("Rows"))
    titles, key = split_titles(), f"data.{dataset.name}"
    with st.container(horizontal=True, vertical_alignment="bottom"):
        split = st.segmented_control(
            _("Part"),
            SPLITS,
            format_func=titles.__getitem__,
            default=SPLITS[0],
            key=f"{key}.split",
            required=True,
            label_visibility="collapsed",
            on_change=_first_page,
            args=(key,),
        )
        search = st.text_input(
            _("Search"),
            key=f"{key}.search",
            type="search",
            label_visibility="collapsed",
            placeholder=_("part of a text or of a class's name"),
            live="400ms",
            on_change=_first_page,
            args=(key,),
        )
    pictures = any(column.kind == "image" for column in dataset.columns.values())
    size = PICTURES if pictures else limits.TABLE_ROWS
    page = st.session_state.get(f"{key}.page", 0)
    found = studio().peek(dataset.name, split, page * size, size, search)
    more = len(found) == size and bool(studio().peek(dataset.name, split, (page + 1) * size, 1, search))
    if not found:
        st.caption(_("No row of this part contains {text}.", text=plain(search)) if search else _("There are no rows."))
        return
    if pictures:
        _pictures(dataset, found)
    else:
        _table(dataset, found, f"{key}.table")
    with st.container(horizontal=True, horizontal_alignment="right", vertical_alignment="center"):
        st.caption(
            _(
                "Rows {first} to {last}",
                first=amounts.count(page * size + 1),
                last=amounts.count(page * size + len(found)),
            )
        )
        st.button(
            _("Previous"),
            icon=":material/chevron_left:",
            disabled=page == 0,
            on_click=_turn,
            args=(f"{key}.page", page - 1),
            key=f"{key}.before",
        )
        st.button(
            _("Next"),
            icon=":material/chevron_right:",
            disabled=not more,
            on_click=_turn,
            args=(f"{key}.page", page + 1),
            key=f"{key}.after",
        )


def _first_page(key: str) -> None:
    st.session_state[f"{key}.page"] = 0


def _turn(key: str, page: int) -> None:
    st.session_state[key] = page


def _pictures(dataset: Dataset, found: list[dict]) -> None:
    picture = next(name for name, column in dataset.columns.items() if column.kind == "image")
    label = next((name for name, column in dataset.columns.items() if column.kind == "class"), None)
    with st.grid("auto", min_column_width=84, gap="small"):
        for row in found:
            name = say(row[label]) if label else ""
            st.image(
                enlarged(row[picture]), caption=name or None, width=76, alt=name or _("A picture of this data set")
            )


def _table(dataset: Dataset, found: list[dict], key: str) -> None:
    import pandas

    order = sorted(dataset.columns, key=lambda name: name not in _needed(dataset))
    frame = pandas.DataFrame([{name: _cell(row.get(name)) for name in order} for row in found], columns=order)
    config = {name: st.column_config.TextColumn(say(dataset.columns[name].label)) for name in order}
    st.dataframe(frame, hide_index=True, column_config=config, key=key, alt=_("Rows of this data set"), height=420)


def _cell(value: object) -> object:
    return say(value) if value is not None else ""
