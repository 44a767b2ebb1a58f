"""What a person writes beside a run, its tags and a note: a file in its folder, and never a part of its spec."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bigmodel.core import checked_json, files
from bigmodel.core.checked_json import fields, is_text, list_of
from bigmodel.core.errors import Refusal
from bigmodel.core.words import _

FILE = "annotations.json"
MAX_TAGS, TAG_CHARACTERS, NOTE_CHARACTERS = 20, 40, 10_000
IS_ANNOTATIONS = fields({"tags": list_of(is_text), "note": is_text})


@dataclass(frozen=True)
class Annotations:
    tags: tuple[str, ...] = ()
    note: str = ""


def read(folder: Path) -> Annotations:
    """Nothing where nothing was written, or what is there is none of ours: that must not stop a list of runs."""
    try:
        found = checked_json.read_object(folder / FILE, IS_ANNOTATIONS)
    except (OSError, ValueError):
        return Annotations()
    tags = tuple(tag for tag in found["tags"] if 0 < len(tag) <= TAG_CHARACTERS and tag.isprintable())
    return Annotations(tags[:MAX_TAGS], found["note"][:NOTE_CHARACTERS])


def write(folder: Path, tags: Sequence[str], note: str) -> None:
    """Refusal for what is too long or cannot be shown."""
    tags = list(dict.fromkeys(tag.strip() for tag in tags if tag.strip()))
    wrong = next((tag for tag in tags if len(tag) > TAG_CHARACTERS or not tag.isprintable()), None)
    if wrong is not None or len(tags) > MAX_TAGS:
        what = (
            _("This tag will not do: {tag}.", tag=wrong[:60])
            if wrong
            else _("There are {count} tags.", count=len(tags))
        )
        do = _("Give at most {count} tags of {characters} characters.", count=MAX_TAGS, characters=TAG_CHARACTERS)
        raise Refusal(what, do=do, field="tags")
    if len(note) > NOTE_CHARACTERS:
        do = _("Give text of at most {maximum} characters.", maximum=NOTE_CHARACTERS)
        raise Refusal(_("The note is too long."), do=do, field="note")
    files.write_atomic(folder / FILE, json.dumps({"tags": tags, "note": note}, ensure_ascii=False))
