"""What the checks have found in a data set: how far they are, each finding with its rows, and what would mend it."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from bigmodel.core import limits
from bigmodel.core.contracts import Dataset
from bigmodel.core.errors import Refusal
from bigmodel.studio import Finding, Lint, Looking, lint_checks
from bigmodel.ui import amounts, places
from bigmodel.ui.data_view import split_titles
from bigmodel.ui.language import _, plain, say
from bigmodel.ui.picture import enlarged
from bigmodel.ui.state import studio
from bigmodel.ui.trouble import refusals, show_refusal

LOOK_SECONDS = 0.7
PICTURES = 24  # of a finding's rows that are shown
COLOURS = {"error": "red", "warning": "orange", "note": "blue"}
ICONS = {"error": ":material/error:", "warning": ":material/warning:", "note": ":material/info:"}


def lint_section(dataset: Dataset) -> None:
    """Nobody has looked yet; someone is at it; or what was found."""
    st.header(_("Check before training"))
    state = studio().lint(dataset.name)
    if isinstance(state, Looking):
        st.fragment(_at_work, run_every=LOOK_SECONDS)(dataset.name)
    elif isinstance(state, Lint):
        _found(dataset, state)
    else:
        if isinstance(state, Refusal):
            show_refusal(state)
        _begin(dataset)


def _begin(dataset: Dataset) -> None:
    st.caption(
        _(
            "Looks for duplicates, leaks between the parts, empty or damaged rows, personal data and more. Changes nothing."
        )
    )
    if st.button(_("Check the rows"), icon=":material/fact_check:", key=f"lint.begin.{dataset.name}"):
        with refusals():
            studio().begin_lint(dataset.name)
            st.rerun()


def _at_work(name: str) -> None:
    state = studio().lint(name)
    if not isinstance(state, Looking):
        st.rerun()
    st.progress(min(state.share, 1.0), text=say(state.title))
    if st.button(_("Cancel"), icon=":material/close:", key=f"lint.cancel.{name}"):
        studio().cancel_lint(name)
        st.rerun()


def _found(dataset: Dataset, found: Lint) -> None:
    rows = amounts.count(found.rows)
    said = _("{checks} checks of {rows} rows in {time}.", checks=len(found.checks), rows=rows,
             time=amounts.duration(found.seconds))  # fmt: skip
    if found.rows < found.total:
        said += " " + _("The data set has {total}; the first of them were looked at.", total=amounts.count(found.total))
    if not found.findings:
        st.success(said, title=_("Nothing was found"), icon=":material/check_circle:")
    else:
        st.caption(said)
    for number, finding in enumerate(found.findings):
        _finding(dataset, finding, f"lint.{dataset.name}.{number}")
    with st.expander(_("What is looked for"), icon=":material/checklist:"):
        done = {name: check for name, check in lint_checks().items() if name in found.checks}
        st.table({say(check.title): plain(say(check.about)) for check in done.values()}, border="horizontal")


def _finding(dataset: Dataset, finding: Finding, key: str) -> None:
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.badge(_severity(finding.severity), icon=ICONS[finding.severity], color=COLOURS[finding.severity])
            st.markdown(f"**{plain(say(finding.sentence))}**")
        st.caption(plain(say(finding.why)))
        with st.container(horizontal=True, vertical_alignment="center"):
            if finding.remedy is not None:
                _remedy(dataset, finding, key)
            shown = bool(finding.rows) and st.toggle(_("Show the rows"), key=f"{key}.rows")
        if shown:
            _rows(dataset, finding, key)


def _severity(severity: str) -> str:
    return {"error": _("Mend this"), "warning": _("Look at this"), "note": _("Good to know")}[severity]


def _remedy(dataset: Dataset, finding: Finding, key: str) -> None:
    hint = _("Makes a new version of the data. The one you see stays, and can be used again at any time.")
    pressed = st.button(
        plain(say(finding.remedy.label)),
        icon=":material/healing:",
        key=f"{key}.remedy",
        help=hint,
        disabled=studio().read_only,
    )
    if not pressed:
        return
    with refusals():
        with st.spinner(_("A new version is being made")):
            name = studio().derive(dataset.name, finding.remedy.steps)
            studio().begin_lint(name)
        places.go("data", dataset=name)


def _rows(dataset: Dataset, finding: Finding, key: str) -> None:
    image = next((name for name, column in dataset.columns.items() if column.kind == "image"), None)
    most = PICTURES if image else limits.TABLE_ROWS
    rows = studio().rows_named(dataset.name, finding.rows[:most])
    if image:
        _pictures(dataset, finding, rows, image)
    else:
        _table(dataset, finding, rows, f"{key}.table")
    if len(finding.rows) > most:
        st.caption(_("The first {shown} of {count}.", shown=most, count=amounts.count(len(finding.rows))))


def _table(dataset: Dataset, finding: Finding, rows: list[dict], key: str) -> None:
    import pandas

    columns = [name for name in dataset.columns if any(row.get(name) is not None for row in rows)]
    titles = {name: say(dataset.columns[name].label) for name in columns}
    frame = pandas.DataFrame(
        [
            {"row": row["row"], "split": split_titles()[row["split"]], "found": _why(finding, row)}
            | {name: _cell(row.get(name)) for name in columns}
            for row in rows
        ]
    )
    config = {
        "row": st.column_config.NumberColumn(_("Row"), width="small", format="%d"),
        "split": st.column_config.TextColumn(_("Part"), width="small"),
        "found": st.column_config.TextColumn(_("What was seen"), width="medium"),
        **{name: st.column_config.TextColumn(title) for name, title in titles.items()},
    }
    if not any(frame["found"]):
        frame = frame.drop(columns="found")
    st.dataframe(frame, hide_index=True, column_config=config, key=key, alt=_("Rows of this finding"))


def _pictures(dataset: Dataset, finding: Finding, rows: list[dict], image: str) -> None:
    label = next((name for name, column in dataset.columns.items() if column.kind == "class"), None)
    with st.grid("auto", min_column_width=110, gap="small"):
        for row in rows:
            words = [f"{row['row']}", _cell(row.get(label)) if label else "", _why(finding, row)]
            caption = " · ".join(plain(word) for word in words if word)
            with st.container():
                if row[image]:
                    st.image(enlarged(row[image]), caption=caption, width=76, alt=_("A picture of this data set"))
                else:
                    st.markdown(":material/broken_image:")
                    st.caption(caption)


def _why(finding: Finding, row: Mapping) -> str:
    return say(finding.found.get(row["row"], ""))


def _cell(value: object) -> str:
    return say(value) if value is not None else ""
