"""The baseline of language modelling: a character n-gram model with interpolated modified Kneser-Ney smoothing.

Chen and Goodman, 'An Empirical Study of Smoothing Techniques for Language Modeling' (1998), section 3, with
the counts of Heafield et al., 'Scalable Modified Kneser-Ney Language Model Estimation' (2013):

    p(w|h) = (a(hw) - D(a(hw))) / a(h)  +  left(h) * p(w|h')        h' is h without its first symbol

a is the plain count for the highest order and for what begins a document, and below that the number of
different symbols seen before hw.  D takes one of three discounts by the size of the count.  left(h) is the
probability that the discounts left over.  Below order 1 stands the uniform distribution over the symbols.

What is predicted: every character of every document and, after each document, one end symbol. A character
that training has not seen is the unknown symbol, and then any one code point of Unicode, all equally likely.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

ORDERS = range(3, 8)
START, END, UNKNOWN, FIRST = 0, 1, 2, 3  # symbols that are no characters; the characters follow
UNSEEN_BITS = math.log2(sys.maxunicode + 1)  # to say which code point an unknown symbol stands for


@dataclass(frozen=True)
class Order:
    """The n-grams of one length, in the order of their keys: key = number of the context * symbols + last symbol."""

    keys: np.ndarray
    above_discount: np.ndarray  # a(hw) - D(a(hw)), for each key
    total: np.ndarray  # a(h), for each n-gram of the length below, which is the context
    left: np.ndarray  # left(h)

    def find(self, keys: np.ndarray) -> np.ndarray:
        """The numbers of n-grams by their keys, -1 for those never seen."""
        places = np.searchsorted(self.keys, keys)
        return np.where(self.keys[np.minimum(places, len(self.keys) - 1)] == keys, places, -1)


@dataclass(frozen=True)
class Ngram:
    """A fitted model."""

    characters: dict[str, int]
    orders: tuple[Order, ...]

    @property
    def symbols(self) -> int:
        return FIRST + len(self.characters)

    def probabilities(self, context: str, begins: bool = True) -> dict[str, float]:
        """What may follow `context`: each known character, '<end>' and '<unknown>'. They sum to 1.

        begins: the context stands at the beginning of a document, not in the middle of one.
        """
        head = ([START] if begins else []) + [self.characters.get(one, UNKNOWN) for one in context]
        rows = np.array([[*head, symbol] for symbol in range(END, self.symbols)])
        position = np.tile(np.arange(rows.shape[1]), len(rows))
        values = self.predict(rows.ravel(), position).reshape(rows.shape)[:, -1]
        return dict(zip(["<end>", "<unknown>", *self.characters], values.tolist(), strict=True))

    def predict(self, tokens: np.ndarray, position: np.ndarray) -> np.ndarray:
        """The probability of each token after those before it in its document; `position` counts from 0."""
        predictable = self.symbols - 1  # all but START
        answer = np.full(len(tokens), 1 / predictable)
        grams = np.zeros(len(tokens), dtype=np.int64)  # of length 0: there is one
        for length, order in enumerate(self.orders, 1):
            context = np.where(position >= length - 1, _before(grams) if length > 1 else 0, -1)
            seen = (context >= 0) & (order.total[context] > 0)
            grams = np.where(context >= 0, order.find(context * self.symbols + tokens), -1)
            own = np.where(grams >= 0, order.above_discount[grams], 0)
            total = np.maximum(order.total[context], 1)
            answer = np.where(seen, own / total + order.left[context] * answer, answer)
        return answer

    def bits(self, documents: Sequence[str]) -> float:
        """Bits a character over all characters and end symbols of the documents."""
        tokens, position = _tokens(documents, self.characters)
        asked = position > 0
        bits = -np.log2(self.predict(tokens, position)[asked]).sum()
        return float(bits + UNSEEN_BITS * (tokens == UNKNOWN).sum()) / int(asked.sum())

    def unseen(self, documents: Sequence[str]) -> float:
        """The share of characters and end symbols that are characters training has not seen."""
        tokens, position = _tokens(documents, self.characters)
        return float((tokens == UNKNOWN).sum() / (position > 0).sum())


def fit(documents: Sequence[str], length: int) -> Ngram:
    """The model whose longest n-grams have `length` symbols."""
    characters = {one: FIRST + index for index, one in enumerate(sorted(set().union(*documents)))}
    tokens, position = _tokens(documents, characters)
    counted = [_count(tokens, position, FIRST + len(characters), length)]
    raw = counted[0]
    orders = []
    for index, grams in enumerate(raw):
        counts = grams.counts
        if index < length - 1:  # different symbols seen before it; nothing stands before a beginning
            before = np.bincount(raw[index + 1].suffix, minlength=len(counts))
            counts = np.where(grams.begins, counts, before)
        counts = np.where(grams.last == START, 0, counts)  # a beginning is given, never predicted
        orders.append(_smooth(grams, counts, contexts=len(raw[index - 1].keys) if index else 1))
    return Ngram(characters, tuple(orders))


def bits_by_order(train: Sequence[str], test: Sequence[str], orders: Sequence[int] = ORDERS) -> dict[int, float]:
    """Bits a character on `test` of the models of several orders fitted to `train`."""
    return {order: fit(train, order).bits(test) for order in orders}


@dataclass(frozen=True)
class _Grams:
    """The different n-grams of one length with their counts."""

    keys: np.ndarray
    counts: np.ndarray
    context: np.ndarray  # number of the n-gram without its last symbol
    suffix: np.ndarray  # number of the n-gram without its first symbol
    last: np.ndarray  # its last symbol
    begins: np.ndarray  # whether it begins with START


def _count(tokens: np.ndarray, position: np.ndarray, symbols: int, length: int) -> list[_Grams]:
    found = []
    numbers = np.zeros(len(tokens), dtype=np.int64)
    for size in range(1, length + 1):
        places = np.flatnonzero(position >= size - 1)
        context = _before(numbers)[places] if size > 1 else np.zeros(len(places), dtype=np.int64)
        keys, first, inverse, counts = np.unique(
            context * symbols + tokens[places], return_index=True, return_inverse=True, return_counts=True
        )
        shown = places[first]  # where each was seen first
        found.append(_Grams(keys, counts, keys // symbols, numbers[shown], tokens[shown], position[shown] == size - 1))
        numbers = np.full(len(tokens), -1)
        numbers[places] = inverse
    return found


def _smooth(grams: _Grams, counts: np.ndarray, contexts: int) -> Order:
    discounts = _discounts(counts)
    taken = discounts[np.minimum(counts, 3)]
    total = np.bincount(grams.context, weights=counts, minlength=contexts)
    left = np.bincount(grams.context, weights=taken, minlength=contexts) / np.maximum(total, 1)
    return Order(grams.keys, counts - taken, total, left)


def _discounts(counts: np.ndarray) -> np.ndarray:
    """What is taken off a count of 0, 1, 2, and 3 or more."""
    number = [int((counts == size).sum()) for size in range(5)]
    ratio = number[1] / max(number[1] + 2 * number[2], 1)
    found = [0.0]
    for size in (1, 2, 3):
        modified = size - (size + 1) * ratio * number[size + 1] / max(number[size], 1)
        # where there is too little to estimate from, the one discount of Kneser and Ney for all counts
        found.append(modified if number[size] and number[size + 1] and 0 < modified < size else ratio or 0.5)
    return np.array(found)


def _tokens(documents: Sequence[str], characters: dict[str, int]) -> tuple[np.ndarray, np.ndarray]:
    """All documents as one array of symbols, each between START and END, and the place of each in its document."""
    rows = [[START, *(characters.get(one, UNKNOWN) for one in text), END] for text in documents]
    tokens = np.fromiter((one for row in rows for one in row), dtype=np.int64)
    return tokens, np.concatenate([np.arange(len(row)) for row in rows])


def _before(numbers: np.ndarray) -> np.ndarray:
    """What stood one place earlier."""
    return np.concatenate(([-1], numbers[:-1]))
