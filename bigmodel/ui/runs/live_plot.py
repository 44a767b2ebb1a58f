"""A chart that is redrawn in place: `Plotly.react` on the same element keeps the zoom and does not flicker.

`st.plotly_chart` builds the chart anew at each datum, which loses the zoom every second of a run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import plotly
import streamlit as st

from bigmodel.ui.language import _, current

HERE = Path(__file__).parent
PLOTLY_PATH = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
PLOTLY_URL = f"/assets/plotly-{plotly.__version__}.min.js"

_component = st.components.v2.component(
    "bigmodel_live_plot",
    html='<div class="live-plot" role="group"></div>',
    css=(HERE / "live_plot.css").read_text(encoding="utf-8"),
    js=(HERE / "live_plot.js").read_text(encoding="utf-8"),
    isolate_styles=False,
)


def live_plot(
    traces: Sequence[Mapping],
    layout: Mapping,
    *,
    key: str,
    alt: str,
    height: int = 260,
    view: str = "",
    clickable: bool = False,
) -> Mapping | None:
    """Draw the traces. `alt` says what is seen for those who cannot; a change of `view` forgets the zoom. Of one that is
    clickable, {x, y, curve} of the point that was clicked just now: whoever has no mouse needs another way.

    A trace names its colour by its place in the theme's palette: {"meta": {"colour": 0, "opacity": 0.3}}.
    """
    base = (st.get_option("server.baseUrlPath") or "").strip("/")
    result = _component(
        key=key,
        height=height,
        on_clicked_change=lambda: None,
        data={
            "plotly": f"/{base}{PLOTLY_URL}" if base else PLOTLY_URL,
            "traces": list(traces),
            "layout": dict(layout),
            "alt": alt,
            "height": height,
            "view": f"{key} {view}",
            "clickable": clickable,
            "language": current(),
            "words": {
                "Zoom": _("Zoom"),
                "Pan": _("Pan"),
                "Reset axes": _("Whole chart"),
                "Autoscale": _("Whole chart"),
                "Download plot as a PNG": _("Save as a picture"),
            },
        },
    )
    return result.clicked
