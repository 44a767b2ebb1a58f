"""Pretrained: a model that somebody has trained already, fine-tuned on data of one's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bigmodel.base_models import adapters, languages
from bigmodel.base_models.store import Base
from bigmodel.core import catalog
from bigmodel.core.contracts import HEADS, Architecture, Layer, Task
from bigmodel.core.errors import Refusal
from bigmodel.core.fields import Choice, Field, Number, Switch, Text
from bigmodel.core.words import Words, _

TRANSLATION_FIELDS: tuple[Field, ...] = (
    Text(
        name="source_language",
        label=_("Language of the source"),
        maximum=40,
        advanced=True,
        help=_(
            "Models of many languages (NLLB, mBART, M2M100) and T5 are told which one they read: zh, en, or the model's own code such as zho_Hans. Empty: found by looking at the texts."
        ),
    ),
    Text(
        name="target_language",
        label=_("Language of the target"),
        maximum=40,
        advanced=True,
        help=_("The language of the other column, likewise."),
    ),
    Text(
        name="prefix",
        label=_("Task prefix"),
        default=languages.AUTO,
        maximum=200,
        advanced=True,
        help=_(
            "What stands before each text that is read. 'auto': for T5 the sentence it was trained with, such as 'translate English to German: '; nothing for other models."
        ),
    ),
)  # of base models that read one text and write another
LENGTH_SETTINGS = ("block_size", "sentence_length", "text_length")  # settings of tasks that a base may have a bound for


class Pretrained(Architecture):
    name = "pretrained"
    order = 90
    title = _("Pretrained model")
    about = _(
        "A model that has read or seen much already goes on learning from your data. Minutes and few examples are often enough."
    )
    paper = "Howard, Ruder 2018, Universal Language Model Fine-tuning; Hu et al. 2021, LoRA"
    heads = frozenset(name for name, head in HEADS.items() if head.model_types)
    fine_tunes = True
    overrides = frozenset({"tokenizer", "vocabulary"})
    hyperparameters = (
        Choice(name="base", label=_("Base model"), search=(), help=_("What the training begins with.")),
        Choice(
            name="method",
            label=_("What is trained"),
            default="lora",
            search=(),
            help=_(
                "LoRA and its kin train small matrices beside the frozen ones and need little memory; everything learns the most; the last layers or the head alone are quick. LoRA takes a higher learning rate (about 1e-3) than training everything (about 1e-4)."
            ),
            options={
                "lora": _("LoRA or its kin"),
                "full": _("Everything"),
                "last": _("The last layers"),
                "head": _("The head alone"),
            },
        ),
        Number(
            name="last_layers",
            label=_("Last layers"),
            integer=True,
            default=2,
            minimum=1,
            maximum=200,
            advanced=True,
            search=(),
            help=_("How many of the last layers are trained, where 'The last layers' is chosen."),
        ),
        Choice(
            name="adapter",
            label=_("Kind of LoRA"),
            default="lora",
            advanced=True,
            search=(),
            help=_(
                "What is trained beside the frozen weights. LoRA: two thin matrices. rsLoRA: the same, stronger at high ranks. DoRA: lengths apart from directions, often a little better, slower. LoHa and LoKr: products of matrices that can change more with as few numbers. IA³: one factor for each output, by far the fewest. LoHa, LoKr and IA³ take ten times the learning rate of LoRA (about 1e-2)."
            ),
            options=adapters.ADAPTER_TYPES,
        ),
        Number(
            name="lora_rank",
            label=_("LoRA rank"),
            integer=True,
            default=16,
            minimum=1,
            maximum=512,
            advanced=True,
            logarithmic=True,
            help=_("The width of the small matrices. More can learn more; 8 to 64 is usual. IA³ has none."),
        ),
        Number(
            name="lora_alpha",
            label=_("LoRA alpha"),
            default=32,
            minimum=0.1,
            maximum=2048,
            advanced=True,
            logarithmic=True,
            help=_(
                "What the adapters' signal is multiplied by, divided by the rank; for rsLoRA by its square root. Twice the rank is usual. IA³ has none."
            ),
        ),
        Number(
            name="lora_dropout",
            label=_("LoRA dropout"),
            default=0.05,
            minimum=0,
            maximum=0.9,
            step=0.05,
            advanced=True,
            search=(0, 0.3),
            help=_("Part of the adapters' input switched off at random while training. LoHa, LoKr and IA³ have none."),
        ),
        Choice(
            name="lora_targets",
            label=_("LoRA targets"),
            default="all",
            advanced=True,
            help=_("Beside which layers the adapters stand. All of them learn better for the same number of weights."),
            options={"all": _("All layers"), "attention": _("Attention only")},
        ),
        Choice(
            name="quantize",
            label=_("Frozen weights"),
            default="none",
            advanced=True,
            search=(),
            help=_(
                "With LoRA the frozen weights can be kept in 8 or 4 bits, which takes a quarter or an eighth of the memory. Needs an NVIDIA graphics card and the package bitsandbytes."
            ),
            options={"none": _("As they are"), "8bit": _("8 bits"), "4bit": _("4 bits (QLoRA)")},
        ),
        Switch(
            name="baseline",
            label=_("Measure the base first"),
            default=True,
            advanced=True,
            search=(),
            help=_(
                "Before the first step the base is measured on the validation rows as it is, to be held against what becomes of it. Takes as long as one validation."
            ),
        ),
    )
    default_settings = {
        "epochs": 3,
        "batch_size": 8,
        "learning_rate": 5e-4,
        "warmup": 0.06,
        "weight_decay": 0.01,
        "optimizer": "adamw",
        "schedule": "cosine",
        "label_smoothing": 0.0,
    }

    def hyperparameters_for(self, task: Task) -> tuple[Field, ...]:
        """The bases that can carry the task's head: those that people brought first. With a head that begins at random
        there is nothing to measure before the training."""
        head = HEADS[task.head]
        bases = [base for base in _bases().values() if task.head in base.heads]
        bases.sort(key=lambda base: base.included)
        options = {base.name: _base_label(base) for base in bases}
        first = next(iter(options), "")
        own = tuple(
            Choice(**{**vars(field), "options": options, "default": first}) if field.name == "base" else field
            for field in self.hyperparameters
            if field.name != "baseline" or not head.classifies
        )
        return own + (TRANSLATION_FIELDS if head.encoder_decoder else ())

    def check(self, settings: Mapping) -> None:
        base = _base(settings)
        prefix = settings.get("prefix", languages.AUTO).strip()
        for name in LENGTH_SETTINGS:
            before = len(prefix) if name == "sentence_length" and prefix != languages.AUTO else 0
            if base.longest and settings.get(name, 0) + before > base.longest:
                what = _("{base} reads at most {longest} tokens.", base=base.title, longest=base.longest)
                raise Refusal(what, do=_("Give at most {maximum}.", maximum=base.longest - before), field=name)
        for name in ("source_language", "target_language"):
            if settings.get(name):
                languages.refuse_unknown(settings[name], languages.language_codes(base.folder), base.title, name)
        if settings["quantize"] != "none" and settings["method"] != "lora":
            what = _("Weights of 8 or 4 bits cannot be trained themselves.")
            raise Refusal(what, do=_("Choose LoRA, or 'As they are' for the frozen weights."), field="quantize")
        if settings["quantize"] != "none" and settings["adapter"] in adapters.LYCORIS_TYPES:
            what = _("{kind} needs the frozen weights as they are.", kind=adapters.ADAPTER_TYPES[settings["adapter"]])
            raise Refusal(what, do=_("Choose LoRA, rsLoRA, DoRA or IA³, or 'As they are'."), field="quantize")

    def fingerprint(self, settings: Mapping) -> str:
        """Another base has another tokenizer or another size of pictures, another language other marks."""
        own = [str(settings[field.name]) for field in TRANSLATION_FIELDS if field.name in settings]
        return "\n".join([_base(settings).fingerprint, *own])

    def processor(self, task: Task, rows: Any, settings: Mapping) -> Any:
        from bigmodel.base_models.load import load_processor

        self.register()
        return task.prepare_processor(load_processor(_base(settings), task, rows, settings))

    def model(self, facts: Mapping, settings: Mapping) -> Any:
        from bigmodel.base_models.load import load_model, set_trainable

        self.register()
        return set_trainable(load_model(_base(settings), facts["head"], facts, settings), facts["head"], settings)

    def export(self, model: Any) -> Any:
        return adapters.merge_adapters(model)

    def register(self) -> None:
        """A base may be a network of our own."""
        for architecture in catalog.architectures().values():
            if architecture is not self:
                architecture.register()

    def diagram(self, settings: Mapping) -> list[Layer]:
        base = _base(settings)
        ways = next(field for field in self.hyperparameters if field.name == "method").options
        beside = settings["method"] == "lora"
        what = adapters.ADAPTER_TYPES[settings["adapter"]] if beside else ways[settings["method"]]
        detail = f"r = {settings['lora_rank']}" if beside and settings["adapter"] != "ia3" else ""
        return [
            Layer(_("Base model: {base}", base=base.title)),
            Layer(_("Parameters"), f"{base.parameters / 1e6:.1f} M"),
            Layer(_("Trained: {what}", what=what), detail),
        ]


def _bases() -> Mapping[str, Base]:
    return catalog.registered("base")


def _base(settings: Mapping) -> Base:
    """The base that the settings name; Refusal where it is not here (any more)."""
    found = _bases()
    if settings["base"] not in found:
        what = _("There is no base model named {name}.", name=str(settings["base"])[:60])
        options = ", ".join(found)
        raise Refusal(what, do=_("Choose one of: {options}.", options=options), field="base")
    return found[settings["base"]]


def _base_label(base: Base) -> Words:
    return _("{title}, {millions} M parameters", title=base.title, millions=f"{base.parameters / 1e6:.1f}")
