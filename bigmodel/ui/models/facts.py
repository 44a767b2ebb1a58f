"""What is said of a model wherever it appears: its title, what it is made of, how good it is."""

from __future__ import annotations

from collections.abc import Mapping

from bigmodel.core import catalog
from bigmodel.core.contracts import Task
from bigmodel.core.model import Model
from bigmodel.core.words import Words
from bigmodel.ui import number_format
from bigmodel.ui.language import _, escape_markdown, say
from bigmodel.ui.train.selection import title_of


def name(model: Model) -> str:
    """The name a person gave it; that of its data for a model without one."""
    given = say(model.title) if model.starter or model.is_base or not isinstance(model.title, Words) else ""
    return given or title_of("dataset", model.dataset)


def title(model: Model) -> str:
    """The name, for a place that obeys Markdown."""
    return escape_markdown(name(model))


def summary_line(model: Model) -> str:
    """One line that tells it from the others in a list."""
    if model.is_base:
        return " · ".join([name(model), _("pretrained, as it is")])
    said = number_format.headline(task_of(model), model.metrics)
    parts = [
        name(model),
        network_title(model),
        f"{said[0]} {said[1]}" if said else "",
        number_format.ago(model.created),
    ]
    return " · ".join(part for part in parts[: 2 if model.starter else None] if part)


def task_of(model: Model) -> Task:
    """Refusal for a model of a task that is not installed."""
    return catalog.task(model.task)


def description(model: Model) -> str:
    """Its network, its data and its size in a line."""
    parts = [
        network_title(model),
        dataset_title(model),
        _("{count} parameters", count=number_format.compact(model.parameters)),
    ]
    return " · ".join(escape_markdown(part) for part in parts if part)


def network_title(model: Model) -> str:
    """What it is a network of; of a fine-tuned one the base."""
    if model.is_base:
        return _("Pretrained, as it is")
    return network_of(model.architecture, model.settings)


def network_of(architecture: str, settings: Mapping) -> str:
    """'GPT'; 'Pretrained model: MiniMind2-Small (LoRA)'."""
    title = title_of("architecture", architecture)
    if not settings.get("base"):
        return title
    return _("{base}, fine-tuned ({method})", base=base_title(str(settings["base"])), method=tuning_method(settings))


def base_title(base: str) -> str:
    """The bare name of one that is no longer there."""
    known = catalog.registered("base").get(base)
    return say(known.title) if known is not None else base


def tuning_method(settings: Mapping) -> str:
    """How a base was fine-tuned: 'DoRA', 'Everything'."""
    method = str(settings.get("method", ""))
    asked, value = ("adapter", settings.get("adapter", "lora")) if method == "lora" else ("method", method)
    choice = next(
        (hyperparameter for hyperparameter in catalog.fine_tuning().hyperparameters if hyperparameter.name == asked),
        None,
    )
    return say(choice.options[value]) if choice is not None and value in choice.options else method


def dataset_title(model: Model) -> str:
    return title_of("dataset", model.dataset) if model.dataset else ""


def training_method(model: Model) -> str:
    """What of the network was trained; '' for a base, of which nothing was trained here."""
    if model.is_base:
        return ""
    if not model.base:
        return _("Everything, from scratch")
    ranked = model.settings.get("method") == "lora" and model.settings.get("adapter") != "ia3"
    rank = f"r = {model.settings.get('lora_rank')}" if ranked else ""
    return " · ".join(part for part in (tuning_method(model.settings), rank) if part)


def test_score(model: Model) -> str:
    """Its most important metric on the test split, in a line; '' for one that was never measured."""
    said = number_format.headline(task_of(model), model.metrics)
    return escape_markdown(_("{metric} on unseen data: {value}", metric=said[0], value=said[1])) if said else ""


def test_score_help(model: Model) -> str | None:
    """What that metric means, for those who meet it for the first time."""
    metric = number_format.primary_metric(task_of(model), model.metrics)
    return say(metric.help) if metric else None


def selectable_models() -> list[Model]:
    """What can be tried: own models first, the newest on top, then those that come along."""
    from bigmodel.ui.state import studio

    return sorted(studio().models.all(), key=lambda model: (model.starter, -model.created if not model.starter else 0))


def inference_models() -> list[Model]:
    """Those, and bases as they are, which can be tried but were not trained here."""
    from bigmodel.ui.state import studio

    return [*selectable_models(), *studio().models.bases()]
