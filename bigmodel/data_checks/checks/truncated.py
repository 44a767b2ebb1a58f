"""Texts that were cut off: in the middle of a sentence, at a greatest length, or far shorter than their translation."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from bigmodel.core.words import Words, _
from bigmodel.data_checks.finding import LEAVE_OUT, WARNING, Check, Finding
from bigmodel.data_checks.row_batches import Rows

ENDED = re.compile(r"```\s*$|[.!?:;…。！？：；．｡—–\-][\s\"'”’»«“‘)\]）】」』》〉*_]*$|[\"'”’»)\]）】」』》〉]\s*$")
STOPPED = re.compile(r"[.!?…。！？．｡][\s\"'”’»«“‘)\]）】」』》〉*_]*$")
MIN_ENDED_SHARE = 0.97  # of the texts end like a sentence: then those that do not were cut off
MIN_PAIRED_SHARE = 0.95  # of the pairs whose one side ends with a full stop, the other does
MIN_ROWS_AT_LIMIT = 20  # rows of exactly the greatest length ...
LIMIT_RATIO = 8  # ... and so many times more than there are of the lengths below it
MIN_LIMIT_CHARACTERS = 30  # characters; a pile of shorter texts is no cut
MIN_TEXTS = 30  # texts from which nothing can be said about all
MIN_ANSWER_BYTES = 30  # bytes, which are ten Chinese characters; a shorter answer need not be a sentence


class Truncated(Check):
    name = "truncated"
    order = 7
    title = _("Texts that were cut off")
    about = _(
        "Texts that end in the middle of a sentence where the others do not, many texts of exactly the greatest length, and pairs "
        "of which only one side ends like a sentence."
    )

    def applies_to(self, rows: Rows) -> bool:
        return not rows.data.continuous  # pieces of a whole text end anywhere

    def run(self, rows: Rows) -> Iterator[Finding]:
        found: dict[int, Words] = {}
        for name in rows.texts:
            for role, places, texts in rows.message_texts(name).by_role():
                cut = _cut_at_a_length(texts)
                if not rows.is_translation and role in ("", "assistant"):  # people end what they ask as they like
                    cut |= _cut_in_a_sentence(texts, MIN_ANSWER_BYTES if role else 1)
                found |= {places[number]: words for number, words in cut.items()}
        if rows.is_translation:
            found |= _cut_on_one_side(rows.column_texts("source"), rows.column_texts("target"))
        if found:
            found = dict(sorted(found.items()))
            why = _("A model learns from them to stop in the middle of a sentence.")
            sentence = _("{count} texts seem to be cut off.", count=len(found))
            yield self.droppable(rows, WARNING, sentence, why, LEAVE_OUT, found, found)


def _cut_in_a_sentence(texts: Sequence[str], least: int) -> dict[int, Words]:
    """least: bytes of a text that is a sentence."""
    written = [index for index, text in enumerate(texts) if len(text.strip().encode()) >= least]
    open_ended = [place for place in written if not ENDED.search(texts[place])]
    if len(written) < MIN_TEXTS or len(open_ended) > (1 - MIN_ENDED_SHARE) * len(written):
        return {}
    return {place: _("ends with '{end}'", end=texts[place].rstrip()[-12:]) for place in open_ended}


def _cut_at_a_length(texts: Sequence[str]) -> dict[int, Words]:
    """Whoever cuts texts at a length leaves a pile of them there."""
    lengths = Counter(map(len, texts))
    longest = max(lengths, default=0)
    below = range(int(longest * 0.8), longest)
    usual = sum(lengths[length] for length in below) / max(len(below), 1)
    if longest < MIN_LIMIT_CHARACTERS or lengths[longest] < max(MIN_ROWS_AT_LIMIT, LIMIT_RATIO * usual):
        return {}
    return {
        index: _("exactly {count} characters, as many as the longest", count=longest)
        for index, text in enumerate(texts)
        if len(text) == longest and not STOPPED.search(text)
    }


def _cut_on_one_side(sources: Sequence[str], targets: Sequence[str]) -> dict[int, Words]:
    """Where sentences are translated by sentences, both sides end like one."""
    ends = [
        (index, bool(STOPPED.search(source)), bool(STOPPED.search(target)))
        for index, (source, target) in enumerate(zip(sources, targets, strict=True))
        if source.strip() and target.strip()
    ]
    either = [end for end in ends if end[1] or end[2]]
    alone = [one for one in either if one[1] != one[2]]
    if len(either) < MIN_TEXTS or len(alone) > (1 - MIN_PAIRED_SHARE) * len(either) + 2:
        return {}
    return {
        place: _("the source ends like a sentence, the target does not")
        if source
        else _("the target ends like a sentence, the source does not")
        for place, source, _target in alone
    }
