"""Groups of rows on which the model does worse than elsewhere, each the way to its rows."""

from __future__ import annotations

import streamlit as st

from bigmodel.core import catalog
from bigmodel.core.words import Words
from bigmodel.evaluation.evaluation import Evaluation
from bigmodel.metrics.paired_test import ALPHA
from bigmodel.metrics.slices import Slice
from bigmodel.ui import number_format
from bigmodel.ui.evaluate import row_filter
from bigmodel.ui.evaluate.figures import first_metric
from bigmodel.ui.language import _, escape_markdown, say

SHOWN = 6


def slices_view(evaluation: Evaluation, key: str) -> None:
    metric = first_metric(evaluation)
    st.markdown(
        "**" + _("Where it is weaker") + "**",
        help=_("Rows by their class, by columns with few values, by length. Told is only what is worse than as many rows drawn at random would be, corrected for looking at so many groups (Holm)."),
    )  # fmt: skip
    overall = evaluation.metrics[metric.name].value
    weak = [
        (number, part)
        for number, part in enumerate(evaluation.slices)
        if part.p < ALPHA and overall is not None and (part.score < overall) == metric.higher_is_better
    ]
    if not weak:
        st.caption(_("No group of rows is worse than chance would have it."))
        return
    with st.container(gap="xxsmall"):
        for number, part in weak[:SHOWN]:
            words = _(
                "{group}: {metric} {value} of {rows} rows",
                group=slice_name(evaluation, part), metric=say(metric.label),
                value=number_format.metric_value(metric, part.score), rows=number_format.count(part.rows),
            )  # fmt: skip
            st.button(
                escape_markdown(words), key=f"{key}.slice.{number}", type="tertiary", wrap=True,
                icon=":material/arrow_right:", on_click=row_filter.choose, args=(f"slice.{number}",),
            )  # fmt: skip


def slice_name(evaluation: Evaluation, part: Slice) -> str:
    """'Kind: 词', 'Text: 20 to 33 characters'."""
    column = catalog.dataset(evaluation.dataset).columns.get(part.column)
    label = say(column.label) if column is not None else part.column
    if not part.value:
        return _("{column}: {low} to {high} characters", column=label, low=part.low, high=part.high)
    value = part.value
    if column is not None and column.kind == "class" and value.isdecimal() and int(value) < len(evaluation.classes):
        value = evaluation.classes[int(value)]
    return _("{column}: {value}", column=label, value=say(Words(value)))
