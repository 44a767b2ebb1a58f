"""`python -m bigmodel data ...`: own data sets at the terminal, with the studio's verbs."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from bigmodel.cli.terminal import DONE, REFUSED, Terminal
from bigmodel.cli.verbs import Parser, Verbs
from bigmodel.core import catalog
from bigmodel.core.errors import Refusal
from bigmodel.core.words import Words, _
from bigmodel.data_checks.check_jobs import CheckProgress
from bigmodel.importing import import_plan
from bigmodel.importing.formats.chat_formats import left_out_sentence
from bigmodel.importing.import_jobs import ImportJob
from bigmodel.importing.import_plan import FilePreview
from bigmodel.importing.store import repair_rows
from bigmodel.importing.store.registry import ImportedDataset

POLL_SECONDS = 0.3  # between two polls of checks that run


def add_verbs(verbs: Verbs) -> None:
    verbs.add("list", _list, _("your data sets, the newest version of each"))
    _add_file(verbs.add("look", _look, _("what a file is, how it would be read, and why")))
    add = _add_file(verbs.add("add", _add, _("read a file or a folder into a data set, and write its name")))
    add.add_argument("--title", default="", help=_("a name of your own"))
    add.add_argument("--licence", default="", help=_("what others allow you to do with it"))

    _add_name(verbs.add("versions", _versions, _("all versions of a data set, newest first")))
    _add_name(verbs.add("use", _use, _("let an older version be the one that the name means")))
    _add_name(verbs.add("delete", _delete, _("delete a data set with all its versions")))
    aside = _add_name(verbs.add("aside", _aside, _("what could not be taken in, with the reason")))
    aside.add_argument("--table", metavar="FILE", help=_("write it as CSV into this file, to be mended"))
    about = _("take rows in that were set aside and mended in such a table, and write the name")
    _add_name(verbs.add("mend", _mend, about)).add_argument("path", metavar="FILE", help=_("the table, as CSV"))
    about = _("look for faults in the rows: duplicates, leaks, damaged texts, personal data ...")
    lint = verbs.add("lint", _lint, about)
    lint.add_argument("dataset", metavar="NAME", help=_("a data set of your own, or one that ships"))
    derive = _add_name(verbs.add("derive", _derive, _("make a new version by steps, and write its name")))
    derive.add_argument("steps", metavar="STEPS", help=_("a JSON list: {example}", example=STEPS_EXAMPLE))


def _add_name(verb: Parser) -> Parser:
    verb.add_argument("name", metavar="NAME", help=_("of a data set: NAME, or NAME@VERSION"))
    return verb


def _add_file(verb: Parser) -> Parser:
    """What is to be read, and how."""
    verb.add_argument(
        "path",
        metavar="FILE",
        nargs="*",
        help=_("a file, several that belong together, or a folder; - for what comes on stdin"),
    )
    verb.add_argument("--hub", metavar="OWNER/NAME", help=_("a data set of the Hugging Face Hub instead"))
    verb.add_argument("--revision", default="", help=_("a branch, tag or commit of it"))
    verb.add_argument("--config", default="", help=_("a configuration of it; by default the first"))
    verb.add_argument(
        "--split", action="append", default=[], help=_("a part of it, as often as needed; by default all")
    )
    verb.add_argument("--rows", type=int, default=100_000, help=_("at most so many rows of each part"))
    roles = _("which column plays which role: {roles}", roles=", ".join(import_plan.ROLES))
    verb.add_argument("--role", action="append", default=[], metavar="ROLE=COLUMN", help=roles)
    names = _("how the file is read: {names}", names=READ_OPTIONS)
    verb.add_argument("--read", action="append", default=[], metavar="NAME=VALUE", help=names)
    return verb


STEPS_EXAMPLE = '[{"drop": [3]}, {"edit": {"4": {"label": "good"}}}]'
HEADER_VALUES = {
    "on": True,
    "true": True,
    "yes": True,
    "1": True,
    "off": False,
    "false": False,
    "no": False,
    "0": False,
}
READ_OPTIONS = "format, encoding, delimiter, header, unit, member, labels, split, validation, test, literal_classes"


# -- brought -----------------------------------------------------------------------------------------------
def _uploaded_file(terminal: Terminal):
    options, studio = terminal.options, terminal.studio
    if options.hub:
        about = studio.imports.hub_info(options.hub, options.revision)
        config = options.config or next(iter(about["configs"]))
        if config not in about["configs"]:
            raise _unknown(_("configuration"), config, about["configs"], "config")
        splits = studio.imports.hub_splits(about, config)
        unknown = next((split for split in options.split if split not in splits), None)
        if unknown is not None:
            raise _unknown(_("part"), unknown, splits, "split")
        about["configs"][config] = splits
        return studio.imports.add_hub_dataset(about, config, options.split or list(splits), options.rows)
    if options.path == ["-"]:
        return studio.imports.paste(sys.stdin.buffer.read())  # its encoding is detected, whatever the terminal's is
    if not options.path:
        raise Refusal(_("No data are named."), do=_("Give a file, a folder, or {option}.", option="--hub OWNER/NAME"))
    if len(options.path) > 1:
        return studio.imports.add_paths(options.path, trusted=True)
    return studio.imports.add_path(options.path[0], trusted=True)


def _unknown(kind: Words, name: str, known: Iterable[str], field: str) -> Refusal:
    what = _("There is no {kind} named {name}.", kind=kind, name=name[:60])
    return Refusal(what, do=_("Choose one of: {options}.", options=", ".join(known)), field=field)


def _plan_overrides(terminal: Terminal) -> dict:
    """What the options decide; the rest is detected."""
    overrides: dict = {}
    for pair in terminal.options.read:
        name, equals, value = pair.partition("=")
        if not equals:
            what = _("{pair} is not NAME=VALUE.", pair=pair[:60])
            raise Refusal(what, do=_("Write for example {example}.", example="encoding=gb18030"))
        overrides[name] = _read_option(name, value)
    roles = dict(pair.partition("=")[::2] for pair in terminal.options.role)
    return overrides | ({"roles": roles} if roles else {})


def _read_option(name: str, value: str) -> object:
    if name == "header":
        return HEADER_VALUES.get(value.lower(), value)
    if name == "literal_classes":
        return value.split(",")
    if name in ("validation", "test"):
        with suppress(ValueError):
            return float(value)
    return value.replace("\\t", "\t") if name == "delimiter" else value


def _look(terminal: Terminal) -> None:
    preview = terminal.studio.imports.preview(_uploaded_file(terminal).id, _plan_overrides(terminal))
    terminal.print_result(preview.to_json(), "\n".join(_plan_lines(terminal, preview)))


def _plan_lines(terminal: Terminal, preview: FilePreview) -> list[str]:
    plan, say = preview.plan, terminal.say
    roles = ", ".join(f"{role}={column}" for role, column in plan.roles.items()) or "-"
    examples = {name: ", ".join(map(repr, column["examples"][:3])) for name, column in preview.columns.items()}
    return [
        f"{plan.format}  {plan.encoding}  {roles}",
        *(f"  {say(words)}" for words in preview.evidence),
        *(f"  {name}: {text}"[:160] for name, text in examples.items() if text),
        *(_picture_line(row) for row in preview.preview if "image" in row),
        *(f"  ! {row['row']}: {say(Words.from_json(row['reason']))}" for row in preview.rejected),
    ]


def _picture_line(row: Mapping) -> str:
    """A picture, its class, and the table that says so."""
    table = f"  ({row['table']})" if row.get("table") else ""
    return f"  {row['row']}  {row.get('name', '')}  ->  {row.get('label', '')}{table}"


def _add(terminal: Terminal) -> None:
    upload = _uploaded_file(terminal)
    preview = terminal.studio.imports.preview(upload.id, _plan_overrides(terminal))
    for words in preview.evidence:
        terminal.print_message(words)
    job = terminal.studio.imports.begin(upload.id, preview.plan, terminal.options.title, terminal.options.licence)
    try:
        dataset = catalog.dataset(job.wait(lambda: _show_progress(terminal, job)))
    except KeyboardInterrupt:
        job.cancel()
        raise
    rows, aside = sum(dataset.version.manifest["rows"].values()), dataset.version.manifest["aside"]
    terminal.print_message(_("{rows} rows taken in, {aside} set aside.", rows=rows, aside=aside))
    if left_out := dataset.version.manifest.get("left_out"):
        terminal.print_message(left_out_sentence(left_out, rows))
    terminal.print_result(_dataset_json(dataset), job.name)


def _show_progress(terminal: Terminal, job: ImportJob) -> None:
    rows = job.progress.get("rows", 0)
    terminal.print_progress(f"{terminal.say(job.phase or '')}  {100 * job.fraction_done:.0f} %  {rows:,}")


# -- looked after --------------------------------------------------------------------------------------------
def _dataset_json(dataset: ImportedDataset) -> dict:
    manifest = dataset.version.manifest
    return {"name": dataset.name, "title": dataset.title, "licence": dataset.facts.licence,
            "rows": manifest["rows"], "aside": manifest["aside"], "columns": sorted(dataset.columns),
            "source": dict(manifest["source"]), "path": str(dataset.path())}  # fmt: skip


def _list(terminal: Terminal) -> None:
    datasets, damage = list(terminal.studio.data.registry.values()), terminal.studio.data.registry.damage()
    if damage:
        terminal.print_message(damage)
    counts = {dataset.name: sum(dataset.version.manifest["rows"].values()) for dataset in datasets}
    lines = (f"{dataset.name}  {terminal.say(dataset.title)}  {counts[dataset.name]:,}" for dataset in datasets)
    terminal.print_result([_dataset_json(dataset) for dataset in datasets], "\n".join(lines))


def _lint(terminal: Terminal) -> int:
    """0: nothing was found. 1: something was."""
    name = catalog.dataset(terminal.options.dataset).name
    terminal.studio.checks.begin(name)
    while isinstance(state := terminal.studio.checks.state(name), CheckProgress):
        time.sleep(POLL_SECONDS)
    if isinstance(state, Refusal):
        raise state
    lines = [
        *(f"{finding.severity:8} {finding.check:16} {terminal.say(finding.sentence)}" for finding in state.findings),
        terminal.say(_(
            "{checks} checks over {rows} rows in {seconds} s; findings: {count}.", checks=len(state.checks),
            rows=f"{state.rows:,}", seconds=f"{state.seconds:.1f}", count=len(state.findings),
        )),
    ]  # fmt: skip
    terminal.print_result(state.to_json(), "\n".join(lines))
    return REFUSED if state.findings else DONE


def _versions(terminal: Terminal) -> None:
    registry = terminal.studio.data.registry
    slug = registry.version(terminal.options.name).slug
    newest = registry.newest(slug)
    rows = [
        {
            "name": version.name, "newest": version.hash == newest, "number": version.manifest["number"],
            "rows": version.manifest["rows"], "steps": version.manifest["steps"],
        }
        for version in registry.versions(slug)
    ]  # fmt: skip
    lines = (f"{row['name']}{' *' if row['newest'] else ''}  {sum(row['rows'].values()):,}" for row in rows)
    terminal.print_result(rows, "\n".join(lines))


def _aside(terminal: Terminal) -> None:
    if terminal.options.table:
        return _write_rejected_table(terminal)
    rows = terminal.studio.data.rejected_rows(terminal.options.name, count=1_000_000)
    lines = (f"{row['row']}\t{terminal.say(Words.from_json(row['reason']))}\t{row['raw'][:200]!r}" for row in rows)
    terminal.print_result(rows, "\n".join(lines))


def _write_rejected_table(terminal: Terminal) -> None:
    path = Path(terminal.options.table)
    try:
        path.write_bytes(terminal.studio.data.rejected_csv(terminal.options.name, terminal.language))
    except OSError as error:
        what = _("{path} cannot be written: {reason}.", path=str(path), reason=error.strerror or str(error))
        raise Refusal(what, do=_("Name another file.")) from None
    terminal.print_result({"path": str(path)}, str(path))


def _mend(terminal: Terminal) -> None:
    """Rows that still cannot be read are listed, and stay set aside."""
    studio, name = terminal.studio, terminal.options.name
    repairs = studio.imports.parse_repairs(name, studio.imports.add_path(terminal.options.path, trusted=True).id)
    for row in repairs["reasons"]:
        terminal.print_message(f"{row['row']}: {terminal.say(Words.from_json(row['reason']))}")
    if not repairs["mends"]:
        what = _("No row of this table was mended.")
        raise Refusal(what, do=_("Change a cell, or write something into the column {name}.", name=repair_rows.TAKE))
    name = studio.versions.derive(name, [{"mend": repairs["mends"]}])
    terminal.print_result({"name": name, "mended": len(repairs["mends"]), "left": repairs["left"]}, name)


def _use(terminal: Terminal) -> None:
    name = terminal.studio.data.set_newest(terminal.options.name)
    terminal.print_result({"name": name}, name)


def _derive(terminal: Terminal) -> None:
    try:
        steps = json.loads(terminal.options.steps)
    except ValueError as error:
        raise Refusal(_("The steps are not JSON: {reason}.", reason=str(error)), field="steps") from None
    name = terminal.studio.versions.derive(terminal.options.name, steps if isinstance(steps, list) else [steps])
    terminal.print_result({"name": name}, name)


def _delete(terminal: Terminal) -> None:
    terminal.studio.data.delete(terminal.studio.data.registry.version(terminal.options.name).slug)
