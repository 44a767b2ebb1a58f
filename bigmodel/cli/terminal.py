"""The person at the terminal: their options and language, their studio, where results and messages go."""

from __future__ import annotations

import argparse
import io
import json
import math
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TextIO

from bigmodel.core.words import Words, say
from bigmodel.studio import Studio

DONE, REFUSED, USAGE, INTERRUPTED, BROKEN_PIPE = 0, 1, 2, 130, 141


class Terminal:
    """Results go to stdout, everything else to stderr."""

    options: argparse.Namespace

    def __init__(self, language: str):
        self.language = language

    @cached_property
    def studio(self) -> Studio:
        return Studio(Path(self.options.home) if self.options.home else None)

    def say(self, words: Words | str) -> str:
        return say(words, self.language)

    def print_message(self, words: Words | str) -> None:
        print(f"bigmodel: {self.say(words)}", file=sys.stderr, flush=True)

    def print_progress(self, text: str) -> None:
        """A line that replaces itself, where stderr is a screen."""
        if sys.stderr.isatty():
            print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)

    def print_result(self, data: object, text: str) -> None:
        """As JSON or as text, whichever is asked for."""
        if self.options.json:
            self.print_json(data)
        else:
            print(text, flush=True)

    def print_json(self, data: object) -> None:
        escaped = not (sys.stdout.encoding or "utf-8").lower().startswith("utf")  # JSON has a way to write all signs
        print(json.dumps(self._to_jsonable(data), ensure_ascii=escaped, indent=1, allow_nan=False), flush=True)

    def print_table(self, rows: Iterable[Sequence[object]]) -> None:
        texts = [[self.say(cell) if isinstance(cell, Words) else str(cell) for cell in row] for row in rows]
        widths = [max(map(_display_width, column)) for column in zip(*texts, strict=True)]
        for row in texts:
            padded = (cell + " " * (width - _display_width(cell)) for cell, width in zip(row, widths, strict=True))
            print("  ".join(padded).rstrip(), flush=True)

    def _to_jsonable(self, value: object) -> object:
        """Words in the person's language, numbers that are not finite by name."""
        if isinstance(value, Words):
            return self.say(value)
        if isinstance(value, Mapping) and set(value) == {"text", "values"} and isinstance(value["text"], str):
            return self.say(Words.from_json(value))
        if isinstance(value, Mapping):
            return {str(name): self._to_jsonable(part) for name, part in value.items()}
        if isinstance(value, list | tuple):
            return [self._to_jsonable(part) for part in value]
        if isinstance(value, float) and not math.isfinite(value):
            return str(value)
        return str(value) if isinstance(value, Path) else value


def replace_unencodable(stream: TextIO) -> None:
    """Write ? for what a terminal or pipe cannot encode, as a smiley in GBK; a traceback would help nobody."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="replace")


def format_number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def format_duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"


def _display_width(text: str) -> int:
    """Columns on a terminal, where a Chinese character takes two."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)
