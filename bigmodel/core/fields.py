"""What a person can be asked for. A page draws a field as a widget, the command line as an option."""

from __future__ import annotations

import io
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
    search: what tuning tries of it, (low, high) of a Number or some options of a Choice; None: what its kind suggests;
    (): it is never searched.
    """

    name: str
    label: Words
    help: Words
    default: object = None
    advanced: bool = False
    search: tuple | None = None

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
    """A whole number (`integer`) or a real one, within bounds that are part of the field.

    logarithmic: twice as much is one step, whether from 0.001 or from 0.1: so it is searched.
    """

    default: float = 0
    minimum: float = 0
    maximum: float = 1
    integer: bool = False
    step: float | None = None
    logarithmic: bool = False
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
        return self.check(SWITCH_WORDS.get(text.lower(), text))


SWITCH_WORDS = dict.fromkeys(("on", "true", "yes", "1"), True) | dict.fromkeys(("off", "false", "no", "0"), False)


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
        if _has_surrogates(value):
            what = _("{name} holds characters that are no text.", name=self.name)
            raise Refusal(what, do=_("Give text."), field=self.name)
        if len(value) > self.maximum:
            what = _("{name} has {length} characters.", name=self.name, length=len(value))
            raise Refusal(what, do=_("Give at most {maximum}.", maximum=self.maximum), field=self.name)
        if self.required and not value.strip():
            raise Refusal(_("{name} is empty.", name=self.name), do=_("Give text."), field=self.name)
        return value


@dataclass(frozen=True, kw_only=True)
class Turns(Field):
    """The chat history, in order: {"role": 'user', 'assistant' or 'system', "content": text} of each turn."""

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
    if not isinstance(turn, Mapping) or set(turn) != {"role", "content"} or turn["role"] not in CHAT_ROLES:
        return False
    text = turn["content"]
    return isinstance(text, str) and not _has_surrogates(text)


def _has_surrogates(text: str) -> bool:
    """Lone surrogates are what no encoder can write."""
    return any("\ud800" <= character <= "\udfff" for character in text)


@dataclass(frozen=True, kw_only=True)
class Image(Field):
    """A picture as the bytes of a PNG, JPEG, WebP or GIF file. `parse` takes the path of one."""

    default: bytes = b""

    def check(self, value: object) -> bytes:
        if not isinstance(value, bytes) or not value:
            raise Refusal(_("{name} is empty.", name=self.name), do=_("Give a picture."), field=self.name)
        if len(value) > limits.UPLOAD_BYTES:
            what, most = (
                _("The picture has {size} MB.", size=round(len(value) / 2**20, 1)),
                limits.UPLOAD_BYTES // 2**20,
            )
            raise Refusal(what, do=_("Give at most {maximum} MB.", maximum=most), field=self.name)
        _read_image(value, self.name)
        return value

    def parse(self, text: str) -> bytes:
        try:
            with open(text, "rb") as file:
                return self.check(file.read(limits.UPLOAD_BYTES + 1))
        except (OSError, ValueError) as error:  # the second for a path with a zero byte
            reason = getattr(error, "strerror", None) or str(error)
            what = _("{path} cannot be read: {reason}.", path=text, reason=reason)
            raise Refusal(what, do=_("Give the path of a picture."), field=self.name) from None


def _read_image(data: bytes, name: str) -> None:
    """Decode it; Refusal for one that is corrupt or larger than `limits.IMAGE_PIXELS`, before a model meets it."""
    import warnings

    from PIL import Image as PillowImage

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns before it refuses; our own bound comes first
            with PillowImage.open(io.BytesIO(data), formats=("PNG", "JPEG", "WEBP", "GIF")) as picture:
                width, height = picture.size
                if width * height > limits.IMAGE_PIXELS:
                    what = _("The picture has {width} x {height} pixels.", width=width, height=height)
                    do = _("Give at most {maximum} million pixels.", maximum=limits.IMAGE_PIXELS // 10**6)
                    raise Refusal(what, do=do, field=name)
                picture.load()
    except Refusal:
        raise
    except Exception as error:  # Pillow raises many kinds for broken files; all mean the same to a person
        do = _("Give a picture in PNG, JPEG, WebP or GIF format.")
        raise Refusal(_("This file is not a picture that can be read."), do=do, field=name) from error
