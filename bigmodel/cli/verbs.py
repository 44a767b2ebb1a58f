"""Parsers of verbs: help in the person's language, the options that every verb takes, and the values of `--set`."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import fields as dataclass_fields

from bigmodel.cli.terminal import Terminal
from bigmodel.core import fields
from bigmodel.core.errors import Refusal
from bigmodel.core.fields import Field
from bigmodel.core.words import LANGUAGES, Words, _, say


class Parser(argparse.ArgumentParser):
    """An argument parser whose help is in the person's language."""

    def __init__(self, *arguments: str, language: str, **options: object):
        self.language = language
        super().__init__(*arguments, allow_abbrev=False, **self._translated(options))

    def add_argument(self, *names: str, **options: object) -> argparse.Action:
        return super().add_argument(*names, **self._translated(options))

    def add_set(self, help: Words) -> None:
        self.add_argument(
            "--set", action="append", default=[], type=_name_value, metavar="NAME=VALUE", dest="settings", help=help
        )

    def _translated(self, options: dict) -> dict:
        return {
            name: say(value, self.language) if isinstance(value, Words) else value for name, value in options.items()
        }


class Verbs:
    """The verbs of a parser; each takes --json, --language and --home and is a function of the Terminal."""

    def __init__(self, parser: Parser):
        self.language = parser.language
        self.subparsers = parser.add_subparsers(required=True, metavar="VERB")

    def add(self, name: str, do: Callable[[Terminal], int | None], help: Words) -> Parser:
        text = say(help, self.language)
        verb = self.subparsers.add_parser(name, help=text, description=text, language=self.language)
        verb.set_defaults(do=do)
        verb.add_argument("--json", action="store_true", help=_("write the result as JSON"))
        verb.add_argument("--language", choices=LANGUAGES, help=_("of what is written; by default that of $LANG"))
        verb.add_argument(
            "--home", metavar="FOLDER", help=_("where runs are kept; by default $BIGMODEL_HOME or ~/.bigmodel")
        )
        return verb


def _name_value(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


# -- settings and inputs: the same fields as on the pages -------------------------------------------------
def parse_settings(pairs: Sequence[tuple[str, str]], known: Sequence[Field], kind: Words) -> dict:
    """Each value in its proper type; Refusal for unknown names and values that will not do."""
    by_name = {field.name: field for field in known}
    values = {}
    for name, text in pairs:
        if name not in by_name:
            what = _("There is no {kind} named {name}.", kind=kind, name=name[:60])
            raise Refusal(what, do=_("Choose one of: {options}.", options=", ".join(sorted(by_name))), field=name)
        values[name] = by_name[name].parse(text)
    return values


def field_json(field: Field) -> dict:
    known = {"kind": type(field).__name__.lower(), "allowed": allowed_values(field)}
    known |= {part.name: getattr(field, part.name) for part in dataclass_fields(field)}
    return {name: value for name, value in known.items() if value is not None and not isinstance(value, bytes)}


def allowed_values(field: Field) -> str:
    if isinstance(field, fields.Number):
        return f"{field.minimum:.12g}..{field.maximum:.12g}"
    if isinstance(field, fields.Choice):
        return "|".join(field.options)
    return "on|off" if isinstance(field, fields.Switch) else "FILE" if isinstance(field, fields.Image) else "TEXT"
