"""Runs beside each other: who is better, what sets them apart, their curves, their answers, and what the settings do."""

import streamlit as st

from bigmodel.core import events
from bigmodel.runs.run import Run
from bigmodel.ui import navigation
from bigmodel.ui.compare.curve_view import curve_section
from bigmodel.ui.compare.sample_view import sample_section
from bigmodel.ui.compare.selection import MANY, Group, groups_of, select_runs, selectable_runs
from bigmodel.ui.compare.setting_plots import setting_section
from bigmodel.ui.compare.swatch import swatch
from bigmodel.ui.compare.tables import metric_section, settings_section
from bigmodel.ui.compare.verdict_view import evaluate_missing, find_evaluations, verdict_section
from bigmodel.ui.language import _, escape_markdown
from bigmodel.ui.runs import poll_interval
from bigmodel.ui.runs.status import status_badge

REFRESH_SECONDS = 3.0  # while one of the runs is trained


def empty_state(runs: list[Run]) -> None:
    """What there would be to see, and the way to it."""
    if not runs:
        st.markdown(
            _("Here two or more runs stand beside each other. There is none yet: a first one takes about a minute.")
        )
        if st.button(_("Train a model"), type="primary", icon=":material/model_training:"):
            navigation.go("train")
        return
    st.markdown(
        _("There is one run. Train it again with one setting changed, and see here whether that made it better.")
    )
    if st.button(_("Train again with a change"), type="primary", icon=":material/replay:"):
        navigation.go("train", **{"from": runs[0].id})


def legend(groups: list[Group]) -> None:
    """Which letter is whom: the same letter and colour in every table and chart."""
    with st.container(gap="xxsmall"):
        for group in groups:
            with st.container(horizontal=True, vertical_alignment="center", gap="small"):
                st.html(swatch(group.number), width="content")
                st.markdown(f"**{group.letter}** {escape_markdown(group.title)}")
                status_badge(group.runs[0])
                navigation.link("runs", _("Open"), icon=":material/arrow_forward:", run=group.runs[0].id)


def comparison(ids: list[str], drawn_live: bool) -> None:
    """Redrawn while one of them is trained."""
    by_id = {run.id: run for run in selectable_runs()}
    runs = [by_id[id] for id in ids if id in by_id]
    if not runs or drawn_live != _live(runs):
        st.rerun()
    groups = groups_of(runs)
    if len(groups) <= MANY:
        legend(groups)
    if len(groups) < 2:
        st.info(
            _("Choose another run to compare with. Runs that differ in the seed alone are one group."),
            icon=":material/info:",
        )
    evaluations, missing = find_evaluations(groups)
    verdict_section(groups, evaluations)
    if missing and len(groups) > 1:
        evaluate_missing(groups, missing)
    metric_section(groups, evaluations)
    st.header(_("Settings that differ"))
    settings_section(groups, evaluations)
    st.header(_("Curves"))
    curve_section(groups)
    setting_section(groups, evaluations)
    st.header(_("The same inputs"))
    sample_section(groups)
    next_steps(runs)


def next_steps(runs: list[Run]) -> None:
    ids = " ".join(run.id for run in runs[:MANY])
    with st.expander(_("The same on the command line"), icon=":material/terminal:"):
        st.code(f"python -m bigmodel compare {ids}", language="bash", wrap_lines=True)


def main() -> None:
    st.title(_("Compare"))
    runs = selectable_runs()
    if len(runs) < 2:
        empty_state(runs)
        return
    chosen = select_runs(runs)
    if not chosen:
        st.info(_("Choose two runs or more."), icon=":material/info:")
        return
    live = _live(chosen)
    every = poll_interval.interval(REFRESH_SECONDS) if live else None
    st.fragment(comparison, run_every=every)([run.id for run in chosen], live)


def _live(runs: list[Run]) -> bool:
    return any(run.state in events.LIVE for run in runs)


main()
