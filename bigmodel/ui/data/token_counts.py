"""Counting the tokens of all rows, beside everything else: how far it is, for every session that asks."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import cache

import streamlit as st

from bigmodel.core.errors import Refusal
from bigmodel.core.spec import RunSpec
from bigmodel.ui.error_view import show_refusal
from bigmodel.ui.language import _
from bigmodel.ui.state import studio

LOOK_SECONDS = 0.7
KEPT = 100


@dataclass
class _Count:
    share: float = 0.0
    unit: str = ""  # that rows can be found by, at the end
    refusal: Refusal | None = None

    @property
    def over(self) -> bool:
        return bool(self.unit) or self.refusal is not None


class _Counts:
    def __init__(self) -> None:
        self.known: dict[str, _Count] = {}
        self.lock = threading.Lock()

    def of(self, spec: RunSpec) -> _Count:
        name = spec.fingerprint()
        with self.lock:
            if name not in self.known:
                while len(self.known) >= KEPT:
                    self.known.pop(next(iter(self.known)))
                count = self.known[name] = _Count()
                threading.Thread(target=self._work, args=(count, spec), name="bigmodel-tokens", daemon=True).start()
            return self.known[name]

    def forget(self, spec: RunSpec) -> None:
        """So that it can be tried again."""
        with self.lock:
            self.known.pop(spec.fingerprint(), None)

    def _work(self, count: _Count, spec: RunSpec) -> None:
        try:
            for part in studio().count_tokens(spec):
                if isinstance(part, str):
                    count.unit = part
                else:
                    count.share = part
        except Refusal as refusal:
            count.refusal = refusal


@cache
def _counts() -> _Counts:
    """The one of this server."""
    return _Counts()


def unit_of(spec: RunSpec) -> str:
    """The unit of lengths in the tokens of a spec; '' as long as they are being counted, which is shown."""
    count = _counts().of(spec)
    if count.refusal is not None:
        show_refusal(count.refusal)
        _counts().forget(spec)
        return ""
    if not count.unit:
        st.fragment(_waiting, run_every=LOOK_SECONDS)(spec)
    return count.unit


def _waiting(spec: RunSpec) -> None:
    count = _counts().of(spec)
    if count.over:
        st.rerun()
    st.progress(min(count.share, 1.0), text=_("The tokens are being counted"))
