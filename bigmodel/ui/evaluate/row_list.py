"""The rows behind a figure, the hardest first, and one of them in full: what stands in it, what the model said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import streamlit as st

from bigmodel.core import catalog
from bigmodel.core.blocks import Scores
from bigmodel.evaluation.evaluation import Evaluation
from bigmodel.ui import number_format
from bigmodel.ui.data.transcript import format_cell
from bigmodel.ui.evaluate import row_filter
from bigmodel.ui.evaluate.slices_view import slice_name
from bigmodel.ui.image_widgets import gallery, thumbnail
from bigmodel.ui.language import _, escape_markdown, say
from bigmodel.ui.state import studio
from bigmodel.ui.try_it.render_blocks import render_blocks

PAGE_ROWS = 24
TOP_CLASSES = 5  # of an answer
MAX_CHARACTERS = 300  # of a text in the list


def row_list(evaluation: Evaluation, records: Mapping[str, Any], key: str) -> None:
    wanted = row_filter.chosen_filter(records)
    places = row_filter.rows_of(records, wanted)
    st.header(_("Rows"), anchor="rows")
    _filter_bar(records, wanted, key)
    st.markdown(f"**{escape_markdown(_sentence(evaluation, wanted, len(places)))}**")
    if not len(places):
        st.caption(_("No row is like that."))
        return
    pages = -(-len(places) // PAGE_ROWS)
    page = min(st.session_state.get(f"{key}.{wanted}.page", 1), pages)
    shown = places[(page - 1) * PAGE_ROWS : page * PAGE_ROWS]
    rows = studio().evaluations.rows(evaluation, [int(row) for row in np.asarray(records["row"])[shown]])
    by_number = dict(zip(dict.fromkeys(np.asarray(records["row"])[shown].tolist()), rows, strict=True))
    pairs = [(place, by_number[int(records["row"][place])]) for place in shown.tolist()]
    column = next((name for name, one in _columns(evaluation).items() if one.kind == "image"), "")
    chosen = (_gallery if column else _table)(evaluation, records, pairs, column, f"{key}.{wanted}.{page}")
    if pages > 1:
        st.pagination(pages, key=f"{key}.{wanted}.page")
    if chosen is not None:
        _detail(evaluation, records, *pairs[chosen])


def _columns(evaluation: Evaluation) -> Mapping[str, Any]:
    return catalog.dataset(evaluation.dataset).columns


def _filter_bar(records: Mapping[str, Any], wanted: str, key: str) -> None:
    """Back to all of them, or to the wrong ones."""
    if wanted == "all" and "predicted" not in records:
        return
    options = {"all": _("All")} | ({"wrong": _("Wrong")} if "predicted" in records else {})
    with st.container(horizontal=True, gap="small"):
        for name, label in options.items():
            st.button(
                label, key=f"{key}.filter.{name}", type="primary" if name == wanted else "secondary",
                on_click=row_filter.choose, args=(name,),
            )  # fmt: skip


def _sentence(evaluation: Evaluation, wanted: str, count: int) -> str:
    kind, *numbers = wanted.split(".")
    rows = number_format.count(count)
    names = [evaluation.classes[int(number)] for number in numbers] if kind in ("cell", "class") else []
    if kind == "cell" and names[0] == names[1]:
        return _("{name}, answered rightly: {rows} rows", name=names[0], rows=rows)
    if kind == "cell":
        return _("{right} taken for {answer}: {rows} rows", right=names[0], answer=names[1], rows=rows)
    if kind == "class":
        return _("{name}: {rows} rows", name=names[0], rows=rows)
    if kind == "confidence":
        low = 100 // row_filter.CONFIDENCE_BINS * int(numbers[0])
        return _("Answered with a probability of {low} to {high} %: {rows} rows", low=low, high=low + 10, rows=rows)
    if kind == "loss":
        return _("Part {number} of ten by loss: {rows} rows", number=int(numbers[0]) + 1, rows=rows)
    if kind == "slice":
        return _("{group}: {rows} rows", group=slice_name(evaluation, evaluation.slices[int(numbers[0])]), rows=rows)
    if kind == "wrong":
        return _("Answered wrongly: {rows} rows, the surest mistakes first", rows=rows)
    return _("All {rows} rows, the hardest first", rows=rows)


def _gallery(
    evaluation: Evaluation, records: Mapping, pairs: Sequence[tuple[int, dict]], column: str, key: str
) -> int | None:
    captions = [_answer_line(evaluation, records, place) for place, _row in pairs]
    pictures = [thumbnail(row[column], 96) for _place, row in pairs]
    names = [_("Row {number}: {answer}", number=row["row"], answer=line) for (_place, row), line in zip(pairs, captions, strict=True)]  # fmt: skip
    picked = gallery(pictures, names, key=f"{key}.gallery", label=_("Rows"), captions=captions)
    if picked is not None:
        st.session_state[f"{key}.picked"] = picked
    picked = st.session_state.get(f"{key}.picked")
    return picked if picked is not None and picked < len(pairs) else None


def _answer_line(evaluation: Evaluation, records: Mapping, place: int) -> str:
    right, answer = (evaluation.classes[int(records[name][place])] for name in ("label", "predicted"))
    sure = number_format.percent(float(np.max(records["probabilities"][place]))).replace(" ", "\u00a0")
    return f"{right} {sure}" if right == answer else f"{right} → {answer} {sure}"


def _table(
    evaluation: Evaluation, records: Mapping, pairs: Sequence[tuple[int, dict]], _column: str, key: str
) -> int | None:
    loss, learnt = row_filter.loss_of_rows(records), catalog.task(evaluation.task).required_columns
    texts = {name: column for name, column in _columns(evaluation).items() if column.kind == "text"}
    cells = {name: [_cut(format_cell(row[name], name)) for _place, row in pairs] for name in texts}
    table: dict[str, list] = {_("Row"): [row["row"] for _place, row in pairs]}
    table |= {say(column.label): cells[name] for name, column in texts.items() if name in learnt}
    if "answer" in records:
        table[_("Answer of the model")] = [_cut(records["answer"][place]) for place, _row in pairs]
    if "predicted" in records:
        table[_("Class")] = [evaluation.classes[int(records["label"][place])] for place, _row in pairs]
        table[_("Answer")] = [evaluation.classes[int(records["predicted"][place])] for place, _row in pairs]
        table[_("Probability")] = [100 * float(np.max(records["probabilities"][place])) for place, _row in pairs]
    table[_("Loss")] = [float(loss[place]) for place, _row in pairs]
    table |= {say(column.label): cells[name] for name, column in texts.items() if name not in learnt}
    config = {
        _("Row"): st.column_config.NumberColumn(width="small"),
        _("Probability"): st.column_config.NumberColumn(format="%.1f %%", width="small"),
        _("Loss"): st.column_config.NumberColumn(format="%.3f", width="small"),
    }
    chosen = st.dataframe(
        table, hide_index=True, key=f"{key}.table", on_select="rerun", selection_mode="single-row",
        column_config=config, row_height=44,
    )  # fmt: skip
    return chosen.selection.rows[0] if chosen.selection.rows else None


def _cut(text: str) -> str:
    return text if len(text) <= MAX_CHARACTERS else text[: MAX_CHARACTERS - 1] + "…"


def _detail(evaluation: Evaluation, records: Mapping, place: int, row: Mapping) -> None:
    """One row in full."""
    with st.container(border=True):
        st.markdown("**" + _("Row {number}", number=row["row"]) + "**")
        for name, column in _columns(evaluation).items():
            if column.kind == "image" and row[name] is not None:
                st.image(thumbnail(row[name], 160), width=160)
            elif column.kind == "text":
                st.caption(say(column.label))
                st.text(format_cell(row[name], name))
        if "answer" in records:
            st.caption(_("Answer of the model"))
            st.text(records["answer"][place])
        if "predicted" in records:
            st.caption(_answer_sentence(evaluation, records, place))
            probabilities = np.asarray(records["probabilities"][place])
            best = np.argsort(-probabilities, kind="stable")[:TOP_CLASSES]
            names = tuple(evaluation.classes[number] for number in best)
            scores = Scores(names, tuple(float(probabilities[number]) for number in best))
            render_blocks([scores], key=f"evaluate.row.{place}")
        loss = float(row_filter.loss_of_rows(records)[place])
        if "tokens" in records:
            tokens = number_format.count(float(records["tokens"][place]))
            st.caption(_("Loss {loss} a token, over {tokens} tokens.", loss=number_format.number(loss), tokens=tokens))


def _answer_sentence(evaluation: Evaluation, records: Mapping, place: int) -> str:
    right, answer = (int(records[name][place]) for name in ("label", "predicted"))
    if right == answer:
        return _("Right: {name}.", name=evaluation.classes[right])
    chance = number_format.percent(float(records["probabilities"][place][right]))
    return _("Labelled {name}, to which the model gives {chance}.", name=evaluation.classes[right], chance=chance)
