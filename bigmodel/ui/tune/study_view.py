"""One study as it goes: the best so far, what mattered, every trial. Redrawn in place."""

from __future__ import annotations

import streamlit as st

from bigmodel.core.errors import Refusal
from bigmodel.core.words import Words
from bigmodel.core.words import _ as words
from bigmodel.tuning import study as states
from bigmodel.tuning.study import Study, Trial
from bigmodel.ui import language, navigation, number_format
from bigmodel.ui.error_view import refusals
from bigmodel.ui.language import _, escape_markdown, say
from bigmodel.ui.runs import poll_interval
from bigmodel.ui.runs.details import format_value
from bigmodel.ui.runs.resume_branch import disabled_if_read_only
from bigmodel.ui.runs.status import StatusStyle
from bigmodel.ui.state import studio
from bigmodel.ui.train.selection import title_of
from bigmodel.ui.tune.study_charts import importance_chart, slice_chart, trials_chart

REFRESH_SECONDS = 1.0

STUDY_STYLES = {
    "running": StatusStyle(words("Searching"), "blue", ":material/search:"),
    "stopping": StatusStyle(words("Stopping"), "orange", ":material/hourglass_bottom:"),
    "stopped": StatusStyle(words("Stopped"), "orange", ":material/stop_circle:"),
    "ended": StatusStyle(words("Finished"), "green", ":material/check_circle:"),
    "failed": StatusStyle(words("Failed"), "red", ":material/error:"),
}
TRIAL_TITLES: dict[str, Words] = {
    states.WAITING: words("Waiting"),
    states.RUNNING: words("Training"),
    states.FINISHED: words("Finished"),
    states.PRUNED: words("Pruned"),
    states.FAILED: words("Failed"),
}


def study_title(study: Study) -> str:
    return escape_markdown(study.spec.name or title_of("dataset", study.spec.spec.dataset))


def study_state(study: Study) -> str:
    if study.has_ended:
        return "stopped" if study.stopping else "ended" if study.best else "failed"
    return "stopping" if study.stopping else "running"


def state_badge(study: Study) -> None:
    style = STUDY_STYLES[study_state(study)]
    st.badge(say(style.title), icon=style.icon, color=style.colour)


# -- what can be done ----------------------------------------------------------------------------------------
def actions(study: Study) -> None:
    state, best = study_state(study), study.best
    with st.container(horizontal=True, gap="small"):
        if best is not None and best.run in studio().runs.ids():
            first = "primary" if study.has_ended else "secondary"
            if st.button(_("Take the best"), icon=":material/model_training:", type=first, key="study.best"):
                navigation.go("train", **{"from": best.run})
            if study.has_ended and st.button(_("Try it"), icon=":material/play_circle:", key="study.try"):
                navigation.go("try", model=best.run)
        if state == "running" and st.button(
            _("Stop"), icon=":material/stop_circle:", key="study.stop", **disabled_if_read_only()
        ):
            _confirm_stop(study)
        if state == "stopped" and st.button(
            _("Go on"), icon=":material/resume:", key="study.go_on", **disabled_if_read_only()
        ):
            with refusals():
                studio().tuning.go_on(study.id)
                st.rerun()
        if study.has_ended and st.button(
            _("Delete"), icon=":material/delete:", key="study.delete", **disabled_if_read_only()
        ):
            confirm_delete(study.id)
    if study.has_ended and best is not None:
        st.caption(
            _("Take the best: the Train page is filled in with these settings, to train longer or on more data.")
        )
    elif not study.has_ended:
        st.caption(_("The search goes on when the browser is closed. Its trials stand on the Runs page as well."))


def _confirm_stop(study: Study) -> None:
    @st.dialog(_("Stop this search?"))
    def ask() -> None:
        st.markdown(
            _("No further trial begins. The one that is trained keeps its weights; the search can go on later.")
        )
        if st.button(_("Stop this search"), type="primary", key="confirm.stop"):
            with refusals():
                studio().tuning.stop(study.id)
                st.rerun()

    ask()


def confirm_delete(id: str) -> None:
    @st.dialog(_("Delete this search?"))
    def ask() -> None:
        with_runs = st.checkbox(_("Its runs and their models too"), key="confirm.runs")
        st.markdown(_("This cannot be undone."))
        if st.button(_("Delete for good"), type="primary", key="confirm.delete"):
            with refusals():
                studio().tuning.delete(id, with_runs)
                navigation.go("tune")

    ask()


# -- live ----------------------------------------------------------------------------------------------------
def study_monitor(study: Study) -> None:
    studio().tuning.importance(study.id)  # begins, so that it is waited for
    every = poll_interval.interval(REFRESH_SECONDS) if _is_live(study) else None
    st.fragment(_refresh, run_every=every)(study.id, study_state(study), study.best is None, every is not None)


def _is_live(study: Study) -> bool:
    return not study.has_ended or studio().tuning.is_weighing(study.id)


def _refresh(id: str, drawn: str, without_best: bool, live: bool) -> None:
    """Redraw. A new state, or the first result, also changes what can be done, so that the whole page is drawn again."""
    study = studio().tuning.get(id)
    if study_state(study) != drawn or (study.best is None) != without_best or (live and not _is_live(study)):
        st.rerun()
    with st.container():
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            state_badge(study)
            if study.reason is not None:
                st.markdown(escape_markdown(say(study.reason)))
        _progress(study)
        _tiles(study)
    if not any(trial.value is not None for trial in study.trials):
        if not study.has_ended:
            st.caption(_(":shimmer[The first trial is trained with the settings you began with.]"))
        _trial_table(study)
        return
    trials_chart(study)
    _what_mattered(study)
    _trial_table(study)


def _progress(study: Study) -> None:
    """How much of what the search is limited to is used up."""
    if study.has_ended:
        return
    search, most = study.spec.search, study.spec.max_trials()
    ended = sum(trial.has_ended for trial in study.trials)
    shares = [
        (ended / most, _("Trial {number} of {count}", number=min(ended + 1, most), count=most)) if most else None,
        (study.seconds / 60 / search["minutes"], _("{time} of {minutes} min", time=number_format.duration(study.seconds), minutes=number_format.number(search["minutes"])))
        if search["minutes"]
        else None,
        (study.steps / search["steps"], _("Step {step} of {steps}", step=number_format.count(study.steps), steps=number_format.count(search["steps"])))
        if search["steps"]
        else None,
    ]  # fmt: skip
    share, text = max(filter(None, shares), default=(0.0, ""))
    st.progress(min(share, 1.0), text=text)


def _tiles(study: Study) -> None:
    """The best, what it is held against, and what the search took."""
    metric, best = study.spec.metric, study.best
    tiles = []
    if best is not None and best.value is not None:
        trial = _("trial {number}", number=best.number)
        tiles.append(
            (_("Best so far"), number_format.metric_value(metric, best.value), f"{say(metric.label)} · {trial}")
        )
        first = study.trials[0]
        if study.spec.start() and first.value is not None and first.number != best.number:
            tiles.append((_("Settings you began with"), number_format.metric_value(metric, first.value), _("trial {number}", number=first.number)))  # fmt: skip
    pruned = sum(trial.state == states.PRUNED for trial in study.trials)
    tiles.append((_("Trials"), number_format.count(len(study.trials)), _("{count} pruned", count=pruned)))
    tiles.append((_("Training"), number_format.duration(study.seconds), _("{steps} steps", steps=number_format.count(study.steps))))  # fmt: skip
    with st.grid(len(tiles), min_column_width=150, gap="small"):
        for label, value, what in tiles:
            st.metric(label, value, delta=what, delta_color="off", delta_arrow="off", border=True)


def _what_mattered(study: Study) -> None:
    """How much each setting matters, and the trials along one of them."""
    importance = studio().tuning.importance(study.id)
    if not importance:
        _slices(study)
        return
    fields = study.spec.fields
    left, right = st.columns(2, gap="large")
    with left:
        st.header(_("What mattered"))
        importance_chart({say(fields[name].label): share for name, share in importance.items() if name in fields})
        st.caption(_("How much of the difference between good trials and the others comes from each setting."))
    with right:
        _slices(study)


def _slices(study: Study) -> None:
    fields = study.spec.fields
    st.header(_("Trials along one setting"))
    name = st.selectbox(
        _("Setting"),
        list(fields),
        format_func=lambda name: say(fields[name].label),
        key=f"study.slice.{study.id}",
        label_visibility="collapsed",
    )
    slice_chart(study, fields[name])


def _trial_table(study: Study) -> None:
    """Every trial, newest first, each with the way to its run."""
    if not study.trials:
        return
    fields, metric = study.spec.fields, study.spec.metric
    st.header(_("All trials"))
    rows = [
        {
            _("Trial"): trial.number,
            _("State"): _trial_state(study, trial),
            say(metric.label): number_format.metric_value(metric, trial.value) if trial.value is not None else "–",
            **{
                say(fields[name].label): format_value(fields[name], trial.settings[name])
                for name in fields
                if name in trial.settings
            },
            _("Steps"): number_format.count(trial.steps),
            _("Run"): _run_url(trial.run) if trial.run else None,
        }
        for trial in reversed(study.trials)
    ]
    st.dataframe(
        rows,
        hide_index=True,
        column_config={_("Run"): st.column_config.LinkColumn(display_text=_("Open"))},
        key=f"study.trials.{study.id}",
    )


def _trial_state(study: Study, trial: Trial) -> str:
    title = say(TRIAL_TITLES[trial.state])
    if study.best is not None and trial.number == study.best.number:
        return f"★ {title}"
    if trial.state == states.FAILED and trial.why is not None:
        return f"{title}: {say(trial.why)}"
    return title


def _run_url(run: str) -> str:
    base = (st.get_option("server.baseUrlPath") or "").strip("/")
    parameters = "&".join(f"{name}={value}" for name, value in {"run": run, **language.url_parameters()}.items())
    return f"{'/' + base if base else ''}/runs?{parameters}"


# -- the list ------------------------------------------------------------------------------------------------
def study_list() -> None:
    tuning = studio().tuning
    if damage := tuning.damaged():
        st.warning(escape_markdown(say(damage)), icon=":material/heart_broken:")
    studies = tuning.all()
    if not studies:
        return
    st.header(_("Searches"))
    for study in studies:
        _study_row(study)


def _study_row(study: Study) -> None:
    spec = study.spec.spec
    with st.container(border=True):
        what, standing = st.columns([4, 5], vertical_alignment="center")
        with what, st.container(gap="xxsmall"):
            st.markdown(f"**{study_title(study)}**")
            parts = (title_of("task", spec.task), title_of("architecture", spec.architecture), number_format.ago(study.spec.created))  # fmt: skip
            st.caption(" · ".join(map(escape_markdown, parts)))
        with standing:
            grid = st.grid(3, min_column_width=80, gap="small", vertical_alignment="center")
            with grid.cell():
                state_badge(study)
            with grid.cell():
                best = study.best
                trials = _("{count} trials", count=len(study.trials))
                if best is not None and best.value is not None:
                    value = number_format.metric_value(study.spec.metric, best.value)
                    st.markdown(f"{value}  \n:small[:gray[{trials}]]")
                else:
                    st.caption(trials)
            with grid.cell(), st.container(horizontal_alignment="right"):
                navigation.link("tune", _("Open"), icon=":material/arrow_forward:", study=study.id)


def read_study(id: str) -> Study | None:
    """None, after saying why, where there is no such study or it cannot be read."""
    try:
        return studio().tuning.get(id)
    except Refusal:
        with refusals():
            studio().tuning.get(id)
        return None
