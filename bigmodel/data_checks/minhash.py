"""Texts that are nearly the same, found by minhash (Broder 1997) over character triples, with numpy alone."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

JACCARD_THRESHOLD = 0.75  # of the triples of two texts together, those they share
SHINGLE_SIZE = 3
BANDS, ROWS_PER_BAND = 20, 5  # texts that agree in one band of 5 of 100 minima are compared
ESTIMATE_MARGIN = 0.12  # an estimate from 100 minima is at most this far off, nearly always
CHUNK_SHINGLES = 2**18  # triples worked on at a time: they stay in the processor's cache
MIN_CHARACTERS = 20  # characters; of shorter texts only equal ones are twins
MAX_CHARACTERS = 20_000  # characters of a text that are compared
BOILERPLATE_SHARE, BOILERPLATE_COUNT = (
    0.02,
    20,
)  # of the texts, and so many of them, that share a line: then it is a form's
NON_WORD = re.compile(r"[\W_]+")


def normalize(text: str) -> str:
    """What is left of a text without case, width, punctuation and spaces."""
    return NON_WORD.sub("", unicodedata.normalize("NFKC", text).casefold())


def find_near_duplicates(texts: Sequence[str]) -> dict[int, dict[int, float]]:
    """Place -> places of other texts that are nearly the same -> how alike they are, 1 for equal."""
    found: dict[int, dict[int, float]] = defaultdict(dict)
    first: dict[str, int] = {}
    for index, text in enumerate(texts):
        earlier = first.setdefault(text, index)
        if earlier != index and text:
            found[earlier][index] = found[index][earlier] = 1.0
    places = [place for text, place in first.items() if len(text) >= MIN_CHARACTERS]
    for one, other, alike in _similar_pairs([texts[place][:MAX_CHARACTERS] for place in places]):
        found[places[one]][places[other]] = found[places[other]][places[one]] = alike
    return dict(found)


def without_boilerplate(texts: Sequence[str]) -> list[str]:
    """Without the lines that stand in many of the texts: what is filled into a form makes them differ, however little it is."""
    lines = [text.split("\n") for text in texts]
    counts = Counter(line for some in lines for line in set(some))
    many = {line for line, count in counts.items() if count >= max(BOILERPLATE_SHARE * len(texts), BOILERPLATE_COUNT)}
    own = ("\n".join(line for line in some if line not in many) for some in lines)
    return [left if left.strip() else text for left, text in zip(own, texts, strict=True)]


def similar_in_every_part(
    found: Mapping[int, Mapping[int, float]], parts: Sequence[Sequence[str]]
) -> dict[int, dict[int, float]]:
    """Of the twins that were found those that are twins in each of their parts. `parts`: of each place."""
    left: dict[int, dict[int, float]] = defaultdict(dict)
    for one, others in found.items():
        for other, share in others.items():
            if one < other and all(map(_is_near_duplicate, parts[one], parts[other])):
                left[one][other] = left[other][one] = share
    return dict(left)


def _is_near_duplicate(one: str, other: str) -> bool:
    if one == other or min(len(one), len(other)) < MIN_CHARACTERS:
        return one == other
    return _jaccard(_shingles(one[:MAX_CHARACTERS]), _shingles(other[:MAX_CHARACTERS])) >= JACCARD_THRESHOLD


def _similar_pairs(texts: Sequence[str]) -> list[tuple[int, int, float]]:
    """Pairs of different texts with enough triples in common."""
    if len(texts) < 2:
        return []
    minima, shingles = _minhash_signatures(texts)
    pairs = _lsh_candidates(minima)
    if not len(pairs):
        return []
    estimate = np.concatenate(
        [(minima[part[:, 0]] == minima[part[:, 1]]).mean(1) for part in np.array_split(pairs, len(pairs) // 50_000 + 1)]
    )
    near = []
    for (one, other), guess in zip(pairs.tolist(), estimate.tolist(), strict=True):
        if guess < JACCARD_THRESHOLD - ESTIMATE_MARGIN:
            continue
        alike = guess if guess > JACCARD_THRESHOLD + ESTIMATE_MARGIN else _jaccard(shingles(one), shingles(other))
        if alike >= JACCARD_THRESHOLD:
            near.append((one, other, alike))
    return near


def _minhash_signatures(texts: Sequence[str]):
    """(minima (texts, 100) of uint32, a function: place -> its different triples as hashes)."""
    lengths = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))
    ends = np.cumsum(lengths)
    starts = ends - lengths
    random = np.random.default_rng(20)
    factors = random.integers(0, 2**31, BANDS * ROWS_PER_BAND, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
    masks = random.integers(0, 2**32, BANDS * ROWS_PER_BAND, dtype=np.uint32)
    minima = np.empty((len(texts), BANDS * ROWS_PER_BAND), dtype=np.uint32)
    begin = 0
    while begin < len(texts):
        end = max(int(np.searchsorted(ends, starts[begin] + CHUNK_SHINGLES, side="right")), begin + 1)
        hashes, places = _shingle_hashes(texts[begin:end], lengths[begin:end])
        for number in range(BANDS * ROWS_PER_BAND):
            minima[begin:end, number] = np.minimum.reduceat((hashes ^ masks[number]) * factors[number], places)
        begin = end
    return minima, lambda place: _shingles(texts[place])


def _shingles(text: str) -> np.ndarray:
    """The different triples of a text, as hashes."""
    return np.unique(_shingle_hashes([text], np.array([len(text)]))[0])


def _shingle_hashes(texts: Sequence[str], lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(a hash for each triple of characters, where each text's begin). Every text has at least one triple."""
    codes = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    values = (
        codes[:-2] * np.uint32(0x9E3779B1) + codes[1:-1] * np.uint32(0x85EBCA77) + codes[2:] * np.uint32(0xC2B2AE3D)
    )
    counts = lengths - (SHINGLE_SIZE - 1)
    inside = np.ones(len(codes), dtype=bool)
    ends = np.cumsum(lengths)
    inside[ends - 1] = inside[ends - 2] = False  # triples that would reach into the next text
    values = values[inside[: len(values)]]
    values ^= values >> np.uint32(16)  # each bit of the hash depends on each bit of the characters
    values *= np.uint32(0x7FEB352D)
    values ^= values >> np.uint32(15)
    values *= np.uint32(0x846CA68B)
    values ^= values >> np.uint32(16)
    return values, np.cumsum(counts) - counts


def _lsh_candidates(minima: np.ndarray) -> np.ndarray:
    """Pairs (one < other) that agree in all minima of a band. Of many that agree, each is paired with the first
    and with the one before it."""
    random = np.random.default_rng(21)
    factors = random.integers(1, 2**63, ROWS_PER_BAND, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    found = []
    for number in range(BANDS):
        band = minima[:, number * ROWS_PER_BAND : (number + 1) * ROWS_PER_BAND].astype(np.uint64)
        keys = (band * factors).sum(1, dtype=np.uint64)
        order = np.argsort(keys, kind="stable")
        same = keys[order][1:] == keys[order][:-1]
        if not same.any():
            continue
        after = np.flatnonzero(same) + 1
        begins = np.concatenate([[True], ~same])
        head = order[np.maximum.accumulate(np.where(begins, np.arange(len(order)), 0))]
        found += [np.stack([order[after - 1], order[after]], 1), np.stack([head[after], order[after]], 1)]
    if not found:
        return np.empty((0, 2), dtype=np.int64)
    pairs = np.sort(np.concatenate(found), axis=1)
    return np.unique(pairs[pairs[:, 0] != pairs[:, 1]], axis=0)


def _jaccard(one: np.ndarray, other: np.ndarray) -> float:
    shared = len(np.intersect1d(one, other, assume_unique=True))
    return shared / (len(one) + len(other) - shared)


def later_duplicates(twins: dict[int, dict[int, float]], among: Sequence[int]) -> dict[int, int]:
    """Of `among`, in order, those that resemble one that is kept -> the one they resemble."""
    kept: set[int] = set()
    gone: dict[int, int] = {}
    for place in among:
        like = next((other for other in sorted(twins.get(place, ())) if other in kept), None)
        if like is None:
            kept.add(place)
        else:
            gone[place] = like
    return gone
