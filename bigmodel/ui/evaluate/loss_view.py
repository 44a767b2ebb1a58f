"""Where the loss comes from: the rows in ten parts by their loss, each the way to its rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from bigmodel.ui import number_format
from bigmodel.ui.evaluate import row_filter
from bigmodel.ui.language import _
from bigmodel.ui.runs.live_plot import live_plot


def loss_view(records: Mapping[str, Any], key: str) -> None:
    loss, bins = row_filter.loss_of_rows(records), row_filter.loss_bins(records)
    tenths = [tenth for tenth in range(row_filter.LOSS_BINS) if (bins == tenth).any()]
    means = [float(loss[bins == tenth].mean()) for tenth in tenths]
    names = [str(tenth + 1) for tenth in tenths]
    st.markdown(
        "**" + _("Where the loss comes from") + "**",
        help=_("All rows in ten equal parts, from those that the model finds easiest to those that surprise it most. A click shows the rows."),
    )  # fmt: skip
    clicked = live_plot(
        [{"type": "bar", "x": names, "y": means, "name": _("Loss"), "meta": {"colour": 0}}],
        {"xaxis": {"type": "category", "showgrid": False, "title": _("Ten equal parts of the rows, the hardest last")}, "yaxis": {"title": _("Mean loss")}, "showlegend": False, "bargap": 0.15},
        key=f"{key}.loss", height=210, clickable=True, alt=_("Mean loss of the rows in ten parts"),
    )  # fmt: skip
    total = float(loss.sum())
    if total > 0 and len(tenths) == row_filter.LOSS_BINS:
        share = float(loss[bins == tenths[-1]].sum()) / total
        st.caption(_("The hardest tenth of the rows makes {share} of the loss.", share=number_format.percent(share)))
    if clicked and clicked["x"] in names:
        row_filter.choose(f"loss.{tenths[names.index(clicked['x'])]}")
        st.rerun()
