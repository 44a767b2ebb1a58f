"""What a check's model is held against, measured on the same rows."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from benchmarks.quality import nearest, ngram
from benchmarks.quality.checks import Check
from bigmodel.core import catalog
from bigmodel.studio import home

if TYPE_CHECKING:
    import datasets
    from sklearn.feature_extraction.text import TfidfVectorizer

Figures = dict[str, dict[str, float]]  # name of the baseline -> metric -> value
STRENGTHS = (1.0, 3.0, 10.0, 30.0)  # how little a logistic regression is held back


def baselines(check: Check) -> Figures:
    """The figures of every baseline that the check's task has."""
    import datasets

    datasets.disable_progress_bars()
    measure = MEASURES.get(check.task)
    found = measure(check, catalog.dataset(check.dataset).rows()) if measure else {}
    writes = check.task in ("text-generation", "dialogue")  # a base can do that before it has learnt anything here
    return found | (_as_it_is(check) if "base" in check.settings and writes else {})


def _as_it_is(check: Check) -> Figures:
    """The base before it has seen any of the data."""
    from bigmodel.data.prepare import prepare

    spec = check.spec()
    session = replace(spec, settings={**spec.settings, "method": "full"}).resolve()
    settings, data = session.settings, prepare(session, home() / "cache")
    model = session.architecture.model(data.facts, settings)
    found = session.task.measure(model, data.processor, data.arrays["test"], settings, final=True)
    return {"the base as it is": found}


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


def colour_forest(rows: datasets.DatasetDict) -> Figures:
    """A random forest over the histogram of each colour."""
    from sklearn.ensemble import RandomForestClassifier

    forest = RandomForestClassifier(300, random_state=0).fit(_histograms(rows["train"]), rows["train"]["label"][:])
    score = float(forest.score(_histograms(rows["test"]), rows["test"]["label"][:]))
    return {"forest of colour histograms": {"accuracy": score}}


def _histograms(rows: datasets.Dataset):
    """(pictures, bins of all colours)."""
    import numpy as np

    return np.stack([np.asarray(image.convert("RGB").resize((32, 32)).histogram()) for image in rows["image"]])


def _pixels(rows: datasets.Dataset):
    """(pictures, pixels), float32."""
    import datasets
    import numpy as np
    from PIL import Image

    raw = rows.cast_column("image", datasets.Image(decode=False))["image"][:]
    return np.stack([np.asarray(Image.open(io.BytesIO(one["bytes"])), dtype=np.float32).ravel() for one in raw])


def _classes(check: Check, rows: datasets.DatasetDict) -> Figures:
    """Logistic regression over the TF-IDF of words, and of character sequences, as strong as does best on the
    validation split. Where words are not set apart by spaces, of character sequences alone."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    ways = {"characters": TfidfVectorizer(analyzer="char", ngram_range=(1, 3), min_df=2, sublinear_tf=True)}
    if not nearest.without_spaces(rows["train"]["text"][:]):
        ways = {
            "words": TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True),
            "characters": TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), min_df=2, sublinear_tf=True),
        }
    return {f"TF-IDF of {way}, logistic regression": _regression(vectors, rows) for way, vectors in ways.items()}


def _regression(vectors: TfidfVectorizer, rows: datasets.DatasetDict) -> dict[str, float]:
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import accuracy_score, f1_score

    known = vectors.fit_transform(rows["train"]["text"][:])
    seen = {split: vectors.transform(rows[split]["text"][:]) for split in ("validation", "test")}
    truth = {split: rows[split]["label"][:] for split in rows}
    fitted = [LogisticRegression(C=strength, max_iter=1000).fit(known, truth["train"]) for strength in STRENGTHS]
    best = max(fitted, key=lambda one: one.score(seen["validation"], truth["validation"]))
    guesses = best.predict(seen["test"])
    return {
        "accuracy": float(accuracy_score(truth["test"], guesses)),
        "f1": float(f1_score(truth["test"], guesses, average="macro")),
    }


HELD_BACK = 5.0  # of how many observations the unigram stands for in the bigram


def _answers(check: Check, rows: datasets.DatasetDict) -> Figures:
    """How well the tokens of the answers are foretold by how often they occur, and by the token before each: with the
    model's own tokenizer, since the loss depends on it."""
    from math import log

    from bigmodel.data.chat_tokens import ANSWER
    from bigmodel.data.prepare import prepare

    spec = check.spec()
    arrays = prepare(spec.resolve(), home() / "cache").arrays

    def pairs(split: str) -> list[tuple[int, int]]:
        tokens, kinds = arrays[split]["tokens"].tolist(), arrays[split]["kinds"].tolist()
        return [(tokens[at - 1], tokens[at]) for at in range(1, len(tokens)) if kinds[at] == ANSWER]

    seen, asked = pairs("train"), pairs("test")
    ones, twos = Counter(token for _before, token in seen), Counter(seen)
    before = Counter(token for token, _after in seen)
    vocabulary = int(max(arrays["train"]["tokens"].max(), arrays["test"]["tokens"].max())) + 1
    alone = {token: (ones[token] + 1) / (len(seen) + vocabulary) for token in {token for _before, token in asked}}
    after = [(twos[pair] + HELD_BACK * alone[pair[1]]) / (before[pair[0]] + HELD_BACK) for pair in asked]
    return {
        "1-gram": {"loss": -sum(log(alone[token]) for _before, token in asked) / len(asked)},
        "2-gram": {"loss": -sum(map(log, after)) / len(asked)},
    }


MEASURES: Mapping[str, Callable[[Check, datasets.DatasetDict], Figures]] = {
    "text-generation": _text,
    "translation": _translation,
    "image-classification": _pictures,
    "text-classification": _classes,
    "dialogue": _answers,
}
