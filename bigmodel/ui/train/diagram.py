"""A network's layers as a drawing, input on top; encoder and decoder stand beside each other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from bigmodel.core.contracts import Layer
from bigmodel.ui.language import _, say

HERE = Path(__file__).parent

_component = st.components.v2.component(
    "bigmodel_diagram",
    html='<div class="network"></div>',
    css=(HERE / "diagram.css").read_text(encoding="utf-8"),
    js=(HERE / "diagram.js").read_text(encoding="utf-8"),
)


def diagram(layers: Sequence[Layer], key: str) -> None:
    if not layers:
        return
    columns = [
        [
            {"label": say(layer.label), "detail": layer.detail, "times": layer.times}
            for layer in layers
            if layer.column == column
        ]
        for column in sorted({layer.column for layer in layers})
    ]
    titles = [_("Encoder"), _("Decoder")] if len(columns) == 2 else []
    _component(key=key, data={"columns": columns, "titles": titles, "alt": _("The network from input to output")})
