"""Conversations as tokens: written out by a chat template, and which of the tokens an assistant has said.

Turns are {"role", "content"}. A template is a small program of somebody else's, so what it does is not taken for
granted: a conversation whose answers cannot be told from the rest beyond doubt is not learnt from.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

ROLE_TOKENS = {"system": "<|system|>", "user": "<|user|>", "assistant": "<|assistant|>", "tool": "<|tool|>"}
# Ours: a turn is the mark of its role, its text, the end token. 'generation' says what an assistant says; transformers
# knows the word (`return_assistant_tokens_mask`), so the template is kept with the tokenizer and works without us.
CHAT_TEMPLATE = (
    "{%- set marks = " + json.dumps(ROLE_TOKENS) + " -%}"
    "{%- for message in messages -%}"
    "{{- marks[message['role']] -}}"
    "{%- if message['role'] == 'assistant' -%}"
    "{%- generation -%}{{- message['content'] + eos_token -}}{%- endgeneration -%}"
    "{%- else -%}{{- message['content'] + eos_token -}}{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- marks['assistant'] -}}{%- endif -%}"
)
# For a pretrained model that has only read texts: headings in words that it knows, no new tokens.
PLAIN_TEMPLATE = (
    "{%- if bos_token is defined and bos_token -%}{{- bos_token -}}{%- endif -%}"
    "{%- for message in messages -%}"
    "{{- '### ' + message['role'] | capitalize + ':\\n' -}}"
    "{%- if message['role'] == 'assistant' -%}"
    "{%- generation -%}{{- message['content'] + eos_token -}}{%- endgeneration -%}"
    "{%- else -%}{{- message['content'] -}}{%- endif -%}"
    "{{- '\\n\\n' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '### Assistant:\\n' -}}{%- endif -%}"
)
PADDING, TEMPLATE_TEXT, CONTEXT, ANSWER = range(
    4
)  # what a token is for: of the template, of others' turns, of an answer
GENERATION_TAG = re.compile(r"{%-?\s*generation\s*-?%}")  # as transformers looks for it
PLACEHOLDER = "\ue000{}\ue001"  # for a turn's text, where only what the template writes around it is of interest

Turns = Sequence[Mapping[str, str]]
T = TypeVar("T")


class UnsupportedConversation(Exception):
    """The template does not take this conversation, or its answers cannot be told from the rest."""


@dataclass(frozen=True)
class RenderedChat:
    """A conversation as text. spans: (from, to, kind) in characters; what is in none of them is the template's."""

    text: str
    spans: tuple[tuple[int, int, int], ...]


class ChatRenderer:
    """Writes conversations as the template of a tokenizer says."""

    def __init__(self, processor: Any):
        self.processor = processor
        self.template = processor.get_chat_template()
        self._pieces_cache: dict[tuple, list[str] | None] = {}

    # -- for training -----------------------------------------------------------------------------------
    def render_with_spans(self, turns: Turns) -> RenderedChat:
        """The whole of a conversation. What counts of an answer is all that a model has to write: from where it is
        asked to answer to the token that ends the turn. Raises Unreadable."""
        return self._with_system_fallback(self._find_spans, turns)

    def _find_spans(self, turns: Turns) -> RenderedChat:
        text = self._render(turns)
        spans = self._spans_by_generation_tag(turns, text) if GENERATION_TAG.search(self.template) else None
        spans = spans or self._spans_by_placeholders(turns, text) or self._spans_by_prefixes(turns, text)
        answers = sum(turn["role"] == "assistant" for turn in turns)
        if spans is None or sum(kind == ANSWER for _from, _to, kind in spans) != answers:
            raise UnsupportedConversation("its answers cannot be told from the rest")
        return RenderedChat(text, tuple(spans))

    def tokenize(self, lines: Sequence[RenderedChat]) -> list[tuple[list[int], bytearray] | None]:
        """(ids, what each is for) of each conversation; None where a token is of an answer and of what is before it."""
        if not lines:
            return []
        if not self.processor.is_fast:
            return [self._tokenize_without_offsets(line) for line in lines]
        found = self.processor([line.text for line in lines], add_special_tokens=False, return_offsets_mapping=True)
        return [
            (ids, _token_kinds(line, offsets))
            for line, ids, offsets in zip(lines, found["input_ids"], found["offset_mapping"], strict=True)
        ]

    def _tokenize_without_offsets(self, line: RenderedChat) -> tuple[list[int], bytearray] | None:
        """Of a tokenizer that does not say where its tokens come from: the tokens of the text up to a border must be
        the first of all, else the border lies within one."""
        ids = self._token_ids(line.text)
        kinds = bytearray([TEMPLATE_TEXT]) * len(ids)
        for start, end, kind in line.spans:
            first, last = self._token_ids(line.text[:start]), self._token_ids(line.text[:end])
            if ids[: len(first)] != first or ids[: len(last)] != last:
                if kind == ANSWER:
                    return None
                continue  # which of the others' tokens are whose only matters to eyes
            kinds[len(first) : len(last)] = bytes([kind]) * (len(last) - len(first))
        return ids, kinds

    # -- for answering ------------------------------------------------------------------------------------
    def prompt(self, turns: Turns) -> list[int]:
        """What a model reads before it answers. Raises Unreadable."""
        return self._token_ids(self._with_system_fallback(lambda some: self._render(some, asking=True), turns))

    @cached_property
    def stop_token_ids(self) -> frozenset[int]:
        """Tokens that end an answer: every sign of the tokenizer's own that a model may write."""
        own = self.processor
        never = {own.pad_token_id, own.unk_token_id} - {own.eos_token_id}
        return frozenset({own.eos_token_id, *own.all_special_ids, *self._template_stop_ids()} - never - {None})

    def _template_stop_ids(self) -> set[int]:
        """The token that the template puts behind an answer."""
        try:
            line = self.render_with_spans([_message("user", "a"), _message("assistant", "b")])
        except UnsupportedConversation:
            return set()
        last = self._special_suffix(line.text, line.spans[-1][1])
        return {self.processor.convert_tokens_to_ids(last)} if last else set()

    # -- how an answer is found ---------------------------------------------------------------------------
    def _spans_by_generation_tag(self, turns: Turns, text: str) -> list[tuple[int, int, int]] | None:
        """As the template itself says, by the word 'generation'."""
        from bigmodel.core import chat_template

        rendering = chat_template.render(self.template, turns, **self.processor.special_tokens_map)
        found = rendering.generations
        if rendering.text != text or not found:
            return None
        answers = [
            (start, end if self._special_suffix(text, end) else self._end_after_stop_token(text, end), ANSWER)
            for start, end in found
        ]
        others = self._spans_by_placeholders(turns, text) or []
        return [span for span in others if span[2] == CONTEXT] + answers

    def _spans_by_placeholders(self, turns: Turns, text: str) -> list[tuple[int, int, int]] | None:
        """By what the template writes around the turns, whatever they say: put together with what they do say it must
        give the very text."""
        around = self._template_pieces(turns)
        if around is None:
            return None
        said = [turn["content"] for turn in turns]
        if "".join(part for pair in zip(around, [*said, ""], strict=True) for part in pair) != text:
            return None
        spans, place = [], 0
        for number, turn in enumerate(turns):
            before, place = place, place + len(around[number])
            start, place = place, place + len(turn["content"])
            if turn["role"] == "assistant":
                asked = self._generation_prompt(turns[:number])
                if asked and around[number].startswith(asked):
                    start = before + len(asked)  # what comes between is for the model to write, too
                spans.append((start, self._end_after_stop_token(text, place), ANSWER))
            else:
                spans.append((start, place, CONTEXT))
        return spans

    def _spans_by_prefixes(self, turns: Turns, text: str) -> list[tuple[int, int, int]] | None:
        """By writing out the conversation up to each answer, without and with it."""
        spans = []
        for number, turn in enumerate(turns):
            if turn["role"] != "assistant":
                continue
            try:
                before, after = self._render(turns[:number], asking=True), self._render(turns[: number + 1])
            except UnsupportedConversation:
                return None
            if not text.startswith(before) or not text.startswith(after) or not after.startswith(before):
                return None
            end = len(after.rstrip())
            if end <= len(before) or not self._special_suffix(after, end):
                return None
            spans.append((len(before), end, ANSWER))
        return spans

    def _end_after_stop_token(self, text: str, end: int) -> int:
        """The end of an answer with the sign that ends the turn, which has to be learnt as well."""
        found = self._stop_pattern.match(text, end)
        if found is None:
            raise UnsupportedConversation("nothing marks the end of an answer")
        return found.end()

    def _special_suffix(self, text: str, end: int) -> str:
        """The sign that a text ends with at a place, '' for none."""
        return next((sign for sign in self._added_tokens if text.endswith(sign, 0, end)), "")

    @cached_property
    def _added_tokens(self) -> list[str]:
        """Texts that are tokens of their own wherever they stand."""
        added = [str(token.content) for token in self.processor.added_tokens_decoder.values()]
        return sorted(
            {one for one in (*added, *self.processor.all_special_tokens) if one.strip()}, key=len, reverse=True
        )

    @cached_property
    def _stop_pattern(self) -> re.Pattern[str]:
        return re.compile(r"\s*(?:" + "|".join(map(re.escape, self._added_tokens)) + ")")

    def _template_pieces(self, turns: Turns, asking: bool = False) -> list[str] | None:
        """What the template writes before, between and after turns of these roles; None where it leaves one out."""
        key = (*(turn["role"] for turn in turns), asking)
        if key not in self._pieces_cache:
            self._pieces_cache[key] = self._render_pieces(key[:-1], asking)
        return self._pieces_cache[key]

    def _render_pieces(self, roles: Sequence[str], asking: bool) -> list[str] | None:
        stand_ins = [PLACEHOLDER.format(number) for number in range(len(roles))]
        try:
            rest = self._render([_message(*one) for one in zip(roles, stand_ins, strict=True)], asking)
        except UnsupportedConversation:
            return None
        found = []
        for one in stand_ins:
            before, there, rest = rest.partition(one)
            if not there:
                return None
            found.append(before)
        return [*found, rest] if "\ue000" not in rest else None

    def _generation_prompt(self, turns: Turns) -> str:
        """What the template writes behind these turns to have them answered."""
        around = self._template_pieces(turns, asking=True) if turns else None
        return around[-1] if around else ""

    # -- written ------------------------------------------------------------------------------------------
    def _with_system_fallback(self, write: Callable[[Turns], T], turns: Turns) -> T:
        """Many templates know no system; what it says then stands at the beginning of what the user says."""
        try:
            return write(turns)
        except UnsupportedConversation:
            if len(turns) < 2 or (turns[0]["role"], turns[1]["role"]) != ("system", "user"):
                raise
            return write([_message("user", f"{turns[0]['content']}\n\n{turns[1]['content']}"), *turns[2:]])

    def _render(self, turns: Turns, asking: bool = False) -> str:
        from jinja2 import TemplateError

        from bigmodel.core import chat_template

        tokens = self.processor.special_tokens_map
        try:
            return chat_template.render(self.template, turns, add_generation_prompt=asking, **tokens).text
        except TemplateError as error:  # what a template may raise about what it is given
            raise UnsupportedConversation(str(error)) from error

    def _token_ids(self, text: str) -> list[int]:
        return self.processor(text, add_special_tokens=False)["input_ids"]

    def sanitize(self, turns: Turns) -> list[dict[str, str]]:
        """Without space at the ends, and without the tokenizer's own signs, by which a text could pretend to be
        another's turn."""
        return [_message(turn["role"], self._strip_special_tokens(turn["content"])) for turn in turns]

    def _strip_special_tokens(self, text: str) -> str:
        while found := next((sign for sign in self._special_tokens if sign in text), ""):
            text = text.replace(found, "")
        return text.strip()

    @cached_property
    def _special_tokens(self) -> list[str]:
        """Of the signs those that no text has by itself."""
        special = {str(token.content) for token in self.processor.added_tokens_decoder.values() if token.special}
        return [
            added_token
            for added_token in self._added_tokens
            if added_token in special | set(self.processor.all_special_tokens)
        ]


def _message(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def _token_kinds(line: RenderedChat, offsets: Sequence[tuple[int, int]]) -> bytearray:
    """What each token is for: a token that belongs to two is the later of the kinds."""
    of = bytearray([TEMPLATE_TEXT]) * len(line.text)
    for start, end, kind in line.spans:
        of[start:end] = bytes([kind]) * (end - start)
    return bytearray(max(of[start:end], default=TEMPLATE_TEXT) for start, end in offsets)


def parse_turns(row: str) -> list[dict[str, str]]:
    """What the column `messages` holds, up to the last answer."""
    turns = json.loads(row)
    while turns and turns[-1]["role"] != "assistant":
        turns.pop()
    return turns


def truncations(turns: Turns) -> list[list[Mapping[str, str]]]:
    """The conversation, then without its first exchange, without its first two ...; what a system says stays."""
    first = [turn for turn in turns[:1] if turn["role"] == "system"]
    begins = [number for number, turn in enumerate(turns) if turn["role"] == "user"]
    return [[*first, *turns[number:]] for number in begins] or [list(turns)]
