"""The encoding of a text by its first megabyte: byte order mark, UTF-8, Chinese by its commonest characters, then statistics."""

from __future__ import annotations

from bigmodel.core.errors import Refusal
from bigmodel.core.words import Words, _

SAMPLE_BYTES = 2**20  # of a file that an encoding and a format are told by
BOMS = ((b"\xff\xfe\x00\x00", "utf-32"), (b"\x00\x00\xfe\xff", "utf-32"), (b"\xef\xbb\xbf", "utf-8"),
         (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))  # fmt: skip
COMMON_SIMPLIFIED = set(
    "的一是不了在有人我他这中大来上个国们为到说和地也子时道出而要于就下得可你年生自会那后能对着事其里所去行过家十用发天如然作方成者多日都三小军二无同么经法当起与好看学进种将还分此心前面又定见只主没公从年"
)
COMMON_TRADITIONAL = set(
    "的一是不了在有人我這個們來大中上國為說時要就會也對生能子那得於著下自之年過發後作里用道行所然家種事成方多經麼去法學如都同現當沒動面起看定天分還進好小部其些主樣理心"
)
WESTERN_LETTERS = set("éèêëàâäáåãæçîïíìñôöóòõøœùûüúßÉÈÀÂÄÁÅÇÖÓØÜÚÑß¿¡«»’‘“”–—…°§€")


def detect_encoding(sample: bytes) -> tuple[str, tuple[Words, ...]]:
    """The encoding and why; Refusal for what is no text at all."""
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
    if bad == 0:
        return "utf-8", () if sample.isascii() else (_("All of it reads as {encoding}.", encoding="UTF-8"),)
    if bad <= max(1, 0.3 * len(wide)) and len(wide) > bad:
        said = _("Most of it reads as {encoding}; {count} of the first {lines} lines do not.",
                 encoding="UTF-8", count=bad, lines=len(lines))  # fmt: skip
        return "utf-8", (said,)
    return _detect_legacy_encoding(wide)


def _detect_legacy_encoding(wide: list[bytes]) -> tuple[str, tuple[Words, ...]]:
    """Not UTF-8. Chinese first, told by its commonest characters; then by statistics; at last what reads every byte."""
    for encoding in ("gb18030", "big5"):
        texts_read = [line.decode(encoding, "replace") for line in wide[:2000]]
        letters = [sign for line in texts_read for sign in line if ord(sign) > 127]
        broken = sum("\ufffd" in line for line in texts_read)
        common = sum(sign in COMMON_SIMPLIFIED or sign in COMMON_TRADITIONAL for sign in letters)
        if letters and broken <= 0.1 * len(texts_read) and common > 0.08 * len(letters):
            return encoding, (_("It reads as Chinese in {encoding}.", encoding=encoding.upper()),)
    signs = [sign for line in wide for sign in line.decode("cp1252", "replace") if ord(sign) > 127]
    if sum(sign in WESTERN_LETTERS for sign in signs) >= 0.9 * len(signs):
        return "cp1252", (_("It is no UTF-8; by the frequency of its letters it is {encoding}.", encoding="CP1252"),)
    from charset_normalizer import from_bytes

    best = from_bytes(b"\n".join(wide)[:65536], cp_isolation=["shift_jis", "euc_jp", "euc_kr", "cp1252", "cp1250",
                      "cp1251", "koi8_r", "iso8859_1", "iso8859_2", "gb18030", "big5"]).best()  # fmt: skip
    encoding = best.encoding if best else "cp1252"
    if sum(_decodes(line, encoding) for line in wide) < 0.9 * len(wide):
        encoding = "iso8859-1"
    return encoding, (
        _("It is no UTF-8; by the frequency of its letters it is {encoding}.", encoding=encoding.upper()),
    )


def _decodes(line: bytes, encoding: str) -> bool:
    try:
        line.decode(encoding)
    except UnicodeError:
        return False
    return True
