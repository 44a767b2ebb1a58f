"""BERT: a transformer that reads a text from both sides at once, and can first learn the language of its texts by guessing
masked words."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from bigmodel.architectures.gpt import check_attention_heads
from bigmodel.core.contracts import Architecture, Layer
from bigmodel.core.fields import Number
from bigmodel.core.shared_fields import ATTENTION_HEADS, DROPOUT, LAYERS, WIDTH
from bigmodel.core.words import _


class Bert(Architecture):
    name = "bert"
    order = 10
    title = _("BERT")
    about = _(
        "Reads a text from both sides at once. It can first learn the language by guessing masked words of the same texts."
    )
    paper = "Devlin et al. 2019, BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding"
    heads = frozenset({"text-classification"})
    hyperparameters = (
        Number(
            name="pretraining_epochs",
            label=_("Pretraining epochs"),
            integer=True,
            default=0,
            minimum=0,
            maximum=1000,
            search=(),
            help=_(
                "So many times the network first reads all training texts and guesses masked words of them, without looking at the classes. 0: it begins with the classes at once."
            ),
        ),
        LAYERS,
        WIDTH,
        ATTENTION_HEADS,
        DROPOUT,
        Number(
            name="pretraining_rate",
            label=_("Learning rate of the pretraining"),
            default=1e-3,
            minimum=1e-7,
            maximum=10,
            advanced=True,
            logarithmic=True,
            help=_("How far each update goes while masked words are guessed."),
        ),
    )
    default_settings = {"batch_size": 32, "learning_rate": 5e-4, "epochs": 30, "weight_decay": 0.05, "warmup": 0.1}

    def check(self, settings: Mapping) -> None:
        check_attention_heads(settings["width"], settings["attention_heads"])

    def model(self, facts: Mapping, settings: Mapping) -> Any:
        from transformers import BertForSequenceClassification

        return BertForSequenceClassification(_config(facts, settings))

    def pretraining_model(self, facts: Mapping, settings: Mapping) -> Any:
        return masked_lm_class()(_config(facts, settings))

    def begin_with(self, model: Any, pretrained: Path) -> None:
        """All weights but those of pooler and classifier, which masked language modelling does not train."""
        import torch

        guessed = masked_lm_class().from_pretrained(
            pretrained, dtype=torch.float32, use_safetensors=True, local_files_only=True
        )
        model.bert.load_state_dict(guessed.bert.state_dict(), strict=False)

    def diagram(self, settings: Mapping) -> list[Layer]:
        width = settings["width"]
        return [
            Layer(_("Tokens"), f"{settings['text_length']}"),
            Layer(_("Token and position embedding"), f"{width}"),
            Layer(_("Self-attention, feed-forward"), f"{settings['attention_heads']} x {width}", settings["layers"]),
            Layer(_("What the first token has gathered"), f"{width}"),
            Layer(_("Softmax over the classes")),
        ]


def _config(facts: Mapping, settings: Mapping) -> Any:
    from transformers import BertConfig

    return BertConfig(
        vocab_size=facts["vocabulary"],
        hidden_size=settings["width"],
        intermediate_size=4 * settings["width"],
        num_hidden_layers=settings["layers"],
        num_attention_heads=settings["attention_heads"],
        max_position_embeddings=facts["longest"],
        hidden_dropout_prob=settings["dropout"],
        attention_probs_dropout_prob=0.0,  # without it attention is computed in one fused piece
        initializer_range=min(0.02 * (768 / settings["width"]) ** 0.5, 0.08),  # BERT's, for its width of 768
        pad_token_id=facts["pad"],
        id2label=dict(enumerate(facts["classes"])),
        label2id={name: index for index, name in enumerate(facts["classes"])},
    )


@cache
def masked_lm_class() -> type:
    """transformers' BertForMaskedLM with logits of the masked places only: the other six in seven have no label."""
    from transformers import BertForMaskedLM
    from transformers.modeling_outputs import MaskedLMOutput

    class BertGuesser(BertForMaskedLM):
        def forward(self, input_ids: Any, attention_mask: Any, places: Any) -> Any:
            """input_ids and attention_mask (batch, tokens), places (masked) in the flattened batch -> logits (masked,
            vocabulary)."""
            hidden = self.bert(input_ids, attention_mask=attention_mask)[0]
            return MaskedLMOutput(logits=self.cls(hidden.flatten(0, 1)[places]))

    return BertGuesser
