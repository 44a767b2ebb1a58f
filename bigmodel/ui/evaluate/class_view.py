"""Answers that are classes: which are taken for which, how good each is, how far the probabilities can be trusted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import streamlit as st

from bigmodel.ui import number_format
from bigmodel.ui.evaluate import row_filter
from bigmodel.ui.language import _, escape_markdown
from bigmodel.ui.runs.live_plot import live_plot

MAX_CLASSES = 20  # of the matrix: of more, those that are mistaken most often
MAX_NAME = 20  # letters of a class on an axis
CONFUSED_PAIRS = 6  # buttons


def class_view(records: Mapping[str, Any], classes: Sequence[str], key: str) -> None:
    label, predicted = np.asarray(records["label"]), np.asarray(records["predicted"])
    counts = np.zeros((len(classes), len(classes)), dtype=int)
    np.add.at(counts, (label, predicted), 1)
    left, right = st.columns([6, 5], gap="large")
    with left:
        _matrix(counts, classes, key)
    with right:
        _confused_pairs(counts, classes, key)
        _confidence(records, key)
    _per_class(counts, classes, key)


# -- which is taken for which ----------------------------------------------------------------------------
def _matrix(counts: np.ndarray, classes: Sequence[str], key: str) -> None:
    st.markdown(
        "**" + _("What is taken for what") + "**",
        help=_("A row for each class, a column for each answer. The diagonal is right; what stands beside it is mistaken. A click shows the rows."),
    )  # fmt: skip
    mistakes = counts.sum(0) + counts.sum(1) - 2 * np.diag(counts)
    shown = np.sort(np.argsort(-mistakes, kind="stable")[:MAX_CLASSES])
    part = counts[np.ix_(shown, shown)]
    names = [f"{number + 1} {_short(classes[number])}" for number in shown]  # numbered: no two alike, in their order
    share = part / np.maximum(counts.sum(1)[shown][:, None], 1)
    diagonal = np.eye(len(shown), dtype=bool)
    text = [[number_format.count(value) if value else "" for value in row] for row in part.tolist()]
    wrong = np.where(diagonal | (part == 0), np.nan, share)
    traces = [
        _heatmap(np.where(diagonal, share, np.nan), names, text, 0, 1.0),
        _heatmap(wrong, names, text, 1, max(float(np.nanmax(wrong, initial=0.0)), 0.05)),
    ]
    axis = {"type": "category", "showgrid": False, "fixedrange": True, "tickangle": 0 if len(shown) <= 4 else -40}
    layout = {
        "xaxis": axis | {"title": _("Answer of the model")},
        "yaxis": {"type": "category", "autorange": "reversed", "showgrid": False, "fixedrange": True},
        "showlegend": False,
        "hovermode": "closest",
    }
    clicked = live_plot(
        traces, layout, key=f"{key}.matrix", height=max(300, 110 + 27 * len(shown)), clickable=True,
        alt=_("Confusion matrix of {count} classes", count=len(classes)),
    )  # fmt: skip
    if clicked and clicked["y"] in names and clicked["x"] in names:
        row, column = shown[names.index(clicked["y"])], shown[names.index(clicked["x"])]
        row_filter.choose(f"cell.{row}.{column}")
        st.rerun()
    if len(shown) < len(classes):
        st.caption(
            _("The {count} classes that are mistaken most often, of {total}.", count=len(shown), total=len(classes))
        )


def _heatmap(values: np.ndarray, names: Sequence[str], text: list, colour: int, top: float) -> dict:
    """NaN is left open."""
    return {
        "type": "heatmap",
        "x": list(names),
        "y": list(names),
        "z": [[None if np.isnan(value) else round(value, 4) for value in row] for row in values.tolist()],
        "text": text,
        "texttemplate": "%{text}",
        "hovertemplate": "%{y} → %{x}<br>%{text} · %{z:.1%}<extra></extra>",
        "hoverongaps": False,
        "zmin": 0,
        "zmax": top,
        "xgap": 2,
        "ygap": 2,
        "meta": {"colour": colour},
    }


def _short(name: str) -> str:
    return name if len(name) <= MAX_NAME else name[: MAX_NAME - 1] + "…"


def _confused_pairs(counts: np.ndarray, classes: Sequence[str], key: str) -> None:
    """The commonest mistakes in words, each the way to its rows: what the matrix shows, for who has no mouse."""
    wrong = counts * ~np.eye(len(classes), dtype=bool)
    order = np.argsort(-wrong, axis=None, kind="stable")[:CONFUSED_PAIRS]
    pairs = [(int(place) // len(classes), int(place) % len(classes)) for place in order if wrong.flat[place]]
    if not pairs:
        st.success(_("No row of these is answered wrongly."), icon=":material/check_circle:")
        return
    st.markdown("**" + _("The commonest mistakes") + "**")
    with st.container(gap="xxsmall"):
        for right, answered in pairs:
            share = number_format.percent(counts[right, answered] / counts[right].sum())
            words = _(
                "{right} taken for {answer}: {count} ({share})",
                right=classes[right], answer=classes[answered], count=int(counts[right, answered]), share=share,
            )  # fmt: skip
            st.button(
                escape_markdown(words), key=f"{key}.pair.{right}.{answered}", type="tertiary", wrap=True,
                icon=":material/arrow_right:", on_click=row_filter.choose, args=(f"cell.{right}.{answered}",),
            )  # fmt: skip


# -- how good each is ------------------------------------------------------------------------------------
def _per_class(counts: np.ndarray, classes: Sequence[str], key: str) -> None:
    hits, answered, right = np.diag(counts), counts.sum(0), counts.sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        precision, recall = hits / answered, hits / right
        f1 = 2 * hits / (answered + right)
    order = np.argsort(np.nan_to_num(f1, nan=2.0), kind="stable")
    with st.expander(_("Each class, the weakest first"), icon=":material/format_list_numbered:"):
        table = {
            _("Class"): [classes[number] for number in order],
            _("Rows"): right[order].tolist(),
            _("Class precision"): (100 * precision[order]).tolist(),
            _("Recall"): (100 * recall[order]).tolist(),
            _("F1"): (100 * f1[order]).tolist(),
        }
        percent = st.column_config.NumberColumn(format="%.1f %%")
        chosen = st.dataframe(
            table, hide_index=True, key=f"{key}.classes", on_select="rerun", selection_mode="single-row",
            column_config={name: percent for name in list(table)[2:]},
        )  # fmt: skip
        if chosen.selection.rows:
            row_filter.choose(f"class.{order[chosen.selection.rows[0]]}")


# -- how far the probabilities can be trusted ---------------------------------------------------------------
def _confidence(records: Mapping[str, Any], key: str) -> None:
    """Right and wrong answers by how sure the model was."""
    bins = row_filter.confidence_bins(records)
    hit = np.asarray(records["label"]) == np.asarray(records["predicted"])
    tenths = range(row_filter.CONFIDENCE_BINS)
    names = [f"≤ {10 * tenth + 10}" for tenth in tenths]
    right, wrong = ([int(((bins == tenth) & (hit == kind)).sum()) for tenth in tenths] for kind in (True, False))
    st.markdown(
        "**" + _("How sure it was") + "**",
        help=_("By the probability that the model gives its answer. A model that can be taken at its word is wrong rarely where it is sure. A click shows the rows."),
    )  # fmt: skip
    traces = [
        {"type": "bar", "name": label, "x": names, "y": values, "meta": {"colour": colour}}
        for label, values, colour in ((_("Right"), right, 0), (_("Wrong"), wrong, 1))
    ]
    layout = {
        "barmode": "stack",
        "xaxis": {"type": "category", "title": _("Probability of the answer (%)"), "showgrid": False},
        "bargap": 0.15,
    }
    sure = bins == row_filter.CONFIDENCE_BINS - 1
    clicked = live_plot(
        traces, layout, key=f"{key}.confidence", height=210, clickable=True,
        alt=_("Right and wrong answers by the probability of the answer"),
    )  # fmt: skip
    if sure.any():
        st.caption(
            _(
                "Where it is more than 90 % sure it is right {share} of the time ({count} rows).",
                share=number_format.percent(hit[sure].mean()), count=number_format.count(sure.sum()),
            )
        )  # fmt: skip
    if clicked and clicked["x"] in names:
        row_filter.choose(f"confidence.{names.index(clicked['x'])}")
        st.rerun()
