"""The baselines of translation: copying the source, and the translation of the most similar training sentence."""

from __future__ import annotations

from collections.abc import Sequence

BLOCK = 500  # test sentences compared at a time: 500 x 40,000 similarities are 160 MB


def nearest(train_sources: Sequence[str], train_targets: Sequence[str], sources: Sequence[str]) -> list[str]:
    """For each source the target of the training pair whose source is most like it.

    Likeness is the cosine of TF-IDF vectors of character n-grams: 3 to 5 characters, and for languages
    written without spaces, where a word is one or two characters, 1 to 3. The first of equals is taken.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    lengths = (1, 3) if without_spaces(train_sources) else (3, 5)
    vectors = TfidfVectorizer(analyzer="char", ngram_range=lengths, sublinear_tf=True)
    known = vectors.fit_transform(train_sources).T.tocsc()
    asked = vectors.transform(sources)
    best = []
    for start in range(0, len(sources), BLOCK):
        alike = (asked[start : start + BLOCK] @ known).toarray()
        best.extend(train_targets[place] for place in alike.argmax(axis=1))
    return best


def baselines(train: Sequence[tuple[str, str]], test: Sequence[tuple[str, str]]) -> dict[str, dict[str, float]]:
    """BLEU and chrF of both baselines on pairs of (source, target), counted as those of a model are."""
    from bigmodel.metrics.bleu import bleu_and_chrf

    sources, references = (list(column) for column in zip(*test, strict=True))
    train_sources, train_targets = (list(column) for column in zip(*train, strict=True))
    return {
        "copying": bleu_and_chrf(sources, references),
        "nearest pair": bleu_and_chrf(nearest(train_sources, train_targets, sources), references),
    }


def without_spaces(texts: Sequence[str]) -> bool:
    text = "".join(texts[:1000])
    return sum("぀" <= one <= "鿿" for one in text) > len(text) / 4
