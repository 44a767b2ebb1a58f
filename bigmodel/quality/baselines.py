"""What a check's model is held against, measured on the same rows."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from bigmodel.core import catalog
from bigmodel.quality import nearest, ngram
from bigmodel.quality.checks import Check

if TYPE_CHECKING:
    import datasets

Figures = dict[str, dict[str, float]]  # name of the baseline -> metric -> value


def baselines(check: Check) -> Figures:
    """The figures of every baseline that the check's task has."""
    import datasets

    datasets.disable_progress_bars()
    measure = MEASURES.get(check.task)
    return measure(check, catalog.dataset(check.dataset).rows()) if measure else {}


def _text(check: Check, rows: datasets.DatasetDict) -> Figures:
    bits = ngram.bits_by_order(rows["train"]["text"][:], rows["test"]["text"][:])
    return {f"{order}-gram": {"bits_per_character": value} for order, value in bits.items()}


def _translation(check: Check, rows: datasets.DatasetDict) -> Figures:
    columns = ("target", "source") if check.settings.get("direction") == "reverse" else ("source", "target")
    train, test = (
        list(zip(*(rows[split][column][:] for column in columns), strict=True)) for split in ("train", "test")
    )
    return nearest.baselines(train, test)


def _pictures(check: Check, rows: datasets.DatasetDict) -> Figures:
    """The class of the training picture whose pixels are nearest."""
    from sklearn.neighbors import KNeighborsClassifier

    known = KNeighborsClassifier(1, algorithm="brute").fit(_pixels(rows["train"]), rows["train"]["label"][:])
    return {"nearest picture": {"accuracy": float(known.score(_pixels(rows["test"]), rows["test"]["label"][:]))}}


def _pixels(rows: datasets.Dataset):
    """(pictures, pixels), float32."""
    import datasets
    import numpy as np
    from PIL import Image

    raw = rows.cast_column("image", datasets.Image(decode=False))["image"][:]
    return np.stack([np.asarray(Image.open(io.BytesIO(one["bytes"])), dtype=np.float32).ravel() for one in raw])


MEASURES: Mapping[str, Callable[[Check, datasets.DatasetDict], Figures]] = {
    "text-generation": _text,
    "translation": _translation,
    "image-classification": _pictures,
}
