"""What was measured: the headline with its interval and baseline, then every metric with what it means."""

from __future__ import annotations

import streamlit as st

from bigmodel.core import catalog
from bigmodel.core.contracts import SPLITS, Metric
from bigmodel.core.model import Model
from bigmodel.evaluation.evaluation import Evaluation, MetricValue, default_metric
from bigmodel.ui import number_format
from bigmodel.ui.data.overview import split_titles
from bigmodel.ui.error_view import refusals
from bigmodel.ui.language import _, escape_markdown, say
from bigmodel.ui.runs.resume_branch import disabled_if_read_only
from bigmodel.ui.state import studio
from bigmodel.ui.train.selection import title_of

MISSING = MetricValue(None)


def headline(evaluation: Evaluation) -> None:
    """The figure that people of this task speak of, how sure it is, and what the simplest answer would give."""
    metric = first_metric(evaluation)
    measured = evaluation.metrics.get(metric.name, MISSING)
    if measured.value is None:
        return
    said = _(
        "{metric} **{value}** · {split}, {rows} rows of {dataset}",
        metric=say(metric.label), value=number_format.metric_value(metric, measured.value),
        rows=number_format.count(evaluation.rows), split=split_titles()[evaluation.split],
        dataset=escape_markdown(title_of("dataset", evaluation.dataset)),
    )  # fmt: skip
    st.subheader(said, anchor=False)
    sentences = []
    if measured.low is not None and measured.high is not None:
        sentences.append(
            _(
                "95 % confidence interval: {low} to {high}.",
                low=number_format.metric_value(metric, measured.low),
                high=number_format.metric_value(metric, measured.high),
            )
        )
    baseline = evaluation.baseline.get(metric.name)
    if baseline is not None and evaluation.baseline_title:
        sentences.append(
            _(
                "{baseline}: {value}.",
                baseline=say(evaluation.baseline_title),
                value=number_format.metric_value(metric, baseline),
            )
        )
    st.markdown(" ".join(sentences))
    if baseline is not None and not _beats(metric, measured, baseline):
        st.warning(
            _("On these rows the model is not shown to do better than that. Train longer, or give it more data."),
            icon=":material/trending_flat:",
        )


def first_metric(evaluation: Evaluation) -> Metric:
    task = catalog.task(evaluation.task)
    return next(one.metric for one in task.row_metrics() if one.metric.name == default_metric(task))


def _beats(metric: Metric, measured: MetricValue, baseline: float) -> bool:
    if measured.low is None or measured.high is None:
        return True
    return measured.low > baseline if metric.higher_is_better else measured.high < baseline


def metric_table(evaluation: Evaluation) -> None:
    """Every metric: value, interval, baseline, and in a sentence what it means."""
    metrics = [one.metric for one in catalog.task(evaluation.task).row_metrics()]
    shown = [metric for metric in metrics if evaluation.metrics.get(metric.name, MISSING).value is not None]
    with st.grid(len(shown), min_column_width=158, gap="small"):
        for metric in shown:
            measured = evaluation.metrics[metric.name]
            help = say(metric.help)
            baseline = evaluation.baseline.get(metric.name)
            if baseline is not None and evaluation.baseline_title:
                compared = number_format.metric_value(metric, baseline)
                help += "\n\n" + _("{baseline}: {value}.", baseline=say(evaluation.baseline_title), value=compared)
            st.metric(
                say(metric.label), number_format.metric_value(metric, measured.value), delta=_interval(metric, measured),
                delta_color="off", delta_arrow="off", border=True, help=help,
            )  # fmt: skip


def _interval(metric: Metric, measured: MetricValue) -> str | None:
    if measured.low is None or measured.high is None:
        return None
    low, high = (number_format.metric_value(metric, value) for value in (measured.low, measured.high))
    return f"{low.removesuffix(' %')} – {high}"


def other_parts(evaluation: Evaluation, model: Model) -> None:
    """The same measure on the other parts: how much better it does on what it has learnt from. The curves cannot say so, as
    the training loss is measured while the network learns, with dropout, augmentation and smoothing."""
    metric, measured = first_metric(evaluation), {}
    for split in SPLITS:
        other = studio().evaluations.find(model, evaluation.dataset, split)
        if other is not None and other.metrics.get(metric.name, MISSING).value is not None:
            measured[split] = other.metrics[metric.name]
    titles = split_titles()
    if len(measured) > 1:
        values = [
            f"{titles[split]} **{number_format.metric_value(metric, one.value)}** ({_interval(metric, one)})"
            for split, one in measured.items()
        ]
        st.markdown(_("{metric} by the same measure: {values}", metric=say(metric.label), values=" · ".join(values)))
    if "train" not in measured and evaluation.dataset == model.dataset:
        st.button(
            _("Measure the training rows too"), icon=":material/compare_arrows:", key="evaluate.train", type="tertiary",
            help=_("How much better the model does on rows that it has learnt from: what it knows by heart."),
            on_click=_begin, args=(model, evaluation.dataset), **disabled_if_read_only(),
        )  # fmt: skip


def _begin(model: Model, dataset: str) -> None:
    st.session_state["evaluate.split"] = "train"
    with refusals():
        studio().evaluations.begin(model.id, dataset, "train")


def provenance(evaluation: Evaluation) -> None:
    with st.expander(_("How this was measured"), icon=":material/verified:"):
        st.markdown(
            _(
                "The intervals come from {draws} resamples of the rows (BCa bootstrap). The same model, rows and versions give the same figures to the digit.",
                draws=number_format.count(1000),
            )
        )
        st.code(f"python -m bigmodel evaluate {evaluation.model} --split {evaluation.split}", language="bash")
        st.table(dict(evaluation.provenance), border="horizontal")
