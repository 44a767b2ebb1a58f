"""Which evaluation is looked at: a model, a data set with its columns, a part of it. Kept in the address."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from bigmodel.core import catalog
from bigmodel.core.model import Model
from bigmodel.ui.data.overview import split_titles
from bigmodel.ui.language import _, say
from bigmodel.ui.models.model_select import select_model
from bigmodel.ui.stable_selectbox import disambiguate, pin_choice
from bigmodel.ui.state import studio


@dataclass(frozen=True)
class Selection:
    """model: what is evaluated.  dataset: on whose rows.  split: which part of them."""

    model: Model
    dataset: str
    split: str

    @property
    def id(self) -> str:
        return studio().evaluations.id(self.model, self.dataset, self.split)


def select(models: list[Model]) -> Selection | None:
    """What the address asks for, else the newest model on its own test rows. None where there is no data to measure on."""
    columns = st.columns([4, 3, 3], gap="medium")
    with columns[0]:
        model = select_model(models, "evaluate")
    with columns[1]:
        dataset = _select_dataset(model)
    with columns[2]:
        split = _select_split()
    return Selection(model, dataset, split) if dataset else None


def _select_dataset(model: Model) -> str:
    """Those with the columns of its task; its own first."""
    task = catalog.task(model.task)
    fitting = catalog.datasets_for(task)
    names = sorted(fitting, key=lambda name: name != model.dataset)
    if not names:
        return ""
    titles = {name: say(catalog.dataset(name).title) for name in names}
    lines = disambiguate(
        {
            name: _("{title} (its own)", title=title) if name == model.dataset else title
            for name, title in titles.items()
        }
    )
    key = f"evaluate.dataset.{model.id}"
    asked = st.query_params.get("dataset", "")
    pin_choice(key, lines, asked if asked in names else names[0])
    chosen = st.selectbox(_("Data set"), names, format_func=lines.__getitem__, key=key, persist_state="session")
    _keep("dataset", chosen if chosen != model.dataset else "")
    return chosen


def _select_split() -> str:
    titles = split_titles()
    asked = st.query_params.get("split", "")
    st.session_state.setdefault("evaluate.split", asked if asked in titles else "test")
    chosen = st.segmented_control(
        _("Part"), list(titles)[::-1], format_func=titles.__getitem__, key="evaluate.split", required=True,
        persist_state="session",
        help=_("The model has learnt from the training rows and was chosen by the validation rows. Only the test rows are new to it."),
    )  # fmt: skip
    _keep("split", chosen if chosen != "test" else "")
    return chosen


def _keep(name: str, value: str) -> None:
    if value:
        st.query_params[name] = value
    elif name in st.query_params:
        del st.query_params[name]
