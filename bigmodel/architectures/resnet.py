"""ResNet: convolutions with shortcuts past them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bigmodel.core.contracts import Architecture, Layer
from bigmodel.core.errors import Refusal
from bigmodel.core.fields import Number
from bigmodel.core.words import _


class Resnet(Architecture):
    name = "resnet"
    order = 30
    title = _("ResNet")
    about = _(
        "Deep convolutions with shortcuts, so that the gradient reaches the first layers. The workhorse of picture recognition."
    )
    paper = "He et al. 2016, Deep Residual Learning for Image Recognition"
    heads = frozenset({"image-classification"})
    hyperparameters = (
        Number(
            name="blocks",
            label=_("Blocks in a stage"),
            integer=True,
            default=2,
            minimum=1,
            maximum=36,
            help=_("Residual blocks of two convolutions. Two in each of four stages is the well-known ResNet-18."),
        ),
        Number(
            name="stages",
            label=_("Stages"),
            integer=True,
            default=3,
            minimum=1,
            maximum=4,
            help=_("Each further stage halves the picture and doubles the channels."),
        ),
        Number(
            name="channels",
            label=_("Channels"),
            integer=True,
            default=32,
            minimum=4,
            maximum=512,
            logarithmic=True,
            help=_("Feature maps in the first stage."),
        ),
    )
    default_settings = {
        "epochs": 100,
        "batch_size": 64,
        "learning_rate": 2e-3,
        "weight_decay": 0.05,
        "label_smoothing": 0.1,
    }

    def check(self, settings: Mapping) -> None:
        if settings["batch_size"] < 2:
            what = _("Batch normalization cannot learn from one picture at a time.")
            raise Refusal(what, do=_("Take a batch size of 2 or more."), field="batch_size")

    def model(self, facts: Mapping, settings: Mapping) -> Any:
        from transformers import ResNetConfig, ResNetForImageClassification

        sizes = [settings["channels"] * 2**stage for stage in range(settings["stages"])]
        return ResNetForImageClassification(
            ResNetConfig(
                num_channels=3,
                embedding_size=settings["channels"],
                hidden_sizes=sizes,
                depths=[settings["blocks"]] * settings["stages"],
                layer_type="basic",
                id2label=dict(enumerate(facts["classes"])),
                label2id={name: i for i, name in enumerate(facts["classes"])},
                grey=facts["grey"],
                dark_ground=facts["dark_ground"],
            )
        )

    def diagram(self, settings: Mapping) -> list[Layer]:
        channels = settings["channels"]
        stages = [
            Layer(_("Residual stage"), f"{settings['blocks']} x 2 conv 3x3, {channels * 2**stage}")
            for stage in range(settings["stages"])
        ]
        return [
            Layer(_("Picture")),
            Layer(_("Convolution and pooling"), f"7x7, {channels}"),
            *stages,
            Layer(_("Mean over the picture")),
            Layer(_("Softmax over the classes")),
        ]
