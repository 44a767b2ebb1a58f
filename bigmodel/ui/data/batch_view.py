"""What a model sees of the data: tokens in colours and which of them count, labels, pictures after processing."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, replace

import streamlit as st

from bigmodel.core import catalog
from bigmodel.core.contracts import Dataset
from bigmodel.core.jobs import CANCELLED
from bigmodel.core.spec import RunSpec
from bigmodel.core.words import Words
from bigmodel.data.model_view import BatchView
from bigmodel.ui import number_format
from bigmodel.ui.data.overview import tasks_of
from bigmodel.ui.data.processor_choice import processors, selected_processor
from bigmodel.ui.data.token_view import token_view
from bigmodel.ui.error_view import show_refusal, show_unexpected_error
from bigmodel.ui.image_widgets import thumbnail, upscale
from bigmodel.ui.language import _, escape_markdown, say
from bigmodel.ui.runs import charts
from bigmodel.ui.stable_selectbox import pin_choice
from bigmodel.ui.state import session_token, studio
from bigmodel.ui.train.forecast_queue import forecast_queue

REFRESH_SECONDS = 0.7


@dataclass(frozen=True)
class BatchRequest:
    """The first batch of a spec, or the row of a number."""

    spec: RunSpec
    row: int = 0

    def fingerprint(self) -> str:
        return f"{self.spec.fingerprint()}.{self.row}"


def dataset_batch_view(dataset: Dataset, row: int) -> None:
    """Of the row that was chosen, else of the first batch; by the task and the tokenizer that are chosen here."""
    tasks = tasks_of(dataset)
    if not tasks:
        return
    st.header(_("What the model sees"))
    key = f"seen.{dataset.name}"
    with st.container(horizontal=True, vertical_alignment="bottom"):
        task = tasks[0]
        if len(tasks) > 1:
            titles = {task.name: say(task.title) for task in tasks}
            pin_choice(f"{key}.task", titles, tasks[0].name)
            name = st.selectbox(_("Task"), list(titles), format_func=titles.__getitem__, key=f"{key}.task", width=240)
            task = next(task for task in tasks if task.name == name)
        known = processors(task)
        if len(known) > 1:
            label = _("Processed as for") if "image" in task.required_columns else _("Tokenizer of")
            pin_choice(f"{key}.{task.name}.processor", known, next(iter(known)))
            st.selectbox(
                label, list(known), format_func=known.__getitem__, key=f"{key}.{task.name}.processor", width=280
            )
    spec, name = selected_processor(dataset)
    if row:
        st.caption(_("Row {row}, as '{name}' gets it for {task}.", row=row, name=name, task=say(task.title)))
        _wait_or_show(BatchRequest(spec, row), f"{key}.row")
        return
    if "image" in task.required_columns:
        st.caption(_("Choose a picture above to see it as the model does; or look at the first batch."))
    else:
        st.caption(_("Choose a row above to see it as the model does; or look at the first rows of the first batch."))
    batch_view(spec, key)


def batch_view(spec: RunSpec, key: str) -> None:
    """On demand: encoding the data may take a while, and is kept for the training."""
    if not st.toggle(_("Show the first batch"), key=key):
        return
    _wait_or_show(BatchRequest(replace(spec, name="")), key)


def _load(asked: BatchRequest) -> BatchView:
    return studio().models.batch_view(asked.spec, asked.row)


def _wait_or_show(asked: BatchRequest, key: str) -> None:
    job = forecast_queue(_load).submit(asked, session_token("session"))
    if job.running:
        st.fragment(_placeholder, run_every=REFRESH_SECONDS)(asked)
        return
    if job.state == CANCELLED:
        st.rerun()
    if job.error is None:
        _show_batch(job.result, asked, key)
    elif job.refusal is not None:
        show_refusal(job.refusal)
    else:
        show_unexpected_error(job.error)


def _placeholder(asked: BatchRequest) -> None:
    if not forecast_queue(_load).submit(asked, session_token("session")).running:
        st.rerun()
    st.caption(_(":shimmer[The rows are being encoded]"))


def _show_batch(found: BatchView, asked: BatchRequest, key: str) -> None:
    names = _token_kind_labels()
    if any(example["picture"] for example in found.examples):
        _images(found, asked)
    else:
        kinds = {kind for example in found.examples for part in example["parts"].values() for *_rest, kind in part}
        if "counts" in kinds:
            st.caption(_("Blue: what the model has to guess, and is corrected by. Grey: what it only reads."))
        else:
            st.caption(_("Grey: what the model reads. What it has to guess is the class."))
        if "template" in kinds:
            st.caption(_("Dotted: what the chat template writes around what is said."))
        for number, one in enumerate(found.examples):
            with st.container(border=True):
                _example(one, number, names, f"{key}.{number}")
    _batch_facts(found, asked.row)
    dataset = catalog.dataset(asked.spec.dataset)
    grid = st.grid(2, min_column_width=320, gap="medium") if found.lengths else None
    for name, bins in found.lengths.items():
        label = say(dataset.columns[name].label)
        with grid.cell():
            st.markdown(f"**{escape_markdown(label)}**")
            charts.histogram(
                [tuple(bar) for bar in bins],
                key=f"{key}.lengths.{name}",
                title=_("Tokens"),
                alt=_("How many texts of {column} have how many tokens", column=label),
            )


def _token_kind_labels() -> dict[str, str]:
    return {
        "counts": _("counts in the loss"),
        "context": _("is read, does not count"),
        "template": _("written by the chat template, does not count"),
        "special": _("a sign of the tokenizer's own"),
        "unknown": _("unknown to the tokenizer"),
        "padding": _("padding, is not looked at"),
    }


def _part_labels() -> dict[str, str]:
    return {"text": _("Text"), "source": _("Is read"), "target": _("Has to be written")}


def _example(one: Mapping, number: int, names: dict[str, str], key: str) -> None:
    for name, part in one["parts"].items():
        if len(one["parts"]) > 1:
            st.caption(_part_labels()[name])
        alt = _("Tokens of example {number}: {part}", number=number + 1, part=_part_labels()[name])
        token_view(part, key=f"{key}.{name}", alt=alt, names=names)
        if one["cut"][name]:
            st.caption(_("{count} more tokens", count=number_format.count(one["cut"][name])))
    if one["label"]:
        st.badge(_("Class: {name}", name=escape_markdown(one["label"])), icon=":material/label:")


def _images(found: BatchView, asked: BatchRequest) -> None:
    with st.grid("auto", min_column_width=120, gap="small"):
        if asked.row:
            _original_image(asked)
        for example in found.examples:
            st.image(
                upscale(base64.b64decode(example["picture"])),
                caption=_("As the model sees it") if asked.row else example["label"],
                width=112,
                alt=_("The picture as the model sees it: {name}", name=example["label"]),
            )


def _original_image(asked: BatchRequest) -> None:
    """The picture before it was processed, to be held against the one after."""
    image = next(name for name, one in catalog.dataset(asked.spec.dataset).columns.items() if one.kind == "image")
    for row in studio().data.rows_by_number(asked.spec.dataset, [asked.row]):
        caption = _("As it is in the data")
        st.image(thumbnail(row[image], 112), caption=caption, width=112, alt=caption)


def _batch_facts(found: BatchView, row: int) -> None:
    for words in found.remarks:
        st.caption(f":material/info: {escape_markdown(say(Words.from_json(words)))}")
    shapes = {name: " x ".join(map(str, shape)) for name, shape in found.shapes.items()}
    listed = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
    said = [_("As arrays: {shapes}", shapes=listed) if row else _("A batch: {shapes}", shapes=listed)]
    if found.vocabulary:
        said.append(_("{count} tokens in the vocabulary", count=number_format.count(found.vocabulary)))
    if found.vocabulary and not row:
        said.append(_("{share} of the tokens unknown", share=number_format.percent(found.unknown)))
    st.caption(escape_markdown(" · ".join(said)))
    if found.sampled:
        counted = number_format.count(found.sampled)
        st.caption(_("Token counts are of a sample of {count} training rows.", count=counted))
