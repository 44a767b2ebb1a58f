"""Translation: an encoder reads a sentence, a decoder writes it in the other language."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import replace
from math import exp
from typing import TYPE_CHECKING, Any

from bigmodel.core.blocks import Block, Prose
from bigmodel.core.contracts import LOSS, Metric, Task
from bigmodel.core.fields import Choice, Number, Text
from bigmodel.core.shared_fields import INFERENCE_PRECISION, MAX_NEW_TOKENS, PERPLEXITY, TOKEN_ACCURACY, VOCABULARY
from bigmodel.core.words import Words, _
from bigmodel.data.length_buckets import PAD_TO_MULTIPLE_OF, bucketed_batches
from bigmodel.metrics.eval_mode import eval_mode
from bigmodel.metrics.row_metric import RowMetric
from bigmodel.metrics.token_scores import score_tokens, token_row_metrics, token_scores

if TYPE_CHECKING:
    import numpy as np

EVAL_SAMPLE = 200  # validation sentences that are translated for BLEU and chrF, always the same
TOKENIZER_BATCH = 1000  # pairs at a time: what the tokenizer returns takes forty times the memory of the text
EVAL_BATCH = 64  # sentences that are translated at the same time when the model is measured
MIN_PROBE_TOKENS = (
    24  # tokens that are written to see how long one takes: a network that has just begun may have nothing to say
)
MAX_TRANSLATION_TOKENS = 512  # tokens of a translation, where the network has no bound of its own


class Translation(Task):
    name = "translation"
    order = 20
    title = _("Translation")
    about = _("The model reads a sentence in one language and writes it in another.")
    icon = ":material/translate:"
    required_columns = frozenset({"source", "target"})
    head = "seq2seq-lm"
    unit = _("tokens")
    metrics = (
        LOSS,
        Metric(
            "chrf",
            _("chrF"),
            help=_("How many character sequences the translation shares with the reference, 0 to 100."),
        ),
        Metric(
            "bleu", _("BLEU"), help=_("How many word sequences the translation shares with the reference, 0 to 100.")
        ),
        TOKEN_ACCURACY,
        PERPLEXITY,
    )
    fields = (
        Choice(
            name="direction",
            label=_("Direction"),
            default="forward",
            help=_("From which language into which."),
            options={"forward": _("As the data set is named"), "reverse": _("The other way round")},
        ),
        replace(VOCABULARY, default=4000),
        Number(
            name="sentence_length",
            label=_("Longest sentence"),
            integer=True,
            default=128,
            minimum=8,
            maximum=512,
            advanced=True,
            help=_("Longer sentences are cut off; in tokens."),
        ),
    )
    encoding_settings = ("direction", "vocabulary", "sentence_length")
    inputs = (
        Text(
            name="text",
            label=_("Text to translate"),
            lines=3,
            required=True,
            maximum=2000,
            help=_("A sentence, or several lines."),
        ),
        Number(
            name="beams",
            label=_("Beams"),
            integer=True,
            default=4,
            minimum=1,
            maximum=12,
            help=_("How many translations are followed at the same time. 1 is greedy: always the most likely token."),
        ),
        replace(MAX_NEW_TOKENS, maximum=500, advanced=True),
        INFERENCE_PRECISION,
    )

    # -- from rows to batches ---------------------------------------------------------------------
    def processor(self, rows: Any, settings: Mapping) -> Any:
        """One vocabulary for both languages, so that names and numbers can be copied."""
        from bigmodel.data.tokenizers import train_tokenizer

        texts = [*rows["train"]["source"], *rows["train"]["target"]]
        return train_tokenizer(texts, "bpe", settings["vocabulary"])

    def facts(self, rows: Any, processor: Any, settings: Mapping) -> dict:
        """start: what the decoder of a pretrained network begins with; first: the token that every translation of it
        begins with, that of its language, None where there is none."""
        from bigmodel.data.tokenizers import sentence_tokens

        return {
            "vocabulary": len(processor),
            "pad": processor.pad_token_id,
            "end": processor.eos_token_id,
            "longest": settings["sentence_length"] + 32,
            "start": processor.init_kwargs.get("decoder_start_token_id"),
            "first": next(iter(sentence_tokens(processor, written=True).prefix), None),
        }

    def encode(self, rows: Any, processor: Any, settings: Mapping) -> dict:
        """Sentences of both sides as one stream each with offsets, every sentence between the marks of its tokenizer:
        closed by the end token, those of a pretrained network of many languages with their language too."""
        import numpy as np

        from bigmodel.data.tokenizers import sentence_tokens

        sides = self.language_columns(settings)
        prefix = processor.init_kwargs.get("source_prefix", "")  # of a pretrained T5: what it is to do
        ids: tuple[list, list] = [], []
        for start in range(0, len(rows), TOKENIZER_BATCH):
            part = slice(start, start + TOKENIZER_BATCH)
            read = [prefix + text for text in rows[sides[0]][part]]
            ids[0].extend(processor(read, add_special_tokens=False)["input_ids"])
            ids[1].extend(processor(text_target=list(rows[sides[1]][part]), add_special_tokens=False)["input_ids"])
        room, longest = _source_length(processor, settings), settings["sentence_length"]
        arrays = {"start": np.asarray(processor.init_kwargs.get("decoder_start_token_id", 0))}  # of a pretrained one
        for side, sentences, most in zip(("source", "target"), ids, (room, longest), strict=True):
            around = sentence_tokens(processor, written=side == "target")
            closed = [around.wrap(sentence, most) for sentence in sentences]
            arrays[side] = np.concatenate([np.asarray(one, dtype=np.int32) for one in closed])
            arrays[f"{side}_offsets"] = np.cumsum([0, *map(len, closed)])
        return arrays

    def batch_indices(self, arrays: Mapping, settings: Mapping, epoch: int | None) -> Sequence:
        """Sentences of like length together, so that little is padded; the batches in random order."""
        import numpy as np

        lengths = np.diff(arrays["source_offsets"]) + np.diff(arrays["target_offsets"])
        return bucketed_batches(lengths, settings, epoch)

    def batch(self, arrays: Mapping, indices: Any, settings: Mapping, epoch: int | None) -> dict:
        """input_ids and attention_mask (batch, source tokens), decoder_input_ids and labels (batch, target
        tokens); the decoder begins with the padding token, 0, as Marian does, unless a pretrained one has another."""
        import torch

        source, mask = _gather(arrays, "source", indices)
        target, real = _gather(arrays, "target", indices)
        before = torch.roll(target, 1, dims=1)
        before[:, 0] = int(arrays["start"])
        return {
            "input_ids": source,
            "attention_mask": mask.long(),
            "decoder_input_ids": before,
            "labels": target.masked_fill(~real, -100),
        }

    def count_units(self, batch: Mapping) -> int:
        return int((batch["labels"] != -100).sum() + batch["attention_mask"].sum())

    def language_columns(self, settings: Mapping) -> tuple[str, str]:
        return ("source", "target") if settings["direction"] == "forward" else ("target", "source")

    # -- how good -----------------------------------------------------------------------------------
    def measure(self, model: Any, processor: Any, arrays: Mapping, settings: Mapping, final: bool = False) -> dict:
        """Loss and accuracy over the whole split; BLEU and chrF over a fixed sample, at the end over all of it."""
        batches = (
            self.batch(arrays, indices, settings, None) for indices in self.batch_indices(arrays, settings, None)
        )
        nats, hits, count = score_tokens(model, batches)
        loss = nats / count
        values = {"loss": loss, "accuracy": hits / count, "perplexity": exp(min(loss, 700))}
        with eval_mode(model):
            return values | self._translation_metrics(model, processor, arrays, None if final else EVAL_SAMPLE)

    def _translation_metrics(
        self, model: Any, processor: Any, arrays: Mapping, count: int | None, least: int = 0
    ) -> dict:
        import numpy as np

        from bigmodel.metrics.bleu import bleu_and_chrf

        total = len(arrays["source_offsets"]) - 1
        chosen = np.arange(total) if count is None else np.random.default_rng(0).permutation(total)[:count]
        answers, references = [], []
        for _rows, some, expected in self._translations(model, processor, arrays, chosen, least):
            answers += some
            references += expected
        return bleu_and_chrf(answers, references)

    def _translations(
        self, model: Any, processor: Any, arrays: Mapping, chosen: np.ndarray, least: int = 0
    ) -> Iterator[tuple[np.ndarray, list[str], list[str]]]:
        """(rows, answers, references), EVAL_BATCH at a time, in order of length; answers are greedy, of at least `least`
        tokens."""
        import numpy as np
        import torch

        from bigmodel.data.tokenizers import sentence_tokens

        written = sentence_tokens(processor, written=True)
        device = next(model.parameters()).device
        chosen = chosen[np.argsort(np.diff(arrays["source_offsets"])[chosen], kind="stable")]
        for start in range(0, len(chosen), EVAL_BATCH):
            part = chosen[start : start + EVAL_BATCH]
            source, mask = _gather(arrays, "source", part)
            with torch.inference_mode():
                ids = model.generate(
                    input_ids=source.to(device),
                    attention_mask=mask.long().to(device),
                    num_beams=1,
                    do_sample=False,
                    min_length=least,
                    max_length=min(
                        2 * source.shape[1] + 16,
                        getattr(model.config, "max_position_embeddings", MAX_TRANSLATION_TOKENS),
                    ),
                )
            answers, references = (
                processor.batch_decode([written.strip(one) for one in some.tolist()], skip_special_tokens=True)
                for some in (ids, _gather(arrays, "target", part)[0])
            )
            yield part, answers, references

    def records(self, model: Any, processor: Any, arrays: Mapping, settings: Mapping) -> Iterator[dict]:
        """Of each pair: row, nats, hits, tokens of the reference, the greedy answer and the reference as texts."""
        import numpy as np

        order = self.batch_indices(arrays, settings, None)
        batches = (self.batch(arrays, indices, settings, None) for indices in order)
        scores = {}
        for indices, (counted, nats, hits) in zip(order, token_scores(model, batches), strict=True):
            rows = zip(indices.tolist(), nats.sum(1), hits.sum(1), counted.sum(1), strict=True)
            scores.update({row: values for row, *values in rows})
        with eval_mode(model):
            everything = np.arange(len(arrays["source_offsets"]) - 1)
            for rows, answers, references in self._translations(model, processor, arrays, everything):
                nats, hits, tokens = np.asarray([scores[row] for row in rows.tolist()]).T
                yield {
                    "row": rows,
                    "tokens": tokens,
                    "nats": nats,
                    "hits": hits,
                    "answer": answers,
                    "reference": references,
                }

    def row_metrics(self) -> Sequence[RowMetric]:
        from bigmodel.metrics.bleu import translation_row_metrics

        return (*translation_row_metrics(self.metrics), *token_row_metrics(self.metrics))

    def baseline(self, train: Any, rows: Any, records: Mapping, settings: Mapping) -> tuple[Words, Mapping]:
        import numpy as np

        source, _written = self.language_columns(settings)
        unknown = np.full(len(records["row"]), np.nan)
        copies = list(rows.select(records["row"])[source])
        return _("The sentence itself, not translated"), {
            **records, "answer": copies, "nats": unknown, "hits": unknown, "tokens": unknown,
        }  # fmt: skip

    def score_signatures(self, records: Mapping) -> Mapping[str, str]:
        from bigmodel.metrics.bleu import signatures

        return signatures(records)

    def generated_tokens(self, arrays: Mapping, settings: Mapping, final: bool) -> float:
        """As many as the longest sentence of each batch has: a model that has learnt writes about as much."""
        import numpy as np

        lengths = np.sort(np.diff(arrays["target_offsets"]))
        chosen = lengths if final else lengths[:: max(len(lengths) // EVAL_SAMPLE, 1)]
        return float(chosen[EVAL_BATCH - 1 :: EVAL_BATCH].sum() + chosen[-1])

    def probe_generation(self, model: Any, processor: Any, arrays: Mapping, settings: Mapping) -> None:
        self._translation_metrics(model, processor, arrays, EVAL_BATCH, MIN_PROBE_TOKENS)

    # -- trying it ----------------------------------------------------------------------------------
    def examples(self, rows: Any, settings: Mapping) -> list[dict]:
        side, _written = self.language_columns(settings)
        good = [
            row[side] for row in rows if 12 <= len(row[side]) <= 90 or (side == "target" and 6 <= len(row[side]) <= 40)
        ]
        return [{"text": text} for text in good[:6]]

    def pinned(self, rows: Any, settings: Mapping) -> list[dict]:
        return [example | {"beams": 1} for example in self.examples(rows, settings)[:3]]

    def prompt_and_stop_ids(self, processor: Any, inputs: Mapping, max_length: int) -> tuple[list[int], Set[int]]:
        from bigmodel.inference.translate import encode_sentences

        ids = encode_sentences(processor, inputs["text"].strip(), max_length)[0]
        return ids, frozenset({processor.eos_token_id})

    def answer(self, model: Any, processor: Any, inputs: Mapping) -> Iterator[Block]:
        """Line by line, as lines are how people separate sentences; the sentences of a line together."""
        import time

        from bigmodel.inference.translate import translate

        started, done, tokens = time.monotonic(), [], 0
        lines = inputs["text"].strip().split("\n")
        for found in translate(model, processor, lines, inputs):
            if found is not None:
                done.append(found[0])
                tokens += found[1]
            yield Prose(
                "\n".join(done), done=len(done) == len(lines), tokens=tokens, seconds=time.monotonic() - started
            )

    # -- kept ---------------------------------------------------------------------------------------
    def export(self, model: Any, processor: Any, settings: Mapping) -> Any:
        """A sentence that is read ends with the end token, whatever the tokenizer is used to."""
        from bigmodel.data.tokenizers import sentence_tokens, with_max_length, with_special_tokens
        from bigmodel.inference.translate import greedy_generation_config

        around = sentence_tokens(processor)
        model.generation_config = greedy_generation_config(model, MAX_NEW_TOKENS.default)
        marked = with_special_tokens(processor, around.prefix, around.suffix)
        return with_max_length(marked, _source_length(processor, settings))


def _source_length(processor: Any, settings: Mapping) -> int:
    """Tokens that are read of a sentence: as many as are written, and the prefix that a base was trained with."""
    prefix = processor.init_kwargs.get("source_prefix", "")
    before = processor(prefix, add_special_tokens=False)["input_ids"] if prefix else ()
    return settings["sentence_length"] + len(before)


def _gather(arrays: Mapping, side: str, indices: Any) -> tuple[Any, Any]:
    """(ids, real): sentences padded with 0 to the longest of them, and where they are not padding."""
    import numpy as np
    import torch

    starts, ends = arrays[f"{side}_offsets"][indices], arrays[f"{side}_offsets"][np.asarray(indices) + 1]
    width = -(-(ends - starts).max() // PAD_TO_MULTIPLE_OF) * PAD_TO_MULTIPLE_OF
    places = np.arange(width)[None] + starts[:, None]
    real = places < ends[:, None]
    ids = np.where(real, arrays[side][np.minimum(places, len(arrays[side]) - 1)], 0).astype(np.int64)
    return torch.from_numpy(ids), torch.from_numpy(real)
