"""Counting the tokens of all rows, beside everything else: how far it is, for every session that asks."""

from __future__ import annotations

import threading
from functools import cache

import streamlit as st

from bigmodel.core.jobs import Job
from bigmodel.core.spec import RunSpec
from bigmodel.ui.error_view import show_refusal
from bigmodel.ui.language import _
from bigmodel.ui.state import studio

REFRESH_SECONDS = 0.7
MAX_CACHED = 100


class _CountJobs:
    """By the fingerprint of a spec; the result is the unit of lengths that rows can be found by."""

    def __init__(self) -> None:
        self.jobs: dict[str, Job[str]] = {}
        self.lock = threading.Lock()

    def get_or_start(self, spec: RunSpec) -> Job[str]:
        name = spec.fingerprint()
        with self.lock:
            if name not in self.jobs:
                while len(self.jobs) >= MAX_CACHED:
                    self.jobs.pop(next(iter(self.jobs)))
                job = self.jobs[name] = Job()
                job.start(lambda: _count(job, spec), "bigmodel-tokens")
            return self.jobs[name]

    def forget(self, spec: RunSpec) -> None:
        """So that it can be tried again."""
        with self.lock:
            self.jobs.pop(spec.fingerprint(), None)


def _count(job: Job, spec: RunSpec) -> str:
    for part in studio().models.count_tokens(spec):
        if isinstance(part, str):
            return part
        job.progress = {"share": part}
    return ""


@cache
def _count_jobs() -> _CountJobs:
    """The one of this server."""
    return _CountJobs()


def token_unit(spec: RunSpec) -> str:
    """The unit of lengths in the tokens of a spec; '' as long as they are being counted, which is shown."""
    job = _count_jobs().get_or_start(spec)
    if job.refusal is not None:
        show_refusal(job.refusal)
        _count_jobs().forget(spec)
        return ""
    if not job.result:
        st.fragment(_progress, run_every=REFRESH_SECONDS)(spec)
    return job.result or ""


def _progress(spec: RunSpec) -> None:
    job = _count_jobs().get_or_start(spec)
    if job.result or job.refusal is not None:
        st.rerun()
    st.progress(min(job.progress.get("share", 0.0), 1.0), text=_("The tokens are being counted"))
