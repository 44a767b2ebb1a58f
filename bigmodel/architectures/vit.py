"""ViT: a transformer that reads a picture as a row of patches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from bigmodel.architectures.gpt import check_attention_heads
from bigmodel.core.contracts import Architecture, Layer
from bigmodel.core.errors import Refusal
from bigmodel.core.fields import Number
from bigmodel.core.shared_fields import ATTENTION_HEADS, DROPOUT, LAYERS, WIDTH
from bigmodel.core.words import _


class Vit(Architecture):
    name = "vit"
    order = 40
    title = _("Vision transformer")
    about = _(
        "Cuts the picture into patches and treats them like the words of a sentence. Strong on much data, slower to start on little."
    )
    paper = "Dosovitskiy et al. 2021, An Image is Worth 16x16 Words"
    heads = frozenset({"image-classification"})
    hyperparameters = (
        Number(
            name="patch",
            label=_("Patch size"),
            integer=True,
            default=0,
            minimum=0,
            maximum=64,
            search=(),
            help=_("Side of a patch in pixels. 0: a seventh of the picture, at least 2."),
        ),
        replace(LAYERS, default=4),
        replace(WIDTH, help=_("Numbers that describe one patch inside the network.")),
        replace(ATTENTION_HEADS, help=_("Ways in which a patch looks at others at the same time. Divides the width.")),
        DROPOUT,
    )
    default_settings = {
        "epochs": 100,
        "batch_size": 32,  # with few pictures many small updates learn more than few large ones
        "dropout": 0.0,  # a small one trained from scratch learns too little, not too much
        "learning_rate": 1e-3,
        "weight_decay": 0.05,
        "label_smoothing": 0.1,
        "warmup": 0.1,
    }

    def check(self, settings: Mapping) -> None:
        check_attention_heads(settings["width"], settings["attention_heads"])

    def model(self, facts: Mapping, settings: Mapping) -> Any:
        from transformers import ViTConfig, ViTForImageClassification

        side = facts["height"]
        patch = settings["patch"] or (side // 7 if side >= 14 else 2)
        if side % patch or facts["height"] != facts["width"]:
            what = _(
                "Patches of {patch} pixels do not tile a picture of {width} x {height}.",
                patch=patch,
                width=facts["width"],
                height=side,
            )
            options = ", ".join(str(one) for one in range(1, side + 1) if side % one == 0)
            raise Refusal(what, do=_("Choose one of: {options}.", options=options), field="patch")
        return ViTForImageClassification(
            ViTConfig(
                image_size=side,
                patch_size=patch,
                num_channels=3,
                hidden_size=settings["width"],
                intermediate_size=4 * settings["width"],
                num_hidden_layers=settings["layers"],
                num_attention_heads=settings["attention_heads"],
                hidden_dropout_prob=settings["dropout"],
                attention_probs_dropout_prob=0.0,
                initializer_range=settings["width"]
                ** -0.5,  # 0.02 is for a width of 768; narrow ones hardly move with it
                id2label=dict(enumerate(facts["classes"])),
                label2id={name: i for i, name in enumerate(facts["classes"])},
                grey=facts["grey"],
                dark_ground=facts["dark_ground"],
            )
        )

    def diagram(self, settings: Mapping) -> list[Layer]:
        return [
            Layer(_("Patches"), f"{settings['patch'] or ''}"),
            Layer(_("Patch and position embedding"), f"{settings['width']}"),
            Layer(
                _("Self-attention, feed-forward"),
                f"{settings['attention_heads']} x {settings['width']}",
                settings["layers"],
            ),
            Layer(_("Layer norm"), f"{settings['width']}"),
            Layer(_("Softmax over the classes")),
        ]
