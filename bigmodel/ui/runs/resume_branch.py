"""How a run goes on: resumed, trained on, rolled back, branched off; where it comes from and what has come of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import streamlit as st

from bigmodel.core import events, limits
from bigmodel.core.errors import Refusal
from bigmodel.runs.run import Run
from bigmodel.runs.service import NO_CHECKPOINT_YET, Checkpoint, branchable_fields, rate_setting
from bigmodel.ui import navigation, number_format
from bigmodel.ui.ask import Form
from bigmodel.ui.error_view import refusals, show_refusal
from bigmodel.ui.language import _, current, escape_markdown, say
from bigmodel.ui.length_fields import explain_limit, follow_length
from bigmodel.ui.runs.status import status_style
from bigmodel.ui.state import session_token, studio

REFRESH_SECONDS = 1.0
MAX_BRANCHES = 3  # branches that are listed at once; more are folded away
BRANCH_ICON = ":material/alt_route:"
BRANCHING = "run.branching"  # the run whose dialog is open: a new state draws the whole page anew, which closes dialogs


def disabled_if_read_only() -> dict[str, object]:
    """Parameters of a button that changes something: where this server may only look, it says so."""
    if not studio().read_only:
        return {}
    return {"disabled": True, "help": _("Another bigmodel works on this folder")}


# -- what can be done ---------------------------------------------------------------------------------
def resume_buttons(run: Run) -> None:
    """The filled button of a run that ended before its end: what makes it go on, or another from where it was well."""
    if run.state in events.RESUMABLE:
        if st.button(
            _resume_label(run), icon=":material/resume:", type="primary", key="run.resume", **disabled_if_read_only()
        ):
            _resume(run)
    elif run.state == events.DIVERGED:
        label = _("Go back and halve the learning rate")
        if st.button(
            label,
            icon=":material/settings_backup_restore:",
            type="primary",
            key="run.rollback",
            **disabled_if_read_only(),
        ):
            _roll_back(run)


def branch_buttons(run: Run) -> None:
    """The buttons that begin another run with the weights of this one."""
    asked = st.session_state.get(BRANCHING) == run.id
    kept = studio().runs.checkpoints(run.id) if asked or run.state in (*events.ENDED, events.RUNNING) else []
    well = run.state in (events.FINISHED, events.STOPPED)
    if well and kept and st.button(_("Train on"), icon=":material/forward:", key="run.on", **disabled_if_read_only()):
        train_longer(run, kept[0])
    if (kept or run.state == events.RUNNING) and st.button(
        _("Branch off"), icon=BRANCH_ICON, key="run.branch", **disabled_if_read_only()
    ):
        st.session_state[BRANCHING] = run.id
    if st.session_state.get(BRANCHING) == run.id:
        branch_off(run, kept)


def notes(run: Run) -> None:
    """What a person should know before one of the buttons is pressed, or after it was refused."""
    refusal = st.session_state.get(_refusal_key(run))
    if refusal is not None and run.state in events.RESUMABLE:
        _mismatch_notice(run, refusal)
    elif run.state == events.INTERRUPTED and studio().runs.will_retry(run.id):
        st.fragment(_wait_for_requeue, run_every=REFRESH_SECONDS)(run.id)
    elif run.state == events.DIVERGED:
        st.caption(_rollback_note(run))


def _wait_for_requeue(id: str) -> None:
    """Look until somebody has taken the run up again, then draw the whole page."""
    if studio().runs.get(id).state != events.INTERRUPTED:
        st.rerun()
    st.info(
        _("Within a minute it goes on by itself from its newest checkpoint. 'Resume' makes it go on at once."),
        icon=":material/autorenew:",
    )


# -- resume --------------------------------------------------------------------------------------------
def _refusal_key(run: Run) -> str:
    return f"go_on.refused.{run.id}"


def _resume_label(run: Run) -> str:
    stage, step = studio().runs.resume_point(run.id)
    labels = {
        "step": _("Resume from step {step}", step=number_format.count(step)),
        "pretraining": _("Resume the pretraining from step {step}", step=number_format.count(step)),
        "pretraining-done": _("Resume after the pretraining"),
    }
    return labels.get(stage) or _("Resume from the start")


def _resume(run: Run, anyway: bool = False) -> None:
    """Two clicks are one: the studio lets a run that waits or is trained already be."""
    st.session_state.pop(_refusal_key(run), None)
    try:
        studio().runs.resume(run.id, anyway)
    except Refusal as refusal:
        st.session_state[_refusal_key(run)] = refusal
    st.rerun()


def _mismatch_notice(run: Run, refusal: Refusal) -> None:
    """What is no longer as it was, and the two ways that are left."""
    with st.container(border=True, key="run.changed"):
        show_refusal(refusal)
        if refusal.field != "anyway":
            return
        with st.container(horizontal=True, gap="small"):
            if st.button(_("Resume anyway"), icon=":material/resume:", key="run.anyway", **disabled_if_read_only()):
                _resume(run, anyway=True)
            kept = studio().runs.checkpoints(run.id)
            if kept and st.button(
                _("Branch off a new run"), icon=BRANCH_ICON, key="run.instead", **disabled_if_read_only()
            ):
                st.session_state[BRANCHING] = run.id
                st.rerun()


# -- roll back -----------------------------------------------------------------------------------------
def _rollback_note(run: Run) -> str:
    kept, name = studio().runs.checkpoints(run.id), rate_setting(run)
    rate = run.spec.settings.get(name, 0.0)
    good = next((one for one in kept if one.best), kept[0] if kept else None)
    rates = {"before": f"{rate:.3g}", "after": f"{rate / 2:.3g}"}
    if name == "pretraining_rate":
        return _("Going back: a new run from the start, learning rate of the pretraining {before} → {after}.", **rates)
    if good is None:
        return _("Going back: a new run from the start, learning rate {before} → {after}.", **rates)
    step = number_format.count(good.step)
    return _("Going back: a new run from step {step}, learning rate {before} → {after}.", step=step, **rates)


def _roll_back(run: Run) -> None:
    with refusals():
        navigation.go("runs", run=studio().runs.rollback(run.id, token=session_token(f"rollback {run.id}")))


# -- train on, branch off --------------------------------------------------------------------------------
def train_longer(run: Run, newest: Checkpoint) -> None:
    """More epochs, as a branch from the newest weights."""
    done = math.ceil(_epochs_done(run, newest.step) - 1e-9)
    usual = min(int(run.spec.settings["epochs"]), done)  # a time limit may have left fewer than were asked for

    @st.dialog(_("Train on"), icon=":material/forward:")
    def ask() -> None:
        st.markdown(
            _(
                "A new run begins with the weights of step {step}. This one stays as it is.",
                step=number_format.count(newest.step),
            )
        )
        more = st.number_input(_("Further epochs"), min_value=1, value=max(1, usual // 2), step=1, key="on.epochs")
        if more is None:
            st.caption(_("This is empty."))
            return
        st.caption(
            _(
                "It ends after epoch {epochs}. The learning rate follows its schedule over all of them, so it may rise again at first.",
                epochs=number_format.count(done + more),
            )
        )
        if st.button(
            _("Start training"), type="primary", icon=":material/play_arrow:", key="on.start", **disabled_if_read_only()
        ):
            with refusals():
                navigation.go("runs", run=_branch(run, newest.step, {"epochs": done + more, "max_steps": 0}))

    ask()


def branch_off(run: Run, kept: Sequence[Checkpoint]) -> None:
    """A checkpoint to begin with and what is to be different from there on."""
    key = f"branch.{run.id}"

    @st.dialog(
        _("Branch off"), width="large", icon=BRANCH_ICON, on_dismiss=lambda: st.session_state.pop(BRANCHING, None)
    )
    def ask() -> None:
        if not kept:
            st.markdown(_("This run has no checkpoint yet that another could begin with."))
            st.markdown(say(NO_CHECKPOINT_YET))
            return
        st.markdown(
            _("A new run begins with the weights of a checkpoint, with settings of its own. This one stays as it is.")
        )
        if run.live:
            st.caption(_("This run goes on. The new one waits in the queue until this and those before it have ended."))
        described = {one.step: _checkpoint_label(run, one) for one in kept}
        step = st.radio(_("Checkpoint"), list(described), format_func=described.__getitem__, key=f"{key}.step")
        form = _settings_form(run, kept, key)
        name = st.text_input(_("Name of the run"), max_chars=limits.RUN_NAME_CHARACTERS, key=f"{key}.name")
        if not st.button(
            _("Start the branch"), type="primary", icon=BRANCH_ICON, key="branch.start", **disabled_if_read_only()
        ):
            return
        try:
            child = _branch(run, step, form.values, name or "")
        except Refusal as refusal:
            if not form.show_error(refusal.field, refusal.say(current())):
                show_refusal(refusal)
            return
        for name in [name for name in st.session_state if str(name).startswith(f"{key}.")]:
            del st.session_state[name]  # the next branch is thought of anew
        st.session_state.pop(BRANCHING, None)
        navigation.go("runs", run=child)

    with refusals():
        ask()


def _checkpoint_label(run: Run, one: Checkpoint) -> str:
    parts = [
        _("Step {step}", step=number_format.count(one.step)),
        _("epoch {epoch}", epoch=f"{_epochs_done(run, one.step):.1f}"),
    ]
    parts += [_("the best on validation")] if one.best else []
    return " · ".join(escape_markdown(part) for part in (*parts, number_format.byte_size(one.bytes)))


def _settings_form(run: Run, kept: Sequence[Checkpoint], key: str) -> Form:
    """The settings that a branch may change, as the run has them, with something left to train."""
    before = {"max_minutes": 0, **run.spec.settings}  # a run from before there was a limit had none
    start = dict(before)
    done = _epochs_done(run, kept[0].step)
    if start["epochs"] <= done:
        start["epochs"] = math.ceil(done - 1e-9) + max(1, int(start["epochs"]) // 2)
    if start["max_steps"] <= kept[0].step:
        start["max_steps"] = 0
    form = Form(key, start)
    follow_length(form, before)
    fields = branchable_fields(run.spec)
    form.render([field for field in fields if not field.advanced])
    form.render_advanced([field for field in fields if field.advanced], _("More settings"))
    explain_limit(form, before)
    return form


def _epochs_done(run: Run, step: int) -> float:
    """How many epochs the weights of a step have been trained for."""
    per_epoch = run.plan.get("steps_per_epoch")
    return step / per_epoch if isinstance(per_epoch, int) and per_epoch > 0 else run.epoch


def _branch(run: Run, step: int, settings: Mapping[str, object], name: str = "") -> str:
    """Its id. The same wish twice, by a double click say, is the same run."""
    changed = {key: value for key, value in settings.items() if run.spec.settings.get(key) != value}
    wish = f"branch {run.id} {step} {sorted(changed.items())} {name}"
    return studio().runs.branch(run.id, step, settings, name, session_token(wish))


# -- kin -------------------------------------------------------------------------------------------------
def lineage(run: Run) -> None:
    """The search and the run that this one comes from, and those that have come of it, as links."""
    if run.spec.study:
        _study(str(run.spec.study["study"]), int(run.spec.study["trial"]))
    if run.spec.parent:
        _parent(str(run.spec.parent["run"]), int(run.spec.parent["step"]))
    branches = studio().runs.branches(run.id)
    if len(branches) <= MAX_BRANCHES:
        _children(branches)
        return
    with st.expander(_("{count} runs have branched off", count=len(branches)), icon=BRANCH_ICON):
        _children(branches)


def _study(id: str, trial: int) -> None:
    label = _("Trial {number} of a search", number=trial)
    if id in studio().tuning.ids():
        navigation.link("tune", label, ":material/tune:", study=id)
    else:
        st.caption(f":material/tune: {label}")


def _parent(id: str, step: int) -> None:
    try:
        known = _run_name(studio().runs.get(id))
    except Refusal:
        gone = _("Branched from {run} at step {step}; that run is no longer there.", run=escape_markdown(id), step=step)
        st.caption(f"{BRANCH_ICON} {gone}")
        return
    navigation.link(
        "runs", _("Branched from {run} at step {step}", run=known, step=number_format.count(step)), BRANCH_ICON, run=id
    )


def _children(branches: Sequence[Run]) -> None:
    with st.container(gap="xxsmall"):
        for branch in branches:
            step, standing = number_format.count(int(branch.spec.parent["step"])), say(status_style(branch.state).title)
            label = _("Branch at step {step}: {run} ({state})", step=step, run=_run_name(branch), state=standing)
            navigation.link("runs", label, ":material/subdirectory_arrow_right:", run=branch.id)


def _run_name(run: Run) -> str:
    return escape_markdown(run.spec.name or run.id)
