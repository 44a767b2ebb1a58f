"""What is said of a model wherever it appears: its title, what it is made of, how good it is."""

from __future__ import annotations

from bigmodel.core import catalog
from bigmodel.core.contracts import Task
from bigmodel.core.words import Words
from bigmodel.studio import Model
from bigmodel.ui import amounts
from bigmodel.ui.choice import title_of
from bigmodel.ui.language import _, plain, say


def name(model: Model) -> str:
    """The name a person gave it; that of its data for a model without one."""
    given = say(model.title) if model.starter or not isinstance(model.title, Words) else ""
    return given or title_of("dataset", model.dataset)


def title(model: Model) -> str:
    """The name, for a place that obeys Markdown."""
    return plain(name(model))


def line(model: Model) -> str:
    """One line that tells it from the others in a list."""
    said = amounts.headline(task_of(model), model.metrics)
    parts = [
        name(model),
        title_of("architecture", model.architecture),
        f"{said[0]} {said[1]}" if said else "",
        amounts.ago(model.created),
    ]
    return " · ".join(part for part in parts[: 2 if model.starter else None] if part)


def task_of(model: Model) -> Task:
    """Refusal for a model of a task that is not installed."""
    return catalog.task(model.task)


def makings(model: Model) -> str:
    """Its network, its data and its size in a line."""
    parts = [
        title_of("architecture", model.architecture),
        title_of("dataset", model.dataset),
        _("{count} parameters", count=amounts.rough(model.parameters)),
    ]
    return " · ".join(plain(part) for part in parts)


def merit(model: Model) -> str:
    """Its most important metric on the test split, in a line; '' for one that was never measured."""
    said = amounts.headline(task_of(model), model.metrics)
    return plain(_("{metric} on unseen data: {value}", metric=said[0], value=said[1])) if said else ""


def merit_help(model: Model) -> str | None:
    """What that metric means, for those who meet it for the first time."""
    metric = amounts.first_measured(task_of(model), model.metrics)
    return say(metric.help) if metric else None


def choices() -> list[Model]:
    """What can be tried: own models first, the newest on top, then those that come along."""
    from bigmodel.ui.state import studio

    known = [model for model in studio().models() if model.task in catalog.tasks()]
    return sorted(known, key=lambda model: (model.starter, -model.created if not model.starter else 0))
