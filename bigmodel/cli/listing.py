"""`list`: tasks, the architectures and data sets that fit them, and what --set takes."""

from __future__ import annotations

from bigmodel.cli.terminal import DONE, Terminal
from bigmodel.cli.verbs import Verbs, allowed_values, field_json
from bigmodel.core import catalog, spec
from bigmodel.core.contracts import Dataset, Task
from bigmodel.core.errors import Refusal
from bigmodel.core.words import _


def add_verbs(verbs: Verbs) -> None:
    verb = verbs.add("list", _list, _("what there is: tasks, the architectures and data sets that fit them, settings"))
    verb.add_argument("--task", help=_("only this task; with an architecture, its settings too"))
    verb.add_argument("--architecture", help=_("an architecture that fits the task"))
    verb.add_argument("--dataset", help=_("a data set that fits the task"))


def _list(terminal: Terminal) -> int:
    options = terminal.options
    tasks = {options.task: catalog.task(options.task)} if options.task else catalog.tasks()
    if options.architecture or options.dataset:
        return _list_settings(terminal)
    if options.json:
        terminal.print_json({"tasks": {name: _task_json(task) for name, task in tasks.items()}})
        return DONE
    for name, task in tasks.items():
        print(f"{name}: {terminal.say(task.title)}", flush=True)
        rows = [("  architecture", part.name, part.title) for part in catalog.architectures_for(task).values()]
        rows += [("  dataset", part.name, part.title) for part in catalog.datasets_for(task).values()]
        rows += [("  input", field.name, field.label) for field in task.inputs]
        terminal.print_table(rows)
    return DONE


def _task_json(task: Task) -> dict:
    return {
        "title": task.title,
        "about": task.about,
        "architectures": {name: part.title for name, part in catalog.architectures_for(task).items()},
        "datasets": {name: _dataset_json(part) for name, part in catalog.datasets_for(task).items()},
        "metrics": [metric.name for metric in task.metrics],
        "inputs": [field_json(field) for field in task.inputs],
    }


def _dataset_json(dataset: Dataset) -> dict:
    facts = dataset.facts
    return {"title": dataset.title, "about": dataset.about, "licence": facts.licence, "source": facts.source}


def _list_settings(terminal: Terminal) -> None:
    """What --set takes: names, defaults for these three, and what would do."""
    options = terminal.options
    if not options.task or not options.architecture:
        raise Refusal(_("Settings depend on task and architecture."), do=_("Give --task and --architecture."))
    task, architecture = catalog.task(options.task), catalog.architecture(options.architecture)
    dataset = catalog.dataset(options.dataset) if options.dataset else next(iter(catalog.datasets_for(task).values()))
    names = {"task": task.name, "architecture": architecture.name, "dataset": dataset.name}
    defaults = spec.RunSpec.check(names).settings
    fields = spec.fields_for(task, architecture)
    if options.json:
        settings = [field_json(field) | {"default": defaults[field.name]} for field in fields]
        terminal.print_json({"dataset": dataset.name, "settings": settings})
    else:
        heading = _("Defaults with the data set {name}:", name=dataset.name)
        if not options.dataset:
            heading = _(
                "Defaults with the data set {name}; those with another one: `--dataset NAME`", name=dataset.name
            )
        print(terminal.say(heading), flush=True)
        terminal.print_table((field.name, defaults[field.name], allowed_values(field), field.help) for field in fields)
