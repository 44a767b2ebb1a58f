"""What the checks have found in a data set: how far they are, each finding with its rows, and what would mend it."""

from __future__ import annotations

from collections import Counter

import streamlit as st

from bigmodel.core import limits
from bigmodel.core.contracts import Dataset
from bigmodel.core.errors import Refusal
from bigmodel.data_checks.check_jobs import CheckProgress
from bigmodel.data_checks.finding import Finding, merge_steps
from bigmodel.data_checks.run_checks import CheckReport
from bigmodel.data_checks.run_checks import checks as lint_checks
from bigmodel.ui import number_format
from bigmodel.ui.data.new_version import create_version
from bigmodel.ui.data.overview import language_name, split_titles
from bigmodel.ui.data.transcript import format_cell
from bigmodel.ui.error_view import refusals, show_refusal
from bigmodel.ui.image_widgets import gallery, thumbnail
from bigmodel.ui.language import _, escape_markdown, say
from bigmodel.ui.state import studio

REFRESH_SECONDS = 0.7
MAX_IMAGES = 24  # of a finding's rows that are shown
COLOURS = {"error": "red", "warning": "orange", "note": "blue"}
ICONS = {"error": ":material/error:", "warning": ":material/warning:", "note": ":material/info:"}


def lint_section(dataset: Dataset) -> None:
    """Nobody has looked yet; someone is at it; or what was found."""
    st.header(_("Check before training"))
    state = studio().checks.state(dataset.name)
    if isinstance(state, CheckProgress):
        st.fragment(_progress, run_every=REFRESH_SECONDS)(dataset.name)
    elif isinstance(state, CheckReport):
        _report(dataset, state)
    else:
        if isinstance(state, Refusal):
            show_refusal(state)
        _start_button(dataset)


def _start_button(dataset: Dataset) -> None:
    st.caption(
        _(
            "Looks for duplicates, leaks between the parts, empty or damaged rows, personal data and more. Changes nothing."
        )
    )
    if st.button(_("Check the rows"), icon=":material/fact_check:", key=f"lint.begin.{dataset.name}"):
        with refusals():
            studio().checks.begin(dataset.name)
            st.rerun()


def _progress(name: str) -> None:
    state = studio().checks.state(name)
    if not isinstance(state, CheckProgress):
        st.rerun()
    with st.container(horizontal=True, vertical_alignment="center"):
        st.progress(min(state.share, 1.0), text=say(state.title))
        if st.button(_("Cancel"), icon=":material/close:", key=f"lint.cancel.{name}"):
            studio().checks.cancel(name)
            st.rerun()


# -- what was found ------------------------------------------------------------------------------------------
def _report(dataset: Dataset, found: CheckReport) -> None:
    rows = number_format.count(found.rows)
    said = _("{checks} checks of {rows} rows in {time}.", checks=len(found.checks), rows=rows,
             time=number_format.duration(found.seconds))  # fmt: skip
    if found.rows < found.total:
        said += " " + _(
            "The data set has {total}; the first of them were looked at.", total=number_format.count(found.total)
        )
    if not found.findings:
        st.success(said, title=_("Nothing was found"), icon=":material/check_circle:")
    else:
        _summary(dataset, found)
        st.caption(said)
    for number, finding in enumerate(found.findings):
        _finding(dataset, finding, f"lint.{dataset.name}.{number}")
    with st.expander(_("What is looked for"), icon=":material/checklist:"):
        done = {name: check for name, check in lint_checks().items() if name in found.checks}
        st.table({say(check.title): escape_markdown(say(check.about)) for check in done.values()}, border="horizontal")


def _summary(dataset: Dataset, found: CheckReport) -> None:
    """How much there is of each kind, and one button for all that should be mended."""
    counted = Counter(finding.severity for finding in found.findings)
    mended = [finding.remedy for finding in found.findings if finding.remedy is not None and finding.severity != "note"]
    with st.container(horizontal=True, vertical_alignment="center"):
        for severity, count in counted.items():
            label = f"{_severity_label(severity)}: {count}"
            st.badge(label, icon=ICONS[severity], color=COLOURS[severity])
        if len(mended) > 1:
            st.space("stretch")
            pressed = st.button(
                _("Apply all {count} remedies", count=len(mended)), icon=":material/healing:", type="primary",
                key=f"lint.{dataset.name}.all", help=_hint(), disabled=studio().read_only,
            )  # fmt: skip
            if pressed:
                create_version(dataset, merge_steps(mended))


def _hint() -> str:
    return _("Makes a new version of the data. The one you see stays, and can be used again at any time.")


def _finding(dataset: Dataset, finding: Finding, key: str) -> None:
    with st.container(border=True, gap="small", key=f"{key}.card"):
        with st.container(horizontal=True, vertical_alignment="center"):
            sentence = (
                f":{COLOURS[finding.severity]}[{ICONS[finding.severity]}] **{escape_markdown(say(finding.sentence))}**"
            )
            st.markdown(sentence, width="stretch")
            if finding.remedy is not None:
                pressed = st.button(
                    escape_markdown(say(finding.remedy.label)), icon=":material/healing:", key=f"{key}.remedy", help=_hint(),
                    disabled=studio().read_only,
                )  # fmt: skip
                if pressed:
                    create_version(dataset, finding.remedy.steps)
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption(escape_markdown(say(finding.why)), width="stretch")
            shown = bool(finding.rows) and st.toggle(_("Show the rows"), key=f"{key}.rows")
        if shown:
            _rows(dataset, finding, key)


def _severity_label(severity: str) -> str:
    return {"error": _("Mend this"), "warning": _("Look at this"), "note": _("Good to know")}[severity]


# -- its rows ------------------------------------------------------------------------------------------------
def _rows(dataset: Dataset, finding: Finding, key: str) -> None:
    image = next((name for name, column in dataset.columns.items() if column.kind == "image"), None)
    most = MAX_IMAGES if image else limits.TABLE_ROWS
    wanted = finding.rows[:most]
    others = [finding.like[row] for row in wanted if row in finding.like]
    known = {row["row"]: row for row in studio().data.rows_by_number(dataset.name, {*wanted, *others})}
    rows = [known[row] for row in wanted if row in known]
    if image:
        _gallery(dataset, finding, rows, known, image, key)
    else:
        _table(dataset, finding, rows, known, f"{key}.table")
    if len(finding.rows) > most:
        st.caption(_("The first {shown} of {count}.", shown=most, count=number_format.count(len(finding.rows))))


def _table(dataset: Dataset, finding: Finding, rows: list[dict], known: dict[int, dict], key: str) -> None:
    """Each row; where it is like another one, that one beside it."""
    import pandas

    columns = [name for name in dataset.columns if any(row.get(name) is not None for row in rows)]
    titles = {name: say(dataset.columns[name].label) for name in columns}
    frame, config = [], {
        "split": st.column_config.TextColumn(_("Part"), width=80),
        "found": st.column_config.TextColumn(_("What was seen"), width="medium"),
        "like": st.column_config.NumberColumn(_("Like row"), width=80, format="%d"),
    }  # fmt: skip
    for row in rows:
        one = {_("Row"): row["row"], "split": split_titles()[row["split"]], "found": _evidence(finding, row)}
        one |= {name: format_cell(row.get(name), name) for name in columns}
        other = known.get(finding.like.get(row["row"], 0))
        if finding.like:
            one["like"] = finding.like.get(row["row"])
            one |= {f"like.{name}": format_cell(other.get(name), name) if other else "" for name in columns}
        frame.append(one)
    config |= {name: st.column_config.TextColumn(title) for name, title in titles.items()}
    config |= {
        f"like.{name}": st.column_config.TextColumn(_("{column} there", column=titles[name])) for name in columns
    }
    table = pandas.DataFrame(frame).set_index(_("Row"))
    if not any(table["found"]):
        table = table.drop(columns="found")
    st.dataframe(table, column_config=config, key=key, alt=_("Rows of this finding"))


def _gallery(
    dataset: Dataset, finding: Finding, rows: list[dict], known: dict[int, dict], image: str, key: str
) -> None:
    """The pictures; each followed by the one that it is like."""
    label = next((name for name, column in dataset.columns.items() if column.kind == "class"), None)
    shown = []
    for row in rows:
        words = [f"{row['row']}", format_cell(row.get(label), label) if label else "", _evidence(finding, row)]
        shown.append((row[image], " · ".join(filter(None, words))))
        other = known.get(finding.like.get(row["row"], 0))
        if other:
            said = _("like row {row}", row=other["row"])
            shown.append(
                (other[image], " · ".join(filter(None, [said, format_cell(other.get(label), label) if label else ""])))
            )
    names = [caption for _picture, caption in shown]
    gallery([thumbnail(picture) for picture, _caption in shown], names, key=f"{key}.gallery",
            label=_("Rows of this finding"), captions=names)  # fmt: skip


def _evidence(finding: Finding, row: dict) -> str:
    seen = say(finding.found.get(row["row"], ""))
    return language_name(seen) if seen and finding.check == "languages" else seen
