"""What a person can be asked for. A page draws a field as a widget, the command line as an option."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field as default_field

from bigmodel.core import limits
from bigmodel.core.errors import Refusal
from bigmodel.core.words import Words, _


@dataclass(frozen=True, kw_only=True)
class Field:
    """One value with a name, a label, a sentence of explanation and a default.

    `check` returns the value in its proper type or raises Refusal; `advanced` fields are folded away.
    """

    name: str
    label: Words
    help: Words
    default: object = None
    advanced: bool = False

    def check(self, value: object) -> object:
        return value

    def parse(self, text: str) -> object:
        """The value from the command line's text, checked."""
        return self.check(text)

    def refuse(self, value: object, do: Words) -> Refusal:
        shown = str(value)
        shown = shown if len(shown) <= 60 else shown[:57] + "..."
        return Refusal(_("{name} cannot be {value}.", name=self.name, value=shown), do=do, field=self.name)


@dataclass(frozen=True, kw_only=True)
class Number(Field):
    """A whole number (`integer`) or a real one, within bounds that are part of the field."""

    default: float = 0
    minimum: float = 0
    maximum: float = 1
    integer: bool = False
    step: float | None = None
    unit: Words | None = None

    def check(self, value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.refuse(value, self.bounds())
        if not self.minimum <= value <= self.maximum:  # NaN is not either
            raise self.refuse(value, self.bounds())
        if self.integer and value != int(value):
            raise self.refuse(value, self.bounds())
        return int(value) if self.integer else float(value)

    def parse(self, text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise self.refuse(text, self.bounds()) from None
        return self.check(value)

    def bounds(self) -> Words:
        low, high = f"{self.minimum:.12g}", f"{self.maximum:.12g}"
        if self.integer:
            return _("Give a whole number from {low} to {high}.", low=low, high=high)
        return _("Give a number from {low} to {high}.", low=low, high=high)


@dataclass(frozen=True, kw_only=True)
class Choice(Field):
    """One of a few. `options`: value -> the words shown for it."""

    options: Mapping[str, Words] = default_field(default_factory=dict)
    default: str = ""

    def check(self, value: object) -> str:
        if not isinstance(value, str) or value not in self.options:
            raise self.refuse(value, _("Choose one of: {options}.", options=", ".join(self.options)))
        return value


@dataclass(frozen=True, kw_only=True)
class Switch(Field):
    """On or off."""

    default: bool = False

    def check(self, value: object) -> bool:
        if not isinstance(value, bool):
            raise self.refuse(value, _("Choose one of: {options}.", options="on, off"))
        return value

    def parse(self, text: str) -> bool:
        words = {
            "on": True,
            "true": True,
            "yes": True,
            "1": True,
            "off": False,
            "false": False,
            "no": False,
            "0": False,
        }
        return self.check(words.get(text.lower(), text))


@dataclass(frozen=True, kw_only=True)
class Text(Field):
    """Words of a person's own; `lines` is the height of the box."""

    default: str = ""
    maximum: int = limits.PROMPT_CHARACTERS
    lines: int = 1
    required: bool = False

    def check(self, value: object) -> str:
        if not isinstance(value, str):
            raise self.refuse(value, _("Give text."))
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise Refusal(
                _("{name} holds characters that are no text.", name=self.name), do=_("Give text."), field=self.name
            )
        if len(value) > self.maximum:
            what = _("{name} has {length} characters.", name=self.name, length=len(value))
            raise Refusal(what, do=_("Give at most {maximum}.", maximum=self.maximum), field=self.name)
        if self.required and not value.strip():
            raise Refusal(_("{name} is empty.", name=self.name), do=_("Give text."), field=self.name)
        return value


@dataclass(frozen=True, kw_only=True)
class Turns(Field):
    """What has been said before, in order: {"role": 'user', 'assistant' or 'system', "content": text} of each turn."""

    default: tuple[Mapping[str, str], ...] = ()

    def check(self, value: object) -> tuple[Mapping[str, str], ...]:
        do = _("Give a list of messages, each with a role ({roles}) and its content.", roles=", ".join(CHAT_ROLES))
        if not isinstance(value, list | tuple) or not all(map(_is_turn, value)):
            raise self.refuse(value, do)
        if len(value) > limits.TURNS or sum(len(turn["content"]) for turn in value) > limits.TURN_CHARACTERS:
            what = _("{name} holds {count} messages.", name=self.name, count=len(value))
            do = _("Give at most {maximum}, of {characters} characters in all.",
                   maximum=limits.TURNS, characters=limits.TURN_CHARACTERS)  # fmt: skip
            raise Refusal(what, do=do, field=self.name)
        return tuple({"role": turn["role"], "content": turn["content"]} for turn in value)

    def parse(self, text: str) -> tuple[Mapping[str, str], ...]:
        """From a list in JSON."""
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        return self.check(value)


CHAT_ROLES = ("user", "assistant", "system")


def _is_turn(turn: object) -> bool:
    right = isinstance(turn, Mapping) and set(turn) == {"role", "content"} and turn["role"] in CHAT_ROLES
    text = turn["content"] if right else None
    return isinstance(text, str) and not any("\ud800" <= sign <= "\udfff" for sign in text)


@dataclass(frozen=True, kw_only=True)
class Image(Field):
    """A picture as the bytes of a PNG, JPEG, WebP or GIF file. `parse` takes the path of one."""

    default: bytes = b""

    def check(self, value: object) -> bytes:
        if not isinstance(value, bytes) or not value:
            raise Refusal(_("{name} is empty.", name=self.name), do=_("Give a picture."), field=self.name)
        if len(value) > limits.UPLOAD_BYTES:
            what = _("The picture has {size} MB.", size=round(len(value) / 2**20, 1))
            raise Refusal(
                what, do=_("Give at most {maximum} MB.", maximum=limits.UPLOAD_BYTES // 2**20), field=self.name
            )
        _read_image(value, self.name)
        return value

    def parse(self, text: str) -> bytes:
        try:
            with open(text, "rb") as file:
                return self.check(file.read(limits.UPLOAD_BYTES + 1))
        except (OSError, ValueError) as error:  # the second for a path with a zero byte
            what = _(
                "{path} cannot be read: {reason}.", path=text, reason=getattr(error, "strerror", None) or str(error)
            )
            raise Refusal(what, do=_("Give the path of a picture."), field=self.name) from None


def _read_image(data: bytes, name: str) -> None:
    """Open and decode; a picture that is broken or too large is refused here and not in a model."""
    import io
    import warnings

    from PIL import Image as Pictures

    do = _("Give a picture in PNG, JPEG, WebP or GIF format.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns before it refuses; our own bound comes first
            with Pictures.open(io.BytesIO(data), formats=("PNG", "JPEG", "WEBP", "GIF")) as picture:
                width, height = picture.size
                if width * height > limits.IMAGE_PIXELS:
                    what = _("The picture has {width} x {height} pixels.", width=width, height=height)
                    raise Refusal(
                        what,
                        do=_("Give at most {maximum} million pixels.", maximum=limits.IMAGE_PIXELS // 10**6),
                        field=name,
                    )
                picture.load()
    except Refusal:
        raise
    except Exception as error:  # Pillow raises many kinds for broken files; all mean the same to a person
        raise Refusal(_("This file is not a picture that can be read."), do=do, field=name) from error
