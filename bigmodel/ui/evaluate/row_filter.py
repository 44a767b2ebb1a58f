"""Which rows of an evaluation are looked at: named in the address, chosen by a click on a figure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import streamlit as st

CONFIDENCE_BINS, LOSS_BINS = 10, 10
KEY = "evaluate.rows"


def loss_of_rows(records: Mapping[str, Any]) -> np.ndarray:
    """(rows,): how far the answer is from the data, in nats; for texts, of a token."""
    if "loss" in records:
        return np.asarray(records["loss"], dtype=float)
    return np.asarray(records["nats"], dtype=float) / np.maximum(np.asarray(records["tokens"], dtype=float), 1)


def confidence_bins(records: Mapping[str, Any]) -> np.ndarray:
    """(rows,): the tenth that the probability of the answer lies in."""
    confidence = np.max(records["probabilities"], axis=1)
    return np.clip(np.ceil(confidence * CONFIDENCE_BINS).astype(int) - 1, 0, CONFIDENCE_BINS - 1)


def loss_bins(records: Mapping[str, Any]) -> np.ndarray:
    """(rows,): the tenth of the rows that a row belongs to, by its loss, 0 the lowest."""
    rank = np.argsort(np.argsort(loss_of_rows(records), kind="stable"), kind="stable")
    return rank * LOSS_BINS // max(len(rank), 1)


def default_filter(records: Mapping[str, Any]) -> str:
    return "wrong" if "predicted" in records else "all"


def chosen_filter(records: Mapping[str, Any]) -> str:
    """The filter that the address names, or else the default."""
    return valid_filter(records, str(st.query_params.get("rows", "")))


def valid_filter(records: Mapping[str, Any], name: str) -> str:
    """'all', 'wrong', 'cell.3.5' (class 3 taken for 5), 'class.3', 'confidence.7', 'loss.9' or 'slice.2'. What is none of
    these, or picks no row, is taken for the default."""
    mask = _mask(records, name)
    return name if mask is not None and mask.any() else default_filter(records)


def choose(name: str) -> None:
    st.query_params["rows"] = name


def rows_of(records: Mapping[str, Any], name: str) -> np.ndarray:
    """Their places in the records, the highest loss first."""
    mask = _mask(records, name)
    places = np.flatnonzero(mask) if mask is not None else np.arange(len(records["row"]))
    return places[np.argsort(-loss_of_rows(records)[places], kind="stable")]


def _mask(records: Mapping[str, Any], name: str) -> np.ndarray | None:
    """None for what cannot be asked of these records."""
    kind, *numbers = name.split(".")
    if not all(number.isdecimal() and len(number) < 6 for number in numbers):
        return None
    values = [int(number) for number in numbers]
    classes = "predicted" in records
    if kind == "all" and not values:
        return np.ones(len(records["row"]), dtype=bool)
    if kind == "loss" and len(values) == 1:
        return loss_bins(records) == values[0]
    if kind == "slice" and len(values) == 1 and "slices" in records and values[0] < records["slices"].shape[1]:
        return records["slices"][:, values[0]] == 1
    if not classes:
        return None
    label, predicted = np.asarray(records["label"]), np.asarray(records["predicted"])
    if kind == "wrong" and not values:
        return label != predicted
    if kind == "cell" and len(values) == 2:
        return (label == values[0]) & (predicted == values[1])
    if kind == "class" and len(values) == 1:
        return label == values[0]
    if kind == "confidence" and len(values) == 1:
        return confidence_bins(records) == values[0]
    return None
