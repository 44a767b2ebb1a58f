"""Rows that are trained on and measured with."""

from __future__ import annotations

from collections.abc import Iterator

from bigmodel.core.words import _
from bigmodel.data_checks.finding import ERROR, Check, Finding
from bigmodel.data_checks.row_batches import HELD_OUT, Rows


class Leaks(Check):
    name = "leaks"
    order = 8
    title = _("Leaks between the parts")
    about = _("Rows for training that stand, the same or nearly so, among the rows for validation or test.")

    def applies_to(self, rows: Rows) -> bool:
        return bool(rows.texts or rows.image)

    def run(self, rows: Rows) -> Iterator[Finding]:
        twins = rows.near_duplicate_images if rows.image else rows.near_duplicate_texts
        gone = {}  # what leaves training, and of validation what the test holds
        for place, others in twins.items():
            above = _held_out(rows.split[place])
            held = [other for other in others if rows.split[other] in above]
            if held:
                gone[place] = max(held, key=others.__getitem__)
        if rows.texts and not rows.image:
            gone = _same_prompt(rows) | gone
        if gone:
            gone = dict(sorted(gone.items()))
            sentence = _(
                "{count} rows are also, or nearly, among those that the model is measured with.", count=len(gone)
            )
            why = _("Who has seen the exam before does well in it: the figures would be better than the model.")
            yield self.droppable(rows, ERROR, sentence, why, _("Take them out of training"), gone, like=gone)


def _held_out(split: str) -> tuple[str, ...]:
    """The parts in which a row of this one must not stand again."""
    return {"train": HELD_OUT, "validation": ("test",)}.get(split, ())


def _same_prompt(rows: Rows) -> dict[int, int]:
    """What is asked alone is the same, whatever the answer: of a pair that is the sentence to be translated."""
    held: dict[str, dict[str, int]] = {}
    for index, (split, text) in enumerate(zip(rows.split, rows.prompts, strict=True)):
        if split in HELD_OUT and text.strip():
            held.setdefault(text.strip(), {})[split] = index
    gone = {}
    for index, (split, text) in enumerate(zip(rows.split, rows.prompts, strict=True)):
        same = held.get(text.strip(), {})
        first = next((same[part] for part in _held_out(split) if part in same), None)
        if first is not None:
            gone[index] = first
    return gone
