"""The frame of the command line: `python -m bigmodel VERB ...`, its language, help and exit codes.

Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 130 interrupted by Ctrl-C, 141 the reader of a pipe has left.
"""

from __future__ import annotations

import argparse
import os
import secrets
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module

from bigmodel.cli import compare, evaluate, listing, runs, try_model, tuning
from bigmodel.cli.terminal import BROKEN_PIPE, DONE, INTERRUPTED, REFUSED, Terminal, replace_unencodable
from bigmodel.cli.verbs import Parser, Verbs
from bigmodel.core import disk_space, files
from bigmodel.core.errors import Refusal
from bigmodel.core.words import LANGUAGES, Words, _, say

# groups of verbs -> (module, in the list of verbs, in the help of the group); imported only when they are asked for
GROUPS = {
    "bases": (
        "base_models",
        _("bring pretrained models that can be fine-tuned"),
        _("Bring pretrained models that can be fine-tuned: from the Hub, a folder, a GGUF file or a run of your own."),
    ),
    "data": (
        "datasets",
        _("bring data of your own, look after its versions"),
        _("Bring data of your own, look after its versions."),
    ),
}


def main(arguments: Sequence[str]) -> int:
    replace_unencodable(sys.stdout)
    terminal = Terminal(_language(arguments))
    files.set_private_umask()
    try:
        terminal.options = parser(arguments, terminal.language).parse_args(arguments)
        return terminal.options.do(terminal) or DONE
    except Refusal as refusal:
        terminal.print_message(refusal.say(terminal.language))
        return REFUSED
    except KeyboardInterrupt:
        terminal.print_message(_("Interrupted."))
        return INTERRUPTED
    except BrokenPipeError:  # `| head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except Exception as bug:
        refusal = disk_space.home_refusal(bug, terminal.studio.home) if "studio" in vars(terminal) else None
        terminal.print_message(refusal.say(terminal.language) if refusal else _log_bug(bug, terminal))
        return REFUSED


def parser(arguments: Sequence[str], language: str = "en") -> Parser:
    root = Parser("python -m bigmodel", description=_("Train models of your own and try them."), language=language)
    verbs = Verbs(root)
    for module in (listing, runs, try_model, evaluate, compare, tuning):
        module.add_verbs(verbs)
    for name, (module, help, about) in GROUPS.items():
        group = verbs.subparsers.add_parser(name, help=say(help, language), description=about, language=language)
        if name in arguments[:1]:
            import_module(f"bigmodel.cli.{module}").add_verbs(Verbs(group))
    return root


def _language(arguments: Sequence[str]) -> str:
    """Before anything is parsed, since the help is in it too."""
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    early.add_argument("--language", nargs="?")
    language = early.parse_known_args(arguments)[0].language
    if language in LANGUAGES:
        return language
    locale = next(filter(None, (os.environ.get(name) for name in ("LC_ALL", "LC_MESSAGES", "LANG"))), "")
    return "zh" if locale.lower().startswith("zh") else "en"


def _log_bug(bug: Exception, terminal: Terminal) -> Words:
    """A message for the person; the traceback goes into the log of their home."""
    what = _("Something went wrong in bigmodel itself ({kind}).", kind=type(bug).__name__)
    if "studio" not in vars(terminal):  # no home to keep it in
        traceback.print_exception(bug)
        return what
    id, log = secrets.token_hex(3), terminal.studio.home / "cli.log"
    try:
        with log.open("a", encoding="utf-8") as file:
            print(f"[error {id}]", file=file)
            traceback.print_exception(bug, file=file)
    except OSError:  # no room for it
        traceback.print_exception(bug)
        return what
    return _("{what} The details are in {log} under {id}.", what=what, log=str(log), id=id)
