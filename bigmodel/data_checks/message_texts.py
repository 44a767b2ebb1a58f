"""What is said in a column, text by text: its cells, and of conversations the turns."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

MESSAGES = "messages"  # the column whose cells are conversations, as JSON


@dataclass(frozen=True)
class MessageTexts:
    """cells: of the column, a row each.  texts: what is said in them.  places: of the row of each text.  roles: who says it,
    '' where a text is the whole cell."""

    cells: Sequence[str]
    texts: Sequence[str]
    row_positions: Sequence[int]
    roles: Sequence[str]

    @property
    def one_text_per_cell(self) -> bool:
        """Whether each text is the whole of its cell."""
        return self.texts is self.cells

    def joined(self, leave_out: Iterable[str] = ()) -> Sequence[str]:
        """In each row, what is said by anyone but these roles."""
        if self.one_text_per_cell:
            return self.cells
        rows: list[list[str]] = [[] for _cell in self.cells]
        for place, role, text in zip(self.row_positions, self.roles, self.texts, strict=True):
            if role not in leave_out:
                rows[place].append(text)
        return ["\n".join(texts) for texts in rows]

    def by_role(self) -> Iterator[tuple[str, list[int], list[str]]]:
        """(role, the places of the rows, the texts) of each who says something."""
        for role in dict.fromkeys(self.roles):
            mine = [number for number, own in enumerate(self.roles) if own == role]
            yield role, [self.row_positions[number] for number in mine], [self.texts[number] for number in mine]

    def replace_texts(self, new: Mapping[int, str]) -> dict[int, str]:
        """Place -> its cell with other texts in it. `new`: number of a text -> what stands there instead."""
        if self.one_text_per_cell:
            return dict(new)
        first: dict[int, int] = {}
        for number, place in enumerate(self.row_positions):
            first.setdefault(place, number)
        turns: dict[int, list[dict]] = {}
        for number, text in new.items():
            place = self.row_positions[number]
            turns.setdefault(place, json.loads(self.cells[place]))[number - first[place]]["content"] = text
        return {place: json.dumps(one, ensure_ascii=False) for place, one in turns.items()}


def split_messages(column: str, cells: Sequence[str]) -> MessageTexts:
    """Of the cells of a column; one that is missing is ''."""
    if column != MESSAGES:
        return MessageTexts(cells, cells, range(len(cells)), [""] * len(cells))
    turns = [(index, turn) for index, cell in enumerate(cells) if cell for turn in json.loads(cell)]
    places = [place for place, _turn in turns]
    return MessageTexts(
        cells, [turn["content"] for _place, turn in turns], places, [turn["role"] for _place, turn in turns]
    )
