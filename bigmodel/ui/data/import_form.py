"""A file that has come: what was found in it and why, how it is read, and reading it."""

from __future__ import annotations

import base64
from collections.abc import Mapping

import streamlit as st

from bigmodel.core import jobs, limits
from bigmodel.core.errors import Refusal
from bigmodel.core.words import Words
from bigmodel.core.words import _ as words
from bigmodel.importing import import_plan
from bigmodel.importing.import_jobs import ImportJob, UploadedFile
from bigmodel.importing.import_plan import FilePreview, ImportPlan
from bigmodel.importing.store.registry import default_title
from bigmodel.ui import navigation, number_format
from bigmodel.ui.data.transcript import format_transcript
from bigmodel.ui.error_view import refusals, show_refusal
from bigmodel.ui.image_widgets import upscale
from bigmodel.ui.language import _, escape_markdown, say
from bigmodel.ui.state import studio

REFRESH_SECONDS = 0.5  # seconds between two looks at a file that is being read
COLUMN_ORDER = (
    "image",
    "text",
    "label",
    "source",
    "target",
    "messages",
    "question",
    "context",
    "answer",
    "system",
    "history",
)  # in which columns are shown
COLUMN_WIDTHS = {
    "text": 360,
    "label": 110,
    "source": 230,
    "target": 230,
}  # pixels, so that two columns stand side by side
ROLE_SETS = {  # in the order in which they are offered
    ("text",): words("Texts"),
    ("label", "text"): words("Texts with a class"),
    ("source", "target"): words("Texts with their translation"),
    ("image", "label"): words("Pictures with a class"),
    ("messages",): words("Conversations"),
    ("answer", "question"): words("Questions or instructions with their answers"),
}


def import_page(id: str) -> None:
    """One file on its way: looked at, corrected, read."""
    navigation.link("data", _("All data sets"), icon=":material/arrow_back:")
    job = studio().imports.job_of(id)
    if job is not None and (job.running or job.state == jobs.DONE):
        st.title(escape_markdown(job.title))
        st.fragment(_progress, run_every=REFRESH_SECONDS if job.running else None)(job)
        return
    try:
        parcel = studio().imports.uploaded_file(id)
    except Refusal as refusal:
        show_refusal(refusal)
        return
    st.title(escape_markdown(parcel.name))
    if job is not None and job.state == jobs.FAILED:
        show_refusal(job.refusal)
    elif job is not None and job.state == jobs.CANCELLED:
        st.info(_("Reading was stopped; nothing was kept."), icon=":material/cancel:")
    try:
        _import_form(parcel)
    except Refusal as refusal:
        show_refusal(refusal)
        navigation.link("data", _("Choose another file"), icon=":material/upload_file:")


# -- before --------------------------------------------------------------------------------------------
def _import_form(parcel: UploadedFile) -> None:
    key = f"import.{parcel.id}"
    reading = dict(st.session_state.get(f"{key}.reading", {}))
    with st.spinner(_("Looking at the file ...")):
        found = studio().imports.preview(parcel.id, reading)
    _evidence(parcel, found)
    left = st.container()
    if found.plan.format not in ("pictures", "parallel", "parquet", "tmx", "xliff") or found.tables:
        left, right = st.columns([3, 2], gap="large")
        with right:
            _reader_options(found, key, reading)
    with left:
        plan = _roles_form(found, key)
        if plan is not None and (dict(plan.roles), plan.split) != (dict(found.plan.roles), found.plan.split):
            corrected = {**reading, "roles": dict(plan.roles), "split": plan.split}
            found = studio().imports.preview(parcel.id, corrected)
        _preview(found, plan)
        if plan is not None:
            _start_form(parcel, plan, key)


def _evidence(parcel: UploadedFile, found: FilePreview) -> None:
    """What it is in one line, then every reason to think so."""
    with st.grid(3, min_column_width=150, gap="small"):
        st.metric(_("Kind"), say(import_plan.FORMATS[found.plan.format]), border=True, height="stretch")
        st.metric(_("Size"), number_format.byte_size(found.bytes or parcel.bytes), border=True, height="stretch")
        st.metric(_("Rows, about"), number_format.count(found.rows), border=True, height="stretch")
    with st.container(border=True):
        _bold(_("What was found"))
        st.markdown("  \n".join(f":material/check: {escape_markdown(say(one))}" for one in found.evidence))


def _bold(text: str) -> None:
    st.markdown(f"**{text}**")


def _reader_options(found: FilePreview, key: str, reading: dict) -> None:
    """How the file is read; a change looks at it anew."""
    plan, asked = found.plan, {}
    with st.container(border=True):
        _bold(_("How it is read"))
        st.caption(_("Found by looking at the content. Correct what is wrong."))
        if found.tables:
            name = "labels" if plan.format == "pictures" else "member"
            label = _("File with the classes") if name == "labels" else _("File in the archive")
            options = (["", *found.tables]) if name == "labels" else list(found.tables)
            asked[name] = _selectbox(label, options, getattr(plan, name), key, name, {"": _("none: by folders")})
        if plan.format in ("csv", "jsonl", "json", "text"):
            kinds = {one: say(import_plan.FORMATS[one]) for one in ("csv", "jsonl", "json", "text")}
            asked["format"] = _selectbox(_("Kind"), list(kinds), plan.format, key, "format", kinds)
        several_files = plan.format == "text" and "name" in found.columns
        if plan.format in ("csv", "jsonl", "json", "text", "po") and not several_files:
            known = list(dict.fromkeys([plan.encoding, *import_plan.ENCODINGS]))
            asked["encoding"] = _selectbox(_("Encoding"), known, plan.encoding, key, "encoding", {})
        if plan.format == "csv":
            delimiters = {sign: say(one) for sign, one in import_plan.DELIMITERS.items()}
            asked["delimiter"] = _selectbox(
                _("Delimiter"), list(delimiters), plan.delimiter, key, "delimiter", delimiters
            )
            asked["header"] = st.toggle(_("The first row names the columns"), plan.header, key=f"{key}.header")
        if plan.format == "text":
            of_several = ("files", "joined")
            units = {
                one: say(unit) for one, unit in import_plan.UNITS.items() if several_files or one not in of_several
            }
            asked["unit"] = _selectbox(_("A row is"), list(units), plan.unit, key, "unit", units)
        words = found.columns.get(plan.roles.get("label", ""), {}).get("missing", ())
        if words:
            label = _("Words that are classes, not missing values")
            chosen = [word for word in words if word in plan.literal_classes]
            asked["literal_classes"] = tuple(st.multiselect(label, words, chosen, key=f"{key}.literal_classes"))
    changed = {name: value for name, value in asked.items() if value != getattr(plan, name)}
    if changed:
        st.session_state[f"{key}.reading"] = {**reading, **changed}
        for name in [name for name in st.session_state if str(name).startswith(f"{key}.role.")]:
            del st.session_state[name]
        st.rerun()


def _selectbox(label: str, options: list, value: str, key: str, name: str, said: Mapping) -> str:
    place = options.index(value) if value in options else 0
    return st.selectbox(label, options, place, format_func=lambda one: said.get(one, str(one)), key=f"{key}.{name}")


def _roles_form(found: FilePreview, key: str) -> ImportPlan | None:
    """Which columns are learnt from; None, and what is missing, where that is not settled."""
    st.header(_("What can be learnt from it"))
    names = list(found.columns)
    fitting = [one for one in ROLE_SETS if len(one) <= len(names)]
    planned = set(found.plan.roles)
    first = next(
        (one for one in fitting if set(one) <= planned <= {*one, *import_plan.optional_roles(one)}),
        tuple(sorted(planned)),
    )
    if not names or not fitting:
        st.warning(_("No column holds texts, pictures or conversations."), icon=":material/warning:")
        return None
    start = first if first in fitting else next((one for one in fitting if set(first) <= set(one)), fitting[0])
    suits = st.selectbox(
        _("The rows are"),
        fitting,
        fitting.index(start),
        format_func=lambda one: say(ROLE_SETS[one]),
        key=f"{key}.role.suits",
    )
    chosen: dict[str, str] = {}
    with st.grid(2, min_column_width=200, gap="small") as grid:
        for role in (one for one in COLUMN_ORDER if one in suits):
            if found.plan.format == "pictures" and role == "image":
                chosen[role] = "picture"  # there is no other
                continue
            with grid.cell():
                chosen[role] = _column_select(role, found, names, key)
        for role in import_plan.optional_roles(suits) if len(names) > len(suits) else ():
            with grid.cell():
                chosen[role] = _column_select(role, found, ["", *names], key)
        with grid.cell():
            split = _split_column_select(found, key)
    return _validated_plan(found, {role: name for role, name in chosen.items() if name}, split)


def _column_select(role: str, found: FilePreview, names: list[str], key: str) -> str:
    known = found.plan.roles.get(role)
    place = names.index(known) if known in names else None
    if names[0] == "" and place is None:
        place = 0
    said = lambda name: f"{name}  ·  {_example(found.columns[name])}" if name else _("none")  # noqa: E731
    return st.selectbox(
        say(import_plan.ROLES[role]),
        names,
        place,
        format_func=said,
        key=f"{key}.role.{role}",
        placeholder=_("choose a column"),
    )


def _split_column_select(found: FilePreview, key: str) -> str:
    """The column that says which rows are for training; nothing is asked where none could."""
    options = ["", *(name for name, column in found.columns.items() if column["parts"] or name == found.plan.split)]
    if len(options) == 1:
        return ""
    said = {
        "": _("none: cut them here"),
        **{name: f"{name}  ·  {_example(found.columns[name])}" for name in options[1:]},
    }
    help = _("Its values are train, validation and test, or other names of these.")
    return st.selectbox(
        _("Parts"), options, options.index(found.plan.split), format_func=said.get, key=f"{key}.role.split", help=help
    )


def _example(column: Mapping) -> str:
    examples = column.get("examples") or [""]
    text = " ".join(str(examples[0]).split())
    return text[:40] + ("..." if len(text) > 40 else "")


def _validated_plan(found: FilePreview, roles: Mapping[str, str], split: str) -> ImportPlan | None:
    if not import_plan.are_trainable(roles):
        st.caption(_("Choose a column for each."))
        return None
    try:
        return ImportPlan.check(found.plan.to_json() | {"roles": dict(roles), "split": split})
    except Refusal as refusal:
        show_refusal(refusal)
        return None


def _preview(found: FilePreview, plan: ImportPlan | None) -> None:
    """What the first rows become, and what would be set aside."""
    if plan is None:
        return
    _bold(_("The first rows"))
    if not found.preview:
        st.warning(_("None of the first rows can be read this way."), icon=":material/warning:")
    elif "image" in plan.roles:
        with st.grid("auto", min_column_width=84, gap="small"):
            for row in found.preview:
                picture = upscale(base64.b64decode(row["image"]["base64"]))
                st.image(picture, caption=row["label"], width=76, alt=row["label"])
        alt = _("The class of each picture and what says so")
        st.dataframe(_picture_origins(found.preview), hide_index=True, height="content", alt=alt)
    else:
        order = sorted(
            (role for role in COLUMN_ORDER if role in import_plan.output_columns(plan.roles)), key="label".__ne__
        )  # seen on a phone
        rows = [
            {role: format_transcript(row[role]) if role == "messages" else row[role] for role in order}
            for row in found.preview
        ]
        widths = COLUMN_WIDTHS if len(order) > 1 else {}
        config = {
            role: st.column_config.TextColumn(say(import_plan.ROLES[role]), width=widths.get(role)) for role in order
        }
        alt = _("The first rows of this file")
        st.dataframe(rows, hide_index=True, height="content", column_config=config, alt=alt)
    if found.rejected:
        st.caption(_("Of the first rows these would be set aside:"))
        st.dataframe(
            rejected_table(found.rejected), hide_index=True, height="content", alt=_("Rows that would be set aside")
        )


def _picture_origins(rows: tuple[Mapping, ...]) -> list[dict]:
    """Which table, or folder, says of which class a picture is."""
    return [
        {_("Picture"): row.get("name", ""), _("Class"): row["label"], _("Said by"): row.get("table") or _("its folder")}
        for row in rows
    ]


def rejected_table(rows: tuple[Mapping, ...] | list[Mapping]) -> list[dict]:
    return [
        {_("Row"): row["row"], _("Reason"): say(Words.from_json(row["reason"])), _("Content"): row["raw"][:300]}
        for row in rows
    ]


def _start_form(parcel: UploadedFile, plan: ImportPlan, key: str) -> None:
    with st.container(border=True):
        title = st.text_input(
            _("Name"), default_title(parcel.name), max_chars=limits.TITLE_CHARACTERS, key=f"{key}.title"
        )
        licence = st.text_input(
            _("Licence"), parcel.about.get("licence", ""), max_chars=limits.LICENCE_CHARACTERS, key=f"{key}.licence",
            placeholder=_("not stated"), help=_("What others allow you to do with these data. Shown wherever they are used."),
        )  # fmt: skip
        if plan.split:
            st.caption(_("Which rows are for training is said by the column {name}.", name=plan.split))
        else:
            label = (
                _("End of the text for validation and for test, each")
                if plan.continuous
                else _("Rows for validation and for test, each")
            )
            share = st.slider(
                label, 2, 30, round(100 * plan.validation), format="%d %%", key=f"{key}.share.{plan.continuous}",
                help=_("They are not trained on: they tell how good the model is with what it has never seen."),
            )  # fmt: skip
            plan = ImportPlan.check(plan.to_json() | {"validation": share / 100, "test": share / 100})
        if st.button(_("Take it in"), type="primary", icon=":material/download:", width="stretch", key=f"{key}.begin"):
            with refusals():
                studio().imports.begin(parcel.id, plan, title, licence)
                st.rerun()


# -- while and after -----------------------------------------------------------------------------------
def _progress(job: ImportJob) -> None:
    """How far it is; when it is done, on to the rows."""
    if job.state == jobs.DONE:
        navigation.go("data", dataset=job.name)
    if not job.running:
        st.rerun()
    st.progress(job.fraction_done, text=say(job.phase) if job.phase else _("Reading"))
    done = job.progress
    with st.grid(3, min_column_width=130, gap="small"):
        st.metric(_("Rows read"), number_format.count(done.get("rows", 0)), border=True)
        st.metric(_("Set aside"), number_format.count(done.get("aside", 0)), border=True)
        left = number_format.duration(job.eta) if job.eta is not None else "-"
        st.metric(_("Time left"), left, border=True)
    st.button(_("Cancel"), icon=":material/cancel:", on_click=studio().imports.cancel, args=(job.upload.id,))
