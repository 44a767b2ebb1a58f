"""Conversations in the ways in which they are commonly written, brought to one: a list of {role, content}."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache

from bigmodel.core.words import LANGUAGES, Words, _, say

ROLE_ALIASES = {
    "human": "user", "user": "user", "prompter": "user", "question": "user", "instruction": "user", "用户": "user", "人类": "user", "问": "user",
    "gpt": "assistant", "chatgpt": "assistant", "bot": "assistant", "model": "assistant", "assistant": "assistant",
    "ai": "assistant", "answer": "assistant", "response": "assistant", "bing": "assistant", "bard": "assistant", "claude": "assistant", "助手": "assistant", "答": "assistant",
    "system": "system", "developer": "system", "系统": "system",
    "tool": "tool", "function": "tool", "observation": "tool", "ipython": "tool", "tool_result": "tool", "tool_response": "tool",
    "function_response": "tool", "function_result": "tool",
    "function_call": "assistant", "tool_call": "assistant", "tool_calls": "assistant",
}  # fmt: skip
ROLE_NAMES: Mapping[str, Words] = {
    "user": _("User"),
    "assistant": _("Assistant"),
    "system": _("System"),
    "tool": _("Tool"),
}
ROLE_KEYS, CONTENT_KEYS = (
    ("role", "from", "speaker"),
    ("content", "value", "text"),
)  # by which names a message says who and what
# after whom who may speak
ALLOWED_NEXT_ROLES: Mapping[str, frozenset[str]] = {
    "": frozenset(["system", "user"]),
    "system": frozenset(["user"]),
    "user": frozenset(["assistant"]),
    "assistant": frozenset(["user", "tool"]),
    "tool": frozenset(["assistant", "tool", "user"]),
}


PREVIEW_TURNS, PREVIEW_CHARACTERS = 6, 200  # of a conversation in a preview


def messages(value: Sequence) -> Iterator[tuple[str, object]]:
    """(role, text) of each message of a conversation; a role that is not known as it stands there. ValueError where a
    part of it is no message.

    Known are messages that name their speaker (OpenAI, ShareGPT), exchanges with a key for each side
    ({"human", "assistant"}), pairs [question, answer], and texts by turns.
    """
    if all(isinstance(one, str) for one in value):
        yield from ((("user", "assistant")[index % 2], text) for index, text in enumerate(value))
        return
    for one in value:
        if isinstance(one, Mapping):
            yield from _messages_from_mapping(one)
        elif isinstance(one, Sequence) and not isinstance(one, str | bytes) and len(one) == 2:
            yield from zip(("user", "assistant"), one, strict=True)
        else:
            raise ValueError


def trainable_turns(turns: Sequence[Mapping[str, str]]) -> tuple[list[dict[str, str]], int]:
    """The turns that make a conversation to learn from, and how many are left out: what comes before the first question,
    what nobody answers, results of tools that nobody called, and system prompts in the middle. Two turns in a row of the
    same speaker become one."""
    spoken: list[list[Mapping[str, str]]] = []  # each with the turns that become one
    for turn in turns:
        before = spoken[-1][0]["role"] if spoken else ""
        if turn["role"] == before != "tool":
            spoken[-1].append(turn)
        elif turn["role"] in ALLOWED_NEXT_ROLES[before]:
            spoken.append([turn])
    while spoken and (spoken[-1][0]["role"] != "assistant" or not any(turn["content"].strip() for turn in spoken[-1])):
        spoken.pop()
    kept = [{"role": same[0]["role"], "content": "\n\n".join(turn["content"] for turn in same)} for same in spoken]
    return kept, len(turns) - sum(map(len, spoken))


def left_out_sentence(left_out: Mapping[str, int], rows: int) -> Words:
    """What is said of messages that are left out."""
    return _(
        "Of {conversations} of {rows} conversations {messages} messages are left out: what comes before the first question, what nobody answers, and system prompts in between.",
        conversations=left_out["conversations"], messages=left_out["messages"], rows=rows,
    )  # fmt: skip


def parse_json(text: str) -> object:
    """What a cell of JSON holds; ValueError for what cannot be read, however deep it is."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("too deep") from error


# -- as people read and write them --------------------------------------------------------------------------
def transcript(turns: Sequence[Mapping], tell: Callable[[Words | str], str]) -> str:
    """Who says what, a line each."""
    return "\n".join(f"{tell(ROLE_NAMES.get(turn['role'], turn['role']))}: {turn['content']}" for turn in turns)


def parse_turns(text: str) -> list[dict[str, str]]:
    """The conversation that a person has written, a line each ("User: ...", in any of our languages), or that stands
    there as JSON. A line that begins with no speaker belongs to the turn before. ValueError where it is neither."""
    return _turns_from_json(text) if text.lstrip().startswith(("[", "{")) else _turns_from_lines(text)


def to_transcript(text: str, tell: Callable[[Words | str], str]) -> str:
    """A conversation of JSON, a line a turn; as it is where these lines would not be read as the same conversation: one
    that says 'Answer: ...' in a line of its own, or of which the speakers are not known."""
    try:
        turns = _turns_from_json(text)
        written = transcript(turns, tell)
        return written if parse_turns(written) == turns else text
    except ValueError:
        return text


def same_conversation(one: str, other: str) -> bool:
    """Whether two cells hold the same conversation, however they are written."""
    try:
        return one == other or parse_turns(one) == parse_turns(other)
    except ValueError:
        return False


def _turns_from_json(text: str) -> list[dict[str, str]]:
    value = parse_json(text)
    if not isinstance(value, list):
        raise ValueError("no list of messages")
    turns = [{"role": speaker, "content": "" if said is None else said} for speaker, said in messages(value)]
    if not all(turn["role"] in ROLE_NAMES and isinstance(turn["content"], str) for turn in turns):
        raise ValueError("no known role, or no text")
    return turns


def _turns_from_lines(text: str) -> list[dict[str, str]]:
    speakers, begins = _role_prefixes()
    turns: list[dict] = []
    for line in text.replace("\r\n", "\n").split("\n"):
        if found := begins.match(line):
            turns.append({"role": speakers[found[1].lower()], "lines": [found[2]]})
        elif turns:
            turns[-1]["lines"].append(line)
        elif line.strip():
            raise ValueError("nobody has spoken yet")
    if not turns:
        raise ValueError("nobody speaks")
    return [{"role": turn["role"], "content": "\n".join(turn["lines"]).strip(" \t\n")} for turn in turns]


@cache
def _role_prefixes() -> tuple[Mapping[str, str], re.Pattern]:
    """Whoever may be named at the beginning of a line, and how such a line begins."""
    ours = {say(name, language).lower(): role for language in LANGUAGES for role, name in ROLE_NAMES.items()}
    known = ROLE_ALIASES | ours
    return known, re.compile(
        rf"\s*({'|'.join(map(re.escape, known))})\s*[:：](.*)", re.ASCII | re.IGNORECASE | re.DOTALL
    )


def compose_prompt(question: str, context: str = "") -> str:
    """An instruction with what it is about."""
    return f"{question}\n\n{context}" if context else question


def truncate_conversation(row: str) -> str:
    """The beginning of a conversation, as JSON again."""
    turns = json.loads(row)[:PREVIEW_TURNS]
    return json.dumps([turn | {"content": turn["content"][:PREVIEW_CHARACTERS]} for turn in turns], ensure_ascii=False)


def _messages_from_mapping(message: Mapping) -> Iterator[tuple[str, object]]:
    key = next((name for name in ROLE_KEYS if name in message), "")
    if key:
        role = _role(str(message[key]))
        content = next((message[name] for name in CONTENT_KEYS if message.get(name) is not None), None)
        text = "null" if content is None and role == "tool" else _content_text(content)
        calls = [*(message.get("tool_calls") or ()), *filter(None, [message.get("function_call")])]
        if calls and (text is None or isinstance(text, str)):
            text = "\n".join(filter(None, [text, *map(_call_text, calls)]))
        yield role, text
        return
    sides = [(role, text) for name, text in message.items() if (role := _role(str(name))) in ROLE_NAMES]
    if not sides:
        raise ValueError
    yield from sides


def _role(name: str) -> str:
    """The role that a name means; one that is not known as it is."""
    known = re.sub(r"[\s-]+", "_", name.strip(" \t\n:：<|>").lower())
    return ROLE_ALIASES.get(known, name)


def _call_text(call: object) -> str:
    """A call of a tool, as JSON that can be learnt."""
    call = call.get("function") or call if isinstance(call, Mapping) else call
    if not isinstance(call, Mapping):
        raise ValueError
    arguments = call.get("arguments", call.get("input"))
    with suppress(ValueError):
        arguments = parse_json(arguments) if isinstance(arguments, str) else arguments
    return json.dumps({"name": call.get("name"), "arguments": arguments}, ensure_ascii=False, default=str)


def _content_text(content: object) -> object:
    """OpenAI's messages may have their text in parts, Anthropic's their calls of tools."""
    if isinstance(content, Sequence) and not isinstance(content, str) and content:
        parts = [_part_text(part) if isinstance(part, Mapping) else part for part in content]
        return "\n".join(parts) if all(isinstance(part, str) for part in parts) else None
    return content


def _part_text(part: Mapping) -> object:
    return _call_text(part) if part.get("type") == "tool_use" else part.get("text")
