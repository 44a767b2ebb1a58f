"""Model folders of which tokenizer, template, config or GGUF header was changed at random: each is refused or harmless."""

from __future__ import annotations

import base64
import copy
import json
import random
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.corpus.hostile_models import CONFIG, TOKENIZER

# what a value may become: of another kind, too large, too long, empty
VALUES = (
    None,
    True,
    -1,
    0,
    2**31 - 1,
    2**63,
    1e308,
    "",
    "a" * 5_000,
    "a",
    [],
    [[]] * 50,
    {},
    {"type": "Sequence"},
    ["a", "b"],
)
PATTERNS = (
    "((a+))+$",
    "a+a+$",
    "(a|aa)+b",
    "(a*)*",
    r"(\w+\s?)*!",
    r"\p{L}+|\s+",
    "(?=(a+)+b)",
    "[",
    "(a)\\1",
    "x{0,99}y{0,99}",
)
CHARSMAP = base64.b64encode(struct.pack("<I", 1024) + bytes(1024)).decode()  # that changes nothing
RICH_TOKENIZER = TOKENIZER | {
    "added_tokens": [{"id": 2, "content": "<s>", "special": True, "single_word": False, "lstrip": False, "rstrip": False,
                      "normalized": False}],
    "normalizer": {"type": "Sequence", "normalizers": [
        {"type": "Replace", "pattern": {"String": "a"}, "content": "b"}, {"type": "Prepend", "prepend": "_"},
        {"type": "Precompiled", "precompiled_charsmap": CHARSMAP}]},
    "pre_tokenizer": {"type": "Split", "pattern": {"Regex": r"\w+|\s+"}, "behavior": "Isolated", "invert": False},
    "post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}},
                       {"Sequence": {"id": "A", "type_id": 0}}], "pair": [{"Sequence": {"id": "A", "type_id": 0}}],
                       "special_tokens": {"<s>": {"id": "<s>", "ids": [2], "tokens": ["<s>"]}}},
    "truncation": {"direction": "Right", "max_length": 512, "strategy": "LongestFirst", "stride": 0},
    "padding": {"strategy": "BatchLongest", "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0,
                "pad_type_id": 0, "pad_token": "a"},
}  # fmt: skip
TEMPLATE = (
    "{% set ns = namespace(text='') %}{% for m in messages %}{% set ns.text = ns.text ~ m.content %}"
    "{% if m.role == 'user' %}{{ m.content | replace('a', 'b') }}{% else %}{{ m['content'].strip() * 2 }}{% endif %}"
    "{% for part in m.content %}{{ part | trim }}{% endfor %}{% endfor %}{{ ns.text }}{{ range(3) | join('-') }}"
)
# a piece of the template and what it becomes
TEMPLATE_PIECES = ("'a'", "'b'", "m.content", "m['content'].strip()", "2", "3", "'-'", "'user'", "messages", "ns.text ~ m.content", "part | trim")  # fmt: skip
TEMPLATE_CHANGES = ("m.content", "ns.text", "ns.text ~ ns.text", "messages", "range(9999)", "m.content * 9999", "m.content|join(m.content)",
                    "m.content.replace('a', m.content)", "9999", "'x' * 9999", "messages|tojson", "'%9999d' % 3", "m.content|center(9999)",
                    "[ns.text, ns.text]", "loop.index * 99")  # fmt: skip


def mutation(number: int) -> tuple[str, Callable[[Path], None]]:
    """(what is changed, a function that changes a sound folder), the same for the same number."""
    draw = random.Random(number)
    kind = ("tokenizer", "template", "config", "gguf")[number % 4]
    return kind, {"tokenizer": _tokenizer, "template": _template, "config": _config, "gguf": _gguf}[kind](draw)


def _write(name: str, text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text(text, "utf-8")


def _tokenizer(draw: random.Random) -> Callable[[Path], None]:
    changed = copy.deepcopy(RICH_TOKENIZER)
    for _change in range(draw.randint(1, 3)):
        owner, key = draw.choice(list(_slots(changed)))
        if key in ("Regex", "String"):
            owner.clear()
            owner["Regex"] = draw.choice(PATTERNS)
        else:
            owner[key] = copy.deepcopy(draw.choice(VALUES))
    if draw.random() < 0.2:
        step = {"type": "Replace", "pattern": {"String": "a"}, "content": "a" * draw.randint(2, 200)}
        changed["normalizer"] = {"type": "Sequence", "normalizers": [step] * draw.randint(2, 9)}
    return _write("tokenizer.json", json.dumps(changed))


def _slots(value: Any) -> Iterator[tuple[Any, Any]]:
    """(container, key) of every value in JSON."""
    for key, part in list(value.items() if isinstance(value, dict) else enumerate(value)):
        yield value, key
        if isinstance(part, dict | list):
            yield from _slots(part)


def _template(draw: random.Random) -> Callable[[Path], None]:
    text = TEMPLATE
    for _change in range(draw.randint(1, 4)):
        text = text.replace(draw.choice(TEMPLATE_PIECES), draw.choice(TEMPLATE_CHANGES), draw.randint(1, 3))
    return _write("chat_template.jinja", text)


def _config(draw: random.Random) -> Callable[[Path], None]:
    changed = dict(CONFIG)
    for _change in range(draw.randint(1, 3)):
        changed[draw.choice(list(changed))] = draw.choice(VALUES)
    return _write("config.json", json.dumps(changed))


def small_gguf() -> bytes:
    """A header of a llama with one tensor that is there."""

    def text(value: bytes) -> bytes:
        return struct.pack("<Q", len(value)) + value

    entries = [
        text(b"general.architecture") + struct.pack("<I", 8) + text(b"llama"),
        text(b"llama.block_count") + struct.pack("<II", 4, 1),
        text(b"tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, 2) + text(b"a") + text(b"b"),
        text(b"tokenizer.ggml.token_type") + struct.pack("<IIQII", 9, 5, 2, 1, 1),
    ]
    tensor = text(b"token_embd.weight") + struct.pack("<IQQIQ", 2, 16, 2, 0, 0)
    return b"GGUF" + struct.pack("<IQQ", 3, 1, len(entries)) + b"".join(entries) + tensor + bytes(256)


def _gguf(draw: random.Random) -> Callable[[Path], None]:
    data = bytearray(small_gguf())
    for _change in range(draw.randint(1, 3)):
        start = draw.randrange(4, len(data) - 264)
        value = draw.choice((0, 255, 2**16, 2**31 - 1, 2**40, 2**63))
        data[start : start + 8] = struct.pack("<Q", value)
    return lambda folder: (folder / "model.gguf").write_bytes(bytes(data))
