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

REFRESH_SECONDS = 0.7
MAX_CACHED = 100


@dataclass
class _CountJob:
    share: float = 0.0
    unit: str = ""  # that rows can be found by, at the end
    refusal: Refusal | None = None

    @property
    def finished(self) -> bool:
        return bool(self.unit) or self.refusal is not None


class _CountJobs:
    def __init__(self) -> None:
        self.jobs: dict[str, _CountJob] = {}
        self.lock = threading.Lock()

    def get_or_start(self, spec: RunSpec) -> _CountJob:
        name = spec.fingerprint()
        with self.lock:
            if name not in self.jobs:
                while len(self.jobs) >= MAX_CACHED:
                    self.jobs.pop(next(iter(self.jobs)))
                count = self.jobs[name] = _CountJob()
                threading.Thread(target=self._run, args=(count, spec), name="bigmodel-tokens", daemon=True).start()
            return self.jobs[name]

    def forget(self, spec: RunSpec) -> None:
        """So that it can be tried again."""
        with self.lock:
            self.jobs.pop(spec.fingerprint(), None)

    def _run(self, count: _CountJob, spec: RunSpec) -> None:
        try:
            for part in studio().models.count_tokens(spec):
                if isinstance(part, str):
                    count.unit = part
                else:
                    count.share = part
        except Refusal as refusal:
            count.refusal = refusal


@cache
def _count_jobs() -> _CountJobs:
    """The one of this server."""
    return _CountJobs()


def token_unit(spec: RunSpec) -> str:
    """The unit of lengths in the tokens of a spec; '' as long as they are being counted, which is shown."""
    count = _count_jobs().get_or_start(spec)
    if count.refusal is not None:
        show_refusal(count.refusal)
        _count_jobs().forget(spec)
        return ""
    if not count.unit:
        st.fragment(_progress, run_every=REFRESH_SECONDS)(spec)
    return count.unit


def _progress(spec: RunSpec) -> None:
    count = _count_jobs().get_or_start(spec)
    if count.finished:
        st.rerun()
    st.progress(min(count.share, 1.0), text=_("The tokens are being counted"))
