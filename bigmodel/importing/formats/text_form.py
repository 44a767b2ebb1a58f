"""The form of plain text by what it looks like: one whole text, or texts that stand by themselves in lines or paragraphs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath
from statistics import mean, median, pstdev

from bigmodel.core import limits
from bigmodel.core.words import Words, _
from bigmodel.importing.formats.whole_text import END_OF_TEXT
from bigmodel.importing.import_plan import splits_in_names

MARKDOWN_HEADING = re.compile(r"#{1,6}\s")
CHAPTER = re.compile(
    r"\s*(?:(?:chapter|book|part|act|scene|canto|volume|letter|kapitel|chapitre|cap[ií]tulo|глава|часть)\s+"
    r"(?:[ivxlcdm]+|\d+|one|two|three|the first|the second)\b|"
    r"(?:第[零〇一二两三四五六七八九十百千\d]+[回章节節卷部篇幕集]|[序楔][章言子幕]))",
    re.IGNORECASE,
)
CHAPTER_FILE = re.compile(r"(?:ch|chap|chapter|chapt|part|pt|vol|volume|book|act|scene|section|sec|canto)[\W_]*\d|"
                          r"第[零〇一二两三四五六七八九十百千\d]+[回章节節卷部篇幕集]", re.IGNORECASE)  # fmt: skip
SPEAKER = re.compile(r"[^\W\d_][\w'’.\- ]{0,30}[:：]\s*$|[A-Z][A-Z'’.\- ]{2,30}\s*$")
SENTENCE_END = tuple(".!?。！？…”’\"'」』")
EBOOK_MARK = "*** START OF "  # of Project Gutenberg
MIN_HEADINGS = 2
MAX_HEADING_SHARE = 0.2  # of the characters stand in headings
MIN_SPEAKER_SHARE = 0.4  # of the paragraphs begin with who speaks: a play
WRAPPED_WIDTH = (50, 90)  # characters of most lines of a text whose lines are broken at a width
MIN_WRAPPED_SHARE = 0.5
MIN_INDENTED_SHARE = 0.3  # of the lines begin with blanks: paragraphs of a book, or a program
MIN_NARRATIVE_CHARACTERS, MIN_NARRATIVE_PARAGRAPHS = 10_000, 30
MIN_LENGTH_VARIATION = 0.75  # of paragraphs' lengths: told stories mix long ones with short speech, lists do not
MEAN_BOOK_CHARACTERS = 20_000  # of the files of a folder, from which on each is a whole text
MIN_PARAGRAPHS = 10


def detect_unit(text: str, markdown: bool) -> tuple[str, Words]:
    """The unit that `text`, the beginning of a file, is best read in, and why."""
    lines = [line for line in text.splitlines() if line.strip()]
    blank = re.search(r"^\s*$", text.rstrip("\n"), re.MULTILINE) is not None
    paragraphs = [part for part in re.split(r"\n\s*\n", text) if part.strip()]
    headings = sum(bool(MARKDOWN_HEADING.match(line)) for line in lines)
    if markdown and headings >= 3:
        return "sections", _("It has {count} headings.", count=headings)
    reason = _whole_text_reason(text, lines, paragraphs)
    if reason is not None:
        return "whole", reason
    if blank and len(paragraphs) >= MIN_PARAGRAPHS:
        return "paragraphs", _("Blank lines part it into {count} paragraphs.", count=len(paragraphs))
    return "lines", _("It is text of {count} lines.", count=len(text.splitlines()))


def _whole_text_reason(text: str, lines: Sequence[str], paragraphs: Sequence[str]) -> Words | None:
    """Why it is one text that goes on from line to line; None where it does not look so."""
    if END_OF_TEXT in text:
        return _("It marks the ends of its texts by {mark}.", mark=END_OF_TEXT)
    chapters = [line for line in lines if len(line) < 80 and CHAPTER.match(line)]
    short = sum(map(len, chapters)) < MAX_HEADING_SHARE * len(text)  # else it is a table of contents
    if EBOOK_MARK in text or (len(chapters) >= MIN_HEADINGS and short):
        return _("It is one text in chapters ({count} headings), which goes on from line to line.", count=len(chapters))
    speeches = [part.strip("\n").split("\n")[0] for part in paragraphs if "\n" in part.strip()]
    speakers = [line.strip() for line in speeches if SPEAKER.match(line)]
    often = len(set(speakers)) <= len(speakers) / 2  # titles are not said again
    if len(paragraphs) >= MIN_PARAGRAPHS and often and len(speakers) >= MIN_SPEAKER_SHARE * len(paragraphs):
        return _("It is a play or a talk: {count} of {all} paragraphs begin with who speaks.",
                 count=len(speakers), all=len(paragraphs))  # fmt: skip
    if _is_wrapped(lines):
        return _("Its lines are broken at a width, so a sentence goes on from line to line.")
    indented = sum(line[0] in " \t\u3000" for line in lines)
    if len(lines) >= MIN_PARAGRAPHS and indented >= MIN_INDENTED_SHARE * len(lines):
        return _("{count} of its first {lines} lines are indented, as in a book.", count=indented, lines=len(lines))
    if len(lines) <= 2 and len(text) > 2 * limits.CELL_CHARACTERS / 100:
        return _("It is one long text without line ends.")
    return (
        _("It tells a story: long paragraphs and short speech take turns.")
        if _is_narrative(paragraphs, lines)
        else None
    )


def _is_wrapped(lines: Sequence[str]) -> bool:
    if len(lines) < MIN_PARAGRAPHS:
        return False
    least, most = WRAPPED_WIDTH
    lengths = [len(line.rstrip()) for line in lines]
    full = sum(least <= length <= most for length in lengths)
    ended = sum(line.rstrip().endswith(SENTENCE_END) for line in lines)
    return (
        full >= MIN_WRAPPED_SHARE * len(lines)
        and max(lengths) <= most + 30
        and median(lengths) >= 0.75 * max(lengths)
        and ended < 0.5 * len(lines)
    )


def _is_narrative(paragraphs: Sequence[str], lines: Sequence[str]) -> bool:
    parts = paragraphs if len(paragraphs) >= MIN_NARRATIVE_PARAGRAPHS else lines
    lengths = [len(part) for part in parts]
    if len(parts) < MIN_NARRATIVE_PARAGRAPHS or sum(lengths) < MIN_NARRATIVE_CHARACTERS:
        return False
    quoted = sum(part.lstrip()[:1] in "\"“「『'‘—" for part in parts)
    return quoted >= 0.1 * len(parts) and pstdev(lengths) >= MIN_LENGTH_VARIATION * mean(lengths)


def detect_collection_unit(names: Sequence[str], sizes: Sequence[int], sample: str) -> tuple[str, Words | None]:
    """Of the text files of a folder, by their names and sizes in bytes; `sample`: the beginning of the first."""
    if len(names) == 1 or any(splits_in_names(names)):
        return detect_unit(sample, markdown=False)
    numbered = sum(bool(CHAPTER_FILE.search(PurePosixPath(name).stem)) for name in names)
    if len(names) > 1 and numbered > 0.8 * len(names):
        return "joined", _("They are called as chapters are, so each goes on where the one before it ends.")
    if mean(sizes) > MEAN_BOOK_CHARACTERS:
        return "whole", _("They are long, so each is one whole text.")
    return "files", None
