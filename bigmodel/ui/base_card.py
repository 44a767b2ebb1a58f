"""Bringing a pretrained model: chosen from a list or named, its size and licence shown, fetched with progress."""

from __future__ import annotations

import streamlit as st

from bigmodel.core.errors import Refusal
from bigmodel.studio import Base, Fetching, Suggestion
from bigmodel.ui import amounts
from bigmodel.ui.language import _, plain, say
from bigmodel.ui.state import studio
from bigmodel.ui.trouble import refusals, show_refusal

LOOK_SECONDS = 0.5


def bring_base(head: str, field: str) -> None:
    """Folded away under the network: what else could be begun with. `field`: the key of the widget that chooses."""
    working = st.session_state.get("base.work")
    with st.expander(_("Bring another pretrained model"), icon=":material/download:", expanded=working is not None):
        if working is not None:
            st.fragment(_progress, run_every=LOOK_SECONDS)(field)
            return
        st.caption(
            _(
                "From the Hugging Face Hub by its id; or, without a network, the path of a model's folder or GGUF file on this machine. Only safetensors are read, and no program of a model is ever run."
            )
        )
        suited = {one.id: (one, way) for one, way in studio().base_suggestions(head)}
        source = st.selectbox(
            _("Model"),
            list(suited),
            index=None,
            format_func=lambda id: _line(*suited[id]) if id in suited else id,
            placeholder=_("Search, or type an id or a path"),
            accept_new_options=True,
            key=f"base.source.{head}",
        )
        with st.container(horizontal=True):
            look = st.button(_("Look first"), icon=":material/info:", disabled=not source, key="base.look")
            bring = st.button(_("Bring it here"), icon=":material/download:", disabled=not source, key="base.bring")
        if look and source and not source.startswith(("/", "~", ".")):
            with refusals(), st.spinner(_("Asking the Hub")):
                offer = studio().look_base(source).wait()["offer"]
                st.markdown(
                    plain(
                        _(
                            "{id}: {size}, licence {licence}, revision {revision}",
                            id=offer["id"],
                            size=amounts.size(offer["bytes"]),
                            licence=offer["licence"],
                            revision=offer["revision"][:12],
                        )
                    )
                )
        if bring and source:
            with refusals():
                st.session_state["base.work"] = studio().bring_base(source)
                st.rerun()


def _line(one: Suggestion, way: str) -> str:
    fits = {"full": _("fits"), "lora": _("fits with LoRA"), "": _("too large for this machine")}[way]
    parts = [one.id, amounts.size(one.megabytes * 10**6), one.licence, " ".join(one.languages), fits]
    return " · ".join(part for part in parts if part)


def _progress(field: str) -> None:
    work: Fetching | None = st.session_state.get("base.work")
    if work is None:
        return
    if not work.running:
        _ended(work, field)
        return
    news = work.news
    words = {
        "fetching": _("Fetching"),
        "copying": _("Copying"),
        "checking": _("Checking every file"),
        "converting": _("Converting"),
    }.get(news["phase"], _("Looking at it"))
    share = news["done"] / news["total"] if news["total"] else 0.0
    amount = f" · {amounts.size(news['done'])} / {amounts.size(news['total'])}" if news["total"] else ""
    st.progress(min(share, 1.0), text=f"{words}{amount}")
    if st.button(_("Cancel"), icon=":material/close:", key="base.cancel"):
        work.cancel()


def _ended(work: Fetching, field: str) -> None:
    """Once: the new base is chosen, or what went wrong is said until the person goes on."""
    if work.result.get("cancelled"):
        del st.session_state["base.work"]
        st.rerun()
    try:
        st.session_state[field] = work.outcome()["base"]
    except Refusal as refusal:
        show_refusal(refusal)
        if st.button(_("Try another one"), key="base.again"):
            del st.session_state["base.work"]
            st.rerun()
        return
    del st.session_state["base.work"]
    st.rerun()


def base_line(base: Base) -> str:
    """A base in a line: size, licence, where from."""
    return " · ".join(
        [
            _("{count} parameters", count=amounts.rough(base.parameters)),
            amounts.size(base.bytes),
            base.licence,
            base.source,
        ]
    )


def base_list() -> None:
    """On the Models page: what can be fine-tuned."""
    own = [base for base in studio().bases() if not base.included]
    if not own:
        return
    st.header(_("Pretrained models"))
    with st.grid(2, min_column_width=340, gap="medium"):
        for base in own:
            with st.container(border=True):
                st.markdown(f"**{plain(say(base.title))}**")
                st.caption(plain(base_line(base)))
                if st.button(_("Delete"), icon=":material/delete:", key=f"base.delete.{base.name}"):
                    with refusals():
                        studio().delete_base(base.name)
                        st.rerun()
