"""The verb `tune`: settings are searched as on the Tune page, a line for each trial, the best with its command at the end."""

from __future__ import annotations

import argparse
import shlex
import time
from collections.abc import Mapping

from bigmodel.cli.terminal import DONE, INTERRUPTED, REFUSED, Terminal, format_duration, format_number
from bigmodel.cli.verbs import Verbs, parse_settings
from bigmodel.core import catalog
from bigmodel.core.contracts import Architecture, Dataset, Metric, Task, is_compatible
from bigmodel.core.errors import Refusal
from bigmodel.core.events import QUEUED
from bigmodel.core.fields import Choice, Field
from bigmodel.core.spec import LENGTH_SETTINGS, RunSpec, defaults, fields_for, without_time_limit
from bigmodel.core.words import Words, _
from bigmodel.runs.supervisor import ensure_supervisor
from bigmodel.tuning.search_space import Space, parse_dimension, searchable_fields
from bigmodel.tuning.study import FAILED, FINISHED, PRUNED, RUNNING, WAITING, Study, Trial
from bigmodel.tuning.study_spec import GRID, PRESETS, SEARCH_FIELDS, preset_space

POLL_SECONDS = 0.2
DEFAULT_PRESET = "quick"

STATES: Mapping[str, Words] = {
    WAITING: _("waiting"),
    RUNNING: _("running"),
    FINISHED: _("finished"),
    PRUNED: _("pruned"),
    FAILED: _("failed"),
}


def add_verbs(verbs: Verbs) -> None:
    tune = verbs.add("tune", _tune, _("search the settings that learn best, by trials that are ordinary runs"))
    tune.add_argument("dataset", metavar="DATASET", nargs="?", help=_("what is learnt from"))
    tune.add_argument("architecture", metavar="ARCHITECTURE", nargs="?", help=_("the network"))
    tune.add_argument("--task", help=_("by default the first that the data set and the network are for"))
    tune.add_argument("--preset", choices=PRESETS, help=_("a search that needs no knowledge; by default `quick`"))
    help = _("a setting to search, as often as needed: NAME, NAME=LOW..HIGH or NAME=A,B,C")
    tune.add_argument("--search", action="append", default=[], metavar="NAME[=RANGE]", help=help)
    tune.add_set(_("a setting that stays the same in every trial, as often as needed"))
    for field in SEARCH_FIELDS:
        choices = {"choices": list(field.options)} if isinstance(field, Choice) else {"metavar": "N"}
        tune.add_argument(f"--{field.name}", help=field.help, **choices)
    tune.add_argument("--name", default="", help=_("a name of your own"))
    tune.add_argument("--token", default="", help=_("the same token twice is one study"))
    tune.add_argument("--list", action="store_true", help=_("all studies, newest first"))
    tune.add_argument("--go-on", metavar="STUDY", help=_("follow a study; one that was stopped goes on where it was"))
    tune.add_argument("--stop", metavar="STUDY", help=_("end a study; its running trial keeps its weights"))
    tune.set_defaults(usage_error=tune.error)


def _tune(terminal: Terminal) -> int:
    options, tuning = terminal.options, terminal.studio.tuning
    if options.list:
        return _list(terminal)
    if options.stop:
        tuning.stop(_study_id(terminal, options.stop))
        return DONE
    if options.go_on:
        id = _study_id(terminal, options.go_on)
        if tuning.get(id).stopping:
            tuning.go_on(id)
    else:
        if not options.dataset or not options.architecture:
            options.usage_error(terminal.say(_("name a data set and a network, or `--list`, `--go-on` or `--stop`")))
        id = tuning.create(_study(options), options.token)
        terminal.print_message(_("Study {study}", study=id))
    return _follow(terminal, id)


def _study(options: argparse.Namespace) -> dict:
    """What is asked for, as StudySpec reads it."""
    dataset, architecture = catalog.dataset(options.dataset), catalog.architecture(options.architecture)
    task = catalog.task(options.task) if options.task else _task_for(dataset, architecture)
    settings = parse_settings(options.settings, fields_for(task, architecture), _("setting"))
    spec = RunSpec.check({"task": task.name, "architecture": architecture.name, "dataset": dataset.name, "settings": settings})  # fmt: skip
    preset = options.preset or (DEFAULT_PRESET if not options.search else "")
    space: Space = preset_space(preset, spec) if preset else {}
    search = dict(PRESETS[preset].search) if preset else {}
    given = [(field, getattr(options, field.name)) for field in SEARCH_FIELDS]
    asked = {field.name: field.parse(text) for field, text in given if text is not None}
    if {"trials", "minutes", "steps"} & asked.keys() or asked.get("sampler") == GRID:
        search |= {"trials": 0, "minutes": 0}  # what a person limits is limited by that alone
    return {
        "spec": spec.to_json(),
        "space": {**space, **_searched(searchable_fields(task, architecture), options.search, spec)},
        "search": search | asked,
        "name": options.name,
    }


def _task_for(dataset: Dataset, architecture: Architecture) -> Task:
    """The most particular task that both are for: texts with classes are for classifying first."""
    suiting = [task for task in catalog.tasks().values() if is_compatible(task, architecture, dataset)]
    if not suiting:
        what = _("{architecture} cannot learn from {dataset}.", architecture=architecture.name, dataset=dataset.name)
        raise Refusal(what, do=_("`list` shows what fits together."), field="architecture")
    return max(suiting, key=lambda task: len(task.required_columns))


def _searched(known: Mapping[str, Field], asked: list[str], spec: RunSpec) -> Space:
    space = {}
    for text in asked:
        name, _equals, text = text.partition("=")
        if name not in known:
            what = _("{name} cannot be searched.", name=name[:60])
            raise Refusal(what, do=_("Choose among: {options}.", options=", ".join(sorted(known))), field=name)
        space[name] = parse_dimension(known[name], text, spec.settings[name])
    return space


def _study_id(terminal: Terminal, text: str) -> str:
    """The one study whose id is `text` or begins with it."""
    matches = sorted(study.id for study in terminal.studio.tuning.all() if study.id.startswith(text))
    if len(matches) == 1:
        return matches[0]
    what = _("{count} studies begin with {beginning}.", count=len(matches), beginning=text[:100])
    raise Refusal(what, do=_("`tune --list` lists what there is."), field="study")


# -- shown ---------------------------------------------------------------------------------------------------
def _follow(terminal: Terminal, id: str) -> int:
    """Work on it where no server does, and say what comes of each trial."""
    studio = terminal.studio
    try:
        with studio.working():
            study = _print_trials(terminal, id)
    except KeyboardInterrupt:
        terminal.print_message(_("The study waits. `python -m bigmodel tune --go-on {study}`, or a server, goes on with it.", study=id))  # fmt: skip
        return INTERRUPTED
    finally:
        if studio.runs.all(states=(QUEUED,), limit=1):
            ensure_supervisor(studio.runs)
    return _print_end(terminal, study)


def _print_trials(terminal: Terminal, id: str) -> Study:
    told: set[int] = set()
    while True:
        study = terminal.studio.tuning.get(id)
        for trial in study.trials:
            if trial.has_ended and trial.number not in told:
                told.add(trial.number)
                terminal.print_progress("")
                terminal.print_message(_trial_line(terminal, study, trial))
        if study.has_ended:
            return study
        running = next((trial for trial in study.trials if trial.state == RUNNING), None)
        terminal.print_progress(_trial_line(terminal, study, running) if running else "")
        time.sleep(POLL_SECONDS)


def _trial_line(terminal: Terminal, study: Study, trial: Trial) -> str:
    parts = [f"{trial.number:3}", terminal.say(STATES[trial.state])]
    if trial.value is not None:
        parts.append(f"{study.spec.metric.name} {_format(study.spec.metric, trial.value)}")
    parts += [f"{name}={_setting(value)}" for name, value in trial.settings.items()]
    best = study.best
    if best is not None and best.number == trial.number and trial.has_ended:
        parts.append(terminal.say(_("the best")))
    if trial.why is not None and trial.state == FAILED:
        parts.append(terminal.say(trial.why))
    return "  ".join(parts)


def _print_end(terminal: Terminal, study: Study) -> int:
    if study.reason is not None:
        terminal.print_message(study.reason)
    if terminal.options.json:
        terminal.print_json(_study_json(study))
        return DONE if study.best else REFUSED
    if study.best is None:
        return REFUSED
    best = study.best
    rows = [
        ("best", f"{study.spec.metric.name} {_format(study.spec.metric, best.value or 0.0)}"),
        ("run", best.run),
        ("trials", f"{len(study.trials)}, {study.steps} steps, {format_duration(study.seconds)}"),
        ("command", train_command(study)),
    ]
    terminal.print_table(rows)
    return DONE


def train_command(study: Study) -> str:
    """The command that trains with the best settings."""
    spec, best = study.spec.spec, study.best
    assert best is not None
    task, architecture = catalog.task(spec.task), catalog.architecture(spec.architecture)
    usual = defaults(task, architecture, catalog.dataset(spec.dataset))
    changed = {name: spec.settings[name] for name in LENGTH_SETTINGS if spec.settings[name] != usual[name]}
    usual["max_minutes"] = {**usual, **without_time_limit(changed)}["max_minutes"]
    words = ["python", "-m", "bigmodel", "train", "--task", spec.task, "--architecture", spec.architecture, "--dataset", spec.dataset]  # fmt: skip
    for name, value in {**spec.settings, **best.settings}.items():
        if value != usual[name]:
            words += ["--set", f"{name}={_setting(value)}"]
    return shlex.join(words)


def _list(terminal: Terminal) -> int:
    studies = terminal.studio.tuning.all()
    if damage := terminal.studio.tuning.damaged():
        terminal.print_message(damage)
    if terminal.options.json:
        terminal.print_json([_study_json(study) for study in studies])
    elif studies:
        terminal.print_table(
            (
                study.id,
                study.reason or _("goes on"),
                len(study.trials),
                _format(study.spec.metric, study.best.value or 0.0) if study.best else "",
            )
            for study in studies
        )
    return DONE


def _study_json(study: Study) -> dict:
    trials = [{name: getattr(trial, name) for name in trial.__dataclass_fields__} for trial in study.trials]
    return {
        "study": study.id,
        "spec": study.spec.to_json(),
        "reason": study.reason,
        "best": study.best.number if study.best else None,
        "trials": trials,
    }


def _setting(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _format(metric: Metric, value: float) -> str:
    return f"{100 * value:.2f} %" if metric.percent else format_number(value)
