"""Argument types that several suites share."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable


def name_of(kind: str, known: Iterable[str], convert: Callable = str) -> Callable[[str], object]:
    """An argparse type that accepts the known names; `choices` would also check the empty list of nargs='*'."""
    names = [str(name) for name in known]

    def parse(text: str) -> object:
        if text not in names:
            raise argparse.ArgumentTypeError(f"There is no {kind} named {text}. Choose from: {', '.join(names)}.")
        return convert(text)

    return parse
