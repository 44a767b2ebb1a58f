"""Text generation: a model learns which token comes next, and writes by drawing one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from itertools import islice, repeat
from math import exp, log
from typing import TYPE_CHECKING, Any

from bigmodel.core.blocks import Block
from bigmodel.core.contracts import LOSS, Metric, Task
from bigmodel.core.fields import Text
from bigmodel.core.shared_fields import (
    BLOCK_SIZE,
    INFERENCE_PRECISION,
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
from bigmodel.core.words import _
from bigmodel.metrics.row_metric import RowMetric
from bigmodel.metrics.token_scores import UNSEEN_NATS, score_stream, token_row_metrics

if TYPE_CHECKING:
    import numpy as np

JOINED_CHARACTERS = 100_000  # of pieces of a whole text: each beginning costs what a tokenizer puts before a text
TOKENIZER_BATCH = 1000  # texts at a time: what the tokenizer returns takes forty times the memory of the text


class TextGeneration(Task):
    name = "text-generation"
    order = 10
    title = _("Text generation")
    about = _("The model learns to guess the next token of a text, and writes new text token by token.")
    icon = ":material/edit_note:"
    required_columns = frozenset({"text"})
    head = "causal-lm"
    unit = _("tokens")
    comparison_metric = "bits_per_character"  # everything else depends on the tokenizer
    metrics = (
        LOSS,
        PERPLEXITY,
        TOKEN_ACCURACY,
        Metric(
            "bits_per_character",
            _("Bits per character"),
            higher_is_better=False,
            help=_(
                "How many bits the model needs for one character of new text. The same measure for every tokenizer."
            ),
        ),
    )
    fields = (
        BLOCK_SIZE,
        TOKENIZER,
        VOCABULARY,
    )
    encoding_settings = ("tokenizer", "vocabulary")
    inputs = (
        Text(
            name="prompt",
            label=_("Beginning"),
            lines=3,
            default="",
            help=_("The model goes on from here. Leave it empty to let it begin by itself."),
        ),
        MAX_NEW_TOKENS,
        TEMPERATURE,
        TOP_P,
        TOP_K,
        Text(
            name="stop",
            label=_("Stop at"),
            default="",
            maximum=100,
            advanced=True,
            help=_("Ends when the new text contains this."),
        ),
        SAMPLING_SEED,
        INFERENCE_PRECISION,
    )

    # -- from rows to batches ---------------------------------------------------------------------
    def processor(self, rows: Any, settings: Mapping) -> Any:
        from bigmodel.data.tokenizers import train_tokenizer

        return train_tokenizer(list(rows["train"]["text"]), settings["tokenizer"], settings["vocabulary"])

    def facts(self, rows: Any, processor: Any, settings: Mapping) -> dict:
        return {"vocabulary": len(processor), "pad": processor.pad_token_id, "end": processor.eos_token_id}

    def encode(self, rows: Any, processor: Any, settings: Mapping) -> dict:
        """All texts as one stream, an end token before the first and after each that ends, and of each piece of it, a row
        or several that continue each other: ends, where the stream goes on behind it; rows, the first; symbols, the number
        of characters and text ends; bytes, the same in UTF-8. Bits per character and byte divide by these.
        """
        import numpy as np

        end = processor.eos_token_id
        kind = np.uint16 if len(processor) <= 2**16 else np.uint32
        streams, lengths, pieces = [np.asarray([end], dtype=kind)], [], []
        texts = _joined_texts(rows)
        while batch := list(islice(texts, TOKENIZER_BATCH)):
            encoded = processor([text for text, _ends, _row in batch], add_special_tokens=False)["input_ids"]
            for (text, ends, row), ids in zip(batch, encoded, strict=True):
                streams.append(np.asarray([*ids, *[end] * ends], dtype=kind))
                lengths.append(len(ids) + ends)
                pieces.append((row, len(text) + ends, len(text.encode()) + ends))
        first_rows, symbols, size = np.asarray(pieces, dtype=np.int64).reshape(-1, 3).T
        return {
            "tokens": np.concatenate(streams),
            "ends": 1 + np.cumsum(lengths, dtype=np.int64),
            "rows": first_rows,
            "symbols": symbols,
            "bytes": size,
        }

    def batch_indices(self, arrays: Mapping, settings: Mapping, epoch: int | None) -> Sequence:
        """Windows of `block_size` tokens; each epoch cuts the stream at other places."""
        import numpy as np

        block, size = settings["block_size"], settings["batch_size"]
        last = len(arrays["tokens"]) - 1  # every token but the first is predicted once
        if epoch is None:
            starts = np.arange(0, last, block)
            return [starts[i : i + size] for i in range(0, len(starts), size)]
        random = np.random.default_rng([settings["seed"], epoch])
        count = (last + 1) // block - 1  # windows of an epoch, the same for every place to begin
        shift = random.integers(0, block) if count > 0 else 0
        starts = random.permutation(shift + block * np.arange(max(count, 1)))
        whole = max(len(starts) // size * size, min(len(starts), size))
        return [starts[i : i + size] for i in range(0, whole, size)]

    def batch(self, arrays: Mapping, indices: Any, settings: Mapping, epoch: int | None) -> dict:
        """input_ids and labels (batch, block_size): a label is the next token."""
        from bigmodel.data.windows import window

        return window(arrays["tokens"], indices, settings["block_size"])

    def count_units(self, batch: Mapping) -> int:
        return batch["labels"].numel()

    # -- how good -----------------------------------------------------------------------------------
    def measure(self, model: Any, processor: Any, arrays: Mapping, settings: Mapping, final: bool = False) -> dict:
        """Token by token over the whole split. The final figures give every token at least half a context."""
        nats, hits = self._score(model, arrays, settings, final)
        count, unknown = len(nats) - 1, (arrays["tokens"][1:] == processor.unk_token_id).sum()
        loss = nats.sum() / count
        return {
            "loss": float(loss),
            "perplexity": exp(min(loss, 700)),
            "accuracy": float(hits.sum() / count),
            "bits_per_character": float((nats.sum() + unknown * UNSEEN_NATS) / log(2) / arrays["symbols"].sum()),
        }

    def _score(self, model: Any, arrays: Mapping, settings: Mapping, final: bool) -> tuple[np.ndarray, np.ndarray]:
        block = settings["block_size"]
        return score_stream(model, arrays["tokens"], block, settings["batch_size"], block // 2 if final else 0)

    def records(self, model: Any, processor: Any, arrays: Mapping, settings: Mapping) -> Iterator[dict]:
        """Of each text, in parts where it is longer than the context: row, nats, hits, tokens, spelled_nats (with what it
        costs to name the characters that the tokenizer does not know), characters and bytes, shared out by tokens."""
        import numpy as np

        tokens, ends, block = arrays["tokens"], arrays["ends"], settings["block_size"]
        nats, hits = self._score(model, arrays, settings, final=True)
        unseen = nats + UNSEEN_NATS * (tokens == processor.unk_token_id)
        begins = np.concatenate([[1], ends[:-1]])
        parts = [
            (start, piece)
            for piece in np.flatnonzero(ends > begins)
            for start in range(begins[piece], ends[piece], block)
        ]
        starts, piece = np.asarray(parts, dtype=np.int64).reshape(-1, 2).T
        counts = np.diff(starts, append=len(tokens))
        share = counts / (ends - begins)[piece]
        yield {
            "row": arrays["rows"][piece],
            "tokens": counts,
            "nats": np.add.reduceat(nats, starts),
            "hits": np.add.reduceat(hits, starts),
            "spelled_nats": np.add.reduceat(unseen, starts),
            "characters": arrays["symbols"][piece] * share,
            "bytes": arrays["bytes"][piece] * share,
        }

    def row_metrics(self) -> Sequence[RowMetric]:
        return token_row_metrics(self.metrics)

    def eval_passes(self, arrays: Mapping, settings: Mapping, final: bool) -> float:
        return len(self.batch_indices(arrays, settings, None)) * (
            2 if final else 1
        )  # the windows overlap by half at the end

    # -- trying it ----------------------------------------------------------------------------------
    def examples(self, rows: Any, settings: Mapping) -> list[dict]:
        return [{"prompt": prompt_from(row["text"])} for row in rows[:6]]

    def pinned(self, rows: Any, settings: Mapping) -> list[dict]:
        return [example | {"max_new_tokens": 60, "seed": 1} for example in self.examples(rows, settings)[:3]]

    def prompt_and_stop_ids(self, processor: Any, inputs: Mapping, max_length: int) -> tuple[list[int], Set[int]]:
        from bigmodel.inference.generate_text import prompt_ids

        return prompt_ids(processor, inputs["prompt"]), frozenset({processor.eos_token_id})

    def answer(self, model: Any, processor: Any, inputs: Mapping) -> Iterator[Block]:
        from bigmodel.inference.generate_text import complete_prompt

        yield from complete_prompt(model, processor, inputs)

    # -- kept ---------------------------------------------------------------------------------------
    def export(self, model: Any, processor: Any, settings: Mapping) -> Any:
        """Each text begins behind the end of another."""
        from bigmodel.data.tokenizers import for_writing, with_special_tokens
        from bigmodel.inference.generate_text import greedy_generation_config
        from bigmodel.inference.kv_cache import context_length

        end = processor.eos_token_id
        model.generation_config = greedy_generation_config(model, processor, {end}, MAX_NEW_TOKENS.default)
        return for_writing(with_special_tokens(processor, [end]), context_length(model.config))


def _joined_texts(rows: Any) -> Iterator[tuple[str, bool, int]]:
    """(text, whether it ends there, its first row). Rows that continue each other come put together, up to
    JOINED_CHARACTERS."""
    continues = rows["continues"] if "continues" in getattr(rows, "column_names", ()) else repeat(False)
    pieces, size, first = [], 0, 0
    for row, (text, goes_on) in enumerate(zip(rows["text"], continues, strict=False)):
        pieces.append(text)
        size += len(text)
        if not goes_on or size >= JOINED_CHARACTERS:
            yield "".join(pieces), not goes_on, first
            pieces, size, first = [], 0, row + 1
    if pieces:
        yield "".join(pieces), False, first


def prompt_from(text: str) -> str:
    """The first words of a text, enough to go on from: a verse's first half or a few words."""
    first = text.strip().split("\n")[0]
    for mark in "，。？！；":
        if mark in first[:12]:
            return first[: first.index(mark) + 1]
    return first[:8] if not first.isascii() and " " not in first[:12] else " ".join(first.split()[:6])
