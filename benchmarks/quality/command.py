"""`python -m benchmarks quality`: trains the checks and compares them with their baselines."""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace

from benchmarks.options import name_of
from benchmarks.quality import fetched, weights
from benchmarks.quality.checks import CHECKS, Check
from benchmarks.quality.measure import Failed, format_value, goal, measure
from benchmarks.quality.report import REPORT
from benchmarks.report import progress
from bigmodel.core import catalog
from bigmodel.core.events import Event
from bigmodel.core.spec import defaults, fields_for
from bigmodel.studio import home


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", metavar="NAME", type=name_of("check", CHECKS))
    parser.add_argument("--print", action="store_true", help="print the command of each check and leave")
    parser.add_argument("--baselines", action="store_true", help="measure the baselines only, and print them")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="try another setting; implies --dry"
    )
    parser.add_argument(
        "--threads", type=int, default=min(2, os.cpu_count() or 1), help="of the training (%(default)s)"
    )


def run(options: argparse.Namespace) -> tuple[dict, bool]:
    options.dry = options.dry or bool(options.set or options.print or options.baselines)
    fetched.register()
    weights.register()
    entries = {name: _carry_out(CHECKS[name], options) for name in options.names or CHECKS}
    return entries, all(entry and entry.get("reached") is not False for entry in entries.values())


def _carry_out(check: Check, options: argparse.Namespace) -> dict | None:
    """The check's figures, or only its baselines or command; None when the training failed."""
    if options.print and _is_fetched(check):  # also where what its base is made of is not here yet
        return _print_command(check)
    if "base" in check.settings:
        weights.fetch(str(check.settings["base"]))
    check = _with_settings(check, options.set)
    if options.print:
        return _print_command(check)
    if options.baselines:
        return _print_baselines(check)
    progress(f"{check.name}: {_command(check)}")
    try:
        entry = measure(check, home(), options.threads, lambda event: print_progress(check, event))
    except Failed as failure:
        progress(f"{check.name}: {failure}")
        return None
    if not options.dry:
        REPORT.save_entry(check.name, entry, CHECKS)
    _print_entry(entry)
    return entry


def _print_command(check: Check) -> dict:
    print(_command(check), flush=True)
    return {"command": _command(check)}


def _print_baselines(check: Check) -> dict:
    from benchmarks.quality.baselines import baselines

    fetched.fetch(check.dataset)
    scores = baselines(check)
    for name, metrics in scores.items():
        progress(f"{check.name} {name}: {_metrics(metrics)}")
    progress(f"{check.name} goal: {goal(check, scores) or 'none'}")
    return {"baselines": scores}


def _print_entry(entry: Mapping) -> None:
    progress(f"  {_metrics(entry['result'])}")
    for name, metrics in entry["baselines"].items():
        progress(f"  {name}: {_metrics(metrics)}")
    steps, parameters = f"{entry['steps']} steps", f"{entry['parameters']:,} parameters"
    progress(f"  {entry['wall_seconds']:.0f} s, {steps}, {entry['precision']}, {parameters}")
    verdict = {True: "reached", False: "NOT reached", None: "no goal"}[entry["reached"]]
    progress(f"  {entry['goal'] or 'to be looked at'}: {verdict}")


def _metrics(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in values.items())


def _with_settings(check: Check, pairs: Sequence[str]) -> Check:
    """The check with settings from the command line in place of its own."""
    task, architecture = catalog.task(check.task), catalog.architecture(check.architecture)
    fields = {field.name: field for field in fields_for(task, architecture)}
    settings = dict(check.settings)
    for pair in pairs:
        name, _, value = pair.partition("=")
        settings[name] = fields[name].parse(value) if name in fields else value  # the spec refuses unknown names
    changed = replace(check, settings=settings)
    changed.spec()
    return changed


def _is_fetched(check: Check) -> bool:
    return isinstance(catalog.dataset(check.dataset), fetched.Fetched)


def _command(check: Check) -> str:
    """The same training through the app's command line; fetched data is known here only."""
    if _is_fetched(check):
        return f"python -m benchmarks quality {check.name}"
    spec = check.spec()
    usual = defaults(catalog.task(check.task), catalog.architecture(check.architecture), catalog.dataset(check.dataset))
    changed = [f"{name}={value}" for name, value in spec.settings.items() if value != usual[name]]
    parts = ["train", "--task", check.task, "--architecture", check.architecture, "--dataset", check.dataset]
    return "python -m bigmodel " + shlex.join(
        [*parts, *(part for pair in changed for part in ("--set", pair)), "--wait"]
    )


def print_progress(check: Check, event: Event) -> None:
    """The size of a training when it is planned, and each validation."""
    if event.kind == "plan":
        progress(f"  {event['steps']} steps, {event['parameters']:,} parameters, {event['precision']}")
    if event.kind == "validation":
        value = event["metrics"].get(check.metric)
        metric = f", {check.metric} {format_value(check, value)}" if value is not None else ""
        progress(f"  step {event['step']}: validation loss {event['metrics']['loss']:.4f}{metric}")
