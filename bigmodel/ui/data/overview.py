"""A data set on the screen: its card, its facts, how long its rows are and how many of which class and language."""

from __future__ import annotations

import streamlit as st

from bigmodel.core import catalog
from bigmodel.core.contracts import Dataset, Task, is_compatible
from bigmodel.core.errors import Refusal
from bigmodel.data_checks.run_checks import CheckReport
from bigmodel.ui import navigation, number_format
from bigmodel.ui.language import _, current, escape_markdown, say
from bigmodel.ui.runs import charts
from bigmodel.ui.state import studio

LANGUAGES = {"zh": "中文", "en": "English", "de": "Deutsch"}  # as their speakers write them
MAX_CLASSES = 20  # that are drawn


def split_titles() -> dict[str, str]:
    return {"train": _("Training"), "validation": _("Validation"), "test": _("Test")}


def tasks_of(dataset: Dataset) -> list[Task]:
    """What it can be learnt for; what makes use of the most columns comes first."""
    return sorted(
        (task for task in catalog.tasks().values() if is_compatible(task, dataset=dataset)),
        key=lambda one: -len(one.required_columns),
    )


def train_query(dataset: Dataset) -> dict[str, str]:
    """What the page Train is asked for."""
    tasks = tasks_of(dataset)
    return {"dataset": dataset.name} | ({"task": tasks[0].name} if tasks else {})


def dataset_card(dataset: Dataset) -> None:
    """What it is, how much of it there is, and the way to it."""
    with st.container(border=True, height="stretch"):
        st.markdown(f"{_icon(dataset)} **{escape_markdown(say(dataset.title))}**")
        st.caption(escape_markdown(say(dataset.about)))
        badges = [f":blue-badge[{LANGUAGES.get(language, language)}]" for language in dataset.facts.languages]
        try:
            rows = _("{count} rows", count=number_format.count(sum(_facts(dataset)["rows"].values())))
            badges.append(f":gray-badge[{rows}]")
        except Refusal as refusal:
            st.caption(f":red[{escape_markdown(refusal.say(current()))}]")
        licence = say(dataset.facts.licence).split(" (")[0]
        if licence != _("not stated"):
            badges.append(f":gray-badge[{escape_markdown(licence)}]")
        st.markdown(" ".join(badges))
        st.space("stretch")
        with st.container(horizontal=True):
            navigation.link("data", _("Look at it"), icon=":material/visibility:", dataset=dataset.name)
            navigation.link(
                "train", _("Train with this data"), icon=":material/model_training:", **train_query(dataset)
            )


def _icon(dataset: Dataset) -> str:
    """That of the task that it suits best."""
    return next((task.icon for task in tasks_of(dataset)), ":material/table_view:")


def _facts(dataset: Dataset) -> dict:
    return studio().data.stats(dataset.name)


def dataset_summary(dataset: Dataset) -> None:
    """Rows by split, then where it comes from and what may be done with it."""
    facts = _facts(dataset)
    with st.grid(4, min_column_width=120, gap="small"):
        for split, title in split_titles().items():
            st.metric(title, number_format.count(facts["rows"].get(split, 0)), border=True)
        st.metric(_("Size"), number_format.byte_size(facts["bytes"]), border=True)
    words = {
        _("Licence"): dataset.facts.licence,
        _("Source"): dataset.facts.source,
        _("Citation"): dataset.facts.citation,
        _("Suits"): number_format.join_list([say(task.title) for task in tasks_of(dataset)]),
    }
    rows = {title: escape_markdown(say(text)) for title, text in words.items() if text}
    st.table(rows, border="horizontal", alt=_("Where this data set comes from"))


def distributions(dataset: Dataset) -> None:
    """How many rows each class has, how long the texts are, and in which languages."""
    facts = _facts(dataset)
    lengths = {name: bins for name, bins in facts["lengths"].items() if name in learned_columns(dataset)}
    languages = _language_counts(dataset)
    if not (facts["classes"] or lengths or languages):
        return
    st.header(_("At a glance"))
    grid = st.grid(2, min_column_width=320, gap="medium")
    if facts["classes"]:
        with grid.cell():
            _class_chart(facts["classes"])
    for name, bins in lengths.items():
        label = say(dataset.columns[name].label)
        with grid.cell():
            _chart_title(_("Length: {column}", column=label))
            charts.histogram(
                bins,
                key=f"data.lengths.{name}",
                title=_("Characters"),
                alt=_("How many texts of {column} have which length", column=label),
            )
            _length_summary(facts["summary"][name])
    for name, parts in languages.items():
        label = say(dataset.columns[name].label)
        with grid.cell():
            _chart_title(_("Language: {column}", column=label))
            charts.bars(
                [language_name(code) for code in parts],
                [count / sum(parts.values()) for count in parts.values()],
                key=f"data.languages.{name}",
                alt=_("In which languages the texts of {column} are", column=label),
                percent=True,
            )
            st.caption(_("Of a sample of the texts that are long enough to tell."))


def _length_summary(told: dict) -> None:
    """The numbers to a histogram of lengths, from the shortest on."""
    parts = [
        _("shortest {length}", length=number_format.count(told["shortest"])),
        _("median {length}", length=number_format.count(told["median"])),
        _("mean {length}", length=number_format.count(told["mean"])),
        _("95 % up to {length}", length=number_format.count(told["most"])),
        _("longest {length}", length=number_format.count(told["longest"])),
        _("{count} characters in all", count=number_format.count(told["total"])),
    ]
    st.caption(" · ".join(parts))


def _chart_title(text: str) -> None:
    st.markdown(f"**{escape_markdown(text)}**")


def _class_chart(counted: dict) -> None:
    """All of a few classes, the largest of many."""
    _chart_title(_("Rows of each class"))
    shown = counted
    if len(counted) > MAX_CLASSES:
        shown = dict(sorted(counted.items(), key=lambda one: -one[1])[:MAX_CLASSES])
        st.caption(
            _("The {shown} largest of {count} classes.", shown=MAX_CLASSES, count=number_format.count(len(counted)))
        )
    names = [say(name) for name in shown]
    alt = _("Rows of each of {count} classes", count=len(names))
    charts.bars(names, list(shown.values()), key="data.classes", alt=alt)


def _language_counts(dataset: Dataset) -> dict[str, dict[str, int]]:
    """Text column -> language -> texts of a sample; nothing before the checks have looked."""
    found = studio().checks.state(dataset.name)
    counted = found.facts.get("languages", {}) if isinstance(found, CheckReport) else {}
    return {name: parts for name, parts in counted.items() if name in dataset.columns and parts}


def language_name(code: str) -> str:
    """Its name in the session's language."""
    from babel import Locale, UnknownLocaleError

    try:
        return Locale.parse(code).get_display_name(current()) or code
    except (UnknownLocaleError, ValueError):
        return code


def learned_columns(dataset: Dataset) -> set[str]:
    """The columns that are learnt from; a title or an author is only there to be read."""
    return {name for task in tasks_of(dataset) for name in task.required_columns}
