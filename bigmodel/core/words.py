"""Words people see: an English sentence and what is filled in, translated only when it is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

LANGUAGES: Mapping[str, str] = {"en": "English", "zh": "中文"}
CATALOGUES = Path(__file__).parent.parent / "locale"


@dataclass(frozen=True)
class Words:
    """An English template and its values; `say` makes it a sentence in one language."""

    text: str
    values: tuple[tuple[str, object], ...] = ()

    def __str__(self) -> str:
        return say(self, "en")

    def to_json(self) -> dict:
        return {
            "text": self.text,
            "values": {name: value.to_json() if isinstance(value, Words) else value for name, value in self.values},
        }

    @staticmethod
    def from_json(data: Mapping) -> Words:
        return Words(
            data["text"],
            tuple(
                (name, Words.from_json(value) if _is_words(value) else value)
                for name, value in data.get("values", {}).items()
            ),
        )


def _is_words(value: object) -> bool:
    return isinstance(value, Mapping) and "text" in value


def _(text: str, /, **values: object) -> Words:
    """Mark a sentence for translation. The name is the one gettext tools look for."""
    return Words(text, tuple(values.items()))


def join_words(parts: Sequence[Words]) -> Words:
    """Several clauses as one, joined by semicolons. `parts`: at least one."""
    first, *rest = parts
    return _("{one}; {others}", one=first, others=join_words(rest)) if rest else first


def say(words: Words | str, language: str) -> str:
    """The sentence in `language`; a plain string (a person's own words, data) stays as it is."""
    if not isinstance(words, Words):
        return str(words)
    template = catalogue(language).get(words.text) or words.text
    if not words.values:
        return template
    return template.format(
        **{name: say(value, language) if isinstance(value, Words) else value for name, value in words.values}
    )


@cache
def catalogue(language: str) -> Mapping[str, str]:
    """English sentence -> sentence in `language`, read from its `.po` file; empty for English itself."""
    path = CATALOGUES / language / "LC_MESSAGES" / "bigmodel.po"
    if language == "en" or not path.exists():
        return {}
    from babel.messages.pofile import read_po

    with path.open("rb") as file:
        return {
            message.id: message.string
            for message in read_po(file)
            if isinstance(message.id, str) and isinstance(message.string, str)  # else a plural, of which we have none
            if message.id and message.string and not message.fuzzy
        }
