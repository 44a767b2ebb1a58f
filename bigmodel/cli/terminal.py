"""What `data` and `bases` share at the terminal: who asks, the frame of their parsers, how a refusal is told."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from bigmodel.core.errors import Refusal
from bigmodel.core.words import LANGUAGES, Words, _, say
from bigmodel.studio import Studio

DONE, REFUSED, INTERRUPTED = 0, 1, 130


class Terminal:
    """One person at the terminal: results to stdout, everything else to stderr."""

    def __init__(self, asked: argparse.Namespace, language: str):
        self.args, self.language, self.studio = asked, language, Studio(Path(asked.home) if asked.home else None)

    def say(self, words: Words | str) -> str:
        return say(words, self.language)

    def print_result(self, data: object, text: str) -> None:
        print(json.dumps(self._to_jsonable(data), ensure_ascii=False, indent=1) if self.args.json else text, flush=True)

    def _to_jsonable(self, value: object) -> object:
        if isinstance(value, Words):
            return self.say(value)
        if isinstance(value, dict):
            if set(value) == {"text", "values"} and isinstance(value["text"], str):
                return self.say(Words.from_json(value))
            return {str(name): self._to_jsonable(part) for name, part in value.items()}
        return [self._to_jsonable(part) for part in value] if isinstance(value, list | tuple) else value


class Subcommands:
    """`python -m bigmodel NAME VERB ...`, every verb with the options that all have."""

    def __init__(self, name: str, about: Words, language: str):
        self.language = language
        self.parser = argparse.ArgumentParser(
            f"python -m bigmodel {name}", description=self.translate(about), allow_abbrev=False
        )
        self.subparsers = self.parser.add_subparsers(required=True, metavar="VERB")
        self.common_options = every = argparse.ArgumentParser(add_help=False)
        said = self.translate
        every.add_argument("--json", action="store_true", help=said(_("write the result as JSON")))
        every.add_argument(
            "--language", choices=LANGUAGES, help=said(_("of what is written; by default that of $LANG"))
        )
        every.add_argument(
            "--home", metavar="FOLDER", help=said(_("where runs are kept; by default $BIGMODEL_HOME or ~/.bigmodel"))
        )

    def translate(self, words: Words) -> str:
        return say(words, self.language)

    def add(self, name: str, do: Callable[[Terminal], int], help: Words) -> argparse.ArgumentParser:
        told = self.translate(help)
        one = self.subparsers.add_parser(
            name, parents=[self.common_options], help=told, description=told, allow_abbrev=False
        )
        one.set_defaults(do=do)
        return one


def run_command(parser: argparse.ArgumentParser, arguments: Sequence[str], language: str) -> int:
    """Do what is asked; the exit status."""
    asked = parser.parse_args(arguments)
    try:
        return asked.do(Terminal(asked, asked.language or language))
    except Refusal as refusal:
        print(f"bigmodel: {refusal.say(asked.language or language)}", file=sys.stderr, flush=True)
        return REFUSED
