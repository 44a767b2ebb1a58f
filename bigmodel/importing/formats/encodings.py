"""The encoding of a text by its first megabyte: byte order mark, what the text declares, UTF-8, then what looks most like a language."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Sequence

from bigmodel.core.errors import Refusal
from bigmodel.core.words import Words, _
from bigmodel.importing.formats import plausibility

SAMPLE_BYTES = 2**20  # of a file that an encoding and a format are told by
HEADER_BYTES = 4096  # in which a text may declare its encoding
BOMS = ((b"\xff\xfe\x00\x00", "utf-32"), (b"\x00\x00\xfe\xff", "utf-32"), (b"\xef\xbb\xbf", "utf-8"),
         (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))  # fmt: skip
DECLARATIONS = (
    re.compile(rb"""\A\s*<\?xml[^>]*?encoding\s*=\s*["']([\w.:-]+)"""),
    re.compile(rb"""^"Content-Type:[^"]*charset=([\w.:-]+)""", re.MULTILINE | re.IGNORECASE),  # of a .po file
    re.compile(rb"""<meta\b[^>]*charset\s*=\s*["']?([\w.:-]+)""", re.IGNORECASE),
    re.compile(rb"""\A(?:[^\n]*\n)?[^\n]*-\*-.*?coding:\s*([\w.:-]+)"""),  # Emacs, in one of the first two lines
    re.compile(rb"""\A(?:[^\n]*\n)?[ \t\f]*(?:#|//|--|;|").*?coding[:=]\s*([\w.-]+)"""),  # Python, Vim
)
# declared -> what is meant by it, as browsers take it: the later standard that holds the earlier one
SUPERSETS = {"gb2312": "gb18030", "gbk": "gb18030", "iso8859-1": "cp1252", "iso8859-9": "cp1254", "tis-620": "cp874"}
EXTENSIONS = {"shift_jis": "cp932", "euc_kr": "cp949", "big5": "cp950"}  # read where the standard does not do
STANDARDS = {extension: standard for standard, extension in EXTENSIONS.items()}
TEXT_ENCODINGS = ("gb18030", "big5", "cp932", "euc_jp", "cp949", "cp1252", "cp1250", "iso8859_2", "cp1254", "cp1257", "cp1251",
                  "koi8_r", "cp866", "iso8859_5", "cp1253", "cp1255", "cp1256", "cp874")  # fmt: skip
NAME_ENCODINGS = ("cp932", "gb18030", "big5", "cp949", "cp866", "cp437", "cp850", "cp852", "cp1251", "cp1252", "cp1250")
HIGH_SCORE = 0.7  # of what goes before UTF-8 that is valid by chance
MIN_SCORE, CLOSE_SCORE = 0.45, 0.15  # below the first nothing is plausible; a runner-up within the second is shown
MIN_UTF8_SIGNS = 4  # from which valid UTF-8 is no accident


def detect_encoding(sample: bytes, header: bytes = b"") -> tuple[str, tuple[Words, ...]]:
    """The encoding and why; Refusal for what is no text at all. header: the beginning of the file, where the sample is
    none."""
    for mark, encoding in BOMS:
        if sample.startswith(mark):
            return encoding, (_("Its first bytes say {encoding}.", encoding=encoding.upper()),)
    zeros = sample.count(0)
    if zeros > len(sample) * 0.2:
        even = sample[::2].count(0) > sample[1::2].count(0)
        if zeros < len(sample) * 0.7:
            encoding = "utf-16-be" if even else "utf-16-le"
            return encoding, (_("Every second byte is zero: {encoding}.", encoding=encoding.upper()),)
    controls = sum(sample.count(bytes([code])) for code in (*range(1, 9), *range(14, 27), 127))
    if zeros > max(8, len(sample) * 0.01) or controls > len(sample) * 0.05:
        raise Refusal(_("This is no text, and no other kind of file that is known here."),
                      do=_("Give CSV, JSON, text, Parquet, pictures as ZIP, PO, XLIFF or TMX."))  # fmt: skip
    lines = sample.split(b"\n")
    lines = lines[:-1] if len(lines) > 1 else lines
    wide = [line for line in lines if not line.isascii()][:20_000]  # the others say nothing, however many come first
    bad = sum(not _decodes(line, "utf-8") for line in wide)
    declared = _declared_encoding(header or sample)
    if declared and wide and (bad or _is_accidental_utf8(wide)):
        name, encoding = declared
        if sum(_decodes(line, encoding) for line in wide) >= 0.9 * len(wide):
            return encoding, (_("It says of itself that it is in {encoding}.", encoding=name.upper()),)
    rare = bad == 0 and wide and _holds_rare_letters(b"".join(wide).decode("utf-8"))
    if rare and rank(wide, TEXT_ENCODINGS)[0][0] >= HIGH_SCORE:
        return _detect_legacy_encoding(wide)
    if bad == 0:
        return "utf-8", () if sample.isascii() else (_("All of it reads as {encoding}.", encoding="UTF-8"),)
    if bad <= max(1, 0.3 * len(wide)) and len(wide) > bad:
        said = _("Most of it reads as {encoding}; {count} of the first {lines} lines do not.",
                 encoding="UTF-8", count=bad, lines=len(lines))  # fmt: skip
        return "utf-8", (said,)
    return _detect_legacy_encoding(wide)


def _declared_encoding(data: bytes) -> tuple[str, str] | None:
    """(the name that a text gives, the encoding to read it in); None where it names none that could be right."""
    for pattern in DECLARATIONS:
        if match := pattern.search(data[:HEADER_BYTES]):
            name = match[1].decode("ascii", "replace")
            try:
                codec = codecs.lookup(name)
            except LookupError:
                continue
            if codec._is_text_encoding and not codec.name.startswith(("utf", "ascii", "idna", "punycode")) and not codec.name.endswith("escape"):  # fmt: skip
                encoding = SUPERSETS.get(codec.name, codec.name)
                return name, EXTENSIONS[encoding] if encoding in EXTENSIONS and not _decodes(
                    data, encoding
                ) else encoding
    return None


def _is_accidental_utf8(lines: Sequence[bytes]) -> bool:
    """Whether so few bytes are no ASCII that they may be valid UTF-8 by chance."""
    signs = [sign for line in lines for sign in line.decode("utf-8", "replace") if ord(sign) > 127]
    return len(signs) < MIN_UTF8_SIGNS or _holds_rare_letters(signs)


def _holds_rare_letters(signs: Iterable[str]) -> bool:
    """Of phonetics and of few small languages: what two bytes of GBK make of UTF-8 by chance."""
    return any(
        "\u0180" <= sign <= "\u036f" and sign not in "\u01a0\u01a1\u01af\u01b0\u0218\u0219\u021a\u021b"
        for sign in signs
    )


def _detect_legacy_encoding(wide: list[bytes]) -> tuple[str, tuple[Words, ...]]:
    """Not UTF-8: what looks most like a language; where nothing does, by statistics; at last what reads every byte."""
    ranked = rank(wide, TEXT_ENCODINGS)
    best_score, best = ranked[0]
    if best_score >= MIN_SCORE:
        encoding = _standard(wide, best)
        chinese = best in ("gb18030", "big5")
        why = (_("It reads as Chinese in {encoding}.", encoding=encoding.upper()) if chinese
               else _("It is no UTF-8; by the frequency of its letters it is {encoding}.", encoding=encoding.upper()))  # fmt: skip
        return encoding, (why, *_runner_up(wide, ranked))
    from charset_normalizer import from_bytes

    guess = from_bytes(b"\n".join(wide)[:65536], cp_isolation=["shift_jis", "euc_jp", "euc_kr", "cp1252", "cp1250",
                       "cp1251", "koi8_r", "iso8859_1", "iso8859_2", "gb18030", "big5"]).best()  # fmt: skip
    encoding = guess.encoding if guess else "cp1252"
    if sum(_decodes(line, encoding) for line in wide) < 0.9 * len(wide):
        encoding = "iso8859-1"
    return encoding, (
        _("It is no UTF-8; by the frequency of its letters it is {encoding}.", encoding=encoding.upper()),
    )


def rank(lines: Sequence[bytes], encodings: Iterable[str]) -> list[tuple[float, str]]:
    """(score, encoding), the most plausible first."""
    scored = [(plausibility.score(lines, encoding), encoding) for encoding in encodings]
    return sorted(scored, key=lambda one: -one[0])


def _standard(lines: Sequence[bytes], encoding: str) -> str:
    """The standard where it reads as much as what extends it."""
    standard = STANDARDS.get(encoding, encoding)
    return standard if all(_decodes(line, standard) for line in lines) else encoding


def _runner_up(lines: Sequence[bytes], ranked: Sequence[tuple[float, str]]) -> tuple[Words, ...]:
    """Both readings side by side where the second is nearly as plausible and says something else."""
    (best_score, best), *others = ranked
    text = _example(lines, best)
    close = (other for score, other in others if score >= max(MIN_SCORE, best_score - CLOSE_SCORE))
    second = next((other for other in close if _example(lines, other) != text), "")
    if not second:
        return ()
    return (_("It could also be {other}. In {encoding}: {text}. In {other}: {other_text}.", encoding=best.upper(), text=text,
              other=second.upper(), other_text=_example(lines, second)),)  # fmt: skip


def _example(lines: Sequence[bytes], encoding: str) -> str:
    """What some of the lines say, from where they are no ASCII."""
    text = " ".join(" ".join(line.decode(encoding, "replace").split()) for line in lines[:5])
    begin = next((place for place, sign in enumerate(text) if ord(sign) > 127), 0)
    shown = "".join(sign if sign.isprintable() else "\ufffd" for sign in text[max(begin - 10, 0) :])
    return shown[:40]


def detect_name_encoding(names: Sequence[bytes]) -> str:
    """In which the names in an archive are written, all in the same one."""
    ranked = rank(names, NAME_ENCODINGS)
    # archives are mostly made with the encodings of DOS
    score, encoding = max(
        (score - 0.1 * (encoding in ("cp1250", "cp1251", "cp1252")), encoding) for score, encoding in ranked
    )
    if all(_decodes(name, "utf-8") for name in names):
        rare = _holds_rare_letters(b"".join(names).decode("utf-8"))
        return encoding if rare and score >= MIN_SCORE else "utf-8"
    if score >= MIN_SCORE:
        return encoding
    return "gb18030" if all(_decodes(name, "gb18030") for name in names) else "cp437"


def _decodes(line: bytes, encoding: str) -> bool:
    try:
        line.decode(encoding)
    except UnicodeError:
        return False
    return True
