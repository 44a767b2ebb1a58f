"""`python -m bigmodel data ...`: own data sets at the terminal, with the studio's verbs."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bigmodel.cli.terminal import DONE, INTERRUPTED, REFUSED, Subcommands, Terminal, run_command
from bigmodel.core import catalog
from bigmodel.core.errors import Refusal
from bigmodel.core.words import Words, _
from bigmodel.data_checks.check_jobs import CheckProgress
from bigmodel.importing import import_plan
from bigmodel.importing.import_jobs import ImportJob
from bigmodel.importing.import_plan import FilePreview
from bigmodel.importing.store import repair_rows
from bigmodel.importing.store.registry import ImportedDataset

POLL_SECONDS = 0.3  # between two looks at a file that is being read


def main(arguments: Sequence[str], language: str = "en") -> int:
    return run_command(_parser(language), arguments, language)


def _parser(language: str) -> argparse.ArgumentParser:
    verbs = Subcommands("data", ABOUT, language)
    said, verb = verbs.translate, verbs.add
    verb("list", _list, _("your data sets, the newest version of each"))
    for name, do, help in (
        ("look", _look, _("what a file is, how it would be read, and why")),
        ("add", _add, _("read a file or a folder into a data set, and write its name")),
    ):
        one = verb(name, do, help)
        one.add_argument(
            "path", metavar="FILE", nargs="?", default="", help=said(_("a file or a folder; - for what comes on stdin"))
        )
        one.add_argument("--hub", metavar="OWNER/NAME", help=said(_("a data set of the Hugging Face Hub instead")))
        one.add_argument("--revision", default="", help=said(_("a branch, tag or commit of it")))
        one.add_argument("--config", default="", help=said(_("a configuration of it; by default the first")))
        one.add_argument(
            "--split", action="append", default=[], help=said(_("a part of it, as often as needed; by default all"))
        )
        one.add_argument("--rows", type=int, default=100_000, help=said(_("at most so many rows of each part")))
        one.add_argument("--role", action="append", default=[], metavar="ROLE=COLUMN",
                         help=said(_("which column plays which role: {roles}", roles=", ".join(import_plan.ROLES))))  # fmt: skip
        one.add_argument("--read", action="append", default=[], metavar="NAME=VALUE",
                         help=said(_("how the file is read: {names}", names=READ_OPTIONS)))  # fmt: skip
        if name == "add":
            one.add_argument("--title", default="", help=said(_("a name of your own")))
            one.add_argument("--licence", default="", help=said(_("what others allow you to do with it")))
    for name, do, help in (
        ("versions", _versions, _("all versions of a data set, newest first")),
        ("use", _use, _("let an older version be the one that the name means")),
        ("delete", _delete, _("delete a data set with all its versions")),
    ):
        verb(name, do, help).add_argument("name", metavar="NAME", help=said(_("of a data set: NAME, or NAME@VERSION")))
    aside = verb("aside", _aside, _("what could not be taken in, with the reason"))
    aside.add_argument("name", metavar="NAME", help=said(_("of a data set: NAME, or NAME@VERSION")))
    aside.add_argument("--table", metavar="FILE", help=said(_("write it as CSV into this file, to be mended")))
    mend = verb("mend", _mend, _("take rows in that were set aside and mended in such a table, and write the name"))
    mend.add_argument("name", metavar="NAME", help=said(_("of a data set: NAME, or NAME@VERSION")))
    mend.add_argument("path", metavar="FILE", help=said(_("the table, as CSV")))
    checked = verb("lint", _lint, _("look for faults in the rows: duplicates, leaks, damaged texts, personal data ..."))
    checked.add_argument("dataset", metavar="NAME", help=said(_("a data set of your own, or one that ships")))
    derive = verb("derive", _derive, _("make a new version by steps, and write its name"))
    derive.add_argument("name", metavar="NAME", help=said(_("of a data set: NAME, or NAME@VERSION")))
    derive.add_argument("steps", metavar="STEPS", help=said(_("a JSON list: {example}", example=STEPS_EXAMPLE)))
    return verbs.parser


STEPS_EXAMPLE = '[{"drop": [3]}, {"edit": {"4": {"label": "good"}}}]'
READ_OPTIONS = "format, encoding, delimiter, header, unit, member, labels, split, validation, test"
ABOUT = _("Bring data of your own, look after its versions.")


# -- brought -----------------------------------------------------------------------------------------------
def _uploaded_file(desk: Terminal):
    asked, studio = desk.args, desk.studio
    if asked.hub:
        about = studio.imports.hub_info(asked.hub, asked.revision)
        config = asked.config or next(iter(about["configs"]))
        if config not in about["configs"]:
            what = _("There is no {kind} named {name}.", kind=_("configuration"), name=config[:60])
            raise Refusal(what, do=_("Choose one of: {options}.", options=", ".join(about["configs"])), field="config")
        splits = studio.imports.hub_splits(about, config)
        unknown = next((one for one in asked.split if one not in splits), None)
        if unknown is not None:
            what = _("There is no {kind} named {name}.", kind=_("part"), name=unknown[:60])
            raise Refusal(what, do=_("Choose one of: {options}.", options=", ".join(splits)), field="split")
        about["configs"][config] = splits
        return studio.imports.add_hub_dataset(about, config, asked.split or list(splits), asked.rows)
    if asked.path == "-":
        return studio.imports.paste(sys.stdin.read())
    if not asked.path:
        raise Refusal(_("No data are named."), do=_("Give a file, a folder, or {option}.", option="--hub OWNER/NAME"))
    return studio.imports.add_path(asked.path, trusted=True)


def _plan_overrides(desk: Terminal) -> dict:
    """What the options decide; the rest is found."""
    found: dict = {}
    for pair in desk.args.read:
        name, equals, value = pair.partition("=")
        if not equals:
            raise Refusal(
                _("{pair} is not NAME=VALUE.", pair=pair[:60]),
                do=_("Write for example {example}.", example="encoding=gb18030"),
            )
        if name == "header":
            found[name] = value.lower() in ("on", "true", "yes", "1")
        elif name in ("validation", "test"):
            try:
                found[name] = float(value)
            except ValueError:
                raise Refusal(
                    _("{name} cannot be {value}.", name=name, value=value[:60]), do=_("Give a number.")
                ) from None
        else:
            found[name] = value.replace("\\t", "\t") if name == "delimiter" else value
    roles = dict(pair.partition("=")[::2] for pair in desk.args.role)
    return found | ({"roles": roles} if roles else {})


def _look(desk: Terminal) -> int:
    found = desk.studio.imports.preview(_uploaded_file(desk).id, _plan_overrides(desk))
    desk.print_result(found.to_json(), "\n".join(_plan_lines(desk, found)))
    return DONE


def _plan_lines(desk: Terminal, found: FilePreview) -> list[str]:
    plan = found.plan
    roles = ", ".join(f"{role}={column}" for role, column in plan.roles.items()) or "-"
    lines = [f"{plan.format}  {plan.encoding}  {roles}", *(f"  {desk.say(one)}" for one in found.evidence)]
    lines += [
        f"  {name}: {', '.join(map(repr, column['examples'][:3]))}"[:160] for name, column in found.columns.items()
    ]
    return lines + [f"  ! {one['row']}: {desk.say(Words.from_json(one['reason']))}" for one in found.rejected]


def _add(desk: Terminal) -> int:
    parcel = _uploaded_file(desk)
    found = desk.studio.imports.preview(parcel.id, _plan_overrides(desk))
    for one in found.evidence:
        print(f"bigmodel: {desk.say(one)}", file=sys.stderr)
    job = desk.studio.imports.begin(parcel.id, found.plan, desk.args.title, desk.args.licence)
    try:
        dataset = catalog.dataset(job.wait(lambda: _show_progress(desk, job)))
    except KeyboardInterrupt:
        job.cancel()
        return INTERRUPTED
    said = _("{rows} rows taken in, {aside} set aside.", rows=sum(dataset.version.manifest["rows"].values()),
             aside=dataset.version.manifest["aside"])  # fmt: skip
    print(f"bigmodel: {desk.say(said)}", file=sys.stderr)
    desk.print_result(_dataset_json(dataset), job.name)
    return DONE


def _show_progress(desk: Terminal, job: ImportJob) -> None:
    if sys.stderr.isatty():
        rows = job.progress.get("rows", 0)
        print(
            f"\r\033[K{desk.say(job.phase or '')}  {100 * job.fraction_done:.0f} %  {rows:,}",
            end="",
            file=sys.stderr,
            flush=True,
        )


# -- looked after --------------------------------------------------------------------------------------------
def _dataset_json(dataset: ImportedDataset) -> dict:
    manifest = dataset.version.manifest
    return {"name": dataset.name, "title": dataset.title, "licence": dataset.facts.licence,
            "rows": manifest["rows"], "aside": manifest["aside"], "columns": sorted(dataset.columns),
            "source": dict(manifest["source"]), "path": str(dataset.path())}  # fmt: skip


def _list(desk: Terminal) -> int:
    found = list(desk.studio.data.registry.values())
    lines = (f"{one.name}  {desk.say(one.title)}  {sum(one.version.manifest['rows'].values()):,}" for one in found)
    desk.print_result([_dataset_json(one) for one in found], "\n".join(lines))
    return DONE


def _lint(desk: Terminal) -> int:
    """0: nothing was found. 1: something was."""
    name = catalog.dataset(desk.args.dataset).name
    desk.studio.checks.begin(name)
    while isinstance(state := desk.studio.checks.state(name), CheckProgress):
        time.sleep(POLL_SECONDS)
    if isinstance(state, Refusal):
        raise state
    lines = [f"{one.severity:8} {one.check:16} {desk.say(one.sentence)}" for one in state.findings]
    told = _(
        "{checks} checks over {rows} rows in {seconds} s; findings: {count}.",
        checks=len(state.checks),
        rows=f"{state.rows:,}",
        seconds=f"{state.seconds:.1f}",
        count=len(state.findings),
    )
    lines.append(desk.say(told))
    desk.print_result(state.to_json(), "\n".join(lines))
    return REFUSED if state.findings else DONE


def _versions(desk: Terminal) -> int:
    slug = desk.studio.data.registry.version(desk.args.name).slug
    found, newest = desk.studio.data.registry.versions(slug), desk.studio.data.registry.newest(slug)
    data = [{"name": one.name, "newest": one.hash == newest, "number": one.manifest["number"], "rows": one.manifest["rows"],
             "steps": one.manifest["steps"]} for one in found]  # fmt: skip
    desk.print_result(
        data, "\n".join(f"{one['name']}{' *' if one['newest'] else ''}  {sum(one['rows'].values()):,}" for one in data)
    )
    return DONE


def _aside(desk: Terminal) -> int:
    if desk.args.table:
        return _write_rejected_table(desk)
    found = desk.studio.data.rejected_rows(desk.args.name, count=1_000_000)
    lines = (f"{one['row']}\t{desk.say(Words.from_json(one['reason']))}\t{one['raw'][:200]!r}" for one in found)
    desk.print_result(found, "\n".join(lines))
    return DONE


def _write_rejected_table(desk: Terminal) -> int:
    path = Path(desk.args.table)
    try:
        path.write_bytes(desk.studio.data.rejected_csv(desk.args.name, desk.language))
    except OSError as error:
        what = _("{path} cannot be written: {reason}.", path=str(path), reason=error.strerror or str(error))
        raise Refusal(what, do=_("Name another file.")) from None
    desk.print_result({"path": str(path)}, str(path))
    return DONE


def _mend(desk: Terminal) -> int:
    """What still will not do is told, and stays set aside."""
    found = desk.studio.imports.parse_repairs(
        desk.args.name, desk.studio.imports.add_path(desk.args.path, trusted=True).id
    )
    for one in found["reasons"]:
        print(f"bigmodel: {one['row']}: {desk.say(Words.from_json(one['reason']))}", file=sys.stderr)
    if not found["mends"]:
        what = _("No row of this table was mended.")
        raise Refusal(what, do=_("Change a cell, or write something into the column {name}.", name=repair_rows.TAKE))
    name = desk.studio.versions.derive(desk.args.name, [{"mend": found["mends"]}])
    desk.print_result({"name": name, "mended": len(found["mends"]), "left": found["left"]}, name)
    return DONE


def _use(desk: Terminal) -> int:
    name = desk.studio.data.set_newest(desk.args.name)
    desk.print_result({"name": name}, name)
    return DONE


def _derive(desk: Terminal) -> int:
    try:
        steps = json.loads(desk.args.steps)
    except ValueError as error:
        raise Refusal(_("The steps are not JSON: {reason}.", reason=str(error)), field="steps") from None
    name = desk.studio.versions.derive(desk.args.name, steps if isinstance(steps, list) else [steps])
    desk.print_result({"name": name}, name)
    return DONE


def _delete(desk: Terminal) -> int:
    desk.studio.data.delete(desk.studio.data.registry.version(desk.args.name).slug)
    return DONE
