"""`python -m bigmodel bases ...`: pretrained models at the terminal, with the studio's verbs."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from bigmodel.cli.terminal import Terminal
from bigmodel.cli.verbs import Verbs
from bigmodel.core import catalog
from bigmodel.core.words import _


def add_verbs(verbs: Verbs) -> None:
    verbs.add("list", _list, _("the base models that are here"))
    about = _("sensible models of the Hub to begin with, and which this machine can train")
    suggest = verbs.add("suggest", _suggest, about)
    suggest.add_argument("--task", choices=list(catalog.tasks()), help=_("only for this task"))
    about = _("what a model of the Hub is: size, licence, revision; fetches nothing")
    look = verbs.add("look", _look, about)
    look.add_argument("id", metavar="ID")
    about = _("take a model in: the id of one on the Hub, a folder, a GGUF file, or run:ID")
    bring = verbs.add("bring", _bring, about)
    bring.add_argument("source", metavar="SOURCE")
    bring.add_argument("--base", default="", metavar="BASE", help=_("the base model that an adapter belongs to"))
    for verb in (look, bring):
        verb.add_argument("--revision", default="", help=_("a commit, a tag or a branch"))
    verbs.add("remove", _remove, _("delete a base model that was taken in")).add_argument("name", metavar="NAME")


def _list(terminal: Terminal) -> None:
    rows = [
        {
            "name": base.name, "title": terminal.say(base.title), "heads": sorted(base.heads), "network": base.model_type,
            "parameters": base.parameters, "bytes": base.bytes, "licence": base.licence, "source": base.source,
            "revision": base.revision, "languages": list(base.languages),
        }
        for base in terminal.studio.base_models.all()
    ]  # fmt: skip
    text = "\n".join(
        f"{row['name']}  {row['parameters'] / 1e6:.1f} M  {row['network']}  {row['licence']}  {row['source']}"
        for row in rows
    )
    terminal.print_result(rows, text)


def _suggest(terminal: Terminal) -> None:
    methods = {
        "full": _("can be trained here"),
        "lora": _("can be trained here by LoRA"),
        "": _("too large for this machine"),
    }
    tasks = [catalog.task(terminal.options.task)] if terminal.options.task else list(catalog.tasks().values())
    rows = {
        base.id: {
            "id": base.id, "head": base.head, "millions": base.millions, "megabytes": base.megabytes,
            "licence": base.licence, "languages": list(base.languages), "here": terminal.say(methods[method]),
        }
        for task in tasks for base, method in terminal.studio.base_models.suggestions(task)
    }  # fmt: skip
    text = "\n".join(
        f"{row['id']}  {row['millions']} M  {row['megabytes']} MB  {row['licence']}  {' '.join(row['languages'])}  {row['here']}"
        for row in rows.values()
    )
    terminal.print_result(list(rows.values()), text)


def _look(terminal: Terminal) -> None:
    offer = terminal.studio.base_models.look_up(terminal.options.id, terminal.options.revision).wait()["offer"]
    languages = " ".join(offer["languages"])
    text = f"{offer['id']}  {offer['bytes'] / 1e6:.0f} MB  {offer['licence']}  {languages}  {offer['revision'][:12]}"
    terminal.print_result(offer, text)


def _bring(terminal: Terminal) -> None:
    options = terminal.options
    job = terminal.studio.base_models.fetch(options.source, options.revision, trusted=True, base=options.base)
    try:
        fetched = job.wait(lambda: _print_progress(terminal, job.progress))
    except KeyboardInterrupt:
        job.cancel()
        raise
    finally:
        if sys.stderr.isatty():
            print(file=sys.stderr)
    if fetched["already"]:
        terminal.print_message(_("{name} is here already: its files are the same.", name=fetched["base"]))
    if fetched["ignored"]:
        terminal.print_message(_("Ignored, never opened: {files}.", files=", ".join(fetched["ignored"])))
    terminal.print_result(fetched, fetched["base"])


def _print_progress(terminal: Terminal, progress: Mapping) -> None:
    if progress["total"]:
        terminal.print_progress(f"{progress['done'] / 1e6:.0f} / {progress['total'] / 1e6:.0f} MB")


def _remove(terminal: Terminal) -> None:
    terminal.studio.base_models.delete(terminal.options.name)
    terminal.print_result({"removed": terminal.options.name}, terminal.options.name)
