"""When something goes wrong: a refusal as data, an unforeseen error by its number in the log."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from bigmodel.core.disk_space import home_refusal
from bigmodel.core.errors import Refusal
from bigmodel.ui.language import _, current, say
from bigmodel.ui.state import studio

log = logging.getLogger("bigmodel.ui")


def show_refusal(refusal: Refusal) -> None:
    """What is wrong as the headline; why and what to do below it."""
    rest = [say(part) for part in (refusal.why, refusal.do) if part]
    joint = "" if current() == "zh" else " "
    if rest:
        st.error(joint.join(rest), title=say(refusal.what), icon=":material/error:")
    else:
        st.error(say(refusal.what), icon=":material/error:")


@contextmanager
def refusals() -> Iterator[None]:
    """What the studio refuses inside is shown here, and the page goes on."""
    try:
        yield
    except Refusal as refusal:
        show_refusal(refusal)


@contextmanager
def contained() -> Iterator[None]:
    """What goes wrong inside is shown here, whatever it is, and the rest of the page is drawn: for one of many."""
    try:
        yield
    except Exception as error:
        show_unexpected_error(error)


def show_unexpected_error(error: Exception) -> bool:
    """A fault of ours: people get a number, the log the traceback under the same number."""
    refusal = error if isinstance(error, Refusal) else home_refusal(error, studio().home)
    if refusal:
        show_refusal(refusal)
        return True
    number = secrets.token_hex(4)
    log.error("trouble %s", number, exc_info=error)
    st.error(
        _(
            "The details are in the server's log under {number}. Reload the page; your runs are not affected.",
            number=number,
        ),
        title=_("This page met an error of its own"),
        icon=":material/bug_report:",
    )
    return True
