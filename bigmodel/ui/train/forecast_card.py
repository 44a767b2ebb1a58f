"""What a run will take, measured in another process while the form stays usable."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from bigmodel.core.jobs import CANCELLED
from bigmodel.core.spec import RunSpec
from bigmodel.training.forecast import Forecast
from bigmodel.ui import number_format
from bigmodel.ui.ask import Form
from bigmodel.ui.error_view import show_refusal, show_unexpected_error
from bigmodel.ui.language import _, current, escape_markdown, say
from bigmodel.ui.state import session_token, studio
from bigmodel.ui.train.forecast_queue import forecast_queue

REFRESH_SECONDS = 0.7
SHORT_RUN_SECONDS = 120  # what 'make it short' aims at


def forecast_card(spec: RunSpec, form: Form) -> None:
    """Parameters, memory and time; while they are measured, where they will stand."""
    spec = replace(spec, name="")
    job = forecast_queue(studio().models.forecast).submit(spec, session_token("session"))
    if job.running:
        st.fragment(_placeholder, run_every=REFRESH_SECONDS)(spec)
        return
    if job.state == CANCELLED:
        st.rerun()
    if job.error is None:
        _show_forecast(job.result, form)
    elif job.refusal is not None:
        if not form.show_error(job.refusal.field, job.refusal.say(current())):
            show_refusal(job.refusal)
    else:
        show_unexpected_error(job.error)


def forecast_line(spec: RunSpec) -> str:
    """The forecast in a line, as far as it is there; of what went wrong only the headline."""
    job = forecast_queue(studio().models.forecast).submit(replace(spec, name=""), session_token("session"))
    if job.running or job.state == CANCELLED:
        return _(":shimmer[Measuring a few steps on the real data]")
    if job.refusal is not None:
        return f":red[{escape_markdown(say(job.refusal.what))}]"
    if job.error is not None:
        return _("There is no forecast this time.")
    forecast = job.result
    parts = [number_format.byte_size(forecast.memory), _parameter_count(forecast)]
    if forecast.seconds is None:
        return " · ".join([_("Too large for this machine"), *parts])
    return " · ".join([f"**{number_format.duration(forecast.seconds)}**", *parts])


def _parameter_count(forecast: Forecast) -> str:
    """All parameters, and how many of them are trained where not all are."""
    count = number_format.compact(forecast.parameters)
    if not 0 < forecast.trainable < forecast.parameters:
        return _("{count} parameters", count=count)
    return _("{trained} of {count} parameters", trained=number_format.compact(forecast.trainable), count=count)


def _placeholder(spec: RunSpec) -> None:
    if not forecast_queue(studio().models.forecast).submit(spec, session_token("session")).running:
        st.rerun()
    _metrics("…", "…", "…", "…")
    st.caption(_(":shimmer[Measuring a few steps on the real data]"))


def _too_large(forecast: Forecast) -> None:
    _metrics(number_format.compact(forecast.parameters), number_format.byte_size(forecast.memory), "–", number_format.count(forecast.steps),
             number_format.trained_parameters(forecast.trainable, forecast.parameters))  # fmt: skip
    st.warning(
        _("This needs more memory than this machine has free. Make the network or the batch smaller."),
        icon=":material/memory:",
    )


def _show_forecast(forecast: Forecast, form: Form) -> None:
    if forecast.seconds is None:
        _too_large(forecast)
        return
    _metrics(
        number_format.compact(forecast.parameters),
        number_format.byte_size(forecast.memory),
        number_format.duration(forecast.seconds),
        number_format.count(forecast.steps),
        number_format.trained_parameters(forecast.trainable, forecast.parameters),
    )
    st.caption(
        _(
            "Measured on {device}: {milliseconds} ms a step. Training goes on when the browser is closed.",
            device=forecast.device.upper(),
            milliseconds=number_format.three_digits(forecast.step_seconds * 1000),
        )
    )
    if limit := forecast.limit_words():
        st.caption(say(limit))
    if warnings := forecast.warnings():
        st.warning("\n\n".join(map(say, warnings)), icon=":material/warning:")
    steps = int(SHORT_RUN_SECONDS / forecast.step_seconds) if forecast.step_seconds > 0 else 0
    if "max_steps" in form.values and 0 < steps < forecast.steps / 2:
        st.button(
            _("Only try it out: {time}", time=number_format.duration(SHORT_RUN_SECONDS + forecast.once)),
            icon=":material/timer:",
            on_click=_shorten,
            args=(f"{form.key}.max_steps", steps),
            help=_("Stops after {steps} steps; the model is kept.", steps=number_format.count(steps)),
        )


def _shorten(key: str, steps: int) -> None:
    st.session_state[key] = steps


def _metrics(parameters: str, memory: str, time: str, steps: str, trained: str = "") -> None:
    with st.grid(2, min_column_width=90, gap=("small", "small")):
        st.metric(_("Time"), time)
        st.metric(_("Parameters"), parameters, delta=trained or None, delta_color="off", delta_arrow="off")
        st.metric(_("Memory"), memory)
        st.metric(_("Steps"), steps)
