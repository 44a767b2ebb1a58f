"""What a check says: which rows, why it matters, and what would mend it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from bigmodel.core.words import Words, _
from bigmodel.data_checks.row_batches import Rows

ERROR, WARNING, NOTE = "error", "warning", "note"  # spoils what is learnt or measured; should be looked at; to be known
SEVERITIES = (ERROR, WARNING, NOTE)
LEAVE_OUT = _("Leave these rows out")
MAX_EXPLAINED_ROWS = 200  # rows of a finding that are kept with what was found in them


@dataclass(frozen=True)
class Remedy:
    """What would be done, and the steps that make a new version of the data of it."""

    label: Words
    steps: tuple[Mapping, ...]

    def to_json(self) -> dict:
        return {"label": self.label.to_json(), "steps": list(self.steps)}

    @staticmethod
    def from_json(data: Mapping) -> Remedy:
        return Remedy(Words.from_json(data["label"]), tuple(data["steps"]))


@dataclass(frozen=True)
class Finding:
    """Rows with the same fault. `rows` are their ids; `found` says of the first of them what was seen in it, `like` which
    row it is like."""

    check: str
    severity: str
    sentence: Words
    why: Words
    rows: tuple[int, ...] = ()
    found: Mapping[int, Words | str] = field(default_factory=dict)
    remedy: Remedy | None = None
    like: Mapping[int, int] = field(default_factory=dict)

    def to_json(self) -> dict:
        kept = list(self.found.items())[:MAX_EXPLAINED_ROWS]
        return {
            "check": self.check,
            "severity": self.severity,
            "sentence": self.sentence.to_json(),
            "why": self.why.to_json(),
            "rows": list(self.rows),
            "found": {str(row): text.to_json() if isinstance(text, Words) else text for row, text in kept},
            "remedy": self.remedy.to_json() if self.remedy else None,
            "like": dict([(str(row), other) for row, other in self.like.items()][:MAX_EXPLAINED_ROWS]),
        }

    @staticmethod
    def from_json(data: Mapping) -> Finding:
        found = {
            int(row): Words.from_json(text) if isinstance(text, Mapping) else text
            for row, text in data["found"].items()
        }
        return Finding(
            data["check"], data["severity"], Words.from_json(data["sentence"]), Words.from_json(data["why"]),
            tuple(data["rows"]), found, Remedy.from_json(data["remedy"]) if data["remedy"] else None,
            {int(row): other for row, other in data["like"].items()},
        )  # fmt: skip


@dataclass(frozen=True)
class Fact:
    """Something that was counted on the way and is worth showing: no fault."""

    name: str
    value: object


class Check:
    """One kind of fault. A leaf fills the class attributes, and looks."""

    name: str
    title: Words
    about: Words
    order: int = 50

    def applies_to(self, rows: Rows) -> bool:
        """Whether the data has what is looked at."""
        return bool(rows.texts)

    def run(self, rows: Rows) -> Iterator[Finding | Fact | float]:
        """Findings and facts; in between, the share of the work that is done, from 0 to 1."""
        raise NotImplementedError

    def droppable(
        self, rows: Rows, severity: str, sentence: Words, why: Words, label: Words, places: Iterable[int],
        found: Mapping[int, Words | str] | None = None, like: Mapping[int, int] | None = None,
    ) -> Finding:  # fmt: skip
        """A finding whose remedy, called `label`, is to drop its rows. `found` and `like` by place: what was found in a
        row, the place of the row that it is like."""
        ids = rows.ids_of(places)
        return Finding(
            self.name, severity, sentence, why, ids,
            {int(rows.ids[place]): text for place, text in (found or {}).items()},
            Remedy(label, (drop(ids),)),
            {int(rows.ids[place]): int(rows.ids[other]) for place, other in (like or {}).items()},
        )  # fmt: skip


def drop(rows: Mapping | tuple | list) -> dict:
    """The step that leaves rows out."""
    return {"drop": [int(row) for row in rows]}


def edit(changes: Mapping[int, Mapping[str, object]]) -> dict:
    """The step that changes cells: row id -> column -> value."""
    return {"edit": {str(int(row)): dict(cells) for row, cells in changes.items()}}


def move(parts: Mapping[int, str]) -> dict:
    """The step that moves rows to other parts: row id -> part."""
    return {"split": {str(int(row)): part for row, part in parts.items()}}


def merge_steps(remedies: Iterable[Remedy]) -> tuple[Mapping, ...]:
    """The steps of several remedies as one step of each kind. Of two that change the same cell, or move the same row, the
    first one counts; what the other was for is found again in the new version."""
    gone: set[int] = set()
    edits: dict[str, dict] = {}
    parts: dict[str, str] = {}
    for remedy in remedies:
        for step in remedy.steps:
            gone.update(step.get("drop", ()))
            parts = dict(step.get("split", {})) | parts
            for row, cells in step.get("edit", {}).items():
                edits[row] = dict(cells) | edits.get(row, {})
    edits, parts = ({row: one for row, one in some.items() if int(row) not in gone} for some in (edits, parts))
    steps = (edit(edits) if edits else {}, move(parts) if parts else {}, drop(sorted(gone)) if gone else {})
    return tuple(step for step in steps if step)
