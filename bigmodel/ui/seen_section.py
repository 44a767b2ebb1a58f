"""What a model sees of the data: tokens in colours and which of them count, labels, pictures after processing."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import replace

import streamlit as st

from bigmodel.core import catalog
from bigmodel.core.contracts import Dataset, fits
from bigmodel.core.errors import Refusal
from bigmodel.core.spec import RunSpec
from bigmodel.studio import Seen
from bigmodel.ui import amounts, charts
from bigmodel.ui.forecasts import forecasts
from bigmodel.ui.language import _, plain, say
from bigmodel.ui.picture import enlarged
from bigmodel.ui.seen_tokens import tokens
from bigmodel.ui.state import studio, token
from bigmodel.ui.trouble import show_refusal, show_trouble

LOOK_SECONDS = 0.7


def seen_of_dataset(dataset: Dataset) -> None:
    """By the first task that the data suits, with the settings that it begins with."""
    task = next((task for task in catalog.tasks().values() if fits(task, dataset=dataset)), None)
    if task is None:
        return
    networks = catalog.architectures_for(task)
    network = next((name for name, one in networks.items() if not getattr(one, "brings", ())), next(iter(networks)))
    st.header(_("What the model sees"))
    st.caption(
        _(
            "The first rows of the first batch, by {task} with {network} and its usual settings.",
            task=say(task.title),
            network=say(networks[network].title),
        )
    )
    spec = RunSpec.check({"task": task.name, "architecture": network, "dataset": dataset.name})
    seen_section(spec, f"seen.{dataset.name}")


def seen_section(spec: RunSpec, key: str) -> None:
    """On demand: encoding the data may take a while, and is kept for the training."""
    if not st.toggle(_("Show it"), key=key):
        return
    _wait_or_show(replace(spec, name=""), key)


def _wait_or_show(spec: RunSpec, key: str) -> None:
    future = forecasts(studio().seen).of(spec, token("session"))
    if not future.done():
        st.fragment(_waiting, run_every=LOOK_SECONDS)(spec)
        return
    if future.cancelled():
        st.rerun()
    problem = future.exception()
    if problem is None:
        _show(future.result(), spec, key)
    elif isinstance(problem, Refusal):
        show_refusal(problem)
    else:
        show_trouble(problem)


def _waiting(spec: RunSpec) -> None:
    if forecasts(studio().seen).of(spec, token("session")).done():
        st.rerun()
    st.caption(_(":shimmer[The rows are being encoded]"))


def _show(found: Seen, spec: RunSpec, key: str) -> None:
    names = _kinds()
    if any(one["picture"] for one in found.examples):
        _pictures(found)
    else:
        st.caption(_("Blue: what the model has to guess, and is corrected by. Grey: what it only reads."))
        for number, one in enumerate(found.examples):
            with st.container(border=True):
                _example(one, number, names, f"{key}.{number}")
    _facts(found)
    dataset = catalog.dataset(spec.dataset)
    grid = st.grid(2, min_column_width=320, gap="medium") if found.lengths else None
    for name, bins in found.lengths.items():
        label = say(dataset.columns[name].label)
        with grid.cell():
            st.markdown(f"**{plain(label)}**")
            charts.histogram(
                [tuple(bar) for bar in bins],
                key=f"{key}.lengths.{name}",
                title=_("Tokens"),
                alt=_("How many texts of {column} have how many tokens", column=label),
            )


def _kinds() -> dict[str, str]:
    return {
        "counts": _("counts in the loss"),
        "context": _("is read, does not count"),
        "special": _("a sign of the tokenizer's own"),
        "unknown": _("unknown to the tokenizer"),
        "padding": _("padding, is not looked at"),
    }


def _parts() -> dict[str, str]:
    return {"text": _("Text"), "source": _("Is read"), "target": _("Has to be written")}


def _example(one: Mapping, number: int, names: dict[str, str], key: str) -> None:
    for name, part in one["parts"].items():
        if len(one["parts"]) > 1:
            st.caption(_parts()[name])
        alt = _("Tokens of example {number}: {part}", number=number + 1, part=_parts()[name])
        tokens(part, key=f"{key}.{name}", alt=alt, names=names)
        if one["cut"][name]:
            st.caption(_("{count} more tokens", count=amounts.count(one["cut"][name])))
    if one["label"]:
        st.badge(_("Class: {name}", name=plain(one["label"])), icon=":material/label:")


def _pictures(found: Seen) -> None:
    with st.grid("auto", min_column_width=120, gap="small"):
        for one in found.examples:
            st.image(
                enlarged(base64.b64decode(one["picture"])),
                caption=one["label"],
                width=112,
                alt=_("The picture as the model sees it: {name}", name=one["label"]),
            )


def _facts(found: Seen) -> None:
    shapes = {name: " x ".join(map(str, shape)) for name, shape in found.shapes.items()}
    said = [_("A batch: {shapes}", shapes=", ".join(f"{name} {shape}" for name, shape in shapes.items()))]
    if found.vocabulary:
        said.append(_("{count} tokens in the vocabulary", count=amounts.count(found.vocabulary)))
        said.append(_("{share} of the tokens unknown", share=amounts.percent(found.unknown)))
    st.caption(plain(" · ".join(said)))
