"""What a tokenizer may do at most: how long it makes a text, how many steps its expressions take, what would make the
library panic or abort. Proved on its numbers; no library reads it."""

from __future__ import annotations

import base64
import binascii
import math
import struct
from collections.abc import Iterator, Mapping
from typing import Any

from bigmodel.base_models import check_regex

MAX_STEPS = 64  # of a normalizer, a pre-tokenizer, a decoder
MAX_REPLACEMENT_LENGTH = 200  # characters that a step may put in the place of others
MAX_GROWTH = 32.0  # times which a text may become longer
MAX_PADDING, MAX_MULTIPLE = 100_000, 1_024
MAX_ADDED_TOKENS, MAX_TOKEN_LENGTH = 20_000, 2_000
MAX_ID = 4_000_000
MAX_SPECIAL_IDS = 64  # that a post-processor puts round a text
CONTAINERS = {"Sequence": ("normalizers", "pretokenizers", "decoders", "processors")}
STEP_KINDS = frozenset({
    "Sequence", "BertNormalizer", "Strip", "StripAccents", "NFC", "NFD", "NFKC", "NFKD", "Lowercase", "Nmt", "Precompiled",
    "Replace", "Prepend", "ByteLevel", "BertPreTokenizer", "CharDelimiterSplit", "Metaspace", "Whitespace", "WhitespaceSplit",
    "Split", "Punctuation", "Digits", "UnicodeScripts", "FixedLength", "RandomChunkSplit", "BPEDecoder", "WordPiece", "CTC",
    "ByteFallback", "Fuse", "TemplateProcessing", "BertProcessing", "RobertaProcessing",
})  # fmt: skip
MODEL_KINDS = frozenset({"BPE", "WordPiece", "WordLevel", "Unigram"})


class Unsafe(Exception):
    """Why a tokenizer will not do."""


def check(tokenizer: Mapping) -> None:
    """Raises Unsafe."""
    for part in ("normalizer", "pre_tokenizer", "decoder", "post_processor"):
        steps = list(_steps(tokenizer.get(part)))
        if len(steps) > MAX_STEPS:
            raise Unsafe(f"'{part}' has {len(steps)} steps")
        if part == "post_processor":
            _check_special_tokens(steps)
        elif math.prod(map(_growth, steps)) > MAX_GROWTH:
            raise Unsafe("it makes texts longer without bound")
        for step in steps:
            _check_step(step)
    _check_padding(tokenizer)
    _check_added_tokens(tokenizer.get("added_tokens") or [])
    model = tokenizer.get("model")
    if not isinstance(model, Mapping):
        raise Unsafe("there is no model in it")
    _check_model(model)


def _steps(part: object, depth: int = 0) -> Iterator[Mapping]:
    """Each step of a part, those of sequences one by one."""
    if part is None:
        return
    if not isinstance(part, Mapping) or str(part.get("type")) not in STEP_KINDS or depth > 8:
        kind = part.get("type") if isinstance(part, Mapping) else part
        raise Unsafe(f"a step of it is of an unknown kind: {str(kind)[:40]}")
    if part["type"] != "Sequence":
        yield part
        return
    for name in CONTAINERS["Sequence"]:
        inner = part.get(name) or []
        if not isinstance(inner, list):
            raise Unsafe(f"'{name}' is no list")
        for step in inner:
            yield from _steps(step, depth + 1)


# -- steps -----------------------------------------------------------------------------------------------------
def _growth(step: Mapping) -> float:
    """How often longer a text can become by a step."""
    kind = step["type"]
    if kind == "Replace":
        old, is_regex = _pattern(step)
        new = len(_text(step, "content"))
        return float(max(new, 1) + 1) if is_regex and check_regex.can_be_empty(old) else max(new / (1 if is_regex else len(old)), 1.0)  # fmt: skip
    if kind == "WordPiece":
        return float(1 + len(_text(step, "prefix")) // 8)
    return 1.0


def _check_step(step: Mapping) -> None:
    for key in ("content", "prepend", "replacement", "prefix", "suffix", "pad_token", "word_delimiter_token"):
        value = step.get(key)
        if isinstance(value, str) and len(value) > MAX_REPLACEMENT_LENGTH:
            raise Unsafe(f"'{key}' has {len(value)} characters")
    kind = step["type"]
    if kind in ("Split", "Replace"):
        _pattern(step)
    elif kind == "FixedLength" and not _is_count(step.get("length"), 1, MAX_PADDING):
        raise Unsafe(f"'length' is {str(step.get('length'))[:20]}")
    elif kind == "Precompiled":
        check_charsmap(_base64(_text(step, "precompiled_charsmap")))
    elif kind == "Strip":
        for key in ("start", "stop"):
            if key in step and not _is_count(step[key], 0, MAX_PADDING):
                raise Unsafe(f"'{key}' is {str(step[key])[:20]}")


def _pattern(step: Mapping) -> tuple[str, bool]:
    """(what is looked for, whether it is an expression)."""
    pattern = step.get("pattern")
    if not isinstance(pattern, Mapping) or len(pattern) != 1 or not {"String", "Regex"} & set(pattern):
        raise Unsafe("a step of it looks for nothing")
    ((kind, text),) = pattern.items()
    if not isinstance(text, str) or not text:
        raise Unsafe("a step of it looks for nothing")
    if kind == "Regex" and (problem := check_regex.find_problem(text)):
        raise Unsafe(f"the expression {text[:40]}: {problem}")
    return text, kind == "Regex"


def _text(step: Mapping, key: str) -> str:
    value = step.get(key, "")
    if not isinstance(value, str):
        raise Unsafe(f"'{key}' is no text")
    return value


def _is_count(value: object, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Unsafe("'precompiled_charsmap' is no base64") from None


def check_charsmap(data: bytes) -> None:
    """The table of SentencePiece: a length, a double-array trie, then the texts that it leads to. Each node must lead to
    a node that is there, each end to the beginning of a text. Raises Unsafe."""
    import numpy as np

    size = struct.unpack("<I", data[:4])[0] if len(data) >= 4 else -1
    texts = data[4 + size :]
    if size <= 0 or size % 4 or 4 + size > len(data):
        raise Unsafe("'precompiled_charsmap' does not have the length that it names")
    try:
        texts.decode("utf-8")
    except UnicodeDecodeError:
        raise Unsafe("'precompiled_charsmap' holds what is no text") from None
    units = np.frombuffer(data, "<u4", size // 4, 4).astype(np.int64)
    is_end = units >> 31 == 1
    offsets = (units >> 10) << ((units & (1 << 9)) >> 6)
    nodes = np.arange(len(units)) ^ offsets
    if bool(((nodes | 255) >= len(units))[~is_end & (units != 0)].any()):
        raise Unsafe("'precompiled_charsmap' leads out of itself")
    values = units[is_end] & 0x7FFFFFFF
    starts = np.ones(len(texts) + 1, bool)
    starts[:-1] = (np.frombuffer(texts, np.uint8) & 0xC0) != 0x80
    if bool((values > len(texts)).any()) or not bool(starts[values].all()):
        raise Unsafe("'precompiled_charsmap' leads out of itself")
    if max(map(len, texts.split(b"\0")), default=0) > MAX_REPLACEMENT_LENGTH:
        raise Unsafe("it makes texts longer without bound")


# -- tokens ----------------------------------------------------------------------------------------------------
def _check_special_tokens(steps: list[Mapping]) -> None:
    """How many tokens are put round each text."""
    count = 0
    for step in steps:
        known = step.get("special_tokens") or {}
        if step["type"] != "TemplateProcessing":
            continue
        for way in ("single", "pair"):
            pieces = step.get(way) or []
            if not isinstance(pieces, list) or not isinstance(known, Mapping):
                raise Unsafe(f"'{way}' is no list")
            for piece in pieces:
                special = piece.get("SpecialToken") if isinstance(piece, Mapping) else None
                name = special.get("id") if isinstance(special, Mapping) else None
                entry = known.get(name) if isinstance(name, str) else None
                ids = entry.get("ids") if isinstance(entry, Mapping) else None
                if name is not None and not isinstance(ids, list):
                    raise Unsafe(f"'{way}' names a token that is not there")
                count += len(ids) if isinstance(ids, list) else 1
    if count > MAX_SPECIAL_IDS:
        raise Unsafe(f"it puts {count} tokens round each text")


def _check_padding(tokenizer: Mapping) -> None:
    padding, truncation = tokenizer.get("padding"), tokenizer.get("truncation")
    if isinstance(padding, Mapping):
        strategy = padding.get("strategy")
        fixed = strategy.get("Fixed") if isinstance(strategy, Mapping) else 0
        if not _is_count(fixed, 0, MAX_PADDING):
            raise Unsafe(f"'padding' is {str(fixed)[:20]}")
        multiple = padding.get("pad_to_multiple_of")
        if multiple is not None and not _is_count(multiple, 1, MAX_MULTIPLE):
            raise Unsafe(f"'pad_to_multiple_of' is {str(multiple)[:20]}")
    if isinstance(truncation, Mapping):
        longest, stride = truncation.get("max_length"), truncation.get("stride", 0)
        if not _is_count(longest, 0, 2**62) or not _is_count(stride, 0, max(int(longest) - 1, 0)):
            raise Unsafe(f"'stride' is {str(stride)[:20]}, 'max_length' {str(longest)[:20]}")


def _check_added_tokens(added: Any) -> None:
    if not isinstance(added, list) or len(added) > MAX_ADDED_TOKENS:
        raise Unsafe(f"it has {len(added)} added tokens")
    for token in added:
        content = token.get("content") if isinstance(token, Mapping) else None
        if not isinstance(content, str) or len(content) > MAX_TOKEN_LENGTH:
            raise Unsafe("a token of it is no token")
        if not _is_count(token.get("id"), 0, MAX_ID):
            raise Unsafe(f"the id of {content[:20]} is {str(token.get('id'))[:20]}")


def _check_model(model: Mapping) -> None:
    """Ids and scores that are what they should be; what the library takes for granted when it cuts words."""
    kind, vocabulary = model.get("type"), model.get("vocab")
    if kind is not None and str(kind) not in MODEL_KINDS:
        raise Unsafe(f"its model is of an unknown kind: {str(kind)[:40]}")
    if isinstance(vocabulary, Mapping):
        ids = vocabulary.values()
        if not all(type(id) is int and 0 <= id <= MAX_ID for id in ids):
            raise Unsafe("a token of it has no proper id")
    elif isinstance(vocabulary, list):
        if not all(isinstance(entry, list) and len(entry) == 2 and isinstance(entry[0], str) and _is_score(entry[1]) for entry in vocabulary):  # fmt: skip
            raise Unsafe("a token of it has no proper score")
        unknown = model.get("unk_id")
        if unknown is not None and not _is_count(unknown, 0, len(vocabulary) - 1):
            raise Unsafe(f"'unk_id' is {str(unknown)[:20]}")
    else:
        raise Unsafe("it has no vocabulary")
    prefix = model.get("continuing_subword_prefix")
    if prefix and kind in (None, "BPE") and not all(_second(merge).startswith(str(prefix)) for merge in model.get("merges") or ()):  # fmt: skip
        raise Unsafe("a merge of it lacks the prefix that it names")
    for key in ("max_input_chars_per_word", "cache_capacity"):
        if model.get(key) is not None and not _is_count(model[key], 0, MAX_PADDING):
            raise Unsafe(f"'{key}' is {str(model[key])[:20]}")
    dropout = model.get("dropout")
    if dropout is not None and not (_is_score(dropout) and 0 <= dropout <= 1):
        raise Unsafe(f"'dropout' is {str(dropout)[:20]}")


def _is_score(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _second(merge: object) -> str:
    parts = merge.split(" ", 1) if isinstance(merge, str) else merge
    return str(parts[1]) if isinstance(parts, list) and len(parts) == 2 else ""
