"""What goes wrong, as data: what happened, why, and what to do, in words that can be translated."""

from __future__ import annotations

from collections.abc import Mapping

from bigmodel.core.words import Words, say


class Refusal(Exception):
    """Something asked for cannot be done. Shown to people; never a traceback.

    what: what is wrong, with the value.  why: the reason, where it is not obvious.
    do: what would do.  field: the setting it concerns, '' for none.
    """

    def __init__(self, what: Words, why: Words | None = None, do: Words | None = None, field: str = ""):
        self.what, self.why, self.do, self.field = what, why, do, field
        super().__init__(self.say("en"))

    def say(self, language: str) -> str:
        joint = "" if language == "zh" else " "
        return joint.join(say(part, language) for part in (self.what, self.why, self.do) if part)

    def to_json(self) -> dict:
        return {
            "what": self.what.to_json(),
            "why": self.why.to_json() if self.why else None,
            "do": self.do.to_json() if self.do else None,
            "field": self.field,
        }

    @staticmethod
    def from_json(data: Mapping) -> Refusal:
        why, do = (Words.from_json(data[key]) if data.get(key) else None for key in ("why", "do"))
        return Refusal(Words.from_json(data["what"]), why, do, data.get("field", ""))
