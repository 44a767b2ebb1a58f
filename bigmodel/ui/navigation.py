"""The pages there are, and the ways from one to another. Every link keeps the language in the URL."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import streamlit as st

from bigmodel.core.words import Words
from bigmodel.core.words import _ as words
from bigmodel.ui import language
from bigmodel.ui.language import say

PAGES_FOLDER = Path(__file__).parents[2] / "pages"


@dataclass(frozen=True)
class PageSpec:
    file: str
    title: Words
    icon: str
    help: Words
    default: bool = False


PAGE_SPECS = {
    "home": PageSpec(
        "home.py",
        words("Home"),
        ":material/home:",
        words("Three models that answer at once, and the way to a model of your own."),
        default=True,
    ),
    "data": PageSpec(
        "data.py", words("Data"), ":material/table_view:", words("Look at the data sets that come with bigmodel.")
    ),
    "train": PageSpec(
        "train.py",
        words("Train"),
        ":material/model_training:",
        words("Choose what to learn, from which data, with which network, and start."),
    ),
    "tune": PageSpec(
        "tune.py", words("Tune"), ":material/tune:", words("Have the best settings searched for you, and watch it.")
    ),
    "runs": PageSpec(
        "runs.py", words("Runs"), ":material/monitoring:", words("Watch training live and look back at earlier runs.")
    ),
    "compare": PageSpec(
        "compare.py",
        words("Compare"),
        ":material/balance:",
        words("Runs beside each other: curves, settings, and who is better by more than chance."),
    ),
    "evaluate": PageSpec(
        "evaluate.py",
        words("Evaluate"),
        ":material/rule:",
        words("How good a model is, how sure that is, and which rows it gets wrong."),
    ),
    "try": PageSpec("try_it.py", words("Try it"), ":material/play_circle:", words("Use a trained model.")),
    "models": PageSpec(
        "models.py",
        words("Models"),
        ":material/deployed_code:",
        words("What has been trained, how good it is, and where it lies."),
    ),
}


def page(name: str) -> st.Page:
    place = PAGE_SPECS[name]
    return st.Page(
        PAGES_FOLDER / place.file,
        title=say(place.title),
        icon=place.icon,
        help=say(place.help),
        url_path=name,
        default=place.default,
    )


def pages() -> list[st.Page]:
    return [page(name) for name in PAGE_SPECS]


def link(
    name: str, label: str | None = None, icon: str | None = None, width: str = "content", **parameters: str
) -> None:
    """A link that can also be opened in a new tab."""
    st.page_link(
        page(name),
        label=label,
        icon=icon,
        help="",
        width=width,
        query_params={**parameters, **language.url_parameters()},
    )


def go(name: str, **parameters: str) -> NoReturn:
    """Leave for another page, after a button."""
    st.switch_page(page(name), query_params={**parameters, **language.url_parameters()})
