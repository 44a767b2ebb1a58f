"""Answering in a conversation: what was said before is read again, written as the chat template has it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import replace
from typing import Any

from bigmodel.core.blocks import Block, Note
from bigmodel.core.errors import Refusal
from bigmodel.core.words import _
from bigmodel.data.chat_tokens import Scribe, Turns, Unreadable, shortened
from bigmodel.inference.ctranslate2_runner import Writer
from bigmodel.inference.generate_text import context_of, grow


def reply(model: Any, processor: Any, inputs: Mapping) -> Iterator[Block]:
    """The answer as it grows, at most 20 times a second; the last Prose has `done`."""
    scribe = Scribe(processor)
    turns = scribe.cleaned(_turns(inputs))
    ids, forgotten = _fitting(scribe, turns, _room(model, inputs["max_new_tokens"]))
    for block in grow(model, processor, ids, inputs, ends=scribe.ends):
        yield replace(block, text=block.text.lstrip())
    if forgotten:
        yield Note(_("The conversation is longer than what the model can read: it has not seen the first {count} messages.", count=forgotten))  # fmt: skip


def given(processor: Any, message: str, system: str = "") -> tuple[list[int], Set[int]]:
    """(what a model reads of a conversation that begins so, the tokens that end its answer). Raises Unreadable."""
    scribe = Scribe(processor)
    turns = scribe.cleaned(_turns({"system": system, "history": (), "message": message}))
    return scribe.prompt(turns), scribe.ends


def _turns(inputs: Mapping) -> list[dict[str, str]]:
    system = [{"role": "system", "content": inputs["system"]}] if inputs["system"].strip() else []
    return [*system, *inputs["history"], {"role": "user", "content": inputs["message"]}]


def _room(model: Any, wanted: int) -> int:
    """Tokens of the conversation that can be read: half of what the model reads at least, the rest is for the answer."""
    context = model.longest if isinstance(model, Writer) else context_of(model.config)
    return max(context - wanted, context // 2)


def _fitting(scribe: Scribe, turns: Turns, room: int) -> tuple[list[int], int]:
    """(tokens, messages that are left out): without its first exchanges where the whole is too long."""
    ids: list[int] = []
    for end in shortened(turns):
        try:
            ids = scribe.prompt(end)
        except Unreadable as error:
            what = _("The chat template of this model does not take this conversation.")
            raise Refusal(what, do=_("Begin a new conversation, without a system prompt."), field="history") from error
        if len(ids) <= room:
            break
    return ids, len(turns) - len(end)
