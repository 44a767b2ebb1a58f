"""The verbs of runs: train, runs, show, stop, resume, branch, rollback."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping, Set
from dataclasses import fields as dataclass_fields

from bigmodel.cli.terminal import DONE, INTERRUPTED, REFUSED, Terminal, format_duration, format_number
from bigmodel.cli.verbs import Parser, Verbs, parse_settings
from bigmodel.core import catalog, spec
from bigmodel.core.contracts import Metric
from bigmodel.core.errors import Refusal
from bigmodel.core.events import FINISHED, LIVE, QUEUED, STOPPED
from bigmodel.core.jobs import Job
from bigmodel.core.words import Words, _, say
from bigmodel.runs.run import Run
from bigmodel.runs.service import Checkpoint
from bigmodel.runs.supervisor import ensure_supervisor
from bigmodel.training.forecast import Forecast

LINE_SECONDS = 10.0  # between two lines of --wait that go into a file
POLL_SECONDS = 0.2  # between two polls of --wait
FORECAST_SECONDS = 60.0  # that `train` waits for its forecast: reading and encoding large data takes longer
SUPERVISOR_CHECK_SECONDS = 2.0  # between two checks that a supervisor works on the queue

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


def add_verbs(verbs: Verbs) -> None:
    train = verbs.add("train", _train, _("start a run and write its id"))
    for name in ("task", "architecture", "dataset"):
        train.add_argument(f"--{name}")
    train.set_defaults(usage_error=train.error)
    train.add_argument(
        "--like", metavar="RUN", help=_("train again as this run was, with what it decided by measuring")
    )
    train.add_set(_("a setting, as often as needed; `list --task T --architecture A` shows them"))
    train.add_argument("--name", default="", help=_("a name of your own"))
    train.add_argument("--token", default="", help=_("the same token twice is one run"))
    train.add_argument("--no-forecast", action="store_true", help=_("start without measuring what the run will take"))
    _add_wait(train)

    runs = verbs.add("runs", _runs, _("all runs, newest first"))
    runs.add_argument("--state", action="append", choices=STATES, help=_("only runs in this state"))
    runs.add_argument("--limit", type=int, default=200, help=_("at most so many"))

    _add_run(verbs.add("show", _show, _("all that is known of a run")))
    _add_run(verbs.add("stop", _stop, _("end a run and keep its weights, or cancel one that waits")))

    about = _("let a run go on that was stopped or has died, from its newest checkpoint")
    resume = _add_run(verbs.add("resume", _resume, about))
    resume.add_argument(
        "--anyway", action="store_true", help=_("also where versions, device, settings or data have changed since")
    )
    _add_wait(resume)

    about = _("start a run from a checkpoint of another, and write its id")
    branch = _add_run(verbs.add("branch", _branch, about))
    branch.add_argument("--step", type=int, help=_("of the checkpoint; by default the newest"))
    branch.add_set(_("what is to be different: learning_rate=0.0001, epochs=20 to train on ..."))
    branch.add_argument("--name", default="", help=_("a name of your own"))
    _add_wait(branch)

    about = _("start a run from the best checkpoint of another with half its learning rate")
    _add_wait(_add_run(verbs.add("rollback", _rollback, about)))


def _add_run(verb: Parser) -> Parser:
    verb.add_argument("run", metavar="RUN", help=_("its id, or enough of its beginning"))
    return verb


def _add_wait(verb: Parser) -> None:
    verb.add_argument("--wait", action="store_true", help=_("until it ends, and write what came out"))


# -- train, branch, rollback, resume -------------------------------------------------------------------
def _train(terminal: Terminal) -> int:
    options = terminal.options
    names, earlier = {name: getattr(options, name) for name in ("task", "architecture", "dataset")}, None
    if options.like:
        earlier = terminal.studio.runs.get(resolve_run_id(options.like, terminal.studio.runs.ids()))
        names = {name: value or getattr(earlier.spec, name) for name, value in names.items()}
    if missing := [f"--{name}" for name, value in names.items() if not value]:
        what = _("{options} missing: name all three, or a run to repeat by `--like RUN`", options=", ".join(missing))
        options.usage_error(say(what, terminal.language))
    task, architecture = catalog.task(names["task"]), catalog.architecture(names["architecture"])
    known = spec.fields_for(task, architecture)
    settings = parse_settings(options.settings, known, _("setting"))
    if earlier:
        settings = _settings_like(terminal, earlier, names, settings, {field.name for field in known})
    wanted = spec.RunSpec.check(names | {"name": options.name, "settings": settings})
    if not options.no_forecast:
        _print_forecast(terminal, wanted)
    return _report_launch(terminal, terminal.studio.runs.launch(wanted, token=options.token))


def _print_forecast(terminal: Terminal, wanted: spec.RunSpec) -> None:
    """On stderr: scripts read the run's id from stdout. The run starts without one that fails or takes too long."""
    models = terminal.studio.models
    job: Job[Forecast] = Job().start(lambda: models.forecast(wanted))
    in_time = job.finished.wait(FORECAST_SECONDS)
    models.client.close()
    if not in_time:
        late = _("No forecast after {seconds} s: the run starts without one.", seconds=round(FORECAST_SECONDS))
        terminal.print_message(late)
    elif job.result is None:
        reason = job.refusal.say(terminal.language) if job.refusal else type(job.error).__name__
        terminal.print_message(_("There is no forecast: {reason}", reason=reason))
    else:
        for words in filter(None, [_forecast_words(job.result), job.result.limit_words(), *job.result.warnings()]):
            terminal.print_message(words)


def _forecast_words(forecast: Forecast) -> Words:
    figures = {
        "steps": f"{forecast.steps:,}",
        "memory": f"{forecast.memory / 1e9:.1f}",
        "device": forecast.device,
    }
    if forecast.seconds is None:
        return _("Forecast: {steps} steps, {memory} GB of memory on {device}: more than is free.", **figures)
    return _(
        "Forecast: {steps} steps ({epochs} epochs), {time}, {memory} GB of memory, on {device}.",
        epochs=f"{forecast.epochs:.3g}",
        time=format_duration(forecast.seconds),
        **figures,
    )


def _settings_like(
    terminal: Terminal, earlier: Run, names: Mapping[str, str], changes: Mapping, known: Set[str]
) -> dict[str, object]:
    """The settings of an earlier run with `changes`, and what it decided by measuring where that still holds."""
    same = all(getattr(earlier.spec, name) == value for name, value in names.items())
    decided = earlier.decided(changes) if same else {}
    if decided:
        listed = ", ".join(f"{name}={value}" for name, value in decided.items())
        terminal.print_message(_("As {run} had measured: {decided}.", run=earlier.id, decided=listed))
    kept = {name: value for name, value in earlier.spec.settings.items() if name in known}
    return kept | decided | dict(spec.without_time_limit(changes))


def _branch(terminal: Terminal) -> int:
    options, id = terminal.options, _run_id(terminal)
    parent = terminal.studio.runs.get(id).spec
    known = spec.fields_for(catalog.task(parent.task), catalog.architecture(parent.architecture))
    settings = parse_settings(options.settings, known, _("setting"))
    return _report_launch(terminal, terminal.studio.runs.branch(id, options.step, settings, options.name))


def _rollback(terminal: Terminal) -> int:
    return _report_launch(terminal, terminal.studio.runs.rollback(_run_id(terminal)))


def _report_launch(terminal: Terminal, id: str) -> int:
    """Ensure that a supervisor works on the new run, and print its id."""
    options = terminal.options
    ensure_supervisor(terminal.studio.runs)
    if not options.json:
        print(id, flush=True)
    elif not options.wait:
        _print_run_json(terminal, id)
    return _wait(terminal, id) if options.wait else DONE


def _resume(terminal: Terminal) -> int:
    options, id = terminal.options, _run_id(terminal)
    terminal.studio.runs.resume(id, options.anyway)
    ensure_supervisor(terminal.studio.runs)
    if options.json and not options.wait:
        _print_run_json(terminal, id)
    elif not options.json:
        stage, step = terminal.studio.runs.resume_point(id)
        messages = {
            "step": _("{run} goes on from step {step}.", run=id, step=step),
            "pretraining": _("{run} goes on from step {step} of its pretraining.", run=id, step=step),
            "pretraining-done": _("{run} goes on after its pretraining.", run=id),
        }
        terminal.print_message(messages.get(stage) or _("{run} begins anew: it has no checkpoint.", run=id))
    return _wait(terminal, id) if options.wait else DONE


# -- wait ----------------------------------------------------------------------------------------------
def _wait(terminal: Terminal, id: str) -> int:
    progress = _Progress(terminal)
    try:
        run = _follow(terminal, id, progress)
    except KeyboardInterrupt:
        progress.end()
        if terminal.options.json:
            _print_run_json(terminal, id)
        terminal.print_message(
            _("The run goes on. `python -m bigmodel show {run}` looks at it, `stop` ends it.", run=id)
        )
        return INTERRUPTED
    progress.end()
    if terminal.options.json:
        terminal.print_json(_run_json(run))
    else:
        terminal.print_table(_metric_rows(run))
    if run.error:
        terminal.print_message(Refusal.from_json(run.error).say(terminal.language))
    elif run.reason:
        terminal.print_message(run.reason)
    return DONE if run.state == FINISHED or (run.state == STOPPED and run.has_model) else REFUSED


def _follow(terminal: Terminal, id: str, progress: _Progress) -> Run:
    """Poll until the run has ended for good, and ensure that a supervisor works on it."""
    runs, checked = terminal.studio.runs, time.monotonic()
    while not (run := runs.get(id)).has_ended or runs.will_retry(id):
        progress.show(run)
        if time.monotonic() - checked > SUPERVISOR_CHECK_SECONDS:
            checked = time.monotonic()
            ensure_supervisor(runs)
        time.sleep(POLL_SECONDS)
    progress.show(run)
    return run


class _Progress:
    """On a terminal one line that changes; into a file a line whenever something else happens, and every ten seconds."""

    def __init__(self, terminal: Terminal):
        self.terminal = terminal
        self.live = sys.stderr.isatty()
        self.last, self.shown_at = "", 0.0

    def show(self, run: Run) -> None:
        text = self._text(run)
        key = text if self.live else f"{run.state} {run.phase} {dict(run.validation)}"
        now = time.monotonic()
        if key == self.last and (self.live or now - self.shown_at < LINE_SECONDS):
            return
        self.last, self.shown_at = key, now
        if self.live:
            self.terminal.print_progress(text)
        else:
            print(text, file=sys.stderr, flush=True)

    def end(self) -> None:
        if self.live and self.last:
            print(file=sys.stderr)

    def _text(self, run: Run) -> str:
        say = self.terminal.say
        if run.state == QUEUED:
            return say(_("waiting, number {position}", position=run.position))
        parts = [say(run.phase)] if run.phase else []
        if run.step:
            parts += [f"{run.step}/{run.steps}", f"loss {format_number(run.loss)}"]
            parts += [f"validation {name} {format_number(value)}" for name, value in run.validation.items()]
        if run.eta is not None:
            parts.append(say(_("{time} left", time=format_duration(run.eta))))
        return "  ".join(parts) or say(STATES[run.state])


# -- runs, show, stop ----------------------------------------------------------------------------------
def _runs(terminal: Terminal) -> None:
    runs = terminal.studio.runs.all(terminal.options.state or (), max(terminal.options.limit, 0))
    if damage := terminal.studio.runs.damage():
        terminal.print_message(damage)
    if terminal.options.json:
        terminal.print_json([_run_json(run) for run in runs])
    elif runs:
        terminal.print_table((run.id, STATES[run.state], f"{run.step}/{run.steps}", _first_metric(run)) for run in runs)


def _show(terminal: Terminal) -> None:
    runs = terminal.studio.runs
    run = runs.get(_run_id(terminal))
    if run.damage:
        terminal.print_message(run.damage)
    checkpoints, branches = runs.checkpoints(run.id), [branch.id for branch in runs.branches(run.id)]
    if terminal.options.json:
        kept = [{"step": kept.step, "best": kept.best, "bytes": kept.bytes} for kept in checkpoints]
        terminal.print_json(_run_json(run) | {"checkpoints": kept, "branches": branches})
        return
    rows = [("run", run.id), ("state", STATES[run.state])]
    rows += [("reason", run.reason)] if run.reason else []
    rows += [("error", Refusal.from_json(run.error).say(terminal.language))] if run.error else []
    names = ("name", "task", "architecture", "dataset")
    rows += [(name, getattr(run.spec, name)) for name in names if getattr(run.spec, name)]
    if run.spec.parent:
        rows.append(("branched from", _("{run} at step {step}", **run.spec.parent)))
    rows += [("branch", id) for id in branches]
    rows += [("checkpoint", _describe_checkpoint(terminal, checkpoint)) for checkpoint in checkpoints]
    rows += [("step", f"{run.step}/{run.steps}")]
    rows += [("loss", format_number(run.loss))] if run.loss is not None else []
    rows += [("left", format_duration(run.eta))] if run.eta is not None else []
    rows += [("log", runs.folder(run.id).log_file), *_metric_rows(run)]
    terminal.print_table([*rows, *((f"--set {name}", value) for name, value in run.spec.settings.items())])


def _describe_checkpoint(terminal: Terminal, checkpoint: Checkpoint) -> str:
    parts = [_("step {step}", step=checkpoint.step), f"{checkpoint.bytes / 1e6:.1f} MB"]
    return "  ".join(terminal.say(part) for part in [*parts, *([_("the best")] if checkpoint.best else [])])


def _stop(terminal: Terminal) -> None:
    runs, id = terminal.studio.runs, _run_id(terminal)
    runs.stop(id)
    ensure_supervisor(runs)
    run = runs.get(id)
    if terminal.options.json:
        terminal.print_json(_run_json(run))
    elif run.state in LIVE:
        terminal.print_message(_("{run} saves its weights and ends.", run=id))
    else:
        terminal.print_message(_("{run} is cancelled.", run=id))


def _run_id(terminal: Terminal) -> str:
    return resolve_run_id(terminal.options.run, terminal.studio.runs.ids())


def resolve_run_id(text: str, ids: Iterable[str]) -> str:
    """The one id that is `text` or begins with it."""
    matches = sorted(id for id in ids if id.startswith(text))
    if text in matches:
        return text
    if len(matches) == 1:
        return matches[0]
    if matches:
        shown = ", ".join(matches[:5])
        what = _("{count} begin with {beginning}: {ids}.", count=len(matches), beginning=text, ids=shown)
        raise Refusal(what, do=_("Give more of the id."))
    do = _("`runs` lists what there is.")
    raise Refusal(_("There is no run {run}.", run=text[:100]), do=do, field="run")


def _metric_rows(run: Run) -> list[tuple[str, str]]:
    task = catalog.tasks().get(run.spec.task)
    known = {metric.name: metric for metric in task.metrics} if task else {}
    splits = [("test", run.result), ("validation", run.best or run.validation)]
    return [
        (f"{split} {name}", format_metric(value, known.get(name)))
        for split, values in splits
        for name, value in values.items()
    ]


def _first_metric(run: Run) -> str:
    rows = _metric_rows(run)
    return " ".join(rows[0]) if rows else ""


def format_metric(value: float, metric: Metric | None) -> str:
    return f"{100 * value:.2f} %" if metric and metric.percent else format_number(value)


def _run_json(run: Run) -> dict:
    known = {part.name: getattr(run, part.name) for part in dataclass_fields(run)}
    return known | {"run": run.id, "spec": run.spec.to_json()}


def _print_run_json(terminal: Terminal, id: str) -> None:
    terminal.print_json(_run_json(terminal.studio.runs.get(id)))
