"""CNN: convolutions that find edges, then parts, then things."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

from bigmodel.core.contracts import Architecture, Layer
from bigmodel.core.errors import Refusal
from bigmodel.core.fields import Number
from bigmodel.core.shared_fields import DROPOUT
from bigmodel.core.words import _


class Cnn(Architecture):
    name = "cnn"
    order = 20
    title = _("Convolutional network")
    about = _(
        "Small filters slide over the picture and find edges, then parts, then things. Learns quickly from few pictures."
    )
    paper = "LeCun et al. 1998, Gradient-based Learning Applied to Document Recognition"
    heads = frozenset({"image-classification"})
    model_type = "bigmodel-cnn"
    base_heads = heads
    hyperparameters = (
        Number(
            name="channels",
            label=_("Channels"),
            integer=True,
            default=32,
            minimum=4,
            maximum=512,
            logarithmic=True,
            help=_("Filters in the first stage; each further stage has twice as many."),
        ),
        Number(
            name="stages",
            label=_("Stages"),
            integer=True,
            default=3,
            minimum=1,
            maximum=5,
            help=_("Pairs of convolutions; each stage but the first halves the picture."),
        ),
        replace(DROPOUT, default=0.2),
    )
    default_settings = {
        "epochs": 100,
        "batch_size": 64,
        "learning_rate": 3e-3,
        "weight_decay": 0.05,
        "label_smoothing": 0.1,
        "warmup": 0.2,
    }

    def check(self, settings: Mapping) -> None:
        if settings["batch_size"] < 2:
            what = _("Batch normalization cannot learn from one picture at a time.")
            raise Refusal(what, do=_("Take a batch size of 2 or more."), field="batch_size")

    def model(self, facts: Mapping, settings: Mapping) -> Any:
        config_class, model_class = model_classes()
        return model_class(
            config_class(
                channels=settings["channels"],
                stages=settings["stages"],
                dropout=settings["dropout"],
                id2label=dict(enumerate(facts["classes"])),
                label2id={name: i for i, name in enumerate(facts["classes"])},
                grey=facts["grey"],
                dark_ground=facts["dark_ground"],
            )
        )

    def register(self) -> None:
        model_classes()

    def diagram(self, settings: Mapping) -> list[Layer]:
        stages = [
            Layer(_("Convolutions, batch norm, ReLU"), f"2 x 3x3, {settings['channels'] * 2**stage}")
            for stage in range(settings["stages"])
        ]
        return [Layer(_("Picture")), *stages, Layer(_("Mean over the picture")), Layer(_("Softmax over the classes"))]


@cache
def model_classes() -> tuple[type, type]:
    """The config and the model, registered with transformers' Auto classes in this process."""
    import torch
    from transformers import AutoConfig, AutoModelForImageClassification, PretrainedConfig, PreTrainedModel
    from transformers.modeling_outputs import ImageClassifierOutput

    class CnnConfig(PretrainedConfig):
        model_type = Cnn.model_type
        channels: int = 32
        stages: int = 3
        dropout: float = 0.2

    class CnnForImageClassification(PreTrainedModel):
        """pixel_values (batch, 3, height, width) -> logits (batch, classes)."""

        config_class = CnnConfig
        main_input_name = "pixel_values"

        def __init__(self, config: CnnConfig):
            super().__init__(config)
            layers, before = [], 3
            for stage in range(config.stages):
                after = config.channels * 2**stage
                if stage:
                    layers.append(torch.nn.MaxPool2d(2, ceil_mode=True))
                layers += [*self._convolution(before, after), *self._convolution(after, after)]
                before = after
            self.features = torch.nn.Sequential(*layers)
            self.dropout = torch.nn.Dropout(config.dropout)
            self.classifier = torch.nn.Linear(before, config.num_labels)
            self.post_init()

        @staticmethod
        def _convolution(before: int, after: int) -> list:
            convolution = torch.nn.Conv2d(before, after, 3, padding=1, bias=False)
            return [convolution, torch.nn.BatchNorm2d(after), torch.nn.ReLU(inplace=True)]

        def _init_weights(self, module):
            if isinstance(module, torch.nn.Conv2d):
                torch.nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, torch.nn.Linear):
                torch.nn.init.normal_(module.weight, std=0.01)
                torch.nn.init.zeros_(module.bias)
            elif isinstance(module, torch.nn.BatchNorm2d):
                torch.nn.init.ones_(module.weight)
                torch.nn.init.zeros_(module.bias)

        def forward(self, pixel_values, labels=None, **ignored):
            seen = self.features(pixel_values).mean((2, 3))
            logits = self.classifier(self.dropout(seen))
            loss = None if labels is None else torch.nn.functional.cross_entropy(logits, labels)
            return ImageClassifierOutput(loss=loss, logits=logits)

    AutoConfig.register(CnnConfig.model_type, CnnConfig, exist_ok=True)
    AutoModelForImageClassification.register(CnnConfig, CnnForImageClassification, exist_ok=True)
    return CnnConfig, CnnForImageClassification
