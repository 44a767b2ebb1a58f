"""LSTM: embedding, long short-term memory, softmax over the vocabulary or over the classes of a text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

from bigmodel.core.contracts import Architecture, Layer
from bigmodel.core.fields import Number
from bigmodel.core.shared_fields import DROPOUT
from bigmodel.core.words import _


class Lstm(Architecture):
    name = "lstm"
    order = 20
    title = _("LSTM")
    about = _(
        "Reads a text token by token and keeps what matters in a memory. The classic network for text: embedding, LSTM, softmax."
    )
    paper = "Hochreiter, Schmidhuber 1997, Long Short-Term Memory"
    heads = frozenset({"causal-lm", "text-classification"})
    model_type = "bigmodel-lstm"
    base_heads = frozenset({"causal-lm"})
    hyperparameters = (
        Number(
            name="embedding",
            label=_("Embedding size"),
            integer=True,
            default=128,
            minimum=4,
            maximum=8192,
            logarithmic=True,
            help=_("Numbers that describe one token."),
        ),
        Number(
            name="units",
            label=_("LSTM units"),
            integer=True,
            default=128,
            minimum=4,
            maximum=8192,
            logarithmic=True,
            help=_("Size of the memory."),
        ),
        Number(
            name="layers",
            label=_("Layers"),
            integer=True,
            default=1,
            minimum=1,
            maximum=16,
            help=_("LSTMs on top of each other."),
        ),
        replace(DROPOUT, default=0.0),
    )
    default_settings = {
        "vocabulary": 10_000,
        "epochs": 10,
        "max_minutes": 0,  # the article's recipe, however long it takes
        "optimizer": "adam",
        "learning_rate": 2e-3,
        "schedule": "constant",
        "warmup": 0.0,
        "weight_decay": 0.0,
        "batch_size": 32,
        "block_size": 64,
        "text-classification": {"epochs": 30, "max_minutes": 3, "schedule": "cosine"},
    }

    def model(self, facts: Mapping, settings: Mapping) -> Any:
        """Embedding (vocabulary x embedding), LSTM, Dense to the vocabulary. The vocabulary has the size that
        was asked for, as in Keras, even where the data fills less of it. Where there are classes, Dense to them."""
        config_class, writer, reader = model_classes()
        sizes = {
            "vocab_size": max(settings["vocabulary"], facts["vocabulary"]),
            "embedding_size": settings["embedding"],
            "hidden_size": settings["units"],
            "num_hidden_layers": settings["layers"],
            "dropout": settings["dropout"],
            "pad_token_id": facts["pad"],
        }
        if "classes" in facts:
            names = dict(enumerate(facts["classes"]))
            return reader(
                config_class(**sizes, id2label=names, label2id={name: place for place, name in names.items()})
            )
        return writer(config_class(**sizes, bos_token_id=facts["end"], eos_token_id=facts["end"]))

    def register(self) -> None:
        model_classes()

    def diagram(self, settings: Mapping) -> list[Layer]:
        reads = "text_length" in settings  # texts as a whole, where it is not to write them
        last = [
            Layer(_("Mean over the tokens"), f"{settings['units']}"),
            Layer(_("Softmax over the classes")),
        ]
        return [
            Layer(_("Tokens"), f"{settings['text_length' if reads else 'block_size']}"),
            Layer(_("Embedding"), f"{settings['vocabulary']} x {settings['embedding']}"),
            Layer(_("LSTM"), f"{settings['units']}", settings["layers"]),
            *(last if reads else [Layer(_("Softmax over the vocabulary"), f"{settings['vocabulary']}")]),
        ]


@cache
def model_classes() -> tuple[type, type, type]:
    """The config, the model that writes texts and the one that classifies them, registered with transformers' Auto
    classes in this process."""
    import torch
    from transformers import (
        AutoConfig,
        AutoModelForCausalLM,
        AutoModelForSequenceClassification,
        GenerationMixin,
        PretrainedConfig,
        PreTrainedModel,
    )
    from transformers.modeling_outputs import CausalLMOutputWithPast, SequenceClassifierOutput

    class LstmConfig(PretrainedConfig):
        model_type = Lstm.model_type
        vocab_size: int = 10_000
        embedding_size: int = 128
        hidden_size: int = 128
        num_hidden_layers: int = 1
        dropout: float = 0.0
        initializer_range: float = 0.05
        bos_token_id: int | None = None
        eos_token_id: int | None = None
        pad_token_id: int | None = None

    class Network(PreTrainedModel):
        """Embedding, LSTM, and Dense to so many answers."""

        config_class = LstmConfig

        def __init__(self, config: LstmConfig, answers: int):
            super().__init__(config)
            self.embedding = torch.nn.Embedding(config.vocab_size, config.embedding_size)
            self.dropout = torch.nn.Dropout(config.dropout)
            self.lstm = torch.nn.LSTM(
                config.embedding_size,
                config.hidden_size,
                config.num_hidden_layers,
                batch_first=True,
                dropout=config.dropout if config.num_hidden_layers > 1 else 0.0,
            )
            self.dense = torch.nn.Linear(config.hidden_size, answers)
            self.post_init()

        def _init_weights(self, module):
            """As Keras begins: uniform embedding, Glorot for the rest, and a forget gate that remembers."""
            if isinstance(module, torch.nn.Embedding):
                torch.nn.init.uniform_(module.weight, -self.config.initializer_range, self.config.initializer_range)
            elif isinstance(module, torch.nn.Linear):
                torch.nn.init.xavier_uniform_(module.weight)
                torch.nn.init.zeros_(module.bias)
            elif isinstance(module, torch.nn.LSTM):
                for name, weight in module.named_parameters():
                    if name.startswith("weight_ih"):
                        torch.nn.init.xavier_uniform_(weight)
                    elif name.startswith("weight_hh"):
                        torch.nn.init.orthogonal_(weight)
                    else:
                        torch.nn.init.zeros_(weight)
                        if name.startswith("bias_ih"):
                            units = self.config.hidden_size
                            torch.nn.init.ones_(weight[units : 2 * units])

        def get_input_embeddings(self):
            return self.embedding

        def set_input_embeddings(self, value):
            self.embedding = value

    class LstmForCausalLM(Network, GenerationMixin):
        """input_ids (batch, tokens) -> logits (batch, tokens, vocabulary); the state (h, c) travels as
        `past_key_values`, each (layers, batch, units)."""

        _is_stateful = True  # the state cannot be cut back, so assisted decoding is out

        def __init__(self, config: LstmConfig):
            super().__init__(config, config.vocab_size)

        def forward(self, input_ids, past_key_values=None, use_cache=None, labels=None, **ignored):
            state = past_key_values if isinstance(past_key_values, tuple) else None
            hidden, state = self.lstm(self.dropout(self.embedding(input_ids)), state)
            logits = self.dense(self.dropout(hidden))
            loss = None
            if labels is not None:  # transformers' own convention: labels are the input, shifted here
                loss = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
            return CausalLMOutputWithPast(loss=loss, logits=logits, past_key_values=state)

        @staticmethod
        def _reorder_cache(past_key_values, beam_idx):
            """The memories of the beams that go on, in their order."""
            return tuple(part.index_select(1, beam_idx.to(part.device)) for part in past_key_values)

        def prepare_inputs_for_generation(self, input_ids, past_key_values=None, attention_mask=None, **ignored):
            """attention_mask, which tokenizers give, is named as `generate` refuses what it does not find here."""
            if isinstance(past_key_values, tuple):
                input_ids = input_ids[:, -1:]
            return {"input_ids": input_ids, "past_key_values": past_key_values, "use_cache": True}

    class LstmForSequenceClassification(Network):
        """input_ids and attention_mask (batch, tokens), padded on the right -> logits (batch, classes), from the mean
        of what the LSTM has said at each token."""

        def __init__(self, config: LstmConfig):
            super().__init__(config, config.num_labels)

        def forward(self, input_ids, attention_mask=None, labels=None, **ignored):
            mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
            hidden, _state = self.lstm(self.dropout(self.embedding(input_ids)))
            mask = mask[..., None].to(hidden.dtype)
            mean = (hidden * mask).sum(1) / mask.sum(1)
            logits = self.dense(self.dropout(mean))
            loss = None if labels is None else torch.nn.functional.cross_entropy(logits, labels)
            return SequenceClassifierOutput(loss=loss, logits=logits)

    AutoConfig.register(LstmConfig.model_type, LstmConfig, exist_ok=True)
    AutoModelForCausalLM.register(LstmConfig, LstmForCausalLM, exist_ok=True)
    AutoModelForSequenceClassification.register(LstmConfig, LstmForSequenceClassification, exist_ok=True)
    return LstmConfig, LstmForCausalLM, LstmForSequenceClassification
