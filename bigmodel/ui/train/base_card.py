"""Bringing a pretrained model: chosen from a list or named, its size and licence shown, fetched with progress."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from bigmodel.base_models.fetch_process import FetchProcess
from bigmodel.base_models.store import Base
from bigmodel.base_models.suggestions import Suggestion
from bigmodel.core import catalog
from bigmodel.core.contracts import Task
from bigmodel.core.errors import Refusal
from bigmodel.core.jobs import CANCELLED
from bigmodel.ui import navigation, number_format
from bigmodel.ui.data.overview import language_name
from bigmodel.ui.error_view import refusals, show_refusal
from bigmodel.ui.language import _, escape_markdown, say
from bigmodel.ui.stable_selectbox import disambiguate, pin_choice
from bigmodel.ui.state import studio

REFRESH_SECONDS = 0.5
# what this person is bringing, in which revision, has asked about, has brought; whether they are still looking
SOURCE_KEY, REVISION_KEY, LOOKUP_KEY, ADDED_KEY, EXPANDED_KEY = (
    "base.source",
    "base.revision",
    "base.looked",
    "base.new",
    "base.open",
)


# -- which one is chosen ---------------------------------------------------------------------------------
def restore_base(task: Task, key: str) -> None:
    """The base that was chosen last for a task stays when the data change. Before the form of `key` is drawn."""
    kept = st.session_state.get(f"base.of.{task.name}")
    if st.session_state.get("base.form") != key and kept in {base.name for base in studio().base_models.all(task.head)}:
        st.session_state[f"{key}.base"] = kept
    st.session_state["base.form"] = key


def remember_base(task: Task, name: object) -> None:
    """After the form has been drawn: this one was chosen."""
    st.session_state[f"base.of.{task.name}"] = name


def select_base(task: Task, name: str) -> None:
    """Chosen as soon as the form is drawn anew."""
    remember_base(task, name)
    st.session_state.pop("base.form", None)


def base_facts(name: object) -> None:
    """Of the base that is chosen: size, licence, where from."""
    base = next((one for one in studio().base_models.all() if one.name == name), None)
    if base is not None:
        st.caption(escape_markdown(base_line(base)))
        if base.ignored:
            st.caption(_ignored_line(base.ignored))


# -- brought -----------------------------------------------------------------------------------------------
def add_base_form(task: Task) -> None:
    """Folded away under the network: what else could be begun with."""
    none = not studio().base_models.all(task.head)
    source = st.session_state.get(SOURCE_KEY, "")
    if none:
        st.info(
            _("No pretrained model for this task is here yet. Choose one below: its size and licence are shown first."),
            icon=":material/download:",
        )
    if added := st.session_state.pop(ADDED_KEY, None):
        _added(*added)
    label = _("Bring another pretrained model") if not none else _("Bring a pretrained model")
    opened = bool(none or studio().base_models.running_fetches() or st.session_state.get(EXPANDED_KEY))
    with st.container(key="base.bring"), st.expander(label, icon=":material/download:", expanded=opened):
        if source:
            _download_status(source, task)
        elif not _other_downloads(task):
            _source_form(task)


def _added(title: str, already: bool, ignored: Sequence[str]) -> None:
    """What has come of a base that was brought."""
    said = [_("{model} is here, and chosen.", model=escape_markdown(title))]
    if already:
        said = [_("{name} is here already: its files are the same.", name=escape_markdown(title))]
    if ignored:
        said.append(_ignored_line(ignored))
    st.success("  \n".join(said), icon=":material/check_circle:")


def _ignored_line(names: Sequence[str]) -> str:
    return _("Ignored, never opened: {files}.", files=escape_markdown(", ".join(names)))


def _other_downloads(task: Task) -> bool:
    """What is being fetched already, by this person before the page was loaded anew or by another one."""
    running = studio().base_models.running_fetches()
    for work in running[:1]:
        st.session_state.update({SOURCE_KEY: work.request["source"], EXPANDED_KEY: True})
        _download_status(work.request["source"], task)
    return bool(running)


def _source_form(task: Task) -> None:
    st.caption(
        _(
            "From the Hugging Face Hub by its id; or, without a network, the path of a model's folder or GGUF file on this machine. Only safetensors are read, and no program of a model is ever run."
        )
    )
    suited = {one.id: (one, way) for one, way in studio().base_models.suggestions(task)}
    lines = disambiguate({id: _suggestion_line(*found) for id, found in suited.items()})
    pin_choice(f"base.choice.{task.head}", lines, None, typed=True)
    source = st.selectbox(
        _("Model"),
        sorted(suited, key=lambda id: suited[id][1] == ""),
        index=None,
        format_func=lambda id: lines.get(id, id),
        placeholder=_("Search, or type an id or a path"),
        accept_new_options=True,
        key=f"base.choice.{task.head}",
    )
    source = (source or "").strip()
    if source in suited:
        st.caption(escape_markdown(source))
    revision = _revision_input(suited[source][0].revision if source in suited else "") if _is_id(source) else ""
    label = _("Take it in") if _is_path(source) else _("Look at it")
    if st.button(label, icon=":material/arrow_forward:", disabled=not source or studio().read_only, key="base.look"):
        st.session_state.update({SOURCE_KEY: source, REVISION_KEY: revision, EXPANDED_KEY: True})
        st.rerun()


def _revision_input(suggested: str) -> str:
    return st.text_input(
        _("Revision"),
        max_chars=100,
        placeholder=suggested or _("the newest"),
        help=_("A commit, a tag or a branch of the model on the Hub. What is looked at now is what will be fetched."),
        key="base.asked.revision",
    ).strip()


def _is_id(source: str) -> bool:
    """Of a model of the Hub."""
    return bool(source) and not _is_path(source) and not source.startswith("run:")


def _is_path(source: str) -> bool:
    return source.startswith(("/", "~", ".")) or source.endswith(".gguf")


def _suggestion_line(one: Suggestion, way: str) -> str:
    fits = {"full": _("fits"), "lora": _("fits with LoRA"), "": _("too large for this machine")}[way]
    name = one.id.rpartition("/")[2]
    licence = one.licence if one.licence != "?" else _("licence not named")
    parts = [name, number_format.byte_size(one.megabytes * 10**6), fits, licence, " ".join(one.languages)]
    return " · ".join(part for part in parts if part)


def _download_status(source: str, task: Task) -> None:
    """Where it stands with what a person wants to bring: asked about, offered, fetched, here, or refused."""
    work = studio().base_models.fetch_of(source)
    if work is None and _is_path(source):
        with refusals():
            work = studio().base_models.fetch(source)
    if work is None:
        _lookup_result(source, task)
    elif work.running:
        st.fragment(_download_progress, run_every=REFRESH_SECONDS)(source)
    else:
        _download_finished(work, source, task)


# -- looked at, offered ------------------------------------------------------------------------------------
def _lookup_result(source: str, task: Task) -> None:
    looked: FetchProcess | None = st.session_state.get(LOOKUP_KEY)
    if looked is None or looked.request["source"] != source:
        looked = st.session_state[LOOKUP_KEY] = studio().base_models.look_up(
            source, st.session_state.get(REVISION_KEY, "")
        )
    if looked.running:
        st.fragment(_lookup_progress, run_every=REFRESH_SECONDS)(source)
        return
    try:
        found = looked.outcome()
    except Refusal as refusal:
        show_refusal(refusal)
        _retry_buttons(source, None)
        return
    _download_offer(found["offer"], found.get("arrived", 0), source, task)


def _lookup_progress(source: str) -> None:
    looked: FetchProcess | None = st.session_state.get(LOOKUP_KEY)
    if looked is None or not looked.running:
        st.rerun()
    st.markdown(_(":shimmer[Asking the Hub about it]"))
    if st.button(_("Cancel"), icon=":material/close:", key="base.look.cancel"):
        looked.cancel()
        _reset_state()
        st.rerun()


def _download_offer(offer: Mapping, arrived: int, source: str, task: Task) -> None:
    """What would be fetched, before it is."""
    way = studio().base_models.training_method(offer["parameters"])
    fits = {
        "full": _("It fits: every way of fine-tuning."),
        "lora": _("It fits with LoRA; training everything needs more memory than is free."),
        "": _("It is too large for the memory that is free here. It can be fetched, but hardly trained."),
    }[way]
    st.markdown(f"**{escape_markdown(offer['id'])}**")
    rows = {
        _("To be fetched"): number_format.byte_size(offer["bytes"]),
        _("Parameters"): _("about {count}", count=number_format.compact(offer["parameters"])),
        _("Licence"): offer["licence"] if offer["licence"] != "?" else _("not named; look at its page on the Hub"),
        _("Languages"): number_format.join_list([language_name(code) for code in offer["languages"][:12]]) or "–",
        _("Network"): offer["model_type"] or "–",
        _("Revision"): offer["revision"][:12],
    }
    if arrived:
        rows[_("Here already")] = number_format.byte_size(arrived)
    st.table(
        {name: escape_markdown(value) for name, value in rows.items()},
        border="horizontal",
        alt=_("What would be fetched"),
    )
    st.caption(f":material/{'check_circle' if way else 'warning'}: {fits}")
    with st.container(horizontal=True, gap="small"):
        left = number_format.byte_size(max(offer["bytes"] - arrived, 0))
        label = _("Fetch the other {size}", size=left) if arrived else _("Fetch {size}", size=left)
        if st.button(label, icon=":material/download:", type="primary", key="base.fetch", disabled=studio().read_only):
            with refusals():
                studio().base_models.fetch(source, offer["revision"])
                st.rerun()
        if st.button(_("Choose another"), icon=":material/arrow_back:", key="base.back"):
            _reset_state()
            st.rerun()


# -- fetched -----------------------------------------------------------------------------------------------
def _download_progress(source: str) -> None:
    work = studio().base_models.fetch_of(source)
    if work is None or not work.running:
        st.rerun()
    news = work.progress
    words = {
        "fetching": _("Fetching"),
        "copying": _("Copying"),
        "checking": _("Checking every file"),
        "converting": _("Converting"),
    }.get(news["phase"], _("Looking at it"))
    share = news["done"] / news["total"] if news["total"] else 0.0
    parts = [words]
    if news["total"]:
        parts.append(f"{number_format.byte_size(news['done'])} / {number_format.byte_size(news['total'])}")
    if news["phase"] == "fetching" and work.rate:
        left = (news["total"] - news["done"]) / work.rate
        parts += [f"{number_format.byte_size(work.rate)}/s", _("{time} left", time=number_format.duration(left))]
    st.markdown(f"**{escape_markdown(source)}**")
    st.progress(min(share, 1.0), text=" · ".join(parts))
    st.caption(_("It goes on when the browser is closed."))
    if _is_id(source):
        st.caption(_("What has arrived is kept for a month when it is cancelled."))
    if st.button(_("Cancel"), icon=":material/close:", key="base.cancel", disabled=studio().read_only):
        work.cancel()


def _download_finished(work: FetchProcess, source: str, task: Task) -> None:
    """The new base is chosen; or what went wrong is said until the person goes on."""
    if work.state == CANCELLED:
        kept = _("Cancelled. What has arrived of {model} is kept.", model=escape_markdown(source))
        st.markdown(kept if _is_id(source) else _("Cancelled."))
        _retry_buttons(source, work)
        return
    try:
        fetched = work.outcome()
    except Refusal as refusal:
        show_refusal(refusal)
        _retry_buttons(source, work)
        return
    base = next((one for one in studio().base_models.all() if one.name == fetched["base"]), None)
    studio().base_models.forget_fetch(source)
    _reset_state()
    st.session_state.pop(EXPANDED_KEY, None)
    if base is not None:
        st.session_state[ADDED_KEY] = say(base.title), fetched["already"], fetched["ignored"]
        if task.head in base.heads:
            select_base(task, base.name)
    st.rerun()


def _retry_buttons(source: str, work: FetchProcess | None) -> None:
    with st.container(horizontal=True, gap="small"):
        label = _("Go on fetching") if work is not None and work.state == CANCELLED else _("Try again")
        if st.button(label, icon=":material/refresh:", key="base.again", disabled=studio().read_only):
            st.session_state.pop(LOOKUP_KEY, None)
            with refusals():
                if work is not None:
                    studio().base_models.forget_fetch(source)
                    studio().base_models.fetch(source, work.request.get("revision", ""))
                st.rerun()
        if st.button(_("Choose another"), icon=":material/arrow_back:", key="base.other"):
            studio().base_models.forget_fetch(source)
            _reset_state()
            st.rerun()


def _reset_state() -> None:
    for name in (SOURCE_KEY, REVISION_KEY, LOOKUP_KEY):
        st.session_state.pop(name, None)


# -- listed ------------------------------------------------------------------------------------------------
def base_line(base: Base) -> str:
    """A base in a line: size, licence, where from."""
    parts = [
        _("{count} parameters", count=number_format.compact(base.parameters)),
        number_format.byte_size(base.bytes),
        *_origin(base),
        " ".join(base.languages[:8]),
    ]
    return " · ".join(part for part in parts if part)


def _origin(base: Base) -> tuple[str, ...]:
    """Its licence and where it comes from; what was made here has no licence but its maker's."""
    if base.source.startswith("run:"):
        return (_("from the run {run}", run=base.source.removeprefix("run:")),)
    return base.licence if base.licence != "?" else _("licence not named"), base.source


def base_list() -> None:
    """On the Models page: what can be fine-tuned."""
    own = [base for base in studio().base_models.all() if not base.included]
    if not own:
        return
    st.header(_("Pretrained models"))
    answering = {model.id: model for model in studio().models.bases()}
    with st.grid(2, min_column_width=340, gap="medium"):
        for base in own:
            base_card(base, f"base:{base.name}" in answering)


def base_card(base: Base, answers: bool) -> None:
    with st.container(border=True, height="stretch"):
        st.markdown(f":material/deployed_code: **{escape_markdown(say(base.title))}**")
        st.caption(escape_markdown(base_line(base)))
        if base.ignored:
            st.caption(_ignored_line(base.ignored))
        tasks = [task for task in catalog.tasks().values() if task.head in base.heads]
        if tasks:
            st.caption(
                escape_markdown(_("For: {tasks}", tasks=number_format.join_list([say(task.title) for task in tasks])))
            )
        st.space("stretch")
        with st.container(horizontal=True):
            tune = st.button(
                _("Fine-tune this"), type="primary", icon=":material/tune:", key=f"base.tune.{base.name}",
                disabled=not tasks,
            )  # fmt: skip
            if tune:
                navigation.go("train", architecture=catalog.fine_tuning().name, base=base.name)
            if answers and st.button(_("Try it"), icon=":material/play_circle:", key=f"base.try.{base.name}"):
                navigation.go("try", model=f"base:{base.name}")
            gone = st.button(
                _("Delete"), icon=":material/delete:", key=f"base.delete.{base.name}", disabled=studio().read_only
            )
            if gone:
                confirm_delete(base)


def confirm_delete(base: Base) -> None:
    @st.dialog(_("Delete this pretrained model?"))
    def ask() -> None:
        st.markdown(
            _(
                "{name} is removed from the disk. Models that were fine-tuned from it stay, but can no longer be compared with it.",
                name=escape_markdown(say(base.title)),
            )
        )
        if st.button(_("Delete for good"), type="primary", key="confirm.delete"):
            with refusals():
                studio().base_models.delete(base.name)
                st.rerun()

    ask()
