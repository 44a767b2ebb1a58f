"""The learning rate range test on the Train page: a hundred steps at a growing rate, the loss over it, and the rate that suits."""

from __future__ import annotations

import streamlit as st

from bigmodel.core.jobs import Job
from bigmodel.core.spec import RunSpec
from bigmodel.tuning.learning_rate_finder import STEPS, RateCurve
from bigmodel.ui.error_view import refusals, show_refusal, show_unexpected_error
from bigmodel.ui.language import _
from bigmodel.ui.runs.live_plot import live_plot
from bigmodel.ui.runs.resume_branch import disabled_if_read_only
from bigmodel.ui.state import studio

REFRESH_SECONDS = 0.5
HEIGHT = 220  # pixels


def rate_finder(spec: RunSpec, key: str) -> None:
    """`key`: of the widget that the rate is put into."""
    job = studio().tuning.find_rate(spec, begin=False)
    if job is None or job.error is not None:
        st.caption(_("Trains a hundred steps at a learning rate that grows, and shows where the loss falls fastest. Nothing of it is kept."))  # fmt: skip
        if st.button(_("Look for it"), icon=":material/speed:", key="train.find_rate", **disabled_if_read_only()):
            with refusals():
                studio().tuning.find_rate(spec)
                st.rerun()
        _show_error(job)
    elif job.running:
        st.fragment(_wait, run_every=REFRESH_SECONDS)(spec)
    elif job.result is not None:
        _show(job.result, key)


def _show_error(job: Job | None) -> None:
    if job is None or job.error is None:
        return
    if job.refusal is not None:
        show_refusal(job.refusal)
    elif isinstance(job.error, Exception):
        show_unexpected_error(job.error)


def _wait(spec: RunSpec) -> None:
    job = studio().tuning.find_rate(spec, begin=False)
    if job is None or not job.running:
        st.rerun()
    step = job.progress.get("step", 0)
    text = _("Step {step} of {steps}", step=step, steps=STEPS) if step else _("Getting ready")
    st.progress(step / STEPS, text=text)


def _show(curve: RateCurve, key: str) -> None:
    traces = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": _("Loss"),
            "x": list(curve.rates),
            "y": list(curve.losses),
            "line": {"width": 2},
            "hovertemplate": "%{x:.2g}: %{y:.4g}<extra></extra>",
            "meta": {"colour": 0},
        }
    ]
    layout: dict = {"xaxis": {"title": _("Learning rate"), "type": "log"}, "yaxis": {"title": _("Loss")}, "showlegend": False, "hovermode": "closest"}  # fmt: skip
    if curve.suggested:
        layout["shapes"] = [
            {"type": "line", "x0": curve.suggested, "x1": curve.suggested, "yref": "paper", "y0": 0, "y1": 1}
            | {"line": {"width": 1, "dash": "dot", "color": "#8a94a0"}}
        ]
    live_plot(traces, layout, key="train.rate_curve", alt=_("Loss over a growing learning rate"), height=HEIGHT)
    if not curve.suggested:
        st.caption(_("The loss did not fall at any rate within these steps: take the recommended one."))
        return
    rate = f"{curve.suggested:g}"
    st.button(
        _("Take {rate}", rate=rate),
        icon=":material/check:",
        on_click=_take,
        args=(key, curve.suggested),
        help=_("The rate at which the loss falls fastest."),
        key="train.take_rate",
    )


def _take(key: str, rate: float) -> None:
    st.session_state[key] = rate
