"""The command line: the studio's verbs, with options made from the same fields as the pages.

Results go to stdout, everything else to stderr. Exit codes: 0 done, 1 refused or failed, 2 wrong usage,
130 interrupted by Ctrl-C.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import secrets
import sys
import time
import traceback
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import fields as dataclass_fields
from pathlib import Path

from bigmodel.core import blocks, catalog, fields, spec
from bigmodel.core.blocks import Note, Picture, Prose, Scores, Table
from bigmodel.core.contracts import Dataset, Metric
from bigmodel.core.errors import Refusal
from bigmodel.core.events import FINISHED, LIVE, QUEUED, STOPPED
from bigmodel.core.fields import Field
from bigmodel.core.model import BASE_PREFIX, STARTER_PREFIX, STARTERS, Model
from bigmodel.core.words import LANGUAGES, Words, _, say
from bigmodel.runs.run import Run
from bigmodel.runs.service import Checkpoint
from bigmodel.runs.supervisor import ensure_supervisor
from bigmodel.studio import Studio

DONE, REFUSED, USAGE, BROKEN_PIPE, INTERRUPTED = 0, 1, 2, 141, 130
POLL_SECONDS = 0.2  # between two looks of --wait
SUPERVISOR_CHECK_SECONDS = 2.0  # between two looks whether anybody works on the queue

STATES: Mapping[str, Words] = {
    "queued": _("waiting"),
    "starting": _("starting"),
    "running": _("running"),
    "stopping": _("stopping"),
    "finished": _("finished"),
    "stopped": _("stopped"),
    "cancelled": _("cancelled"),
    "failed": _("failed"),
    "diverged": _("diverged"),
    "interrupted": _("interrupted"),
}


def main(arguments: Sequence[str]) -> int:
    desk = Terminal(_language(arguments))
    try:
        if arguments and arguments[0] in SUBCOMMANDS:
            return SUBCOMMANDS[arguments[0]][0](arguments[1:])
        asked = _parser(desk.say).parse_args(arguments)
        desk.studio = Studio(Path(asked.home) if asked.home else None)
        return asked.do(desk, asked)
    except Refusal as refusal:
        desk.print_message(refusal.say(desk.language))
        return REFUSED
    except KeyboardInterrupt:
        desk.print_message(desk.say(_("Interrupted.")))
        return INTERRUPTED
    except BrokenPipeError:  # `| head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except Exception as bug:
        desk.print_message(desk.say(_log_bug(bug, desk.studio)))
        return REFUSED


class Terminal:
    """One person at the command line: their language, their studio, where to write."""

    def __init__(self, language: str):
        self.language = language
        self.studio: Studio | None = None

    def say(self, words: Words | str) -> str:
        return say(words, self.language)

    def print_message(self, text: str) -> None:
        """A message: to stderr."""
        print(f"bigmodel: {text}", file=sys.stderr, flush=True)

    def print_result(self, text: str) -> None:
        """A result: to stdout."""
        print(text, flush=True)

    def print_json(self, data: object) -> None:
        self.print_result(json.dumps(_to_jsonable(data, self.say), ensure_ascii=False, indent=1, allow_nan=False))

    def print_table(self, rows: Iterable[Sequence[object]]) -> None:
        texts = [[self.say(cell) if isinstance(cell, Words) else str(cell) for cell in row] for row in rows]
        widths = [max(map(_display_width, column)) for column in zip(*texts, strict=True)]
        for row in texts:
            padded = (cell + " " * (width - _display_width(cell)) for cell, width in zip(row, widths, strict=True))
            self.print_result("  ".join(padded).rstrip())


# -- what can be asked for -----------------------------------------------------------------------------
def _parser(say: Callable[[Words], str]) -> argparse.ArgumentParser:
    every = argparse.ArgumentParser(add_help=False)
    every.add_argument("--json", action="store_true", help=say(_("write the result as JSON")))
    every.add_argument("--language", choices=LANGUAGES, help=say(_("of what is written; by default that of $LANG")))
    every.add_argument(
        "--home", metavar="FOLDER", help=say(_("where runs are kept; by default $BIGMODEL_HOME or ~/.bigmodel"))
    )

    parser = argparse.ArgumentParser(
        "python -m bigmodel", description=say(_("Train models of your own and try them.")), allow_abbrev=False
    )
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    def verb(name: str, do: Callable[[Terminal, argparse.Namespace], int], help: Words) -> argparse.ArgumentParser:
        one = verbs.add_parser(name, parents=[every], help=say(help), description=say(help), allow_abbrev=False)
        one.set_defaults(do=do)
        return one

    listing = verb("list", _list, _("what there is: tasks, the architectures and data sets that fit them, settings"))
    listing.add_argument("--task", help=say(_("only this task; with an architecture, its settings too")))
    listing.add_argument("--architecture", help=say(_("an architecture that fits the task")))
    listing.add_argument("--dataset", help=say(_("a data set that fits the task")))

    train = verb("train", _train, _("start a run and write its id"))
    for name in ("task", "architecture", "dataset"):
        train.add_argument(f"--{name}", required=True)
    _add_set(train, say(_("a setting, as often as needed; `list --task T --architecture A` shows them")))
    train.add_argument("--name", default="", help=say(_("a name of your own")))
    train.add_argument("--token", default="", help=say(_("the same token twice is one run")))
    _add_wait(train, say)

    runs = verb("runs", _runs, _("all runs, newest first"))
    runs.add_argument("--state", action="append", choices=STATES, help=say(_("only runs in this state")))
    runs.add_argument("--limit", type=int, default=200, help=say(_("at most so many")))

    show = verb("show", _show, _("all that is known of a run"))
    show.add_argument("run", metavar="RUN", help=say(_("its id, or enough of its beginning")))

    stop = verb("stop", _stop, _("end a run and keep its weights, or cancel one that waits"))
    stop.add_argument("run", metavar="RUN", help=say(_("its id, or enough of its beginning")))

    resume = verb("resume", _resume, _("let a run go on that was stopped or has died, from its newest checkpoint"))
    resume.add_argument("run", metavar="RUN", help=say(_("its id, or enough of its beginning")))
    resume.add_argument(
        "--anyway", action="store_true", help=say(_("also where versions, device, settings or data have changed since"))
    )
    _add_wait(resume, say)

    branch = verb("branch", _branch, _("start a run from a checkpoint of another, and write its id"))
    branch.add_argument("run", metavar="RUN", help=say(_("its id, or enough of its beginning")))
    branch.add_argument("--step", type=int, help=say(_("of the checkpoint; by default the newest")))
    _add_set(branch, say(_("what is to be different: learning_rate=0.0001, epochs=20 to train on ...")))
    branch.add_argument("--name", default="", help=say(_("a name of your own")))
    _add_wait(branch, say)

    rollback = verb(
        "rollback", _rollback, _("start a run from the best checkpoint of another with half its learning rate")
    )
    rollback.add_argument("run", metavar="RUN", help=say(_("its id, or enough of its beginning")))
    _add_wait(rollback, say)

    attempt = verb("try", _try, _("use a model"))
    attempt.add_argument(
        "model", metavar="MODEL", help=say(_("the id of a run, of a starter: starter:NAME, or of a base: base:NAME"))
    )
    attempt.add_argument(
        "--beside", metavar="OTHER", default="",
        help=say(_("ask another model the same; 'base': the one that MODEL was fine-tuned from")),
    )  # fmt: skip
    _add_set(attempt, say(_("an input, as often as needed: prompt=TEXT, image=FILE ...")))

    for name, (_do, help) in SUBCOMMANDS.items():
        verbs.add_parser(name, help=say(help), add_help=False)
    return parser


def _add_set(parser: argparse.ArgumentParser, help: str) -> None:
    parser.add_argument(
        "--set", action="append", default=[], type=_name_value, metavar="NAME=VALUE", dest="settings", help=help
    )


def _add_wait(parser: argparse.ArgumentParser, say: Callable[[Words], str]) -> None:
    parser.add_argument("--wait", action="store_true", help=say(_("until it ends, and write what came out")))


def _name_value(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def _language(arguments: Sequence[str]) -> str:
    """Before anything is parsed, since the help is in it too."""
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    early.add_argument("--language", nargs="?")
    asked = early.parse_known_args(arguments)[0].language
    if asked in LANGUAGES:
        return asked
    place = next(filter(None, (os.environ.get(name) for name in ("LC_ALL", "LC_MESSAGES", "LANG"))), "")
    return "zh" if place.lower().startswith("zh") else "en"


# -- list ----------------------------------------------------------------------------------------------
def _list(desk: Terminal, asked: argparse.Namespace) -> int:
    tasks = {asked.task: catalog.task(asked.task)} if asked.task else catalog.tasks()
    if asked.architecture or asked.dataset:
        return _list_settings(desk, asked)
    if asked.json:
        desk.print_json({"tasks": {name: _task_json(task) for name, task in tasks.items()}})
        return DONE
    for name, task in tasks.items():
        desk.print_result(f"{name}: {desk.say(task.title)}")
        rows = [("  architecture", one.name, one.title) for one in catalog.architectures_for(task).values()]
        rows += [("  dataset", one.name, one.title) for one in catalog.datasets_for(task).values()]
        rows += [("  input", one.name, one.label) for one in task.inputs]
        desk.print_table(rows)
    return DONE


def _task_json(task) -> dict:
    return {
        "title": task.title,
        "about": task.about,
        "architectures": {name: one.title for name, one in catalog.architectures_for(task).items()},
        "datasets": {name: _dataset_json(one) for name, one in catalog.datasets_for(task).items()},
        "metrics": [one.name for one in task.metrics],
        "inputs": [_field_json(one) for one in task.inputs],
    }


def _dataset_json(dataset: Dataset) -> dict:
    return {
        "title": dataset.title,
        "about": dataset.about,
        "licence": dataset.facts.licence,
        "source": dataset.facts.source,
    }


def _list_settings(desk: Terminal, asked: argparse.Namespace) -> int:
    """What --set takes: names, defaults for these three, and what would do."""
    if not asked.task or not asked.architecture:
        raise Refusal(_("Settings depend on task and architecture."), do=_("Give --task and --architecture."))
    task, architecture = catalog.task(asked.task), catalog.architecture(asked.architecture)
    chosen = catalog.dataset(asked.dataset) if asked.dataset else next(iter(catalog.datasets_for(task).values()))
    checked = spec.RunSpec.check({"task": task.name, "architecture": architecture.name, "dataset": chosen.name})
    found = spec.fields_for(task, architecture)
    if asked.json:
        desk.print_json({"settings": [_field_json(one) | {"default": checked.settings[one.name]} for one in found]})
        return DONE
    desk.print_table((one.name, checked.settings[one.name], _allowed_values(one), one.help) for one in found)
    return DONE


def _field_json(one: Field) -> dict:
    known = {"kind": type(one).__name__.lower(), "allowed": _allowed_values(one)}
    for part in dataclass_fields(one):
        known[part.name] = getattr(one, part.name)
    return {name: value for name, value in known.items() if value is not None and not isinstance(value, bytes)}


def _allowed_values(one: Field) -> Words | str:
    if isinstance(one, fields.Number):
        return f"{one.minimum:.12g}..{one.maximum:.12g}"
    if isinstance(one, fields.Choice):
        return "|".join(one.options)
    return "on|off" if isinstance(one, fields.Switch) else "FILE" if isinstance(one, fields.Image) else "TEXT"


# -- train ---------------------------------------------------------------------------------------------
def _train(desk: Terminal, asked: argparse.Namespace) -> int:
    task, architecture = catalog.task(asked.task), catalog.architecture(asked.architecture)
    settings = _parse_settings(asked.settings, spec.fields_for(task, architecture), _("setting"))
    wanted = {"task": task.name, "architecture": architecture.name, "dataset": asked.dataset, "name": asked.name}
    return _report_launch(desk, asked, desk.studio.runs.launch(wanted | {"settings": settings}, token=asked.token))


def _report_launch(desk: Terminal, asked: argparse.Namespace, id: str) -> int:
    """See to it that somebody works on a new run, and say which it is."""
    ensure_supervisor(desk.studio.runs)
    if not asked.json:
        desk.print_result(id)
    elif not asked.wait:
        desk.print_json(_run_json(desk.studio.runs.get(id)))
    return _wait(desk, id, asked.json) if asked.wait else DONE


def _parse_settings(pairs: Sequence[tuple[str, str]], known: Sequence[Field], kind: Words) -> dict:
    """Each value in its proper type; Refusal for what is not known or will not do."""
    by_name = {one.name: one for one in known}
    values = {}
    for name, text in pairs:
        if name not in by_name:
            what = _("There is no {kind} named {name}.", kind=kind, name=name[:60])
            raise Refusal(what, do=_("Choose one of: {options}.", options=", ".join(sorted(by_name))), field=name)
        values[name] = by_name[name].parse(text)
    return values


def _wait(desk: Terminal, id: str, as_json: bool) -> int:
    progress = _Progress(desk)
    try:
        run = _follow(desk, id, progress)
    except KeyboardInterrupt:
        progress.end()
        if as_json:
            desk.print_json(_run_json(desk.studio.runs.get(id)))
        again = _("The run goes on. `python -m bigmodel show {run}` looks at it, `stop` ends it.", run=id)
        desk.print_message(desk.say(again))
        return INTERRUPTED
    progress.end()
    if as_json:
        desk.print_json(_run_json(run))
    else:
        desk.print_table(_metric_rows(run))
    _print_outcome(desk, run)
    return DONE if run.state == FINISHED or (run.state == STOPPED and run.has_model) else REFUSED


def _follow(desk: Terminal, id: str, progress: _Progress) -> Run:
    """Look on until it is over for good, and see to it that somebody works on it."""
    looked = time.monotonic()
    while not (run := desk.studio.runs.get(id)).has_ended or desk.studio.runs.will_retry(id):
        progress.show(run)
        if time.monotonic() - looked > SUPERVISOR_CHECK_SECONDS:
            looked = time.monotonic()
            ensure_supervisor(desk.studio.runs)
        time.sleep(POLL_SECONDS)
    progress.show(run)
    return run


class _Progress:
    """On a terminal one line that changes; into a file a line whenever something else happens."""

    def __init__(self, desk: Terminal):
        self.desk = desk
        self.live = sys.stderr.isatty()
        self.last = ""

    def show(self, run: Run) -> None:
        text = self._text(run)
        key = text if self.live else f"{run.state} {run.phase} {dict(run.validation)}"
        if key == self.last:
            return
        self.last = key
        print(f"\r\033[K{text}" if self.live else text, end="" if self.live else "\n", file=sys.stderr, flush=True)

    def end(self) -> None:
        if self.live and self.last:
            print(file=sys.stderr)

    def _text(self, run: Run) -> str:
        if run.state == QUEUED:
            return self.desk.say(_("waiting, number {position}", position=run.position))
        parts = [self.desk.say(run.phase)] if run.phase else []
        if run.step:
            parts += [f"{run.step}/{run.steps}", f"loss {_format_number(run.loss)}"]
            parts += [f"validation {name} {_format_number(value)}" for name, value in run.validation.items()]
        if run.eta is not None:
            parts.append(self.desk.say(_("{time} left", time=_format_duration(run.eta))))
        return "  ".join(parts) or self.desk.say(STATES[run.state])


def _print_outcome(desk: Terminal, run: Run) -> None:
    if run.error:
        desk.print_message(Refusal.from_json(run.error).say(desk.language))
    elif run.reason:
        desk.print_message(desk.say(run.reason))


# -- resume, branch, rollback --------------------------------------------------------------------------
def _resume(desk: Terminal, asked: argparse.Namespace) -> int:
    id = _resolve_run_id(asked.run, desk.studio.runs.ids())
    desk.studio.runs.resume(id, asked.anyway)
    ensure_supervisor(desk.studio.runs)
    if asked.json and not asked.wait:
        desk.print_json(_run_json(desk.studio.runs.get(id)))
    elif not asked.json:
        stage, step = desk.studio.runs.resume_point(id)
        told = {
            "step": _("{run} goes on from step {step}.", run=id, step=step),
            "pretraining": _("{run} goes on from step {step} of its pretraining.", run=id, step=step),
            "pretraining-done": _("{run} goes on after its pretraining.", run=id),
        }
        desk.print_message(desk.say(told.get(stage) or _("{run} begins anew: it has no checkpoint.", run=id)))
    return _wait(desk, id, asked.json) if asked.wait else DONE


def _branch(desk: Terminal, asked: argparse.Namespace) -> int:
    id = _resolve_run_id(asked.run, desk.studio.runs.ids())
    parent = desk.studio.runs.get(id).spec
    known = spec.fields_for(catalog.task(parent.task), catalog.architecture(parent.architecture))
    settings = _parse_settings(asked.settings, known, _("setting"))
    return _report_launch(desk, asked, desk.studio.runs.branch(id, asked.step, settings, asked.name))


def _rollback(desk: Terminal, asked: argparse.Namespace) -> int:
    return _report_launch(desk, asked, desk.studio.runs.rollback(_resolve_run_id(asked.run, desk.studio.runs.ids())))


# -- runs, show, stop ----------------------------------------------------------------------------------
def _runs(desk: Terminal, asked: argparse.Namespace) -> int:
    runs = desk.studio.runs.all(asked.state or (), max(asked.limit, 0))
    if asked.json:
        desk.print_json([_run_json(run) for run in runs])
    elif runs:
        desk.print_table((run.id, STATES[run.state], f"{run.step}/{run.steps}", _first_metric(run)) for run in runs)
    return DONE


def _show(desk: Terminal, asked: argparse.Namespace) -> int:
    run = desk.studio.runs.get(_resolve_run_id(asked.run, desk.studio.runs.ids()))
    checkpoints, branches = desk.studio.runs.checkpoints(run.id), _branch_ids(desk.studio, run.id)
    if asked.json:
        kept = [{"step": one.step, "best": one.best, "bytes": one.bytes} for one in checkpoints]
        desk.print_json(_run_json(run) | {"checkpoints": kept, "branches": branches})
        return DONE
    rows = [("run", run.id), ("state", STATES[run.state])]
    rows += [("reason", run.reason)] if run.reason else []
    rows += [("error", Refusal.from_json(run.error).say(desk.language))] if run.error else []
    rows += [
        (name, getattr(run.spec, name))
        for name in ("name", "task", "architecture", "dataset")
        if getattr(run.spec, name)
    ]
    if run.spec.parent:
        rows.append(("branched from", _("{run} at step {step}", **run.spec.parent)))
    rows += [("branch", id) for id in branches]
    rows += [("checkpoint", _describe_checkpoint(desk, one)) for one in checkpoints]
    rows += [("step", f"{run.step}/{run.steps}")]
    rows += [("loss", _format_number(run.loss))] if run.loss is not None else []
    rows += [("left", _format_duration(run.eta))] if run.eta is not None else []
    rows += [("log", desk.studio.runs.folder(run.id).log_file)]
    desk.print_table(
        [*rows, *_metric_rows(run), *((f"--set {name}", value) for name, value in run.spec.settings.items())]
    )
    return DONE


def _branch_ids(studio: Studio, id: str) -> list[str]:
    """The runs that begin with a checkpoint of this one, newest first."""
    return [run.id for run in studio.runs.branches(id)]


def _describe_checkpoint(desk: Terminal, one: Checkpoint) -> str:
    parts = [_("step {step}", step=one.step), f"{one.bytes / 1e6:.1f} MB", *([_("the best")] if one.best else [])]
    return "  ".join(desk.say(part) for part in parts)


def _stop(desk: Terminal, asked: argparse.Namespace) -> int:
    id = _resolve_run_id(asked.run, desk.studio.runs.ids())
    desk.studio.runs.stop(id)
    ensure_supervisor(desk.studio.runs)
    run = desk.studio.runs.get(id)
    if asked.json:
        desk.print_json(_run_json(run))
    elif run.state in LIVE:
        desk.print_message(desk.say(_("{run} saves its weights and ends.", run=id)))
    else:
        desk.print_message(desk.say(_("{run} is cancelled.", run=id)))
    return DONE


def _resolve_run_id(text: str, ids: Iterable[str]) -> str:
    """The one id that is `text` or begins with it."""
    found = sorted(id for id in ids if id.startswith(text))
    if text in found:
        return text
    if len(found) == 1:
        return found[0]
    if found:
        shown = ", ".join(found[:5])
        raise Refusal(
            _("{count} begin with {beginning}: {ids}.", count=len(found), beginning=text, ids=shown),
            do=_("Give more of the id."),
        )
    do = _("`runs` lists what there is.")
    raise Refusal(_("There is no run {run}.", run=text[:100]), do=do, field="run")


def _metric_rows(run: Run) -> list[tuple[str, str]]:
    task = catalog.tasks().get(run.spec.task)
    known = {one.name: one for one in task.metrics} if task else {}
    rows = [("test", run.result), ("validation", run.best or run.validation)]
    return [
        (f"{split} {name}", _format_metric(value, known.get(name)))
        for split, found in rows
        for name, value in found.items()
    ]


def _first_metric(run: Run) -> str:
    rows = _metric_rows(run)
    return " ".join(rows[0]) if rows else ""


def _format_metric(value: float, metric: Metric | None) -> str:
    return f"{100 * value:.2f} %" if metric and metric.percent else _format_number(value)


def _run_json(run: Run) -> dict:
    known = {part.name: getattr(run, part.name) for part in dataclass_fields(run)}
    return known | {"run": run.id, "spec": run.spec.to_json()}


# -- try -----------------------------------------------------------------------------------------------
def _try(desk: Terminal, asked: argparse.Namespace) -> int:
    model = _resolve_model(desk.studio, asked.model)
    models = [model, *([_comparison_model(desk.studio, model, asked.beside)] if asked.beside else [])]
    inputs = _parse_settings(asked.settings, catalog.task(model.task).inputs, _("input"))
    answers = []
    try:
        for one in models:
            if len(models) > 1 and not asked.json:
                desk.print_result(f"== {one.id}")
            answers.append(_ask_model(desk, asked, one, inputs))
    finally:
        desk.studio.close()
    if asked.json:
        first, *others = answers
        desk.print_json(first | ({"beside": others[0]} if others else {}))
    return DONE


def _ask_model(desk: Terminal, asked: argparse.Namespace, model: Model, inputs: Mapping) -> dict:
    """What a model answers; written as it comes, unless it is to be JSON."""
    shown: dict[str, blocks.Block] = {}
    answer = _AnswerPrinter(desk)
    with closing(desk.studio.models.ask(model.id, inputs, model.task)) as parts:
        for number, block in enumerate(parts):
            shown["prose" if isinstance(block, Prose) else str(number)] = block
            if not asked.json:
                answer.show(block)
    return {"model": model.id, "blocks": [blocks.to_json(block) for block in shown.values()]}


def _comparison_model(studio: Studio, model: Model, text: str) -> Model:
    """Who is asked the same."""
    if text == "base":
        if not model.base:
            what = _("{model} was not fine-tuned from a base model.", model=model.id)
            raise Refusal(what, do=_("Name another model to compare it with."), field="beside")
        return studio.models.base_of(model.id)
    other = studio.models.get(text, model.task) if text.startswith(BASE_PREFIX) else _resolve_model(studio, text)
    if other.task != model.task:
        what = _("{other} has learnt another task than {model}.", other=other.id, model=model.id)
        raise Refusal(what, do=_("Name another model to compare it with."), field="beside")
    return other


def _resolve_model(studio: Studio, text: str) -> Model:
    if text.startswith(BASE_PREFIX):
        return studio.models.get(text)
    starters = {f"{STARTER_PREFIX}{path.name}" for path in STARTERS.glob("*") if path.is_dir()}
    if f"{STARTER_PREFIX}{text}" in starters:
        return studio.models.get(f"{STARTER_PREFIX}{text}")
    if text.startswith(STARTER_PREFIX):
        return studio.models.get(text)
    id = _resolve_run_id(text, studio.runs.ids())
    if not studio.runs.folder(id).has_model():
        what = _("The run {run} has no model.", run=id)
        raise Refusal(what, do=_("Wait until it has ended, or take another one."), field="model")
    return studio.models.get(id)


class _AnswerPrinter:
    """Blocks as text. A text that grows is written as it grows."""

    def __init__(self, desk: Terminal):
        self.desk = desk
        self.written = ""

    def show(self, block: blocks.Block) -> None:
        if isinstance(block, Prose):
            self._prose(block)
        elif isinstance(block, Scores):
            names = (self.desk.say(name) for name in block.names)
            self.desk.print_table(
                (f"{100 * value:6.2f} %", name) for name, value in zip(names, block.values, strict=True)
            )
        elif isinstance(block, Table):
            self.desk.print_table([block.columns, *block.rows])
        elif isinstance(block, Picture):
            self.desk.print_message(self.desk.say(_("(a picture: {caption})", caption=block.caption)))
        elif isinstance(block, Note):
            self.desk.print_message(self.desk.say(block.words))

    def _prose(self, block: Prose) -> None:
        text = block.prompt + block.text
        if not text.startswith(self.written):  # what was written has been taken back: begin again below
            print()
            self.written = ""
        print(text[len(self.written) :], end="\n" if block.done else "", flush=True)
        self.written = text


# -- the workshop: verbs with parsers of their own -------------------------------------------------------
def _bases(arguments: Sequence[str]) -> int:
    from bigmodel.cli.base_models import main

    return main(arguments, _language(arguments))


def _data(arguments: Sequence[str]) -> int:
    from bigmodel.cli.datasets import main

    return main(arguments, _language(arguments))


SUBCOMMANDS = {
    "bases": (_bases, _("bring pretrained models that can be fine-tuned")),
    "data": (_data, _("bring data of your own, look after its versions")),
}


# -- how it is written ---------------------------------------------------------------------------------
def _to_jsonable(value: object, say: Callable[[Words], str]) -> object:
    """Ready for JSON: words in the person's language, numbers that are not finite by name."""
    if isinstance(value, Words):
        return say(value)
    if isinstance(value, Mapping) and set(value) == {"text", "values"}:
        return say(Words.from_json(value))
    if isinstance(value, Mapping):
        return {str(name): _to_jsonable(part, say) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_to_jsonable(part, say) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return str(value) if isinstance(value, Path) else value


def _format_number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _format_duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"


def _display_width(text: str) -> int:
    """Columns on a terminal, where a Chinese character takes two."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def _log_bug(bug: Exception, studio: Studio | None) -> Words:
    """A word for the person; the traceback is kept where it can be found."""
    id = secrets.token_hex(3)
    if studio is None:  # no home to keep it in
        traceback.print_exception(bug)
        return _("Something went wrong in bigmodel itself ({kind}).", kind=type(bug).__name__)
    log = studio.home / "cli.log"
    with log.open("a", encoding="utf-8") as file:
        print(f"[error {id}]", file=file)
        traceback.print_exception(bug, file=file)
    what = _("Something went wrong in bigmodel itself ({kind}).", kind=type(bug).__name__)
    return _("{what} The details are in {log} under {id}.", what=what, log=str(log), id=id)
