"""Answering in a conversation: what was said before is read again, written as the chat template has it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import replace
from typing import Any

from bigmodel.core.blocks import Block, Note
from bigmodel.core.errors import Refusal
from bigmodel.core.words import _
from bigmodel.data.chat_tokens import ChatRenderer, Turns, UnsupportedConversation, truncations
from bigmodel.inference.ctranslate2_runner import TextGenerator
from bigmodel.inference.generate_text import stream_text
from bigmodel.inference.kv_cache import context_length


def reply(model: Any, processor: Any, inputs: Mapping) -> Iterator[Block]:
    """The answer as it grows, at most 20 times a second; the last Prose has `done`."""
    scribe = ChatRenderer(processor)
    turns = scribe.sanitize(_messages(inputs))
    ids, forgotten = _truncate_history(scribe, turns, _prompt_budget(model, inputs["max_new_tokens"]))
    for block in stream_text(model, processor, ids, inputs, ends=scribe.stop_token_ids):
        yield replace(block, text=block.text.lstrip())
    if forgotten:
        yield Note(_("The conversation is longer than what the model can read: it has not seen the first {count} messages.", count=forgotten))  # fmt: skip


def prompt_and_stop_ids(processor: Any, message: str, system: str = "") -> tuple[list[int], Set[int]]:
    """(what a model reads of a conversation that begins so, the tokens that end its answer). Raises Unreadable."""
    scribe = ChatRenderer(processor)
    turns = scribe.sanitize(_messages({"system": system, "history": (), "message": message}))
    return scribe.prompt(turns), scribe.stop_token_ids


def _messages(inputs: Mapping) -> list[dict[str, str]]:
    system = [{"role": "system", "content": inputs["system"]}] if inputs["system"].strip() else []
    return [*system, *inputs["history"], {"role": "user", "content": inputs["message"]}]


def _prompt_budget(model: Any, wanted: int) -> int:
    """Tokens of the conversation that can be read: half of what the model reads at least, the rest is for the answer."""
    context = model.max_length if isinstance(model, TextGenerator) else context_length(model.config)
    return max(context - wanted, context // 2)


def _truncate_history(scribe: ChatRenderer, turns: Turns, room: int) -> tuple[list[int], int]:
    """(tokens, messages that are left out): without its first exchanges where the whole is too long."""
    ids: list[int] = []
    for end in truncations(turns):
        try:
            ids = scribe.prompt(end)
        except UnsupportedConversation as error:
            what = _("The chat template of this model does not take this conversation.")
            raise Refusal(what, do=_("Begin a new conversation, without a system prompt."), field="history") from error
        if len(ids) <= room:
            break
    return ids, len(turns) - len(end)
