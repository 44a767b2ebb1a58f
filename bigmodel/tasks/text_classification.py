"""Text classification: a model says which class a text belongs to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bigmodel.core.blocks import Block, Note, Scores
from bigmodel.core.contracts import LOSS, Metric, Task
from bigmodel.core.fields import Number, Text
from bigmodel.core.shared_fields import TOKENIZER, VOCABULARY
from bigmodel.core.words import Words, _
from bigmodel.data.length_buckets import PAD_TO_MULTIPLE_OF, bucketed_batches
from bigmodel.metrics.classification import (
    class_records,
    class_row_metrics,
    macro_metrics,
    majority_baseline,
    predict_classes,
)
from bigmodel.metrics.row_metric import RowMetric

TOKENIZER_BATCH = 1000  # texts at a time: what the tokenizer returns takes forty times the memory of the text
TOP_CLASSES = 10  # classes of an answer
EXAMPLE_CHARACTERS = 600  # of a text that is offered to be tried


class TextClassification(Task):
    name = "text-classification"
    order = 25
    title = _("Text classification")
    about = _("The model reads a text and says which class it belongs to: its topic, its tone, its author.")
    icon = ":material/label:"
    required_columns = frozenset({"text", "label"})
    head = "text-classification"
    losses = ("cross-entropy", "mse")
    unit = _("texts")
    metrics = (
        Metric("accuracy", _("Accuracy"), percent=True, help=_("The part of the texts whose class is found.")),
        LOSS,
        Metric(
            "precision",
            _("Class precision"),
            percent=True,
            help=_("Of the texts that are put into a class, how many belong there; the mean over the classes."),
        ),
        Metric(
            "recall",
            _("Recall"),
            percent=True,
            help=_("Of the texts of a class, how many are found; the mean over the classes."),
        ),
        Metric(
            "f1",
            _("F1"),
            percent=True,
            help=_("The harmonic mean of precision and recall; the mean over the classes."),
        ),
        Metric(
            "f1_weighted",
            _("F1, weighted"),
            percent=True,
            help=_("F1 of each class, the mean weighted by how many texts a class has."),
        ),
    )
    fields = (
        Number(
            name="text_length",
            label=_("Longest text"),
            integer=True,
            default=128,
            minimum=8,
            maximum=4096,
            help=_("The model reads so many tokens of a text, the first ones. Longer sees more and costs more."),
        ),
        TOKENIZER,
        VOCABULARY,
    )
    encoding_settings = ("text_length", "tokenizer", "vocabulary")
    inputs = (
        Text(
            name="text",
            label=_("Text"),
            lines=5,
            required=True,
            help=_("A text like those the model was trained on."),
        ),
    )

    # -- from rows to batches ---------------------------------------------------------------------
    def processor(self, rows: Any, settings: Mapping) -> Any:
        from bigmodel.data.tokenizers import train_tokenizer

        texts = list(rows["train"]["text"])
        tokenizer = train_tokenizer(texts, settings["tokenizer"], settings["vocabulary"], marked=True)
        tokenizer.model_max_length = settings["text_length"]
        return tokenizer

    def facts(self, rows: Any, processor: Any, settings: Mapping) -> dict:
        """special: tokens that are no part of a text and are never to be guessed."""
        return {
            "classes": list(rows["train"].features["label"].names),
            "vocabulary": len(processor),
            "pad": processor.pad_token_id,
            "mask": processor.mask_token_id,
            "special": sorted(processor.all_special_ids),
            "longest": settings["text_length"],
        }

    def encode(self, rows: Any, processor: Any, settings: Mapping) -> dict:
        """Texts as one stream of tokens with offsets, each between the marks of its tokenizer; labels: (texts,)."""
        import numpy as np

        texts, parts, lengths = rows["text"], [], [0]
        for start in range(0, len(texts), TOKENIZER_BATCH):
            some = list(texts[start : start + TOKENIZER_BATCH])
            for ids in processor(some, truncation=True, max_length=settings["text_length"])["input_ids"]:
                ids = ids or [processor.pad_token_id]  # an empty text of a tokenizer without marks
                parts.append(np.asarray(ids, dtype=np.int32))
                lengths.append(len(ids))
        return {
            "tokens": np.concatenate(parts),
            "offsets": np.cumsum(lengths),
            "labels": np.asarray(rows["label"], dtype=np.int64),
            "pad": np.asarray(processor.pad_token_id),
        }

    def batch_indices(self, arrays: Mapping, settings: Mapping, epoch: int | None) -> Sequence:
        """Texts of like length together, so that little is padded; the batches in random order."""
        import numpy as np

        return bucketed_batches(np.diff(arrays["offsets"]), settings, epoch)

    def batch(self, arrays: Mapping, indices: Any, settings: Mapping, epoch: int | None) -> dict:
        """input_ids and attention_mask (batch, tokens), labels (batch)."""
        import numpy as np
        import torch

        indices = np.asarray(indices)
        starts, ends = arrays["offsets"][indices], arrays["offsets"][indices + 1]
        width = min(-(-(ends - starts).max() // PAD_TO_MULTIPLE_OF) * PAD_TO_MULTIPLE_OF, settings["text_length"])
        places = np.arange(width)[None] + starts[:, None]
        real = places < ends[:, None]
        tokens = arrays["tokens"][np.minimum(places, len(arrays["tokens"]) - 1)]
        return {
            "input_ids": torch.from_numpy(np.where(real, tokens, arrays["pad"]).astype(np.int64)),
            "attention_mask": torch.from_numpy(real.astype(np.int64)),
            "labels": torch.from_numpy(np.ascontiguousarray(arrays["labels"][indices])),
        }

    # -- how good -----------------------------------------------------------------------------------
    def measure(self, model: Any, processor: Any, arrays: Mapping, settings: Mapping, final: bool = False) -> dict:
        loss, predicted, right = predict_classes(self, model, arrays, settings)
        values = {"accuracy": float((predicted == right).mean()), "loss": loss}
        return values | (macro_metrics(right, predicted) if final else {})

    def records(self, model: Any, processor: Any, arrays: Mapping, settings: Mapping) -> Iterator[dict]:
        return class_records(self, model, arrays, settings)

    def row_metrics(self) -> Sequence[RowMetric]:
        return class_row_metrics(self.metrics)

    def baseline(self, train: Any, rows: Any, records: Mapping, settings: Mapping) -> tuple[Words, Mapping]:
        return majority_baseline(train, records)

    # -- trying it ----------------------------------------------------------------------------------
    def examples(self, rows: Any, settings: Mapping) -> list[dict]:
        """Of each class the first, then the others."""
        short = [row for row in rows if len(row["text"]) <= EXAMPLE_CHARACTERS] or list(rows)
        first = {row["label"]: row for row in reversed(short)}
        chosen = [first[label] for label in sorted(first)]
        chosen += [row for row in short if first[row["label"]] is not row]
        return [{"text": row["text"]} for row in chosen[:8]]

    def answer(self, model: Any, processor: Any, inputs: Mapping) -> Iterator[Block]:
        import torch

        from bigmodel.data.tokenizers import max_input_tokens

        longest = max_input_tokens(processor, model.config)
        read = processor(inputs["text"], truncation=True, max_length=longest + 1, return_tensors="pt")
        if cut := read["input_ids"].shape[1] > longest:
            read = processor(inputs["text"], truncation=True, max_length=longest, return_tensors="pt")
        device = next(model.parameters()).device
        asked = {name: read[name].to(device) for name in ("input_ids", "attention_mask")}
        training = model.training
        model.eval()
        with torch.inference_mode():
            chances = model(**asked).logits[0].float().softmax(-1)
        model.train(training)
        values, best = (part.tolist() for part in chances.topk(min(len(chances), TOP_CLASSES)))
        yield Scores(tuple(model.config.id2label[place] for place in best), tuple(values))
        if cut:
            yield Note(
                _("The text is longer than what the model reads: it has seen the first {count} tokens.", count=longest)
            )

    # -- kept ---------------------------------------------------------------------------------------
    def export(self, model: Any, processor: Any, settings: Mapping) -> Any:
        from bigmodel.data.tokenizers import with_max_length

        return with_max_length(processor, settings["text_length"])
