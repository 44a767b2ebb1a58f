"""GPT: a decoder of transformer blocks (transformers' GPT-2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from bigmodel.core.contracts import Architecture, Layer
from bigmodel.core.errors import Refusal
from bigmodel.core.shared_fields import ATTENTION_HEADS, DROPOUT, LAYERS, WIDTH
from bigmodel.core.words import _


class Gpt(Architecture):
    name = "gpt"
    order = 10
    title = _("GPT")
    about = _(
        "A stack of transformer blocks; each token looks back at all tokens before it. The kind of network behind today's large language models."
    )
    paper = "Radford et al. 2019, Language Models are Unsupervised Multitask Learners"
    heads = frozenset({"causal-lm"})
    hyperparameters = (
        replace(LAYERS, default=4, maximum=96),
        replace(WIDTH, maximum=8192),
        replace(ATTENTION_HEADS, maximum=128),
        DROPOUT,
    )
    default_settings = {
        "batch_size": 16,
        "learning_rate": 2e-3,
        "epochs": 20,
        "weight_decay": 0.1,
    }

    def check(self, settings: Mapping) -> None:
        check_attention_heads(settings["width"], settings["attention_heads"])

    def model(self, facts: Mapping, settings: Mapping) -> Any:
        from transformers import GPT2Config, GPT2LMHeadModel

        return GPT2LMHeadModel(
            GPT2Config(
                vocab_size=facts["vocabulary"],
                n_positions=settings["block_size"],
                n_embd=settings["width"],
                n_layer=settings["layers"],
                n_head=settings["attention_heads"],
                initializer_range=min(0.02 * (768 / settings["width"]) ** 0.5, 0.08),  # GPT-2's, for its width of 768
                activation_function="gelu_pytorch_tanh",  # the same function as gelu_new, in one piece
                resid_pdrop=settings["dropout"],
                embd_pdrop=settings["dropout"],
                attn_pdrop=0.0,  # without it attention is computed in one fused piece, a tenth faster
                bos_token_id=facts["end"],
                eos_token_id=facts["end"],
                pad_token_id=facts["pad"],
            )
        )

    def diagram(self, settings: Mapping) -> list[Layer]:
        width = settings["width"]
        return [
            Layer(_("Tokens"), f"{settings['block_size']}"),
            Layer(_("Token and position embedding"), f"{width}"),
            Layer(
                _("Masked self-attention, feed-forward"), f"{settings['attention_heads']} x {width}", settings["layers"]
            ),
            Layer(_("Layer norm"), f"{width}"),
            Layer(_("Softmax over the vocabulary"), f"{settings['vocabulary']}"),
        ]


def check_attention_heads(width: int, heads: int) -> None:
    """Refuse a width that its heads cannot share evenly."""
    if width % heads:
        what = _("A width of {width} cannot be shared by {heads} attention heads.", width=width, heads=heads)
        better = max(heads, round(width / heads) * heads)
        raise Refusal(what, do=_("Take a width of {width}, or other heads.", width=better), field="attention_heads")
