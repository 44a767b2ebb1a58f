"""Conversations in the ways in which they are commonly written, brought to one: a list of {role, content}."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

SPEAKERS = {
    "human": "user", "user": "user", "prompter": "user", "question": "user", "instruction": "user", "用户": "user", "人类": "user", "问": "user",
    "gpt": "assistant", "chatgpt": "assistant", "bot": "assistant", "model": "assistant", "assistant": "assistant",
    "ai": "assistant", "answer": "assistant", "response": "assistant", "bing": "assistant", "bard": "assistant", "claude": "assistant", "助手": "assistant", "答": "assistant",
    "system": "system", "developer": "system", "系统": "system",
    "tool": "tool", "function": "tool", "observation": "tool", "ipython": "tool",
}  # fmt: skip
WHO, WHAT = ("role", "from", "speaker"), ("content", "value", "text")  # by which names a message says who and what
# after whom who may speak
FOLLOWS: Mapping[str, frozenset[str]] = {
    "": frozenset(["system", "user"]),
    "system": frozenset(["user"]),
    "user": frozenset(["assistant"]),
    "assistant": frozenset(["user", "tool"]),
    "tool": frozenset(["assistant", "tool"]),
}


SHOWN_TURNS, SHOWN_CHARACTERS = 6, 200  # of a conversation in a preview


def messages(value: Sequence) -> Iterator[tuple[str | None, object]]:
    """(role, text) of each message of a conversation; role None where it is not known. ValueError where a part of it
    is no message.

    Known are messages that name their speaker (OpenAI, ShareGPT), exchanges with a key for each side
    ({"human", "assistant"}), pairs [question, answer], and texts by turns.
    """
    if all(isinstance(one, str) for one in value):
        yield from ((("user", "assistant")[place % 2], text) for place, text in enumerate(value))
        return
    for one in value:
        if isinstance(one, Mapping):
            yield from _of_mapping(one)
        elif isinstance(one, Sequence) and not isinstance(one, str | bytes) and len(one) == 2:
            yield from zip(("user", "assistant"), one, strict=True)
        else:
            raise ValueError


def parsed(text: str) -> object:
    """What a cell of JSON holds; ValueError for what cannot be read, however deep it is."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("too deep") from error


def asked(question: str, context: str = "") -> str:
    """An instruction with what it is about."""
    return f"{question}\n\n{context}" if context else question


def short(row: str) -> str:
    """The beginning of a conversation, as JSON again."""
    turns = json.loads(row)[:SHOWN_TURNS]
    return json.dumps([turn | {"content": turn["content"][:SHOWN_CHARACTERS]} for turn in turns], ensure_ascii=False)


def _of_mapping(one: Mapping) -> Iterator[tuple[str | None, object]]:
    who = next((name for name in WHO if name in one), "")
    if who:
        said = next((one[name] for name in WHAT if one.get(name) is not None), None)
        yield SPEAKERS.get(str(one[who]).strip().lower()), _text(said)
        return
    sides = [(SPEAKERS[key], text) for name, text in one.items() if (key := str(name).strip().lower()) in SPEAKERS]
    if not sides:
        raise ValueError
    yield from sides


def _text(said: object) -> object:
    """OpenAI's messages may have their text in parts."""
    if isinstance(said, Sequence) and not isinstance(said, str) and said:
        parts = [part.get("text") if isinstance(part, Mapping) else part for part in said]
        return "\n".join(parts) if all(isinstance(part, str) for part in parts) else None
    return said
