"""Who is better, in a sentence, with the interval drawn; models that were not evaluated yet are, after one button."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from bigmodel.core.contracts import Metric
from bigmodel.core.errors import Refusal
from bigmodel.core.words import Words
from bigmodel.evaluation import comparison
from bigmodel.evaluation.comparison import Comparison, Verdict
from bigmodel.evaluation.evaluation import Evaluation, default_metric
from bigmodel.evaluation.service import EvaluationProgress
from bigmodel.ui import number_format
from bigmodel.ui.compare.selection import Group, task_of
from bigmodel.ui.error_view import refusals, show_refusal
from bigmodel.ui.language import _, current, escape_markdown, say
from bigmodel.ui.runs.live_plot import live_plot
from bigmodel.ui.runs.resume_branch import disabled_if_read_only
from bigmodel.ui.state import studio
from bigmodel.ui.train.selection import title_of

SPLIT = "test"
MAX_TESTED = 50  # groups that are tested against the baseline: each takes up to seconds
REFRESH_SECONDS = 1.0
Evaluations = Mapping[str, Evaluation]  # by the id of the run


def find_evaluations(groups: Sequence[Group]) -> tuple[Evaluations, list[str]]:
    """(what is known of the models, by run; the runs whose models nobody has evaluated yet), all on the first one's rows."""
    found, missing = {}, []
    for run in (run for group in groups for run in group.runs if run.has_model):
        try:
            model = studio().models.get(run.id)
            evaluation = studio().evaluations.find(model, groups[0].spec.dataset, SPLIT)
        except Refusal:  # deleted meanwhile, or its data have gone
            continue
        if evaluation is None:
            missing.append(run.id)
        else:
            found[run.id] = evaluation
    return found, missing


def evaluate_missing(groups: Sequence[Group], missing: Sequence[str]) -> None:
    """A button for all of them, or how far they are."""
    dataset = groups[0].spec.dataset
    states = [studio().evaluations.state(_evaluation_id(id, dataset)) for id in missing]
    if any(isinstance(state, EvaluationProgress) for state in states):
        st.fragment(_progress, run_every=REFRESH_SECONDS)(dataset, tuple(missing))
        return
    for refusal in {str(state): state for state in states if isinstance(state, Refusal)}.values():
        show_refusal(refusal)
    with st.container(border=True):
        st.markdown(
            _("To say who is better, each model answers the same test rows once. It takes seconds to minutes a model.")
        )
        label = _("Evaluate {count} models", count=len(missing)) if len(missing) > 1 else _("Evaluate the model")
        if st.button(label, type="primary", icon=":material/rule:", key="compare.evaluate", **disabled_if_read_only()):
            with refusals():
                for id in missing:
                    studio().evaluations.begin(id, dataset, SPLIT)
                st.rerun()


def _evaluation_id(run: str, dataset: str) -> str:
    return studio().evaluations.id(studio().models.get(run), dataset, SPLIT)


def _progress(dataset: str, runs: Sequence[str]) -> None:
    states = [studio().evaluations.state(_evaluation_id(id, dataset)) for id in runs]
    left = [state for state in states if isinstance(state, EvaluationProgress)]
    if not left:
        st.rerun()
    working = max(left, key=lambda state: state.share)
    share = (len(runs) - len(left) + working.share) / len(runs)
    with st.container(horizontal=True, vertical_alignment="center"):
        text = _("{phase} · models left: {count}", phase=say(working.title), count=len(left))
        st.progress(min(share, 1.0), text=text)
        if st.button(_("Cancel"), icon=":material/close:", key="compare.cancel"):
            for id in runs:
                studio().evaluations.cancel(_evaluation_id(id, dataset))
            st.rerun()


# -- the verdict ----------------------------------------------------------------------------------------
def verdict_section(groups: Sequence[Group], evaluations: Evaluations) -> None:
    judged = [group for group in groups if any(run.id in evaluations for run in group.runs)]
    if len(judged) < 2:
        return
    metric, baseline = _options(judged, next(iter(evaluations.values())))
    if len(judged) > MAX_TESTED:
        st.info(_("Choose at most {count} to hear who is better.", count=MAX_TESTED), icon=":material/info:")
        return
    ids = tuple(tuple(evaluations[run.id].id for run in group.runs if run.id in evaluations) for group in judged)
    with refusals():
        with st.spinner(_("Comparing the answers row by row")):
            compared = _compare(str(studio().home), ids, metric.name, baseline)
        _show(judged, compared, metric)


@st.cache_resource(max_entries=64, show_spinner=False)
def _compare(home: str, ids: Sequence[Sequence[str]], metric: str, baseline: int) -> Comparison:
    """`home` is part of the name; an evaluation's id names all that decides its figures."""
    return studio().evaluations.compare(ids, [metric], baseline)


def _options(groups: Sequence[Group], evaluation: Evaluation) -> tuple[Metric, int]:
    known = {
        one.metric.name: one.metric for one in task_of(groups).row_metrics() if one.metric.name in evaluation.metrics
    }
    if st.session_state.get("compare.metric") not in known:
        st.session_state["compare.metric"] = default_metric(task_of(groups))
    names = {group.runs[0].id: group.name for group in groups}
    asked = st.query_params.get("baseline", "")
    if st.session_state.get("compare.baseline") not in names:
        st.session_state["compare.baseline"] = asked if asked in names else next(iter(names))
    with st.container(horizontal=True, gap="medium"):
        name = st.selectbox(
            _("Judged by"), list(known), format_func=lambda name: say(known[name].label), key="compare.metric",
            width=240, persist_state="session",
            help=_("Decide on one before you look: whoever looks at ten finds one by chance."),
        )  # fmt: skip
        first = st.selectbox(
            _("Baseline"), list(names), format_func=names.__getitem__, key="compare.baseline", width=360,
            persist_state="session", help=_("Everything else is compared with this one. It stays in the address."),
        )  # fmt: skip
    dataset = escape_markdown(title_of("dataset", evaluation.dataset))
    st.caption(_("On the {rows} test rows of {dataset}", rows=number_format.count(evaluation.rows), dataset=dataset))
    usual = first == next(iter(names))
    if not usual:
        st.query_params["baseline"] = first
    elif "baseline" in st.query_params:
        del st.query_params["baseline"]
    return known[name], list(names).index(first)


def _show(groups: Sequence[Group], compared: Comparison, metric: Metric) -> None:
    names = [group.letter for group in groups]
    verdicts = compared.verdicts
    if len(verdicts) == 1:
        st.subheader(
            escape_markdown(say(comparison.headline(verdicts[0], names, number_format.metric_value))), anchor=False
        )
        st.markdown(escape_markdown(_paragraph(comparison.evidence(verdicts[0]))))
    elif verdicts:
        st.subheader(escape_markdown(_summary(verdicts, groups, compared.reference)), anchor=False)
    if verdicts:
        _interval_chart(verdicts, groups, metric)
    if len(verdicts) > 1:
        with st.expander(_("Each comparison in words"), icon=":material/balance:"):
            for verdict in verdicts:
                parts = [comparison.headline(verdict, names, number_format.metric_value), *comparison.evidence(verdict)]
                st.markdown(escape_markdown(_paragraph(parts)))
    for number, refusal in compared.refused.items():
        st.caption(f":material/block: **{names[number]}** {escape_markdown(say(refusal.what))}")
    cautions = {say(words) for words in map(comparison.caution, verdicts) if words}
    for words in cautions:
        st.caption(escape_markdown(words))


def _paragraph(sentences: Sequence[Words]) -> str:
    return ("" if current() == "zh" else " ").join(map(say, sentences))


def _summary(verdicts: Sequence[Verdict], groups: Sequence[Group], reference: int) -> str:
    """'B and C beat A; D cannot be told from it.'"""
    lists: dict[str, list[str]] = {"better": [], "worse": [], "same": []}
    for verdict in verdicts:
        better = verdict.better
        lists["same" if better is None else "worse" if better == reference else "better"].append(
            groups[verdict.second].letter
        )
    sentences = {
        "better": _("Better than {baseline}: {names}."),
        "worse": _("Worse than {baseline}: {names}."),
        "same": _("No difference from {baseline} that these rows can show: {names}."),
    }
    filled = {"baseline": groups[reference].letter}
    told = [
        sentences[kind].format(**filled, names=number_format.join_list(names)) for kind, names in lists.items() if names
    ]
    return ("" if current() == "zh" else " ").join(told)


def _interval_chart(verdicts: Sequence[Verdict], groups: Sequence[Group], metric: Metric) -> None:
    """The difference of each from the baseline with its interval at 95 %: whatever crosses zero may be chance."""
    traces, scale = [], 100 if metric.percent else 1
    for verdict in verdicts:
        group, interval = groups[verdict.second], verdict.test.difference
        if not interval.low <= interval.high:
            continue
        traces.append(
            {
                "type": "scatter", "mode": "markers", "x": [scale * interval.value], "y": [group.letter],
                "error_x": {
                    "type": "data", "symmetric": False, "array": [scale * (interval.high - interval.value)],
                    "arrayminus": [scale * (interval.value - interval.low)], "thickness": 2, "width": 5,
                },
                "marker": {"size": 10, "symbol": "circle" if verdict.different else "circle-open"},
                "hovertemplate": "%{x:.3~g}<extra>" + group.name + "</extra>",
                "meta": {"colour": group.number},
            }
        )  # fmt: skip
    unit = _("points") if metric.percent else ""
    title = _(
        "{metric}: difference from {baseline}", metric=say(metric.label), baseline=groups[verdicts[0].first].letter
    )
    layout = {
        "xaxis": {"title": f"{title} ({unit})" if unit else title, "rangemode": "tozero", "zerolinewidth": 2},
        "yaxis": {"type": "category", "autorange": "reversed", "showgrid": False},
        "hovermode": "closest", "showlegend": False,
    }  # fmt: skip
    alt = _("The differences with their 95 % intervals")
    live_plot(traces, layout, key="compare.intervals", alt=alt, height=112 + 28 * max(len(traces), 1))
