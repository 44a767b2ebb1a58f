"""Transformer: the encoder-decoder of 'Attention Is All You Need' (transformers' Marian)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from bigmodel.architectures.gpt import check_attention_heads
from bigmodel.core.contracts import Architecture, Layer
from bigmodel.core.shared_fields import ATTENTION_HEADS, DROPOUT, LAYERS, WIDTH
from bigmodel.core.words import _


class Transformer(Architecture):
    name = "transformer"
    order = 10
    title = _("Transformer")
    about = _(
        "The encoder-decoder of 'Attention Is All You Need': one half reads, the other writes and looks back at what was read."
    )
    paper = "Vaswani et al. 2017, Attention Is All You Need"
    heads = frozenset({"seq2seq-lm"})
    hyperparameters = (
        replace(LAYERS, maximum=24, help=_("Transformer blocks in the encoder, and as many in the decoder.")),
        WIDTH,
        ATTENTION_HEADS,
        DROPOUT,
    )
    default_settings = {
        "batch_size": 64,
        "epochs": 40,
        "learning_rate": 1e-3,
        "optimizer": "adam",
        "schedule": "inverse-sqrt",
        "warmup": 0.1,
        "label_smoothing": 0.1,
        "weight_decay": 0.0,
    }

    def check(self, settings: Mapping) -> None:
        check_attention_heads(settings["width"], settings["attention_heads"])

    def model(self, facts: Mapping, settings: Mapping) -> Any:
        from transformers import GenerationConfig, MarianConfig, MarianMTModel

        model = MarianMTModel(
            MarianConfig(
                vocab_size=facts["vocabulary"],
                d_model=settings["width"],
                encoder_layers=settings["layers"],
                decoder_layers=settings["layers"],
                encoder_attention_heads=settings["attention_heads"],
                decoder_attention_heads=settings["attention_heads"],
                encoder_ffn_dim=4 * settings["width"],
                decoder_ffn_dim=4 * settings["width"],
                max_position_embeddings=facts["longest"],
                dropout=settings["dropout"],
                attention_dropout=0.0,  # without it attention is computed in one fused piece
                activation_function="relu",
                scale_embedding=True,
                init_std=min(0.02 * (768 / settings["width"]) ** 0.5, 0.08),  # larger ones stall behind the norms
                pad_token_id=facts["pad"],
                eos_token_id=facts["end"],
                bos_token_id=facts["end"],
                decoder_start_token_id=facts["pad"],
                forced_eos_token_id=None,
            )
        )
        model.generation_config = GenerationConfig(
            pad_token_id=facts["pad"],
            eos_token_id=facts["end"],
            decoder_start_token_id=facts["pad"],
            bad_words_ids=[[facts["pad"]]],
            max_length=facts["longest"],
        )
        return model

    def diagram(self, settings: Mapping) -> list[Layer]:
        heads, width = settings["attention_heads"], settings["width"]
        return [
            Layer(_("Source tokens")),
            Layer(_("Embedding and sinusoidal positions"), f"{width}"),
            Layer(_("Self-attention, feed-forward"), f"{heads} x {width}", settings["layers"]),
            Layer(_("Target tokens so far"), column=1),
            Layer(_("Embedding and sinusoidal positions"), f"{width}", column=1),
            Layer(
                _("Masked self-attention, attention to the source, feed-forward"),
                f"{heads} x {width}",
                settings["layers"],
                1,
            ),
            Layer(_("Softmax over the vocabulary"), f"{settings['vocabulary']}", column=1),
        ]
