"""`python -m bigmodel bases ...`: pretrained models at the terminal, with the studio's verbs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence

from bigmodel.cli.terminal import DONE, INTERRUPTED, Subcommands, Terminal, run_command
from bigmodel.core import catalog
from bigmodel.core.words import _

ABOUT = _("Bring pretrained models that can be fine-tuned: from the Hub, a folder, a GGUF file or a run of your own.")


def main(arguments: Sequence[str], language: str = "en") -> int:
    return run_command(_parser(language), arguments, language)


def _parser(language: str) -> argparse.ArgumentParser:
    verbs = Subcommands("bases", ABOUT, language)
    said, verb = verbs.translate, verbs.add
    verb("list", _list, _("the base models that are here"))
    suggest = verb("suggest", _suggest, _("sensible models of the Hub to begin with, and which this machine can train"))
    suggest.add_argument("--task", choices=list(catalog.tasks()), help=said(_("only for this task")))
    look = verb("look", _look, _("what a model of the Hub is: size, licence, revision; fetches nothing"))
    look.add_argument("id", metavar="ID")
    look.add_argument("--revision", default="", help=said(_("a commit, a tag or a branch")))
    bring = verb("bring", _bring, _("take a model in: the id of one on the Hub, a folder, a GGUF file, or run:ID"))
    bring.add_argument("source", metavar="SOURCE")
    bring.add_argument("--revision", default="", help=said(_("a commit, a tag or a branch")))
    remove = verb("remove", _remove, _("delete a base model that was taken in"))
    remove.add_argument("name", metavar="NAME")
    return verbs.parser


def _list(desk: Terminal) -> int:
    found = desk.studio.base_models.all()
    rows = [
        {
            "name": base.name, "title": desk.say(base.title), "heads": sorted(base.heads), "network": base.model_type,
            "parameters": base.parameters, "bytes": base.bytes, "licence": base.licence, "source": base.source,
            "revision": base.revision, "languages": list(base.languages),
        }
        for base in found
    ]  # fmt: skip
    text = "\n".join(
        f"{row['name']}  {row['parameters'] / 1e6:.1f} M  {row['network']}  {row['licence']}  {row['source']}"
        for row in rows
    )
    desk.print_result(rows, text)
    return DONE


def _suggest(desk: Terminal) -> int:
    ways = {
        "full": _("can be trained here"),
        "lora": _("can be trained here by LoRA"),
        "": _("too large for this machine"),
    }
    tasks = [catalog.task(desk.args.task)] if desk.args.task else list(catalog.tasks().values())
    rows = {
        one.id: {
            "id": one.id, "head": one.head, "millions": one.millions, "megabytes": one.megabytes, "licence": one.licence,
            "languages": list(one.languages), "here": desk.say(ways[way]),
        }
        for task in tasks for one, way in desk.studio.base_models.suggestions(task)
    }  # fmt: skip
    text = "\n".join(
        f"{row['id']}  {row['millions']} M  {row['megabytes']} MB  {row['licence']}  {' '.join(row['languages'])}  {row['here']}"
        for row in rows.values()
    )
    desk.print_result(list(rows.values()), text)
    return DONE


def _look(desk: Terminal) -> int:
    offer = desk.studio.base_models.look_up(desk.args.id, desk.args.revision).wait()["offer"]
    languages = " ".join(offer["languages"])
    text = f"{offer['id']}  {offer['bytes'] / 1e6:.0f} MB  {offer['licence']}  {languages}  {offer['revision'][:12]}"
    desk.print_result(offer, text)
    return DONE


def _bring(desk: Terminal) -> int:
    work = desk.studio.base_models.fetch(desk.args.source, desk.args.revision, trusted=True)
    try:
        found = work.wait(lambda: _print_progress(work.progress))
    except KeyboardInterrupt:
        work.cancel()
        print(f"\nbigmodel: {desk.say(_('Interrupted.'))}", file=sys.stderr, flush=True)
        return INTERRUPTED
    finally:
        if sys.stderr.isatty():
            print(file=sys.stderr)
    desk.print_result(found, found["base"])
    return DONE


def _print_progress(news: Mapping) -> None:
    if sys.stderr.isatty() and news["total"]:
        print(f"\r{news['done'] / 1e6:.0f} / {news['total'] / 1e6:.0f} MB ", end="", file=sys.stderr, flush=True)


def _remove(desk: Terminal) -> int:
    desk.studio.base_models.delete(desk.args.name)
    desk.print_result({"removed": desk.args.name}, desk.args.name)
    return DONE
