"""`python -m benchmarks quality`: trains the checks, compares them with their baselines, keeps the figures."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace

from benchmarks.quality import fetched, figures, weights
from benchmarks.quality.checks import CHECKS, Check
from benchmarks.quality.measure import Failed, goal, measure, shown
from bigmodel.core import catalog
from bigmodel.core.errors import Refusal
from bigmodel.core.events import Event
from bigmodel.core.spec import defaults, fields_for
from bigmodel.studio import home


def main(argv: Sequence[str] | None = None) -> int:
    """0: every goal was reached. 1: one was not. 2: something was asked for that cannot be. 130: Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks quality",
        description="Train the named checks (all, where none is named), measure them on the test split beside "
        "their baselines, and write the figures to BENCHMARKS.md.",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of: {', '.join(CHECKS)}")
    parser.add_argument("--print", action="store_true", help="print the command of each check and leave")
    parser.add_argument("--baselines", action="store_true", help="measure the baselines only, and print them")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="try another setting; implies --dry"
    )
    parser.add_argument("--dry", action="store_true", help="print the figures, leave BENCHMARKS.md as it is")
    parser.add_argument(
        "--threads", type=int, default=min(2, os.cpu_count() or 1), help="of the training (%(default)s)"
    )
    asked = parser.parse_args(argv)
    for name in asked.names:
        if name not in CHECKS:
            parser.error(f"There is no check named {name}. Choose from: {', '.join(CHECKS)}.")
    checks = [CHECKS[name] for name in asked.names or CHECKS]
    try:
        fetched.register()
        weights.register()
        missed = False
        for check in checks:
            if asked.print and _is_fetched(check):  # also where what its base is made of is not here yet
                print(_command(check))
                continue
            if "base" in check.settings:
                weights.fetch(str(check.settings["base"]))
            check = _with_settings(check, asked.set)
            if asked.print:
                print(_command(check))
            elif asked.baselines:
                _print_baselines(check)
            else:
                missed |= not _carry_out(check, asked.threads, asked.dry or asked.set)
        return int(missed)
    except Refusal as refusal:
        print(f"bigmodel: {refusal}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _carry_out(check: Check, threads: int, dry: bool) -> bool:
    print(f"{check.name}: {_command(check)}", flush=True)
    try:
        found = measure(check, home(), threads, _Teller(check))
    except Failed as failure:
        print(f"{check.name}: {failure}", file=sys.stderr)
        return False
    if not dry:
        figures.keep(check.name, found)
    for name, value in found["result"].items():
        print(f"  {name} {value:.4f}")
    for name, one in found["baselines"].items():
        print(f"  {name}: " + ", ".join(f"{metric} {value:.4f}" for metric, value in one.items()))
    verdict = {True: "reached", False: "NOT reached", None: "no goal"}[found["reached"]]
    print(
        f"  {found['wall_seconds']:.0f} s, {found['steps']} steps, {found['precision']}, {found['parameters']:,} parameters"
    )
    print(f"  {found['goal'] or 'to be looked at'}: {verdict}", flush=True)
    return found["reached"] is not False


def _print_baselines(check: Check) -> None:
    from benchmarks.quality.baselines import baselines

    fetched.fetch(check.dataset)
    found = baselines(check)
    for name, one in found.items():
        print(f"{check.name} {name}: " + ", ".join(f"{metric} {value:.4f}" for metric, value in one.items()))
    print(f"{check.name} goal: {goal(check, found) or 'none'}", flush=True)


def _with_settings(check: Check, given: Sequence[str]) -> Check:
    """The check with settings from the command line in the place of its own."""
    fields = {
        field.name: field for field in fields_for(catalog.task(check.task), catalog.architecture(check.architecture))
    }
    settings = dict(check.settings)
    for one in given:
        name, _, value = one.partition("=")
        settings[name] = fields[name].parse(value) if name in fields else value  # the spec refuses unknown names
    changed = replace(check, settings=settings)
    changed.spec()
    return changed


def _is_fetched(check: Check) -> bool:
    return isinstance(catalog.dataset(check.dataset), fetched.Fetched)


def _command(check: Check) -> str:
    """The same training through the front door, as a person would type it; fetched data is known here only."""
    if _is_fetched(check):
        return f"python -m benchmarks quality {check.name}"
    spec = check.spec()
    usual = defaults(catalog.task(check.task), catalog.architecture(check.architecture), catalog.dataset(check.dataset))
    changed = [f"{name}={value}" for name, value in spec.settings.items() if value != usual[name]]
    parts = ["train", "--task", check.task, "--architecture", check.architecture, "--dataset", check.dataset]
    return "python -m bigmodel " + shlex.join([*parts, *(part for one in changed for part in ("--set", one)), "--wait"])


class _Teller:
    """Says how far a training is: each validation, and the first line that tells its size."""

    def __init__(self, check: Check):
        self.check = check

    def __call__(self, event: Event) -> None:
        if event.kind == "plan":
            print(f"  {event['steps']} steps, {event['parameters']:,} parameters, {event['precision']}", flush=True)
        if event.kind == "validation":
            value = event["metrics"].get(self.check.metric)
            rest = f", {self.check.metric} {shown(self.check, value)}" if value is not None else ""
            print(f"  step {event['step']}: validation loss {event['metrics']['loss']:.4f}{rest}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
