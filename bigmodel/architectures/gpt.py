"""GPT: a decoder of transformer blocks (transformers' GPT-2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bigmodel.core.contracts import Architecture, Layer
from bigmodel.core.errors import Refusal
from bigmodel.core.fields import Number
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
        Number(
            name="layers",
            label=_("Layers"),
            integer=True,
            default=4,
            minimum=1,
            maximum=96,
            help=_("Transformer blocks on top of each other. More can learn more and take longer."),
        ),
        Number(
            name="width",
            label=_("Width"),
            integer=True,
            default=128,
            minimum=8,
            maximum=8192,
            help=_("Numbers that describe one token inside the network."),
        ),
        Number(
            name="attention_heads",
            label=_("Attention heads"),
            integer=True,
            default=4,
            minimum=1,
            maximum=128,
            advanced=True,
            help=_("Ways in which a token looks at others at the same time. Divides the width."),
        ),
        Number(
            name="dropout",
            label=_("Dropout"),
            default=0.1,
            minimum=0,
            maximum=0.9,
            step=0.05,
            advanced=True,
            help=_("Part of the signals switched off at random while training, against learning by heart."),
        ),
    )
    default_settings = {
        "batch_size": 16,
        "learning_rate": 2e-3,
        "epochs": 3,
        "weight_decay": 0.1,
    }  # minutes on a laptop

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
