"""Have settings searched: choose as on the Train page, say how long; with ?study=ID one search, live."""

import streamlit as st

from bigmodel.core.errors import Refusal
from bigmodel.ui import navigation, number_format
from bigmodel.ui.error_view import show_refusal
from bigmodel.ui.language import _, escape_markdown
from bigmodel.ui.models.facts import network_of
from bigmodel.ui.state import discard_token, session_token, studio
from bigmodel.ui.train.selection import select_combination, title_of
from bigmodel.ui.tune.search_form import cost_card, cost_line, final_spec, fixed_settings, search_settings
from bigmodel.ui.tune.study_view import actions, read_study, study_list, study_monitor, study_title

LIST_SECONDS = 2.0  # between two looks at the list while something is searched


def study_page(id: str) -> None:
    navigation.link("tune", _("All searches"), icon=":material/arrow_back:")
    study = read_study(id)
    if study is None:
        return
    spec = study.spec.spec
    st.title(study_title(study))
    parts = [
        title_of("task", spec.task),
        network_of(spec.architecture, spec.settings),
        title_of("dataset", spec.dataset),
        number_format.ago(study.spec.created),
    ]
    st.caption(" · ".join(map(escape_markdown, parts)))
    actions(study)
    study_monitor(study)


def new_study() -> None:
    if st.session_state.pop("tune.launched", False):
        discard_token("tune")  # the person has come back: the next start is another search
    st.title(_("Tune"))
    st.caption(_("Trains the same network with different settings and finds the best, so that you need not know them."))
    left, right = st.columns([3, 2], gap="large")
    with left:
        chosen = select_combination()
        spec = fixed_settings(chosen)
        study = search_settings(spec, chosen) if spec is not None else None
    with right, st.container(border=True):
        ready = study is not None and not studio().read_only
        wrong = _("A setting on this page needs your attention first.")
        with st.container(key="tune.bar"):  # on a phone it stands at the bottom edge: style.css
            line = st.container(key="tune.line", horizontal_alignment="center")
            start = st.button(
                _("Start the search"),
                type="primary",
                icon=":material/search:",
                width="stretch",
                disabled=not ready,
                key="tune.start",
            )
        if study is None:
            st.caption(wrong)
        else:
            cost_card(study)
        line.caption(cost_line(study) if study is not None else wrong)
    if start and study is not None:
        try:
            id = studio().tuning.create(final_spec(study), session_token("tune"))
        except Refusal as refusal:
            show_refusal(refusal)
            return
        st.session_state["tune.launched"] = True
        navigation.go("tune", study=id)


id = st.query_params.get("study", "")
if id:
    study_page(id)
else:
    new_study()
    st.fragment(study_list, run_every=LIST_SECONDS if studio().tuning.is_busy() else None)()
