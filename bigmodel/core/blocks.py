"""What a person can be shown. An engine yields blocks, a page draws them; no page knows any task."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields

from bigmodel.core.words import Words


@dataclass(frozen=True)
class Prose:
    """Text so far. Each Prose of an answer replaces the one before it; the last has `done`."""

    text: str
    prompt: str = ""  # what the person gave and the text goes on from, shown before it
    done: bool = False
    tokens: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Scores:
    """Names with probabilities in [0, 1], best first."""

    names: tuple[str, ...]
    values: tuple[float, ...]


@dataclass(frozen=True)
class Picture:
    """A PNG with a caption."""

    png: bytes
    caption: str = ""


@dataclass(frozen=True)
class Table:
    columns: tuple[str, ...]
    rows: tuple[tuple, ...]


@dataclass(frozen=True)
class Note:
    """A remark of the app about the answer, in words that can be translated."""

    words: Words


Block = Prose | Scores | Picture | Table | Note
KINDS: Mapping[str, Callable[..., Block]] = {
    kind.__name__.lower(): kind for kind in (Prose, Scores, Picture, Table, Note)
}


def to_json(block: Block) -> dict:
    return {"kind": type(block).__name__.lower()} | {
        field.name: _pack(getattr(block, field.name)) for field in fields(block)
    }


def from_json(data: Mapping) -> Block:
    """The block that `to_json` wrote; KeyError for a kind that is not in the vocabulary."""
    return KINDS[data["kind"]](**{name: _unpack(value) for name, value in data.items() if name != "kind"})


def pack(inputs: Mapping) -> dict:
    """Inputs of a task as JSON: pictures become base64."""
    return {name: _pack(value) for name, value in inputs.items()}


def unpack(data: Mapping) -> dict:
    """The inputs that `pack` wrote."""
    return {name: _unpack(value) for name, value in data.items()}


def _pack(value: object) -> object:
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode()}
    if isinstance(value, Words):
        return value.to_json()
    return value


def _unpack(value: object) -> object:
    if isinstance(value, Mapping) and "base64" in value:
        return base64.b64decode(value["base64"])
    if isinstance(value, Mapping) and "text" in value:
        return Words.from_json(value)
    if isinstance(value, list):
        return tuple(_unpack(part) for part in value)
    return value
