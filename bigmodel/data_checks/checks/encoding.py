"""Texts that were read in the wrong encoding."""

from __future__ import annotations

import re
from collections.abc import Iterator

from bigmodel.core.words import Words, _
from bigmodel.data_checks.finding import ERROR, LEAVE_OUT, Check, Finding, Remedy, drop, edit
from bigmodel.data_checks.row_batches import Rows

REPLACEMENT_CHARACTER = "\ufffd"
CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u0080-\u009f]")
NON_ASCII = re.compile(r"[^\x00-\x7f]")
HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff]")
# Bytes of UTF-8 that were taken for one of these, and back. gb18030 takes nearly everything, so it is asked last.
WRONG_ENCODINGS = ("cp1252", "cp1251", "cp437", "mac-roman", "gb18030")
CP1252_BYTES = {ord(sign): byte for byte in range(0x80, 0xA0) if (sign := bytes([byte]).decode("cp1252", "ignore"))}
LATIN_SIGNS = re.compile(r"[\u00a1-\u00ff]")
LETTERS = re.compile(r"[A-Za-z]")
MIN_UTF8_SHARE = 0.6  # of the high bytes still belong together
# U+FFFD, and memory that was never written, taken for GBK; what the first byte of an accented letter, or the first two of a
# typographer's sign, become in cp1252 before a sign that no language writes after them.
MOJIBAKE = "锟斤拷|烫烫烫|屯屯屯|â€|[ÃÂ][\u00a1-\u00aa\u00ac-\u00ba\u00bc-\u00bf]"
DAMAGED = re.compile(f"{REPLACEMENT_CHARACTER}|{MOJIBAKE}|{CONTROLS.pattern}")


class Encoding(Check):
    name = "encoding"
    order = 3
    title = _("Damaged characters")
    about = _(
        "Characters that a wrong encoding has turned into others ('Ã©', '锟斤拷', '鐨'), or that are lost (U+FFFD)."
    )

    def run(self, rows: Rows) -> Iterator[Finding]:
        mended: dict[int, dict[str, str]] = {}
        lost: dict[int, Words] = {}
        seen: dict[int, Words] = {}
        for name in rows.texts:
            said, new = rows.message_texts(name), {}
            for number, (place, text) in enumerate(zip(said.row_positions, said.texts, strict=True)):
                if not NON_ASCII.search(text) and not CONTROLS.search(text):
                    continue
                right = fix_mojibake(text)
                row = int(rows.ids[place])
                if right is not None:
                    new[number] = right
                    seen[row] = _("probably '{text}'", text=right[:60])
                elif DAMAGED.search(text) or is_truncated_utf8(text):
                    lost[row] = _("'{text}'", text=_excerpt(text))
            for place, cell in said.replace_texts(new).items():
                mended.setdefault(int(rows.ids[place]), {})[name] = cell
        for row in lost:
            mended.pop(row, None)
        why = _("The model would learn signs that nobody writes, and nothing of what stood there.")
        if mended:
            sentence = _("{count} texts were read in the wrong encoding, and can be mended.", count=len(mended))
            remedy = Remedy(_("Mend these texts"), (edit(mended),))
            yield Finding(self.name, ERROR, sentence, why, tuple(mended), {row: seen[row] for row in mended}, remedy)
        if lost:
            sentence = _("{count} texts have lost characters.", count=len(lost))
            yield Finding(self.name, ERROR, sentence, why, tuple(lost), lost, Remedy(LEAVE_OUT, (drop(lost),)))


def fix_mojibake(text: str) -> str | None:
    """The text as it was written, where it can be said for sure that UTF-8 or GBK was taken for something else."""
    if REPLACEMENT_CHARACTER not in text:
        for encoding in WRONG_ENCODINGS:
            right = _redecode(text, encoding, "utf-8")
            if right is not None and _is_improvement(text, right):
                return right
        signs, letters = len(LATIN_SIGNS.findall(text)), len(LETTERS.findall(text))
        if signs >= 4 and signs > 2 * letters:  # no language of Europe has so many; GBK taken for Latin-1 has
            right = _redecode(text, "latin-1", "gb18030")
            if right is not None:
                written, han = len(NON_ASCII.findall(right)), len(HAN.findall(right))
                return right if written * 2 >= signs * 0.8 and han * 2 >= written else None
    return None


def is_truncated_utf8(text: str) -> bool:
    """Whether most of the signs that are no ASCII were bytes of UTF-8, some of which are gone for good."""
    if not LATIN_SIGNS.search(text):
        return False
    data = text.translate(CP1252_BYTES).encode("latin-1", "ignore")
    left = NON_ASCII.findall(data.decode("utf-8", "ignore"))
    high = sum(byte > 0x7F for byte in data)
    return len(left) >= 2 and len("".join(left).encode()) >= MIN_UTF8_SHARE * high


def _redecode(text: str, taken: str, meant: str) -> str | None:
    try:
        return _encode(text, taken).decode(meant)
    except UnicodeError:
        return None


def _encode(text: str, encoding: str) -> bytes:
    """cp1252 has five holes, which browsers and Windows fill with the control characters of Latin-1."""
    return text.translate(CP1252_BYTES).encode("latin-1") if encoding == "cp1252" else text.encode(encoding)


def _is_improvement(text: str, right: str) -> bool:
    """What was UTF-8 gets shorter by every sign that took several bytes; by chance that hardly happens twice."""
    if right == text or CONTROLS.search(right):
        return False
    before, after = len(NON_ASCII.findall(text)), len(NON_ASCII.findall(right))
    if HAN.search(text):  # characters that are characters: only where the others are far fewer, and again characters
        return before >= 3 and after < before and len(HAN.findall(right)) * 2 >= after
    return after < before


def _excerpt(text: str) -> str:
    """The damaged place with a little of what stands around it."""
    hit = DAMAGED.search(text) or LATIN_SIGNS.search(text)
    start = max(hit.start() - 12, 0)
    return CONTROLS.sub(REPLACEMENT_CHARACTER, text[start : start + 40])
