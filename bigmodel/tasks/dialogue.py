"""Dialogue and instructions: a model learns to answer, turn by turn, and is asked in a chat."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import replace
from math import exp
from typing import Any

from bigmodel.core.blocks import Block
from bigmodel.core.contracts import LOSS, Task
from bigmodel.core.errors import Refusal
from bigmodel.core.fields import Text, Turns
from bigmodel.core.shared_fields import (
    BLOCK_SIZE,
    MAX_NEW_TOKENS,
    PERPLEXITY,
    SAMPLING_SEED,
    TEMPERATURE,
    TOKEN_ACCURACY,
    TOKENIZER,
    TOP_K,
    TOP_P,
    VOCABULARY,
)
from bigmodel.core.words import Words, _
from bigmodel.data.length_buckets import PAD_TO_MULTIPLE_OF, bucketed_batches
from bigmodel.metrics.row_metric import RowMetric
from bigmodel.metrics.token_scores import score_tokens, token_row_metrics, token_scores

TOKENIZER_BATCH = 500  # conversations at a time: what the tokenizer returns takes forty times the memory of the text
ANSWER_TOKENS = 200  # of an answer, unless a person asks for more
EXAMPLE_CHARACTERS = 200  # of a question that is offered to be asked


class Dialogue(Task):
    name = "dialogue"
    order = 15
    title = _("Dialogue and instructions")
    about = _("The model learns to answer questions and to follow instructions, and can be talked with.")
    icon = ":material/forum:"
    required_columns = frozenset({"messages"})
    head = "causal-lm"
    chat = True
    unit = _("tokens")
    metrics = (
        LOSS,
        PERPLEXITY,
        TOKEN_ACCURACY,
    )
    fields = (
        BLOCK_SIZE,
        TOKENIZER,
        VOCABULARY,
    )
    encoding_settings = ("tokenizer", "vocabulary", "block_size")
    inputs = (
        Text(
            name="message",
            label=_("Message"),
            lines=3,
            required=True,
            help=_("What you say to the model."),
        ),
        Turns(
            name="history",
            label=_("Conversation so far"),
            advanced=True,
            help=_("What has been said before; the model reads it again before it answers."),
        ),
        Text(
            name="system",
            label=_("System prompt"),
            lines=2,
            maximum=4000,
            advanced=True,
            help=_("Tells the model who it is and how to answer. Empty: what its template says by itself."),
        ),
        replace(MAX_NEW_TOKENS, default=ANSWER_TOKENS),
        replace(TEMPERATURE, default=0.7),
        TOP_P,
        TOP_K,
        SAMPLING_SEED,
    )

    # -- from rows to batches ---------------------------------------------------------------------
    def processor(self, rows: Any, settings: Mapping) -> Any:
        """A tokenizer of all that is said, with a mark for each role and a chat template of our own."""
        from bigmodel.data.chat_tokens import CHAT_TEMPLATE, ROLE_TOKENS, parse_turns
        from bigmodel.data.tokenizers import train_tokenizer

        texts = [turn["content"] for row in rows["train"]["messages"] for turn in parse_turns(row)]
        tokenizer = train_tokenizer(
            texts, settings["tokenizer"], settings["vocabulary"], signs=tuple(ROLE_TOKENS.values())
        )
        tokenizer.chat_template = CHAT_TEMPLATE
        return tokenizer

    def prepare_processor(self, processor: Any) -> Any:
        """A pretrained model that has only read texts is given a chat template in plain words."""
        from bigmodel.data.chat_tokens import PLAIN_TEMPLATE

        if not getattr(processor, "chat_template", None):
            processor.chat_template = PLAIN_TEMPLATE
        return processor

    def facts(self, rows: Any, processor: Any, settings: Mapping) -> dict:
        return {"vocabulary": len(processor), "pad": processor.pad_token_id, "end": processor.eos_token_id}

    def encode(self, rows: Any, processor: Any, settings: Mapping) -> dict:
        """Conversations as one stream of tokens with offsets, and what each token is for.

        rows: the number of each conversation in the split.
        counts: conversations that are whole, that have lost their first turns, that are too long even so, and that the
        template does not take.
        """
        import numpy as np

        from bigmodel.data.chat_tokens import ChatRenderer, UnsupportedConversation, parse_turns

        scribe, longest, found, kept = ChatRenderer(processor), settings["block_size"] + 1, [], []
        cut = long = refused = 0
        for start in range(0, len(rows), TOKENIZER_BATCH):
            said, lines = [], []
            for number, row in enumerate(rows[start : start + TOKENIZER_BATCH]["messages"], start):
                turns = scribe.sanitize(parse_turns(row))
                try:
                    lines.append(scribe.render_with_spans(turns))
                    said.append((number, turns))
                except UnsupportedConversation:
                    refused += 1
            for (number, turns), tokens in zip(said, scribe.tokenize(lines), strict=True):
                whole = tokens is not None and len(tokens[0]) <= longest
                if not whole and tokens is not None:
                    tokens = _truncate(scribe, turns, longest)
                    cut, long = cut + (tokens is not None), long + (tokens is None)
                elif tokens is None:
                    refused += 1
                if tokens is not None:
                    found.append(tokens)
                    kept.append(number)
        if not found:
            raise _no_conversations(long, refused, settings["block_size"])
        kind = np.uint16 if len(processor) <= 2**16 else np.uint32
        return {
            "tokens": np.concatenate([np.asarray(ids, dtype=kind) for ids, _kinds in found]),
            "kinds": np.concatenate([np.frombuffer(bytes(kinds), dtype=np.uint8) for _ids, kinds in found]),
            "offsets": np.cumsum([0, *(len(ids) for ids, _kinds in found)]),
            "rows": np.asarray(kept),
            "counts": np.asarray([len(found) - cut, cut, long, refused]),
        }

    def remarks(self, processor: Any, arrays: Mapping) -> list[Words]:
        from bigmodel.data.chat_tokens import PLAIN_TEMPLATE

        said = []
        if processor.chat_template == PLAIN_TEMPLATE:
            said.append(_("This base model has no chat template; it is given a plain one with headings in words."))
        whole, cut, long, refused = (int(count) for count in arrays["counts"])
        total = whole + cut + long + refused
        if cut:
            said.append(_("{count} of {total} conversations are too long for the context length: they begin at a later turn.", count=cut, total=total))  # fmt: skip
        if long:
            said.append(_("{count} of {total} conversations are left out: even their last exchange is too long for the context length.", count=long, total=total))  # fmt: skip
        if refused:
            said.append(_("{count} of {total} conversations are left out: the chat template does not take them, or does not say where an answer ends.", count=refused, total=total))  # fmt: skip
        return said

    def batch_indices(self, arrays: Mapping, settings: Mapping, epoch: int | None) -> Sequence:
        """Conversations of like length together, so that little is padded; the batches in random order. Each has a
        row of its own: none reads another."""
        import numpy as np

        return bucketed_batches(np.diff(arrays["offsets"]), settings, epoch)

    def batch(self, arrays: Mapping, indices: Any, settings: Mapping, epoch: int | None) -> dict:
        """input_ids, labels and kinds, each (conversations, tokens). A label is the next token where that is of an
        answer. Padding stands behind, where a network that looks back cannot see it: it needs no mask."""
        import numpy as np
        import torch

        from bigmodel.data.chat_tokens import ANSWER, PADDING

        starts, ends = arrays["offsets"][indices], arrays["offsets"][np.asarray(indices) + 1]
        longest = (ends - starts).max() - 1
        width = max(min(-(-longest // PAD_TO_MULTIPLE_OF) * PAD_TO_MULTIPLE_OF, settings["block_size"]), longest)
        places = np.arange(width + 1)[None] + starts[:, None]
        real, places = places < ends[:, None], np.minimum(places, len(arrays["tokens"]) - 1)
        first = arrays["tokens"][starts][
            :, None
        ]  # stands for padding, as some networks warn of their own padding token
        ids = np.where(real, arrays["tokens"][places], first).astype(np.int64)
        kinds = np.where(real, arrays["kinds"][places], PADDING)
        labels = np.where(kinds[:, 1:] == ANSWER, ids[:, 1:], -100)
        return {
            "input_ids": torch.from_numpy(np.ascontiguousarray(ids[:, :-1])),
            "labels": torch.from_numpy(labels),
            "kinds": torch.from_numpy(np.ascontiguousarray(kinds[:, :-1])),
        }

    def count_units(self, batch: Mapping) -> int:
        return int((batch["kinds"] != 0).sum())

    # -- how good -----------------------------------------------------------------------------------
    def measure(self, model: Any, processor: Any, arrays: Mapping, settings: Mapping, final: bool = False) -> dict:
        """Over every token of every answer of the split, and no other."""
        batches = (
            self.batch(arrays, indices, settings, None) for indices in self.batch_indices(arrays, settings, None)
        )
        inputs = ({name: batch[name] for name in ("input_ids", "labels")} for batch in batches)
        nats, hits, count = score_tokens(model, inputs)
        loss = nats / count
        return {"loss": loss, "perplexity": exp(min(loss, 700)), "accuracy": hits / count}

    def records(self, model: Any, processor: Any, arrays: Mapping, settings: Mapping) -> Iterator[dict]:
        """Of each conversation: row, and nats, hits, tokens of its answers."""
        order = self.batch_indices(arrays, settings, None)
        batches = (self.batch(arrays, indices, settings, None) for indices in order)
        inputs = ({name: batch[name] for name in ("input_ids", "labels")} for batch in batches)
        for indices, (counted, nats, hits) in zip(order, token_scores(model, inputs), strict=True):
            rows = arrays["rows"][indices]
            yield {"row": rows, "tokens": counted.sum(1), "nats": nats.sum(1), "hits": hits.sum(1)}

    def row_metrics(self) -> Sequence[RowMetric]:
        return token_row_metrics(self.metrics)

    # -- trying it ----------------------------------------------------------------------------------
    def examples(self, rows: Any, settings: Mapping) -> list[dict]:
        """How conversations begin."""
        from bigmodel.data.chat_tokens import parse_turns

        found: dict[str, dict] = {}
        for row in rows:
            turns = parse_turns(row["messages"])
            system = next((turn["content"] for turn in turns[:1] if turn["role"] == "system"), "")
            asked = next((turn["content"] for turn in turns if turn["role"] == "user"), "")
            if asked and len(asked) <= EXAMPLE_CHARACTERS:
                found.setdefault(asked, {"message": asked} | ({"system": system[:4000]} if system else {}))
        return list(found.values())[:6]

    def pinned(self, rows: Any, settings: Mapping) -> list[dict]:
        return [example | {"max_new_tokens": 60, "temperature": 0.0} for example in self.examples(rows, settings)[:3]]

    def prompt_and_stop_ids(self, processor: Any, inputs: Mapping, max_length: int) -> tuple[list[int], Set[int]]:
        from bigmodel.inference.chat import prompt_and_stop_ids

        return prompt_and_stop_ids(self.prepare_processor(processor), inputs["message"], inputs.get("system", ""))

    def answer(self, model: Any, processor: Any, inputs: Mapping) -> Iterator[Block]:
        from bigmodel.inference.chat import reply

        yield from reply(model, self.prepare_processor(processor), inputs)

    # -- kept ---------------------------------------------------------------------------------------
    def export(self, model: Any, processor: Any, settings: Mapping) -> Any:
        """The chat template puts the marks."""
        from bigmodel.data.chat_tokens import ChatRenderer
        from bigmodel.data.tokenizers import for_writing
        from bigmodel.inference.generate_text import greedy_generation_config
        from bigmodel.inference.kv_cache import context_length

        stop_ids = ChatRenderer(self.prepare_processor(processor)).stop_token_ids
        model.generation_config = greedy_generation_config(model, processor, stop_ids, ANSWER_TOKENS)
        return for_writing(processor, context_length(model.config))


def _truncate(scribe: Any, turns: Sequence[Mapping], longest: int) -> tuple[list[int], Any] | None:
    """The longest end of a conversation that fits, beginning with what a user says; None where there is none."""
    from bigmodel.data.chat_tokens import UnsupportedConversation, truncations

    ends = truncations(turns)
    low, high, best = 0, len(ends) - 1, None
    while low <= high:
        middle = (low + high) // 2
        try:
            (tokens,) = scribe.tokenize([scribe.render_with_spans(ends[middle])])
        except UnsupportedConversation:
            tokens = None
        if tokens is not None and len(tokens[0]) <= longest:
            best, high = tokens, middle - 1
        else:
            low = middle + 1
    return best


def _no_conversations(long: int, refused: int, block: int) -> Refusal:
    what = _("None of the conversations can be learnt from.")
    if refused >= long:
        why = _("The chat template does not take them, or does not say where an answer ends.")
        return Refusal(what, why, _("Choose another base model."), field="base")
    why = _("All of them are longer than {block} tokens.", block=block)
    return Refusal(what, why, _("Give a longer context length."), field="block_size")
